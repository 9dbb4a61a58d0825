/* Depthwise convolution in NCHW with masked vectors: along the width, many rows of outputs at once, no border but in the masks.
 *
 *   y[n, c*M + m, oh, ow] = act( bias + residual + sum over kh, kw of
 *                                x[n, c, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL] * w[c*M + m, 0, kh, kw] )
 *
 * x N C IH IW,  w C*M 1 KH KW,  y and residual N C*M OH OW.
 *
 * Work-items: (band of output rows, CHANNELS channels, n). Each computes tiles of TILE_OH rows x COLUMNS columns: VEC,
 * or with SW = 2 fewer by (KW+1)/2 - 1:
 *
 *     x, SPAN_H rows               y, TILE_OH rows
 *     [. v v v v v v v             [acc          ]      rows above and below the image are skipped,
 *     [. v v v v v v v    --->     [acc          ]      columns left and right of it masked (lanes.clh)
 *     [. v v v v v v v             [acc          ]
 *
 * Row by row of x, so that a row's vectors are read once and serve all outputs that use the row. With SW = 1 each tap has a vector of
 * its own. With SW = 2 two neighbouring vectors are read and parted into even and odd elements, which are the operands of the
 * taps 0 and 1. Tap 2 needs the even ones too, but each for the output before: its sums are kept apart and moved by one lane
 * when the tile is done, which leaves the last lane without a result:
 *
 *     [a0 a1 a2 a3][a4 a5 a6 a7]        a0*w0 + a1*w1   a2*w0 + a3*w1   a4*w0 + a5*w1   (a6*w0 + a7*w1)
 *                                             a2*w2           a4*w2           a6*w2          <- moved
 *
 * Per tile: KW (SW = 2: two) loads for each of SPAN_H rows, KH*KW elements of w; TILE_OH vectors are written. direct_simd.cl does
 * with half as many registers and without masks.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, border.clh, epilogue.clh; KH KW SH SW DH DW, SW is 1 or 2; TILE_OH (a band has at
 * least so many rows).
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/lanes.clh"
#include "include/epilogue.clh"
#include "include/border.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#if SW > 2
#error "SW must be 1 or 2; stride_simd.cl takes larger ones"
#endif
#ifndef TILE_OH
#error "TILE_OH must be set by the plan"
#endif

#define SPAN_H ((TILE_OH - 1) * SH + (KH - 1) * DH + 1) /* rows of the image under a tile */

/* Are a row's even and odd elements shared by its taps? */
#define PARTED (SW == 2 && DW == 1 && (KW + 1) / 2 <= VEC / 2)
#if PARTED
#define LOADS 2              /* vectors read from a row */
#define PARTS ((KW + 1) / 2) /* sums of an output: those of the taps 0 and 1, 2 and 3, ... */
#else
#define LOADS (SW * KW)
#define PARTS 1
#endif
#define COLUMNS (VEC - PARTS + 1) /* outputs side by side in a tile */

INLINE void row_masks(lanes_t *mask, const int iw0, const int IW) {
  UNROLL for (int i = 0; i < LOADS; i++) {
    const int iw = iw0 + i / SW * DW + i % SW * VEC;
    mask[i] = lanes_between(-iw, IW - iw);
  }
}

/* v[kw], the operands of a row's taps, in the order of LANE; p is where its first element would stand, inside the image or not. */
INLINE void row_operands(vec *v, __global const real *p, const lanes_t *mask) {
#if PARTED
  const vec a = LOAD_LANES(p, mask[0]), b = LOAD_LANES(p + VEC, mask[1]);
  UNROLL for (int kw = 0; kw < KW; kw++) v[kw] = kw % 2 == 0 ? EVEN_LANES(a, b) : ODD_LANES(a, b);
#else
  UNROLL for (int kw = 0; kw < KW; kw++) {
    vec a[SW];
    UNROLL for (int i = 0; i < SW; i++) a[i] = LOAD_LANES(p + kw * DW + i * VEC, mask[kw * SW + i]);
    v[kw] = SW == 1 ? a[0] : EVEN_LANES(a[0], a[SW - 1]);
  }
#endif
}

/* v moved down by one lane; the last is of no use. */
INLINE vec moved(const vec v) {
#if VEC == 2
  return v.s11;
#elif VEC == 4
  return v.s1233;
#elif VEC == 8
  return v.s12345677;
#else
  return v.s123456789abcdeff;
#endif
}

/* The parts of an output's sums together, in natural order. */
INLINE vec whole(const vec *part) {
  vec sum = NATURAL(part[PARTS - 1]);
  UNROLL for (int i = PARTS - 2; i >= 0; i--) sum = NATURAL(part[i]) + moved(sum);
  return sum;
}

/* A tile, whole: p is where its first element would stand, in row ih0 of the image; residual and y point at its first output. A
 * function of its own, for the addresses of its rows are then made here one from the other, and not far ahead, in memory. */
ITEM void tile(__global const real *p, __global const real *w, __global const real *residual, __global real *y,
               const lanes_t *mask, const lanes_t inside, const int ih0, const int IH, const int IW, const int OW,
               const acc_t b, const acc_t act_a, const acc_t act_b) {
  vec acc[TILE_OH][PARTS];
  UNROLL for (int i = 0; i < TILE_OH; i++)
    UNROLL for (int j = 0; j < PARTS; j++) acc[i][j] = VEC_OF(j == 0 ? b : 0);
  vec tap[KH * KW];
  UNROLL for (int i = 0; i < KH * KW; i++) tap[i] = VEC_OF(LOAD(w, i));
  lanes_t m[LOADS];
  UNROLL for (int i = 0; i < LOADS; i++) m[i] = mask[i];
  UNROLL for (int r = 0; r < SPAN_H; r++, p += IW) {
    if (r >= -ih0 && r < IH - ih0) {
      vec v[KW];
      row_operands(v, p, m);
      UNROLL for (int kh = 0; kh < KH; kh++) {
        const int i = r - kh * DH; /* r = i*SH + kh*DH for output row i */
        if (i >= 0 && i % SH == 0 && i / SH < TILE_OH)
          UNROLL for (int kw = 0; kw < KW; kw++) acc[i / SH][PARTED ? kw / 2 : 0] += v[kw] * tap[kh * KW + kw];
      }
    }
  }
  UNROLL for (int i = 0; i < TILE_OH; i++, y += OW, residual += OW) {
    vec v = whole(acc[i]);
    if (COLUMNS == VEC && inside == ALL_LANES) {
      if (HAS_RESIDUAL) v += LOAD_VEC(residual);
      STORE_VEC(y, activate_vec(v, act_a, act_b));
    } else {
      if (HAS_RESIDUAL) v += LOAD_LANES(residual, inside);
      STORE_LANES(y, activate_vec(v, act_a, act_b), inside);
    }
  }
}

ITEM void item(__global const real *x, __global const real *w, __global const real *bias, __global const real *residual,
               __global real *y, const int oh0, const int oh1, const int c0, const int c1, const int n, const int C,
               const int IH, const int IW, const int OH, const int OW, const int M, const int PT, const int PL,
               const acc_t act_a, const acc_t act_b) {
  lanes_t mask[LOADS];
  int masks_at = -1; /* the column that the masks are for */
  for (int c = c0; c < c1; c++) {
    __global const real *channel = x + ((long)n * C + c) * IH * IW;
    for (int m = 0; m < M; m++) {
      const int oc = c * M + m;
      const long plane = ((long)n * C * M + oc) * OH * OW;
      acc_t b = 0;
      if (HAS_BIAS) b = LOAD(bias, oc);
      for (int ohs = oh0; ohs < oh1; ohs += TILE_OH) {
        const int oh = ohs < oh1 - TILE_OH ? ohs : oh1 - TILE_OH; /* the last tile overlaps the one before */
        const int ih0 = oh * SH - PT;
        for (int ow = 0; ow < OW; ow += COLUMNS) {
          const int iw0 = ow * SW - PL;
          if (ow != masks_at) row_masks(mask, iw0, IW);
          masks_at = ow;
          const long at = plane + (long)oh * OW + ow;
          tile(channel + (long)ih0 * IW + iw0, w + (long)oc * (KH * KW), residual + at, y + at, mask,
               lanes_between(0, OW - ow < COLUMNS ? OW - ow : COLUMNS), ih0, IH, IW, OW, b, act_a, act_b);
        }
      }
    }
  }
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void depthwise_masked_simd(
    __global const real *restrict x, __global const real *restrict w, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, const int C, const int IH, const int IW,
    const int OH, const int OW, const int M, const int PT, const int PL, const int BANDS, const int CHANNELS,
    const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = (long)get_global_id(0) * OH / BANDS;       /* first row of the band */
  const int oh1 = (long)(get_global_id(0) + 1) * OH / BANDS; /* first row behind it */
  const int c0 = get_global_id(1) * CHANNELS;                /* 0 .. C-1 */
  const int c1 = c0 + CHANNELS < C ? c0 + CHANNELS : C;
  const int n = get_global_id(2); /* 0 .. N-1 */
  item(x, w, bias, residual, y, oh0, oh1, c0, c1, n, C, IH, IW, OH, OW, M, PT, PL, act_a, act_b);
}
