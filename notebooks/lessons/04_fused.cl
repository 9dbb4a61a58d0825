/* Depthwise 3x3 and the pointwise convolution that follows, fused: what is between them never reaches memory.
 *
 *   t[c, oh, ow]  = sum over kh, kw of x[c, oh + kh - 1, ow + kw - 1] * d[c, kh, kw]       0 outside the image
 *   y[oc, oh, ow] = sum over c of p[oc, c] * t[c, oh, ow]
 *
 * x (C, H, W)   d (C, 3, 3)   p (OC, C)   y (OC, H, W); OC is a multiple of BLOCK
 *
 * Work-items: (ow / VEC, oh / ROWS), rounded up, one in a work-group. Each makes a small panel of t, ROWS x VEC pixels
 * of all channels, in local memory, and multiplies it with all of p:
 *
 *        x  --3x3-->  panel (C, ROWS, VEC)  --p-->  y, BLOCK channels at a time
 *
 * Macros: vector.clh; C (channels, for the size of the panel), ROWS, BLOCK.
 */
#include "include/vector.clh"

#if !defined(C) || !defined(ROWS) || !defined(BLOCK)
#error "C, ROWS and BLOCK must be set"
#endif

/* VEC elements of a row of W from column iw on, 0 where there is no column. */
static inline vec row_part(__global const float *row, const int iw, const int W) {
  if (iw >= 0 && iw + VEC <= W) return LOAD_VEC(row + iw);
  vec_lanes r;
  r.v = VEC_OF(0);
  UNROLL for (int i = 0; i < VEC; i++)
    if (iw + i >= 0 && iw + i < W) r.s[i] = row[iw + i];
  return r.v;
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void separable(
    __global const float *restrict x, __global const float *restrict d, __global const float *restrict p,
    __global float *restrict y, const int H, const int W, const int OC) {
  __local vec panel[C * ROWS];
  const int ow = get_global_id(0) * VEC;  /* 0 .. W-1 */
  const int oh = get_global_id(1) * ROWS; /* 0 .. H-1 */

  for (int c = 0; c < C; c++) {
    vec t[ROWS];
    UNROLL for (int i = 0; i < ROWS; i++) t[i] = VEC_OF(0);
    UNROLL for (int r = 0; r < ROWS + 2; r++) {
      const int ih = oh + r - 1;
      if (ih < 0 || ih >= H) continue;
      UNROLL for (int kw = 0; kw < 3; kw++) {
        const vec v = row_part(x + (c * H + ih) * W, ow + kw - 1, W);
        UNROLL for (int i = 0; i < ROWS; i++)
          if (r - i >= 0 && r - i < 3) t[i] += v * d[c * 9 + (r - i) * 3 + kw];
      }
    }
    UNROLL for (int i = 0; i < ROWS; i++) panel[c * ROWS + i] = t[i];
  }

  for (int oc = 0; oc < OC; oc += BLOCK) {
    vec acc[BLOCK][ROWS];
    UNROLL for (int j = 0; j < BLOCK; j++) UNROLL for (int i = 0; i < ROWS; i++) acc[j][i] = VEC_OF(0);
    for (int c = 0; c < C; c++)
      UNROLL for (int j = 0; j < BLOCK; j++)
        UNROLL for (int i = 0; i < ROWS; i++) acc[j][i] += p[(oc + j) * C + c] * panel[c * ROWS + i];
    UNROLL for (int j = 0; j < BLOCK; j++)
      UNROLL for (int i = 0; i < ROWS; i++)
        if (oh + i < H) {
          __global float *to = y + ((oc + j) * H + oh + i) * W + ow;
          if (ow + VEC <= W) STORE_VEC(to, acc[j][i]);
          else STORE_VEC_SOME(to, acc[j][i], W - ow);
        }
  }
}
