/* Convolution as a matrix product whose second operand is never written down (GPUs).
 *
 *   y[g][m, p] = act( bias + residual + sum over k of w[g][m, k] * cols[g][k, p] )
 *
 *   m  output channel of group g    0 .. OCG-1
 *   p  output pixel (n, oh, ow)     0 .. N*OH*OW-1
 *   k  tap of the filter            (ic, kh, kw)
 *
 *   cols[g][k, p] = x[n, g*ICG + ic, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL],   0 outside the image
 *
 * The im2col matrix cols has KH*KW times the size of x. Here a work-group makes the slice of it that it needs, TILE_K
 * taps of TILE_P pixels, in local memory, straight from x; include/gemm_tile.clh has the picture. A slice holds
 *
 *   FLAT 0   TILE_K input channels at one place (kh, kw) of the window: the place is the same for all work-items, and a
 *            pixel's address and whether it lies outside are worked out once a slice. Places follow each other while
 *            their pixels are in the cache, then come the next channels. 1x1 filters are a window of one place
 *   FLAT 1   TILE_K neighbouring taps, for fewer input channels than that; each tap has a place of its own
 *
 * x, y, residual   N C H W, or N H W C        (macro NHWC)
 * w                G, blocks of TILE_M output channels, ICG, KH, KW, TILE_M; elements of acc_t, see pack_filter.cl
 * bias             OC
 *
 * Work-groups: ((part * (tiles of pixels) + tile of pixels) * G + g) * (tiles of channels) + (tile of channels), all along
 * dimension 0, for the other dimensions end at 65535 work-groups on some devices. Those that share pixels run together and
 * find them in cache. A part has its share of the slices; without SPLIT there is one.
 *
 * Per output ICG*KH*KW/TILE_M elements of x and ICG*KH*KW/TILE_P of w are read; all lanes read neighbouring addresses.
 *
 * Macros: gemm_tile.clh; KH KW SH SW DH DW; FLAT. Tuned by: TILE_M TILE_P TILE_K WPT_M WPT_P, and the number of parts.
 * After: CUTLASS, "implicit GEMM convolution"; its "split K".
 */
#include "include/types.clh"
#include "include/index.clh"
#include "include/gemm_tile.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW) || !defined(FLAT)
#error "KH, KW, SH, SW, DH, DW and FLAT must be set by the plan"
#endif

#define NOWHERE (-0x7fffffff - 1) /* a row from which no tap of a window reaches the image */
#define TAPS (KH * KW)

/* A slice: the first row of the packed filter, rows from one tap to the next, and how many taps there are; with FLAT 0 also its
 * first input channel and place. */
typedef struct {
  int first, step, count, ic, place;
} slice;

static inline slice slice_at(const int number, const int ICG) {
  slice s;
#if FLAT
  s.first = number * TILE_K;
  s.step = 1;
  s.count = ICG * TAPS - s.first;
  s.ic = s.place = 0;
#else
  s.ic = number / TAPS * TILE_K;
  s.place = number % TAPS;
  s.first = s.ic * TAPS + s.place;
  s.step = TAPS;
  s.count = ICG - s.ic;
#endif
  return s;
}

static inline int inside(const int row, const int col, const int IH, const int IW) {
  return (uint)row < (uint)IH && (uint)col < (uint)IW;
}

/* Fetches this work-item's share of a slice. Its pixels have their windows at row ih, column iw, and element x[start]. */
static inline void fetch_x(__global const real *x, const int lid, const slice s, const long start[X_EACH_P],
                           const int ih[X_EACH_P], const int iw[X_EACH_P], const int IC, const int IH, const int IW,
                           acc_t next[X_EACH_K][X_EACH_P]) {
#if FLAT
  UNROLL for (int r = 0; r < X_EACH_K; r++) {
    const int k = s.first + fetch_x_k(lid, r); /* 0 .. ICG*TAPS-1, and the tail of the last slice */
    const int ic = k / TAPS, row = k / KW % KH * DH, col = k % KW * DW;
    const long step = tensor_index(0, ic, row, col, IC, IH, IW);
    UNROLL for (int j = 0; j < X_EACH_P; j++) {
      next[r][j] = 0;
      if (fetch_x_k(lid, r) < s.count && inside(ih[j] + row, iw[j] + col, IH, IW)) next[r][j] = LOAD(x, start[j] + step);
    }
  }
#else
  const int row = s.place / KW * DH, col = s.place % KW * DW;
  const long step = tensor_index(0, s.ic + fetch_x_k(lid, 0), row, col, IC, IH, IW);
  const long channels = tensor_index(0, X_ITEMS_K, 0, 0, IC, IH, IW);
  UNROLL for (int j = 0; j < X_EACH_P; j++) {
    const int there = inside(ih[j] + row, iw[j] + col, IH, IW);
    UNROLL for (int r = 0; r < X_EACH_K; r++) {
      next[r][j] = 0;
      if (there && fetch_x_k(lid, r) < s.count) next[r][j] = LOAD(x, start[j] + step + r * channels);
    }
  }
#endif
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
conv_implicit_gemm(__global const real *restrict x, __global const acc_t *restrict w, __global const real *restrict bias,
                   __global const real *restrict residual, __global out_t *restrict y, const int N, const int IC,
                   const int IH, const int IW, const int OC, const int OH, const int OW, const int ICG, const int OCG,
                   const int PT, const int PL, const int PARTS, const acc_t act_a, const acc_t act_b) {
  __local acc_t ws[2][TILE_K * TILE_M] __attribute__((aligned(32)));
  __local acc_t xs[2][TILE_K * LD_P] __attribute__((aligned(32)));

  const int AREA = OH * OW;
  const int G = OC / OCG;
  const int tiles_m = (OCG + TILE_M - 1) / TILE_M;
  const int lid = get_local_id(0);                      /* 0 .. ITEMS-1 */
  const int groups = get_num_groups(0) / PARTS;         /* of one part */
  const int part = get_group_id(0) / groups;            /* 0 .. PARTS-1 */
  const int group = get_group_id(0) % groups;
  const int block = group % (tiles_m * G);              /* of packed filters: tile of channels of a group */
  const int m0 = block % tiles_m * TILE_M;              /* first channel of the tile, 0 .. OCG-1 */
  const int g = block / tiles_m;                        /* 0 .. G-1 */
  const long first = (long)(group / (tiles_m * G)) * TILE_P;
  const int n0 = first / AREA;                          /* image of the tile's first pixel, 0 .. N-1 */
  const int p0 = first % AREA;                          /* that pixel, 0 .. AREA-1 */
  const int slices = FLAT ? (ICG * TAPS + TILE_K - 1) / TILE_K : (ICG + TILE_K - 1) / TILE_K * TAPS;
  const int begin = (long)part * slices / PARTS;
  const int end = (long)(part + 1) * slices / PARTS;    /* PARTS is at most the number of slices */

  w += (long)block * ICG * TAPS * TILE_M;
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

  acc4 next_w[W_EACH];
  acc_t next_x[X_EACH_K][X_EACH_P];
  slice s = slice_at(begin, ICG);
  fetch_w(w, lid, s.first, s.step, s.count, next_w);
  fetch_x(x, lid, s, start, ih, iw, IC, IH, IW, next_x);
  put_w(ws[0], lid, next_w);
  put_x(xs[0], lid, next_x);
  for (int i = begin; i < end; i++) {
    const int half_now = (i - begin) & 1;
    barrier(CLK_LOCAL_MEM_FENCE); /* this slice is complete, and nobody reads the one before any more */
    if (i + 1 < end) {
      s = slice_at(i + 1, ICG);
      fetch_w(w, lid, s.first, s.step, s.count, next_w);
      fetch_x(x, lid, s, start, ih, iw, IC, IH, IW, next_x);
    }
    multiply_slice(ws[half_now], xs[half_now], lid, acc);
    if (i + 1 < end) {
      put_w(ws[!half_now], lid, next_w);
      put_x(xs[!half_now], lid, next_x);
    }
  }
#if SPLIT
  y += (long)part * N * OC * AREA;
#endif
  store_tile(acc, lid, g, m0, n0, p0, bias, residual, y, N, OC, OCG, AREA, act_a, act_b);
}
