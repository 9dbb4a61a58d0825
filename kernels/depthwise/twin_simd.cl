/* Depthwise convolution in NCHW of narrow images: rows of two channels in one vector, a half for each.
 *
 *   y[n, c*M + m, oh, ow] = act( bias + residual + sum over kh, kw of
 *                                x[n, c, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL] * w[c*M + m, 0, kh, kw] )
 *
 * x N C IH IW,  w C*M 1 KH KW,  y and residual N C*M OH OW.
 *
 * Work-items: (CHANNELS output channels, n), one in a work-group. Each computes, for two channels at once, tiles of TILE_OH rows x
 * COLUMNS columns: HALF, or with SW = 2 fewer by (KW+1)/2 - 1. An odd last channel is computed twice.
 *
 *     x, row ih of channel c         x, row ih of channel c+1                 VEC = 16, HALF = 8, OW = 7
 *     [. o o o o o o o]              [. o o o o o o o]
 *             |                              |
 *             v                              v                                 times the weights of a tap:
 *     [. o o o o o o o       |       . o o o o o o o]                          [w w w w w w w w|u u u u u u u u]
 *
 * Row by row of x, as in masked_simd.cl, whose vectors hold one channel and are half empty where the image is narrow: columns left and
 * right of the image are masked (twins.clh), rows above and below skipped; with SW = 1 each tap has a vector of its own, with SW = 2 two
 * neighbouring vectors are parted into even and odd elements, for the taps 0 and 1, and the sums of the taps 2 and 3 are kept apart and
 * moved by one column when the tile is done.
 *
 * Per tile of two channels KW (SW = 2: two) halves of a vector are read for each of SPAN_H rows and channel, and 2*KH*KW elements of w;
 * 2*TILE_OH halves are written.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, twins.clh, epilogue.clh; KH KW SH SW DH DW, SW is 1, or 2 with DW 1; TILE_OH;
 * VEC 4 to 16.
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/lanes.clh"
#include "include/twins.clh"
#include "include/epilogue.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#if SW != 1 && (SW != 2 || DW != 1)
#error "SW must be 1, or 2 with DW 1"
#endif
#ifndef TILE_OH
#error "TILE_OH must be set by the plan"
#endif

#define SPAN_H ((TILE_OH - 1) * SH + (KH - 1) * DH + 1) /* rows of the image under a tile */
#if SW == 2
#define LOADS 2
#define PARTS ((KW + 1) / 2) /* sums of an output: those of the taps 0 and 1, 2 and 3, ... */
#else
#define LOADS KW
#define PARTS 1
#endif
#define COLUMNS (HALF - PARTS + 1) /* outputs side by side in a tile, of each channel */

/* Even and odd elements of each half of a and b, side by side; sixteen in the order for which there is one instruction: NATURAL ends it.
 * And each half moved down by one; its last element is of no use. */
#if VEC == 4
#define EVENS_OF_HALVES(a, b) ((vec)((a).s0, (b).s0, (a).s2, (b).s2))
#define ODDS_OF_HALVES(a, b) ((vec)((a).s1, (b).s1, (a).s3, (b).s3))
#define NATURAL(v) (v)
#define MOVED(v) ((v).s1133)
#elif VEC == 8
#define EVENS_OF_HALVES(a, b) ((vec)((a).s0, (a).s2, (b).s0, (b).s2, (a).s4, (a).s6, (b).s4, (b).s6))
#define ODDS_OF_HALVES(a, b) ((vec)((a).s1, (a).s3, (b).s1, (b).s3, (a).s5, (a).s7, (b).s5, (b).s7))
#define NATURAL(v) (v)
#define MOVED(v) ((v).s12335677)
#else
#define EVENS_OF_HALVES(a, b)                                                                     \
  ((vec)((a).s0, (a).s2, (b).s0, (b).s2, (a).s4, (a).s6, (b).s4, (b).s6, (a).s8, (a).sa, (b).s8,  \
         (b).sa, (a).sc, (a).se, (b).sc, (b).se))
#define ODDS_OF_HALVES(a, b)                                                                      \
  ((vec)((a).s1, (a).s3, (b).s1, (b).s3, (a).s5, (a).s7, (b).s5, (b).s7, (a).s9, (a).sb, (b).s9,  \
         (b).sb, (a).sd, (a).sf, (b).sd, (b).sf))
#define NATURAL(v) ((v).s0145236789cdabef)
#define MOVED(v) ((v).s123456779abcdeff)
#endif

/* From the first channel to the second, in elements: 0 where there is none. */
typedef struct {
  long x, y;
  int w;
} twin_t;

/* v[kw], the operands of a row's taps, in the order that EVENS_OF_HALVES makes; p is where the first element of the first channel
 * would stand, inside the image or not. */
INLINE void row_operands(vec v[KW], __global const real *p, const long twin, const lanes_t mask[LOADS]) {
#if SW == 2
  vec a = LOAD_TWINS(p, p + twin, mask[0]), b = LOAD_TWINS(p + HALF, p + HALF + twin, mask[1]);
  KEEP_ORDER(a); /* or the compiler makes six permutations out of putting halves together and parting them */
  KEEP_ORDER(b);
  UNROLL for (int kw = 0; kw < KW; kw++) v[kw] = kw % 2 == 0 ? EVENS_OF_HALVES(a, b) : ODDS_OF_HALVES(a, b);
#else
  UNROLL for (int kw = 0; kw < KW; kw++) v[kw] = LOAD_TWINS(p + kw * DW, p + kw * DW + twin, mask[kw]);
#endif
}

/* A tile, whole: p is where its first element would stand, in row ih0 of the image; residual and y point at its first output. A
 * function of its own, as in masked_simd.cl. */
ITEM void tile(__global const real *p, __global const real *w, __global const real *residual, __global real *y, const twin_t twin,
               const lanes_t *mask, const lanes_t inside, const int ih0, const int IH, const int IW, const int OW, const acc_t b,
               const acc_t b_twin, const acc_t act_a, const acc_t act_b) {
  vec acc[TILE_OH][PARTS];
  UNROLL for (int i = 0; i < TILE_OH; i++)
    UNROLL for (int j = 0; j < PARTS; j++) acc[i][j] = j == 0 ? TWINS(b, b_twin) : VEC_OF(0);
  vec tap[KH * KW];
  UNROLL for (int i = 0; i < KH * KW; i++) tap[i] = TWINS(LOAD(w, i), LOAD(w, twin.w + i));
  lanes_t m[LOADS];
  UNROLL for (int i = 0; i < LOADS; i++) m[i] = mask[i];
  UNROLL for (int r = 0; r < SPAN_H; r++, p += IW) {
    if (r >= -ih0 && r < IH - ih0) {
      vec v[KW];
      row_operands(v, p, twin.x, m);
      UNROLL for (int kh = 0; kh < KH; kh++) {
        const int i = r - kh * DH; /* r = i*SH + kh*DH for output row i */
        if (i >= 0 && i % SH == 0 && i / SH < TILE_OH)
          UNROLL for (int kw = 0; kw < KW; kw++) acc[i / SH][SW == 2 ? kw / 2 : 0] += v[kw] * tap[kh * KW + kw];
      }
    }
  }
  UNROLL for (int i = 0; i < TILE_OH; i++, y += OW, residual += OW) {
    vec v = SW == 2 ? NATURAL(acc[i][PARTS - 1]) : acc[i][0];
    UNROLL for (int j = PARTS - 2; j >= 0; j--) v = NATURAL(acc[i][j]) + MOVED(v);
    if (HAS_RESIDUAL) v += LOAD_TWINS(residual, residual + twin.y, inside);
    v = activate_vec(v, act_a, act_b);
    STORE_TWINS(y, y + twin.y, v, inside);
  }
}

ITEM void item(__global const real *x, __global const real *w, __global const real *bias, __global const real *residual,
               __global real *y, const int oc0, const int oc1, const int n, const int C, const int IH, const int IW, const int OH,
               const int OW, const int M, const int PT, const int PL, const acc_t act_a, const acc_t act_b) {
  for (int ow = 0; ow < OW; ow += COLUMNS) {
    const int iw0 = ow * SW - PL;
    lanes_t mask[LOADS];
    UNROLL for (int i = 0; i < LOADS; i++) {
      const int iw = iw0 + (SW == 2 ? i * HALF : i * DW);
      mask[i] = lanes_between(-iw, IW - iw) & lanes_below(HALF);
    }
    const lanes_t inside = lanes_below(OW - ow < COLUMNS ? OW - ow : COLUMNS);
    for (int oc = oc0; oc < oc1; oc += 2) {
      const int c = oc / M, second = oc + 1 < oc1;
      const twin_t twin = {second ? (long)((oc + 1) / M - c) * IH * IW : 0, second ? (long)OH * OW : 0, second ? KH * KW : 0};
      acc_t b = 0, b_twin = 0;
      if (HAS_BIAS) {
        b = LOAD(bias, oc);
        b_twin = LOAD(bias, oc + second);
      }
      for (int ohs = 0; ohs < OH; ohs += TILE_OH) {
        const int oh = ohs < OH - TILE_OH ? ohs : OH - TILE_OH; /* the last tile overlaps the one before */
        const int ih0 = oh * SH - PT;
        const long at = (((long)n * C * M + oc) * OH + oh) * OW + ow;
        tile(x + (((long)n * C + c) * IH + ih0) * IW + iw0, w + (long)oc * (KH * KW), residual + at, y + at, twin, mask, inside, ih0, IH,
             IW, OW, b, b_twin, act_a, act_b);
      }
    }
  }
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void depthwise_twin_simd(
    __global const real *restrict x, __global const real *restrict w, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, const int C, const int IH, const int IW,
    const int OH, const int OW, const int M, const int PT, const int PL, const int CHANNELS, const acc_t act_a, const acc_t act_b
    BELL_PARAMETERS) {
  RING_BELL;
  const int oc0 = get_global_id(0) * CHANNELS; /* 0 .. C*M-1 */
  const int oc1 = oc0 + CHANNELS < C * M ? oc0 + CHANNELS : C * M;
  const int n = get_global_id(1); /* 0 .. N-1 */
  item(x, w, bias, residual, y, oc0, oc1, n, C, IH, IW, OH, OW, M, PT, PL, act_a, act_b);
}
