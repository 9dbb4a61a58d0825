/* A function of each element:  y[i] = f(x[i]).
 *
 * x, y   any shape, as one row of COUNT elements
 *
 * Work-items: (piece), rounded up to work-groups; each takes CHUNK elements in a row, on a GPU a single vector.
 *
 *      x  |  chunk 0  |  chunk 1  |  chunk 2  | .. |       a chunk:  [VEC][VEC][VEC]..[tail]
 *
 * Per output one element is read and one written.
 *
 * Macros: types.clh, vector.clh, function.clh; ITEMS (work-items of a work-group).
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "function.clh"

#ifndef ITEMS
#error "ITEMS must be set by the plan"
#endif

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void unary(__global const real *restrict x,
                                                                       __global real *restrict y, const int COUNT,
                                                                       const int CHUNK, const acc_t a, const acc_t b
                                                                       BELL_PARAMETERS) {
  RING_BELL;
  const long at = (long)get_global_id(0) * CHUNK;
  const int begin = at < COUNT ? at : COUNT; /* 0 .. COUNT, which is behind the last element */
  const int end = COUNT - begin < CHUNK ? COUNT : begin + CHUNK;
  int i = begin;
  for (; i + VEC <= end; i += VEC) STORE_VEC(y + i, function_vec(LOAD_VEC(x + i), a, b));
  for (; i < end; i++) STORE(y, i, function(LOAD(x, i), a, b));
}
