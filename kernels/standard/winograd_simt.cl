/* Winograd convolution F(TILE x TILE, 3 x 3), stride 1, around a matrix product (GPUs).
 *
 *   U[f][oc][ic] = (G w[oc][ic] G^T)[f]                         winograd_filter, once     f = 0 .. SIDE*SIDE-1, SIDE = TILE+2
 *   V[f][ic][t]  = (B^T x[ic, tile t] B)[f]                     winograd_input
 *   M[f][oc][t]  = sum over ic of U[f][oc][ic] * V[f][ic][t]    implicit_gemm_simt.cl, as a pointwise convolution
 *   y[oc, tile t] = act( (A^T M[oc][t] A) + bias[oc] + residual )                       winograd_output
 *
 *      x  ----------->  V  ------------------->  M  ------------>  y
 *         SIDE x SIDE      SIDE*SIDE products       TILE x TILE
 *         pixels a tile    of matrices              pixels a tile
 *
 * The products of matrices are one convolution: its image has the tiles for pixels and SIDE*SIDE times the channels, and its groups
 * are the frequencies f times the groups of the problem. So its filter, its tiles and its parts are those of implicit_gemm_simt.
 *
 * x, y, residual   N C H W, or N H W C        (macro NHWC)
 * w                OC ICG 3 3, or 3 3 ICG OC
 * U                SIDE*SIDE, G, blocks of OC_BLOCK output channels, ICG, OC_BLOCK      the last block of a group ends in 0
 * V                SIDE*SIDE IC T, or T SIDE*SIDE IC        T = N*TY*TX tiles, TY x TX of an image
 * M                SIDE*SIDE OC T, or T SIDE*SIDE OC
 *
 * Per tile and pair of channels SIDE*SIDE multiply-adds in place of 9*TILE*TILE; per tile SIDE*SIDE elements of V and M are
 * written and read for each channel. Neighbouring work-items are neighbouring tiles in N C H W, channels in N H W C, so that V and M
 * are read and written side by side.
 *
 * Macros: types.clh, index.clh, epilogue.clh; KH (3); TILE (2, 4, 6).
 */
#include "include/types.clh"
#include "include/index.clh"
#include "include/epilogue.clh"

#ifndef TILE
#error "TILE must be set by the plan"
#endif

typedef acc_t vec; /* what the transforms work on */
#include "winograd_transforms.clh"

#define FREQUENCIES (SIDE * SIDE)

/* Element (f, c, t) of V or M with C channels and T tiles. */
static inline long frequency_index(const int f, const int c, const int t, const int C, const int T) {
  return NHWC ? ((long)t * FREQUENCIES + f) * C + c : ((long)f * C + c) * T + t;
}

/* Work-groups: (input channel, g*BLOCKS + block) of OC_BLOCK work-items, one filter each. */
__kernel void winograd_filter(__global const real *restrict w, __global acc_t *restrict u, const int OC, const int ICG,
                              const int OCG, const int BLOCKS) {
  const int OC_BLOCK = get_local_size(0);
  const int o = get_local_id(0);                      /* 0 .. OC_BLOCK-1 */
  const int ic = get_group_id(0);                     /* 0 .. ICG-1 */
  const int block = get_global_id(1);                 /* 0 .. G*BLOCKS-1 */
  const int ocg = block % BLOCKS * OC_BLOCK + o;      /* 0 .. OCG-1, and the tail of the last block */
  const int oc = block / BLOCKS * OCG + ocg;
  acc_t mid[3][SIDE];
  for (int k = 0; k < 3; k++) {
    acc_t t[3] = {0, 0, 0};
    if (ocg < OCG)
      for (int l = 0; l < 3; l++) t[l] = LOAD(w, filter_index(oc, ic, l, k, OC, ICG));
    filter_1d(t, mid[k]);
  }
  for (int i = 0; i < SIDE; i++) {
    acc_t column[3] = {mid[0][i], mid[1][i], mid[2][i]}, t[SIDE];
    filter_1d(column, t);
    for (int j = 0; j < SIDE; j++)
      u[(((long)(i * SIDE + j) * get_global_size(1) + block) * ICG + ic) * OC_BLOCK + o] = t[j];
  }
}

/* Work-items: tile and channel, along dimension 0, rounded up to work-groups; tiles follow each other in N C H W, channels in N H W C. */
__kernel void winograd_input(__global const real *restrict x, __global acc_t *restrict v, const int N, const int IC, const int IH,
                             const int IW, const int PT, const int PL, const int TY, const int TX) {
  const int T = N * TY * TX;
  const uint item = get_global_id(0);
  const int t = NHWC ? item / IC : item % T; /* 0 .. T-1, and more in the last work-group of N H W C */
  const int c = NHWC ? item % IC : item / T; /* 0 .. IC-1, and more in the last work-group of N C H W */
  if (t >= T || c >= IC) return;
  const int n = t / (TY * TX);
  const int ih0 = t / TX % TY * TILE - PT; /* may lie outside 0 .. IH-1 */
  const int iw0 = t % TX * TILE - PL;      /* may lie outside 0 .. IW-1 */
  acc_t mid[SIDE][SIDE];
  UNROLL for (int j = 0; j < SIDE; j++) {
    acc_t d[SIDE], column[SIDE];
    UNROLL for (int i = 0; i < SIDE; i++) {
      d[i] = 0;
      if ((uint)(ih0 + i) < (uint)IH && (uint)(iw0 + j) < (uint)IW) d[i] = LOAD(x, tensor_index(n, c, ih0 + i, iw0 + j, IC, IH, IW));
    }
    input_1d(d, column);
    UNROLL for (int i = 0; i < SIDE; i++) mid[i][j] = column[i];
  }
  UNROLL for (int i = 0; i < SIDE; i++) {
    acc_t row[SIDE];
    input_1d(mid[i], row);
    UNROLL for (int j = 0; j < SIDE; j++) v[frequency_index(i * SIDE + j, c, t, IC, T)] = row[j];
  }
}

/* Work-items: as of winograd_input, with output channels. */
__kernel void winograd_output(__global const acc_t *restrict m, __global const real *restrict bias,
                              __global const real *restrict residual, __global real *restrict y, const int N, const int OC,
                              const int OH, const int OW, const int TY, const int TX, const acc_t act_a, const acc_t act_b) {
  const int T = N * TY * TX;
  const uint item = get_global_id(0);
  const int t = NHWC ? item / OC : item % T;  /* 0 .. T-1, and more in the last work-group of N H W C */
  const int oc = NHWC ? item % OC : item / T; /* 0 .. OC-1, and more in the last work-group of N C H W */
  if (t >= T || oc >= OC) return;
  const int n = t / (TY * TX);
  const int oh0 = t / TX % TY * TILE; /* 0 .. OH-1 */
  const int ow0 = t % TX * TILE;      /* 0 .. OW-1 */
  acc_t mid[TILE][SIDE];
  UNROLL for (int j = 0; j < SIDE; j++) {
    acc_t d[SIDE], column[TILE];
    UNROLL for (int i = 0; i < SIDE; i++) d[i] = m[frequency_index(i * SIDE + j, oc, t, OC, T)];
    output_1d(d, column);
    UNROLL for (int i = 0; i < TILE; i++) mid[i][j] = column[i];
  }
  UNROLL for (int i = 0; i < TILE; i++) {
    acc_t row[TILE];
    output_1d(mid[i], row);
    UNROLL for (int j = 0; j < TILE; j++) {
      if (oh0 + i >= OH || ow0 + j >= OW) continue; /* the tail of the last tile */
      const long at = tensor_index(n, oc, oh0 + i, ow0 + j, OC, OH, OW);
      acc_t v = row[j];
      if (HAS_BIAS) v += LOAD(bias, oc);
      if (HAS_RESIDUAL) v += LOAD(residual, at);
      STORE(y, at, activate(v, act_a, act_b));
    }
  }
}
