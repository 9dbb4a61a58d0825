/* A function of each element:  y[i] = f(x[i]).
 *
 * x, y   any shape, as one row of COUNT elements
 *
 * Work-items: (piece); each takes CHUNK elements in a row.
 *
 *      x  |  chunk 0  |  chunk 1  |  chunk 2  | .. |       a chunk:  [VEC][VEC][VEC]..[tail]
 *
 * Per output one element is read and one written.
 *
 * Macros: types.clh, vector.clh, function.clh.
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "function.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void unary(__global const real *restrict x,
                                                                   __global real *restrict y, const int COUNT,
                                                                   const int CHUNK, const acc_t a, const acc_t b) {
  const int begin = (int)get_global_id(0) * CHUNK; /* 0 .. COUNT-1 */
  const int end = COUNT - begin < CHUNK ? COUNT : begin + CHUNK;
  int i = begin;
  for (; i + VEC <= end; i += VEC) STORE_VEC(y + i, function_vec(LOAD_VEC(x + i), a, b));
  for (; i < end; i++) STORE(y, i, function(LOAD(x, i), a, b));
}
