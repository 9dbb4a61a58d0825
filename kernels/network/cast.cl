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
 * Macros: types.clh, vector.clh, number.clh; ITEMS (work-items of a work-group).
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "number.clh"

#ifndef ITEMS
#error "ITEMS must be set by the plan"
#endif

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void cast(__global const STORED(FROM) *restrict x,
                                                                      __global real *restrict y, const int COUNT,
                                                                      const int CHUNK BELL_PARAMETERS) {
  RING_BELL;
  const long at = (long)get_global_id(0) * CHUNK;
  const int begin = at < COUNT ? at : COUNT; /* 0 .. COUNT, which is behind the last element */
  const int end = COUNT - begin < CHUNK ? COUNT : begin + CHUNK;
  int i = begin;
  for (; i + VEC <= end; i += VEC) {
    vec_lanes lanes;
    UNROLL for (int lane = 0; lane < VEC; lane++) lanes.s[lane] = (acc_t)TAKE(x, i + lane);
    STORE_VEC(y + i, lanes.v);
  }
  for (; i < end; i++) STORE(y, i, (acc_t)TAKE(x, i));
}
