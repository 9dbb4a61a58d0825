/* Standard and grouped convolution as a matrix product whose second operand is never written down (GPUs).
 *
 *   y[g][m, p] = act( bias + residual + sum over k of w[g][m, k] * cols[g][k, p] )
 *
 *   m  output channel of group g    0 .. OCG-1
 *   p  output pixel (n, oh, ow)     0 .. N*OH*OW-1
 *   k  tap of the filter            0 .. K-1, K = ICG*KH*KW: (ic, kh, kw) in NCHW, (kh, kw, ic) in NHWC, as in w
 *
 *   cols[g][k, p] = x[n, g*ICG + ic, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL],   0 outside the image
 *
 * The im2col matrix cols has KH*KW times the size of x. Here a work-group makes the slice of it that it needs, TILE_K
 * taps of TILE_P pixels, in local memory, straight from x; include/gemm_tile.clh has the picture.
 *
 * x, y, residual   N C H W, or N H W C        (macro NHWC)
 * w                OC ICG KH KW, or KH KW ICG OC
 * bias             OC
 *
 * Work-groups: ((tile of pixels) * G + g) * (tiles of channels) + (tile of channels), all along dimension 0, for the
 * other dimensions end at 65535 work-groups on some devices. Those that share pixels run together and find them in cache.
 *
 * Per output ICG*KH*KW/TILE_M elements of x and ICG*KH*KW/TILE_P of w are read; all lanes read neighbouring addresses.
 *
 * Macros: gemm_tile.clh; KH KW SH SW DH DW. Tuned by: TILE_M TILE_P TILE_K WPT_M WPT_P.
 * After: CUTLASS, "implicit GEMM convolution".
 */
#include "include/types.clh"
#include "include/index.clh"
#include "include/gemm_tile.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif

#define NOWHERE (-(1 << 30)) /* a row that no window reaches */

/* Where tap k reads: channel of the group, and row and column below the window's first one. */
typedef struct {
  int ic, row, col;
} tap;

static inline tap tap_of(const int k, const int ICG) {
  tap t;
#if NHWC
  t.ic = k % ICG;
  t.row = k / ICG / KW * DH;
  t.col = k / ICG % KW * DW;
#else
  t.ic = k / (KH * KW);
  t.row = k / KW % KH * DH;
  t.col = k % KW * DW;
#endif
  return t;
}

/* Fetches this work-item's share of taps k0 .. k0+TILE_K-1. Its pixels have their windows at row ih, column iw, and
 * element x[start]. */
static inline void fetch_x(__global const real *x, const int lid, const int k0, const long start[X_EACH_P],
                           const int ih[X_EACH_P], const int iw[X_EACH_P], const int IC, const int IH, const int IW,
                           const int ICG, const int K, acc_t next[X_EACH_K][X_EACH_P]) {
  UNROLL for (int r = 0; r < X_EACH_K; r++) {
    const int k = k0 + fetch_x_k(lid, r); /* 0 .. K-1, and the tail of the last slice */
    const tap t = tap_of(k, ICG);
    const long step = tensor_index(0, t.ic, t.row, t.col, IC, IH, IW);
    UNROLL for (int j = 0; j < X_EACH_P; j++) {
      const int row = ih[j] + t.row; /* may lie outside 0 .. IH-1 */
      const int col = iw[j] + t.col; /* may lie outside 0 .. IW-1 */
      next[r][j] = 0;
      if (k < K && row >= 0 && row < IH && col >= 0 && col < IW) next[r][j] = LOAD(x, start[j] + step);
    }
  }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
conv_implicit_gemm(__global const real *restrict x, __global const real *restrict w, __global const real *restrict bias,
                   __global const real *restrict residual, __global real *restrict y, const int N, const int IC,
                   const int IH, const int IW, const int OC, const int OH, const int OW, const int ICG, const int OCG,
                   const int PT, const int PL, const acc_t act_a, const acc_t act_b) {
  __local acc_t ws[TILE_K * LD_M] __attribute__((aligned(16)));
  __local acc_t xs[TILE_K * LD_P] __attribute__((aligned(16)));

  const int AREA = OH * OW;
  const int K = ICG * KH * KW;
  const int tiles_m = (OCG + TILE_M - 1) / TILE_M;
  const int lid = get_local_id(0);                      /* 0 .. ITEMS-1 */
  const int group = get_group_id(0);
  const int m0 = group % tiles_m * TILE_M;              /* first channel of the tile, 0 .. OCG-1 */
  const int g = group / tiles_m % (OC / OCG);           /* 0 .. G-1 */
  const long first = (long)(group / tiles_m / (OC / OCG)) * TILE_P;
  const int n0 = first / AREA;                          /* image of the tile's first pixel, 0 .. N-1 */
  const int p0 = first % AREA;                          /* that pixel, 0 .. AREA-1 */

  long start[X_EACH_P];
  int ih[X_EACH_P], iw[X_EACH_P];
  UNROLL for (int j = 0; j < X_EACH_P; j++) {
    const uint p = (uint)p0 + fetch_x_p(lid, j);
    const int n = n0 + p / AREA; /* 0 .. N-1, and the tail of the last tile */
    const int row = p % AREA / OW * SH - PT;
    iw[j] = p % AREA % OW * SW - PL;
    start[j] = tensor_index(n, g * ICG, row, iw[j], IC, IH, IW);
    ih[j] = n < N ? row : NOWHERE;
  }

  acc_t acc[WPT_M][WPT_P];
  UNROLL for (int i = 0; i < WPT_M; i++)
    UNROLL for (int j = 0; j < WPT_P; j++) acc[i][j] = 0;

  acc_t next_w[W_EACH_K][W_EACH_M], next_x[X_EACH_K][X_EACH_P];
  fetch_w(w, lid, g, m0, 0, OC, OCG, K, next_w);
  fetch_x(x, lid, 0, start, ih, iw, IC, IH, IW, ICG, K, next_x);
  for (int k0 = 0; k0 < K; k0 += TILE_K) {
    put_w(ws, lid, next_w);
    put_x(xs, lid, next_x);
    barrier(CLK_LOCAL_MEM_FENCE); /* the slice is complete */
    if (k0 + TILE_K < K) {
      fetch_w(w, lid, g, m0, k0 + TILE_K, OC, OCG, K, next_w);
      fetch_x(x, lid, k0 + TILE_K, start, ih, iw, IC, IH, IW, ICG, K, next_x);
    }
    multiply_slice(ws, xs, lid, acc);
    barrier(CLK_LOCAL_MEM_FENCE); /* nobody reads it any more */
  }
  store_tile(acc, lid, g, m0, n0, p0, bias, residual, y, N, OC, OCG, AREA, act_a, act_b);
}
