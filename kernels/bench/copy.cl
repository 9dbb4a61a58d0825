/* The bandwidth of a level of the memory hierarchy: a copy to and fro between two arrays that fit into it.
 *
 *   b = a, then a = b, ...   TIMES copies in all
 *
 * a, b             VECTORS * work-items vectors each
 *
 * Work-items: at least one per compute unit; (id). Each copies VECTORS vectors:
 *
 *   BLOCKED 1      |0 0 0 0|1 1 1 1|2 2 2 2|     one piece each: what a CPU's cores and caches like
 *   BLOCKED 0      |0 1 2|0 1 2|0 1 2|0 1 2|     taking turns: neighbours touch neighbours, as a GPU likes it
 *
 * Per work-item and copy: VECTORS vectors read, as many written.
 *
 * Macros: vector.clh; BLOCKED (0, 1).
 */
#include "include/vector.clh"

#ifndef BLOCKED
#error "BLOCKED must be set by the benchmark"
#endif

__kernel void copy(__global float *a, __global float *b, const int VECTORS, const int TIMES) {
  const long id = get_global_id(0); /* 0 .. work-items - 1 */
  const long first = BLOCKED ? id * VECTORS : id;
  const long step = BLOCKED ? 1 : get_global_size(0);
  __global float *from = a, *to = b;
  for (int t = 0; t < TIMES; t++) {
    for (int i = 0; i < VECTORS; i++) {
      const long at = (first + i * step) * VEC; /* 0 .. elements - VEC */
      STORE_ACC(to + at, LOAD_ACC(from + at));
    }
    __global float *swap = from;
    from = to;
    to = swap;
  }
}
