/* Matrices with rows and columns exchanged:  y[n, b, a] = x[n, a, b]
 *
 * x    N x A x B
 * y    N x B x A
 *
 * With A channels and B pixels this is N C H W to N H W C; with A pixels and B channels it is the way back.
 *
 * Work-items: (BLOCK columns of x, n). In tiles of STEP rows by STEP columns, so that each line of the cache is used up
 * while it is there:
 *
 *          BLOCK                        A
 *      +----+----+                  +-----+---
 *      | t0 | t1 |   STEP    ->     | t0' |       STEP
 *      +----+----+                  +-----+---
 *      | ..                         | t1' |
 *
 * Elements are moved as bits, so every type of that size is served. Per output one element is read and one written.
 *
 * Macros: element.clh; BYTES (1, 2, 4, 8: size of an element).
 */
#ifndef BYTES
#error "BYTES must be set by the plan"
#endif

#include "include/element.clh"

#define STEP 16

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void reorder(__global const element *restrict x,
                                                                     __global element *restrict y, const int A,
                                                                     const int B, const int BLOCK BELL_PARAMETERS) {
  RING_BELL;
  const int begin = (int)get_global_id(0) * BLOCK;        /* 0 .. B-1 */
  const int end = B - begin < BLOCK ? B : begin + BLOCK;
  const long image = (long)get_global_id(1) * A * B;      /* of n, 0 .. N-1 */
  if (A == 3) { /* pictures */
    __global const element *p = x + image;
    __global element *q = y + image;
    for (int b = begin; b < end; b++) {
      q[3L * b] = p[b];
      q[3L * b + 1] = p[B + b];
      q[3L * b + 2] = p[2L * B + b];
    }
    return;
  }
  for (int b0 = begin; b0 < end; b0 += STEP)
    for (int a0 = 0; a0 < A; a0 += STEP) {
      const int b1 = end - b0 < STEP ? end : b0 + STEP;
      const int a1 = A - a0 < STEP ? A : a0 + STEP;
      for (int b = b0; b < b1; b++)
        for (int a = a0; a < a1; a++) y[image + (long)b * A + a] = x[image + (long)a * B + b];
    }
}
