/* Pixels several times along both axes of an image:  y[o, h * TIMES_H + a, w * TIMES_W + b] = x[o, h, w], C elements each.
 *
 * x   OUTER x H x W x C              N C H W: OUTER is N * C, C is 1;  N H W C: OUTER is N
 * y   OUTER x H*TIMES_H x W*TIMES_W x C
 *
 * Work-items: (block of ROWS rows o * H + h of x); a row is widened once, and copied from there.
 *
 *      a b c  ->  a a b b c c
 *                 a a b b c c        TIMES_H = TIMES_W = 2
 *
 * Per element of x one element is read and TIMES_H * TIMES_W are written.
 *
 * Macros: element.clh; BYTES (1, 2, 4, 8: size of an element), UNALIGNED_VECTORS, TIMES_W.
 */
#if !defined(BYTES) || !defined(UNALIGNED_VECTORS) || !defined(TIMES_W)
#error "BYTES, UNALIGNED_VECTORS and TIMES_W must be set by the plan"
#endif

#include "include/element.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void repeat_pixels(__global const element *restrict x,
                                                                           __global element *restrict y, const int COUNT,
                                                                           const int W, const int C,
                                                                           const int TIMES_H, const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const int row0 = (int)get_global_id(0) * ROWS; /* 0 .. COUNT-1; COUNT is OUTER * H */
  for (int row = row0; row < row0 + ROWS && row < COUNT; row++) {
    __global const element *px = x + (long)row * W * C;
    __global element *py = y + (long)row * TIMES_H * TIMES_W * W * C;
    if (C == 1) {
      for (int w = 0; w < W; w++)
        for (int b = 0; b < TIMES_W; b++) py[w * TIMES_W + b] = px[w];
    } else {
      for (int w = 0; w < W; w++)
        for (int b = 0; b < TIMES_W; b++) move_row(py + (long)(w * TIMES_W + b) * C, px + (long)w * C, C);
    }
    for (int a = 1; a < TIMES_H; a++) move_row(py + (long)a * TIMES_W * W * C, py, TIMES_W * W * C);
  }
}
