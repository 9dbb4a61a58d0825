/* Pointwise convolution: a matrix product through local memory (GPUs).
 *
 *   y[m, p] = act( bias + residual + sum over k of w[m, k] * x[k, p] )
 *
 *   m  output channel               0 .. OC-1
 *   p  output pixel (n, oh, ow)     0 .. N*OH*OW-1
 *   k  input channel                0 .. IC-1
 *
 *   x[k, p] = x[n, k, oh*SH - PT, ow*SW - PL],   0 outside the image
 *
 * Without stride and padding input and output pixel are the same, and both operands are read as they lie in memory;
 * either way a pixel's place is worked out once, before the loop over k. include/gemm_tile.clh has the picture.
 *
 * x, y, residual   N C H W, or N H W C        (macro NHWC)
 * w                OC IC, or IC OC
 * bias             OC
 *
 * Work-groups: (tile of pixels) * (tiles of channels) + (tile of channels), along dimension 0; those that share pixels
 * run together and find them in cache.
 *
 * Per output IC/TILE_M elements of x and IC/TILE_P of w are read; all lanes read neighbouring addresses (with a stride
 * in NCHW: SW apart).
 *
 * Macros: gemm_tile.clh; SH SW. Tuned by: TILE_M TILE_P TILE_K WPT_M WPT_P.
 * After: CLBlast's GEMM kernel, register prefetch after CUTLASS.
 */
#include "include/types.clh"
#include "include/index.clh"
#include "include/gemm_tile.clh"

#if !defined(SH) || !defined(SW)
#error "SH and SW must be set by the plan"
#endif

/* Fetches this work-item's share of channels k0 .. k0+TILE_K-1. Its pixels are at x[start] in channel 0; where start
 * is negative there is none. */
static inline void fetch_x(__global const real *x, const int lid, const int k0, const long start[X_EACH_P],
                           const int IC, const int IH, const int IW, acc_t next[X_EACH_K][X_EACH_P]) {
  UNROLL for (int r = 0; r < X_EACH_K; r++) {
    const int k = k0 + fetch_x_k(lid, r); /* 0 .. IC-1, and the tail of the last slice */
    const long step = tensor_index(0, k, 0, 0, IC, IH, IW);
    UNROLL for (int j = 0; j < X_EACH_P; j++) {
      next[r][j] = 0;
      if (k < IC && start[j] >= 0) next[r][j] = LOAD(x, start[j] + step);
    }
  }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
conv_gemm(__global const real *restrict x, __global const real *restrict w, __global const real *restrict bias,
          __global const real *restrict residual, __global real *restrict y, const int N, const int IC, const int IH,
          const int IW, const int OC, const int OH, const int OW, const int PT, const int PL, const acc_t act_a,
          const acc_t act_b) {
  __local acc_t ws[TILE_K * LD_M] __attribute__((aligned(16)));
  __local acc_t xs[TILE_K * LD_P] __attribute__((aligned(16)));

  const int AREA = OH * OW;
  const int tiles_m = (OC + TILE_M - 1) / TILE_M;
  const int lid = get_local_id(0);                   /* 0 .. ITEMS-1 */
  const int group = get_group_id(0);
  const int m0 = group % tiles_m * TILE_M;           /* first channel of the tile, 0 .. OC-1 */
  const long first = (long)(group / tiles_m) * TILE_P;
  const int n0 = first / AREA;                       /* image of the tile's first pixel, 0 .. N-1 */
  const int p0 = first % AREA;                       /* that pixel, 0 .. AREA-1 */

  long start[X_EACH_P];
  UNROLL for (int j = 0; j < X_EACH_P; j++) {
    const uint p = (uint)p0 + fetch_x_p(lid, j);
    const int n = n0 + p / AREA;                  /* 0 .. N-1, and the tail of the last tile */
    const int ih = p % AREA / OW * SH - PT;       /* may lie outside 0 .. IH-1 */
    const int iw = p % AREA % OW * SW - PL;       /* may lie outside 0 .. IW-1 */
    const int inside = n < N && ih >= 0 && ih < IH && iw >= 0 && iw < IW;
    start[j] = inside ? tensor_index(n, 0, ih, iw, IC, IH, IW) : -1;
  }

  acc_t acc[WPT_M][WPT_P];
  UNROLL for (int i = 0; i < WPT_M; i++)
    UNROLL for (int j = 0; j < WPT_P; j++) acc[i][j] = 0;

  acc_t next_w[W_EACH_K][W_EACH_M], next_x[X_EACH_K][X_EACH_P];
  fetch_w(w, lid, 0, m0, 0, OC, OC, IC, next_w);
  fetch_x(x, lid, 0, start, IC, IH, IW, next_x);
  for (int k0 = 0; k0 < IC; k0 += TILE_K) {
    put_w(ws, lid, next_w);
    put_x(xs, lid, next_x);
    barrier(CLK_LOCAL_MEM_FENCE); /* the slice is complete */
    if (k0 + TILE_K < IC) {
      fetch_w(w, lid, 0, m0, k0 + TILE_K, OC, OC, IC, next_w);
      fetch_x(x, lid, k0 + TILE_K, start, IC, IH, IW, next_x);
    }
    multiply_slice(ws, xs, lid, acc);
    barrier(CLK_LOCAL_MEM_FENCE); /* nobody reads it any more */
  }
  store_tile(acc, lid, 0, m0, n0, p0, bias, residual, y, N, OC, OC, AREA, act_a, act_b);
}
