/* Depthwise convolution in NCHW, straight from the tensor: vectors along the width, several rows of outputs at once.
 *
 *   y[n, c*M + m, oh, ow] = act( bias + residual + sum over kh, kw of
 *                                x[n, c, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL] * w[c*M + m, 0, kh, kw] )
 *
 * x N C IH IW,  w C*M 1 KH KW,  y and residual N C*M OH OW,  zeros: a row of SPAN_W zeros.
 *
 * Work-items: (band of output rows, CHANNELS channels, n). Each computes tiles of TILE_OH rows x VEC columns:
 *
 *     x, SPAN_H rows               y, TILE_OH rows
 *     [. v v v v v v v             [acc          ]      the row above the image is read from `zeros`;
 *     [. v v v v v v v    --->     [acc          ]      the column left of it is cut off by a mask (border.clh)
 *     [. v v v v v v v             [acc          ]
 *
 * Per tile: KW * SPAN_H vectors of x are read (a row serves all outputs that use it), KH*KW elements of w, and TILE_OH vectors
 * are written. The mask costs no instruction of its own on AVX, where `and` reads memory as a load does. Only tiles at the two ends
 * of the tensor, where a vector would reach over the end, are read lane by lane.
 *
 * Macros: wide.clh, types.clh, vector.clh, border.clh, epilogue.clh, write_rows.clh; KH KW SH SW DH DW, SW is 1 or 2; TILE_OH (a band has
 * at least so many rows).
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/epilogue.clh"
#include "include/border.clh"
#include "write_rows.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#if SW > 2
#error "SW must be 1 or 2; panel_simd.cl takes any stride"
#endif
#define SPAN_H ((TILE_OH - 1) * SH + (KH - 1) * DH + 1) /* rows of the image under a tile */
#define SPAN_W (SW * VEC + (KW - 1) * DW)               /* elements read from such a row, no more */

/* acc[i] += v * tap, for the outputs i that read row r = i*SH + kh*DH; the taps of a column of the filter lie `pitch` apart. */
static inline void add_row(vec *acc, const int r, const vec v, const acc_t *tap, const int pitch) {
  UNROLL for (int kh = 0; kh < KH; kh++) {
    const int i = r - kh * DH;
    if (i >= 0 && i % SH == 0 && i / SH < TILE_OH) acc[i / SH] += v * tap[kh * pitch];
  }
}

/* A whole tile; row[r] is where the r-th row begins, mask[kw] the columns of tap kw inside the image.
 *
 * With SW = 1 column by column of the filter, so that TILE_OH sums and KH taps are at hand; with SW = 2 row by row, so that a row's
 * two vectors are at hand for all taps and few sums are in the making. Either way measured the faster one. */
static inline void tile(vec *acc, __global const real *const *row, __global const real *w, const mask_t *mask) {
#if SW == 1
  UNROLL for (int kw = 0; kw < KW; kw++) {
    acc_t tap[KH];
    UNROLL for (int kh = 0; kh < KH; kh++) tap[kh] = LOAD(w, kh * KW + kw);
    UNROLL for (int r = 0; r < SPAN_H; r++) {
      add_row(acc, r, KEEP(LOAD_VEC(row[r] + kw * DW), mask[kw]), tap, 1);
      KEEP_ORDER(acc[LESSER(r, TILE_OH - 1)]); /* else LLVM orders all rows anew, which takes it a second for 7x7 taps */
    }
  }
#else
  acc_t tap[KH * KW];
  UNROLL for (int i = 0; i < KH * KW; i++) tap[i] = LOAD(w, i);
  UNROLL for (int r = 0; r < SPAN_H; r++)
    UNROLL for (int kw = 0; kw < KW; kw += 2) {
      const vec a = LOAD_VEC(row[r] + kw * DW), b = LOAD_VEC(row[r] + kw * DW + VEC);
      add_row(acc, r, KEEP(EVEN_LANES(a, b), mask[kw]), tap + kw, KW);
      if (kw + 1 < KW) {
#if DW == 1
        add_row(acc, r, KEEP(ODD_LANES(a, b), mask[kw + 1]), tap + kw + 1, KW);
#else
        const vec d = LOAD_VEC(row[r] + (kw + 1) * DW), e = LOAD_VEC(row[r] + (kw + 1) * DW + VEC);
        add_row(acc, r, KEEP(EVEN_LANES(d, e), mask[kw + 1]), tap + kw + 1, KW);
#endif
      }
    }
#endif
}

/* The same at the ends of the tensor, lane by lane. */
static inline void tile_at_end(vec *acc, __global const real *channel, __global const real *w, const int ih0,
                               const int iw0, const int IH, const int IW) {
  UNROLL for (int i = 0; i < TILE_OH; i++)
    for (int kh = 0; kh < KH; kh++) {
      const int ih = ih0 + i * SH + kh * DH;
      if (ih >= 0 && ih < IH)
        for (int kw = 0; kw < KW; kw++)
          acc[i] += lanes_within(channel + (long)ih * IW, iw0 + kw * DW, IW) * LOAD(w, kh * KW + kw);
    }
}

/* Rows oh0 .. oh1-1 of the outputs of channels c0 .. c1-1 of image n. */
ITEM void item(__global const real *restrict x, __global const real *restrict w, __global const real *restrict zeros,
               __global const real *restrict bias, __global const real *restrict residual, __global real *restrict y,
               const int oh0, const int oh1, const int c0, const int c1, const int n, const int N, const int C, const int IH,
               const int IW, const int OH, const int OW, const int M, const int PT, const int PL, const int BANDS,
               const acc_t act_a, const acc_t act_b) {
  const int last = GREATER(OW - VEC, 0); /* where the last tile of a row begins: it overlaps the one before */
  const long total = (long)N * C * IH * IW;

  for (int c = c0; c < c1; c++) {
    const long channel = ((long)n * C + c) * IH * IW;
    for (int m = 0; m < M; m++) {
      const int oc = c * M + m;
      const long plane = ((long)n * C * M + oc) * OH * OW;
      /* What this work-item writes ends here; see write_rows. */
      const long end = BANDS == 1 ? ((long)n * C + c1) * M * OH * OW : plane + (long)oh1 * OW;
      __global const real *taps = w + oc * KH * KW;
      acc_t b = 0;
      if (HAS_BIAS) b = LOAD(bias, oc);
      for (int ohs = oh0; ohs < oh1; ohs += TILE_OH) {
        const int oh = LESSER(ohs, oh1 - TILE_OH);
        const int ih0 = oh * SH - PT;
        for (int ows = 0; ows < OW; ows += VEC) { /* along the rows, which the processor then asks for by itself */
          const int ow = LESSER(ows, last);
          const int iw0 = ow * SW - PL;
          mask_t mask[KW];
          UNROLL for (int kw = 0; kw < KW; kw++) mask[kw] = columns(iw0 + kw * DW, IW);
          const long at = plane + (long)oh * OW + ow;
          vec acc[TILE_OH];
          UNROLL for (int i = 0; i < TILE_OH; i++) acc[i] = VEC_OF(b);
          if (channel + (long)GREATER(ih0, 0) * IW + iw0 < 0 ||
              channel + (long)(LESSER(ih0 + SPAN_H, IH) - 1) * IW + iw0 + SPAN_W > total) {
            tile_at_end(acc, x + channel, taps, ih0, iw0, IH, IW);
          } else {
            const long first = channel + (long)ih0 * IW + iw0;
            __global const real *row[SPAN_H];
            UNROLL for (int r = 0; r < SPAN_H; r++)
              row[r] = (uint)(ih0 + r) < (uint)IH ? x + first + (long)r * IW : zeros;
            tile(acc, row, taps, mask);
          }
          UNROLL for (int i = 0; i < TILE_OH; i++) acc[i] = NATURAL(acc[i]);
          write_rows(acc, residual, y, at, end, OW, act_a, act_b);
        }
      }
    }
  }
}

WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void depthwise_direct_simd(
    __global const real *restrict x, __global const real *restrict w, __global const real *restrict zeros,
    __global const real *restrict bias, __global const real *restrict residual, __global real *restrict y,
    const int N, const int C, const int IH, const int IW, const int OH, const int OW, const int M, const int PT,
    const int PL, const int BANDS, const int CHANNELS, const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = (long)get_global_id(0) * OH / BANDS;       /* first row of the band */
  const int oh1 = (long)(get_global_id(0) + 1) * OH / BANDS; /* first row behind it */
  const int c0 = get_global_id(1) * CHANNELS;                /* 0 .. C-1 */
  const int c1 = LESSER(c0 + CHANNELS, C);
  const int n = get_global_id(2);                            /* 0 .. N-1 */
  item(x, w, zeros, bias, residual, y, oh0, oh1, c0, c1, n, N, C, IH, IW, OH, OW, M, PT, PL, BANDS, act_a, act_b);
}

/* The row of zeros. One work-item. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void write_zeros(__global real *restrict zeros) {
  ROLLED for (int i = 0; i < SPAN_W; i++) STORE(zeros, i, 0);
}
