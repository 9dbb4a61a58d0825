/* Elements of another type:  y[i] = x[i], to the nearest number that y's type has; of float64, float16 gets that of the nearest float32.
 *
 * x   of any type of numbers, as one row of COUNT elements
 * y   of real
 *
 * Work-items: (piece), rounded up to work-groups; each takes CHUNK elements in a row, on a GPU a single vector.
 *
 *      x  |  chunk 0  |  chunk 1  |  chunk 2  | .. |       a chunk:  [VEC][VEC][VEC]..[tail]
 *
 * Per output one element is read and one written.
 *
 * Macros: types.clh, vector.clh; FROM (0 float32, 1 float16, 2 float64, 3 int8, 4 uint8, 5 int16, 6 uint16, 7 int32, 8 uint32, 9 int64,
 * 10 uint64); ITEMS (work-items of a work-group).
 */
#include "include/types.clh"
#include "include/vector.clh"

#if !defined(FROM) || !defined(ITEMS)
#error "FROM and ITEMS must be set by the plan"
#endif

#define TAKE(p, i) ((acc_t)(p)[i])
#if FROM == 0
typedef float from_t;
#elif FROM == 1
typedef half from_t;
#undef TAKE
#define TAKE(p, i) ((acc_t)LOAD_HALF(p, i))
#elif FROM == 2
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
typedef double from_t;
#elif FROM == 3
typedef char from_t;
#elif FROM == 4
typedef uchar from_t;
#elif FROM == 5
typedef short from_t;
#elif FROM == 6
typedef ushort from_t;
#elif FROM == 7
typedef int from_t;
#elif FROM == 8
typedef uint from_t;
#elif FROM == 9
typedef long from_t;
#elif FROM == 10
typedef ulong from_t;
#else
#error "FROM must be one of 0 .. 10"
#endif

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void cast(__global const from_t *restrict x,
                                                                      __global real *restrict y, const int COUNT,
                                                                      const int CHUNK BELL_PARAMETERS) {
  RING_BELL;
  const long at = (long)get_global_id(0) * CHUNK;
  const int begin = at < COUNT ? at : COUNT; /* 0 .. COUNT, which is behind the last element */
  const int end = COUNT - begin < CHUNK ? COUNT : begin + CHUNK;
  int i = begin;
  for (; i + VEC <= end; i += VEC) {
    vec_lanes lanes;
    UNROLL for (int lane = 0; lane < VEC; lane++) lanes.s[lane] = TAKE(x, i + lane);
    STORE_VEC(y + i, lanes.v);
  }
  for (; i < end; i++) STORE(y, i, TAKE(x, i));
}
