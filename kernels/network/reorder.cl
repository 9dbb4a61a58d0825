/* Matrices with rows and columns exchanged:  y[n, b, a] = x[n, a, b]
 *
 * x    N x A x B
 * y    N x B x A
 *
 * With A channels and B pixels this is N C H W to N H W C; with A pixels and B channels it is the way back.
 *
 * Work-items: (BLOCK_B columns of x, BLOCK_A rows, n). In tiles of STEP rows by STEP columns, so that each line of the cache is used
 * up while it is there; where there are vectors, in squares of LANES by LANES of them:
 *
 *          BLOCK_B                      A
 *      +----+----+                  +-----+---
 *      | t0 | t1 |   STEP    ->     | t0' |       STEP
 *      +----+----+                  +-----+---
 *      | ..                         | t1' |
 *
 * Elements are moved as bits, so every type of that size is served. Per output one element is read and one written.
 *
 * Macros: element.clh; BYTES (1, 2, 4, 8: size of an element), UNALIGNED_VECTORS.
 */
#if !defined(BYTES) || !defined(UNALIGNED_VECTORS)
#error "BYTES and UNALIGNED_VECTORS must be set by the plan"
#endif

#include "include/element.clh"

#define STEP 16

#if UNALIGNED_VECTORS && BYTES == 4
#define SQUARES 1
#define FIRST_HALVES(p, q) ((uint8)(p.s0, q.s0, p.s1, q.s1, p.s2, q.s2, p.s3, q.s3))
#define LAST_HALVES(p, q) ((uint8)(p.s4, q.s4, p.s5, q.s5, p.s6, q.s6, p.s7, q.s7))

/* Eight rows of eight. Rows that are half of all apart are dealt out in turn, three times: then each is a column. */
static inline void turn_square(__global const uint *x, __global uint *y, const int A, const int B) {
  uint8 r[8], s[8];
  _Pragma("unroll") for (int i = 0; i < 8; i++) r[i] = *(__global const lanes_u *)(x + (long)i * B);
  _Pragma("unroll") for (int turn = 0; turn < 3; turn++) {
    _Pragma("unroll") for (int i = 0; i < 4; i++) {
      s[2 * i] = FIRST_HALVES(r[i], r[i + 4]);
      s[2 * i + 1] = LAST_HALVES(r[i], r[i + 4]);
    }
    _Pragma("unroll") for (int i = 0; i < 8; i++) r[i] = s[i];
  }
  _Pragma("unroll") for (int i = 0; i < 8; i++) *(__global lanes_u *)(y + (long)i * A) = r[i];
}
#else
#define SQUARES 0
#endif

/* Rows a0 .. a1-1 and columns b0 .. b1-1. */
static inline void turn_tile(__global const element *x, __global element *y, const int A, const int B, const int a0, const int a1,
                             const int b0, const int b1) {
#if SQUARES
  if (a1 - a0 == STEP) {
    if (b1 - b0 == STEP) {
      for (int b = b0; b < b1; b += 8)
        for (int a = a0; a < a1; a += 8) turn_square(x + (long)a * B + b, y + (long)b * A + a, A, B);
      return;
    }
  }
#endif
  for (int b = b0; b < b1; b++)
    for (int a = a0; a < a1; a++) y[(long)b * A + a] = x[(long)a * B + b];
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void reorder(__global const element *restrict x,
                                                                     __global element *restrict y, const int A, const int B,
                                                                     const int BLOCK_A, const int BLOCK_B BELL_PARAMETERS) {
  RING_BELL;
  const int first = (int)get_global_id(1) * BLOCK_A;      /* 0 .. A-1 */
  const int last = A - first < BLOCK_A ? A : first + BLOCK_A;
  const int begin = (int)get_global_id(0) * BLOCK_B;      /* 0 .. B-1 */
  const int end = B - begin < BLOCK_B ? B : begin + BLOCK_B;
  const long image = (long)get_global_id(2) * A * B;      /* of n, 0 .. N-1 */
  __global const element *p = x + image;
  __global element *q = y + image;
  if (A == 3) { /* pictures */
    for (int b = begin; b < end; b++) {
      q[3L * b] = p[b];
      q[3L * b + 1] = p[B + b];
      q[3L * b + 2] = p[2L * B + b];
    }
    return;
  }
  for (int b0 = begin; b0 < end; b0 += STEP)
    for (int a0 = first; a0 < last; a0 += STEP)
      turn_tile(p, q, A, B, a0, last - a0 < STEP ? last : a0 + STEP, b0, end - b0 < STEP ? end : b0 + STEP);
}
