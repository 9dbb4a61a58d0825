/* Depthwise convolution, a register tile of outputs a work-item (GPUs).
 *
 *   y[n, oc, oh, ow] = act( bias[oc] + residual[n, oc, oh, ow]
 *                           + sum over kh, kw of x[n, c, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL] * w[oc, 0, kh, kw] )
 *                      with c = oc / M, M = OC / IC the channel multiplier; 0 outside the image
 *
 * x, y, residual   N C H W, or N H W C        (macro NHWC)
 * w                OC 1 KH KW, or KH KW 1 OC
 * bias             OC
 *
 * Work-items: one per tile of WPT_H x WPT_W outputs of one channel, along dimension 0, rounded up to work-groups:
 *   NCHW   ((n * OC + oc) * ROWS + row of tiles) * COLS + column of tiles     neighbours are neighbours along the row
 *   NHWC   ((n * ROWS + row of tiles) * COLS + column of tiles) * OC + oc     neighbours are neighbouring channels
 * so that a work-group reads and writes neighbouring addresses: in NCHW the plan sets WPT_W to 1. Nothing is shared
 * but a window's overlap with its neighbours', which the cache serves. include/patch.clh has the picture.
 *
 * Per work-item PATCH_H*PATCH_W elements of x and KH*KW of w are read for WPT_H*WPT_W outputs; a convolution with so
 * few operations per element is bound by memory, whatever the tile.
 *
 * Macros: types.clh, index.clh, epilogue.clh, patch.clh. Tuned by: WPT_H WPT_W.
 */
#include "include/types.clh"
#include "include/index.clh"
#include "include/epilogue.clh"
#include "include/patch.clh"

__kernel void conv_depthwise(__global const real *restrict x, __global const real *restrict w,
                             __global const real *restrict bias, __global const real *restrict residual,
                             __global real *restrict y, const int N, const int IC, const int IH, const int IW,
                             const int OC, const int OH, const int OW, const int PT, const int PL, const acc_t act_a,
                             const acc_t act_b) {
  const uint ROWS = (OH + WPT_H - 1) / WPT_H;
  const uint COLS = (OW + WPT_W - 1) / WPT_W;
  const uint item = get_global_id(0);
#if NHWC
  const int oc = item % OC;                        /* 0 .. OC-1 */
  const int ow0 = item / OC % COLS * WPT_W;        /* first column of the tile, 0 .. OW-1 */
  const int oh0 = item / OC / COLS % ROWS * WPT_H; /* first row, 0 .. OH-1 */
  const int n = item / OC / COLS / ROWS;           /* 0 .. N-1, and more in the last work-group */
#else
  const int ow0 = item % COLS * WPT_W;
  const int oh0 = item / COLS % ROWS * WPT_H;
  const int oc = item / COLS / ROWS % OC;
  const int n = item / COLS / ROWS / OC;
#endif
  if (n >= N) return;
  const int c = oc / (OC / IC);  /* 0 .. IC-1 */
  const int ih0 = oh0 * SH - PT; /* may lie outside 0 .. IH-1 */
  const int iw0 = ow0 * SW - PL; /* may lie outside 0 .. IW-1 */

  acc_t acc[WPT_H][WPT_W];
  UNROLL for (int i = 0; i < WPT_H; i++)
    UNROLL for (int j = 0; j < WPT_W; j++) acc[i][j] = 0;

  __global const real *filter = w + filter_index(oc, 0, 0, 0, OC, 1);
  const int next_tap = NHWC ? OC : 1;
  for (int kh0 = 0; kh0 < KH; kh0 += KH_STEP) {
    const int ih = ih0 + kh0 * DH;
    acc_t patch[PATCH_H][PATCH_W];
    load_patch(x, tensor_index(n, c, ih, iw0, IC, IH, IW), ih, iw0, IC, IH, IW, patch);
    UNROLL for (int kh = 0; kh < KH_STEP; kh++)
      UNROLL for (int kw = 0; kw < KW; kw++) {
        const acc_t tap = LOAD(filter, ((kh0 + kh) * KW + kw) * next_tap);
        UNROLL for (int i = 0; i < WPT_H; i++)
          UNROLL for (int j = 0; j < WPT_W; j++) acc[i][j] += patch[i * SH + kh * DH][j * SW + kw * DW] * tap;
      }
  }

  UNROLL for (int i = 0; i < WPT_H; i++)
    UNROLL for (int j = 0; j < WPT_W; j++) {
      if (oh0 + i >= OH || ow0 + j >= OW) continue; /* the tail of the last tile */
      const long at = tensor_index(n, oc, oh0 + i, ow0 + j, OC, OH, OW);
      acc_t v = acc[i][j];
      if (HAS_BIAS) v += LOAD(bias, oc);
      if (HAS_RESIDUAL) v += LOAD(residual, at);
      STORE(y, at, activate(v, act_a, act_b));
    }
}
