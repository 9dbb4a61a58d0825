/* Depthwise 3x3, stride 1, padding 1, twice: as it is defined, and with vectors and several rows at once.
 *
 *   y[c, oh, ow] = sum over kh, kw of x[c, oh + kh - 1, ow + kw - 1] * w[c, kh, kw]        0 outside the image
 *
 * x, y (C, H, W)   w (C, 3, 3)
 *
 * depthwise_first   Work-items (ow, oh, c), one output each; ow may be rounded up.
 * depthwise_rows    Work-items (ow / VEC, oh / ROWS, c), rounded up: ROWS rows of VEC outputs each.
 *
 *        x, rows oh-1 .. oh+ROWS          y
 *        . . . . . . . . . .
 *        . # # # # # # # # .              [ vector of VEC outputs, row 0 ]
 *        . # # # # # # # # .              [                        row 1 ]       every row of x is read once
 *        . . . . . . . . . .                                                     and serves up to 3 rows of y
 *
 * Per output of depthwise_rows: 3 * (ROWS + 2) / ROWS / VEC vector loads, 9 multiply-adds.
 *
 * Macros: vector.clh; ROWS.
 */
#include "include/vector.clh"

#ifndef ROWS
#error "ROWS, the output rows of a work-item, must be set"
#endif

__kernel void depthwise_first(__global const float *restrict x, __global const float *restrict w,
                              __global float *restrict y, const int H, const int W) {
  const int ow = get_global_id(0); /* 0 .. W-1, and a few more */
  const int oh = get_global_id(1); /* 0 .. H-1 */
  const int c = get_global_id(2);  /* 0 .. C-1 */
  if (ow >= W) return;
  float sum = 0;
  for (int kh = 0; kh < 3; kh++)
    for (int kw = 0; kw < 3; kw++) {
      const int ih = oh + kh - 1, iw = ow + kw - 1; /* may lie one outside */
      if (ih >= 0 && ih < H && iw >= 0 && iw < W) sum += x[(c * H + ih) * W + iw] * w[c * 9 + kh * 3 + kw];
    }
  y[(c * H + oh) * W + ow] = sum;
}

/* VEC elements of a row of W from column iw on, 0 where there is no column. */
static inline vec row_part(__global const float *row, const int iw, const int W) {
  if (iw >= 0 && iw + VEC <= W) return LOAD_VEC(row + iw);
  vec_lanes r;
  r.v = VEC_OF(0);
  UNROLL for (int i = 0; i < VEC; i++)
    if (iw + i >= 0 && iw + i < W) r.s[i] = row[iw + i];
  return r.v;
}

__kernel void depthwise_rows(__global const float *restrict x, __global const float *restrict w,
                             __global float *restrict y, const int H, const int W) {
  const int ow = get_global_id(0) * VEC;  /* 0 .. W-1 */
  const int oh = get_global_id(1) * ROWS; /* 0 .. H-1 */
  const int c = get_global_id(2);         /* 0 .. C-1 */
  float f[9];
  UNROLL for (int i = 0; i < 9; i++) f[i] = w[c * 9 + i];
  vec acc[ROWS];
  UNROLL for (int i = 0; i < ROWS; i++) acc[i] = VEC_OF(0);

  UNROLL for (int r = 0; r < ROWS + 2; r++) {
    const int ih = oh + r - 1;
    if (ih < 0 || ih >= H) continue;
    __global const float *row = x + (c * H + ih) * W;
    UNROLL for (int kw = 0; kw < 3; kw++) {
      const vec v = row_part(row, ow + kw - 1, W);
      UNROLL for (int i = 0; i < ROWS; i++)
        if (r - i >= 0 && r - i < 3) acc[i] += v * f[(r - i) * 3 + kw];
    }
  }
  UNROLL for (int i = 0; i < ROWS; i++)
    if (oh + i < H) {
      __global float *to = y + (c * H + oh + i) * W + ow;
      if (ow + VEC <= W) STORE_VEC(to, acc[i]);
      else STORE_VEC_SOME(to, acc[i], W - ow);
    }
}
