/* Depthwise convolution in NCHW with a stride of 3 and more: rows are multiplied as they lie, and sums are picked apart at the end.
 *
 *   y[n, c*M + m, oh, ow] = act( bias + residual + sum over kh, kw of
 *                                x[n, c, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL] * w[c*M + m, 0, kh, kw] )
 *
 * x N C IH IW,  w C*M 1 KH KW,  y and residual N C*M OH OW.
 *
 * Work-items: (band of output rows, CHANNELS channels, n). Each goes down strips of COLUMNS columns of outputs, which lie above SW vectors
 * of a row of x. To bring what a tap multiplies, elements SW apart, into one vector would take SW - 1 instructions for each tap and row.
 * Here the taps repeat every SW elements instead, in vectors that are made once for each channel, and what is picked is the sum over
 * all rows:
 *
 *     row of x        [x0 x1 x2 x3 x4 x5 x6 x7][x8 x9 .. ]        SW = 3, KW = 3, VEC = 8
 *     times taps      [w0 w1 w2 w0 w1 w2 w0 w1][w2 w0 .. ]        to the sums, for each row of the filter
 *
 *     sums            [s0 s1 s2 s3 s4 s5 s6 s7][s8 s9 .. ]        y[0] = s0 + s1 + s2, y[1] = s3 + s4 + s5, ...  (parts.clh)
 *
 * A tap that lies SW columns and more from an output's first one meets the elements of a later output. It belongs to sums of their own,
 * which are moved by a lane when they are picked: ACROSS times SW vectors of sums, and ACROSS - 1 lanes without a result:
 *
 *     SW = 3, KW = 5: the taps 3 and 4     [w3 w4 0 w3 w4 0 w3 w4][0 w3 .. ]        y[0] = ... + s3 + s4, y[1] = ... + s6 + s7
 *
 * Columns beside the image are masked (lanes.clh), rows above and below it left out, and so are vectors with nothing of the image or of
 * no output: a strip at the right border has a few columns only.
 *
 * Per row of a strip: KH*SW vectors are read, each for ACROSS multiply-adds, KW*(SW-1) instructions pick, a vector is written.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, border.clh, parts.clh, epilogue.clh; KH KW SH SW DH DW, SW at least 3.
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/lanes.clh"
#include "include/epilogue.clh"
#include "include/border.clh"
#include "include/parts.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#if SW < 3
#error "SW must be 3 or more; masked_simd.cl takes 1 and 2"
#endif

#define ACROSS ((KW - 1) * DW / SW + 1) /* outputs whose elements the taps of one output meet */
#define SUMS (ACROSS * SW)
#define COLUMNS (VEC - ACROSS + 1) /* outputs side by side in a strip */
#if COLUMNS < 1
#error "the taps of an output reach further than a strip"
#endif

/* The taps of a row of the filter, w[0 .. KW-1], each where it repeats: those that lie `across` outputs away in SW vectors of their own. */
INLINE void spread_taps(vec *tap, __global const real *w) {
#ifdef PICK
  const vec a = LOAD_LANES(w, lanes_below(KW)), b = LOAD_LANES(w + VEC, lanes_below(KW - VEC)); /* lane KW is 0 */
  UNROLL for (int j = 0; j < SUMS; j++) {
    mask_lanes lane;
    UNROLL for (int i = 0; i < VEC; i++) {
      const int column = j / SW * SW + (j % SW * VEC + i) % SW; /* from an output's first one */
      lane.s[i] = column % DW == 0 && column / DW < KW ? column / DW : KW;
    }
    tap[j] = PICK(a, lane.v, b);
  }
#else
  ROLLED for (int j = 0; j < SUMS; j++) {
    vec_lanes lanes;
    ROLLED for (int i = 0; i < VEC; i++) {
      const int column = j / SW * SW + (j % SW * VEC + i) % SW;
      lanes.s[i] = 0;
      if (column % DW == 0 && column / DW < KW) lanes.s[i] = LOAD(w, column / DW);
    }
    tap[j] = lanes.v;
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

/* The sums of each output together; those from vector `some` on are 0. */
INLINE vec whole(const vec *sum, const int some) {
  vec v = VEC_OF(0);
  UNROLL for (int across = ACROSS - 1; across >= 0; across--) {
    if (across < ACROSS - 1) v = moved(v);
    UNROLL for (int kw = 0; kw < KW; kw++)
      if (kw * DW / SW == across) v += PART_OF(sum + across * SW, some, kw * DW % SW);
  }
  return v;
}

/* Rows oh0 .. oh1-1 of a strip. p: where its first element would stand in row 0 of the image; residual and y: its first output.
 * mask: of the vectors of a row, the first `some` of which have elements. inside: the columns that are outputs. */
INLINE void make_strip(__global const real *p, const vec *tap, __global const real *residual, __global real *y,
                       const lanes_t *mask, const int some, const lanes_t inside, const int oh0, const int oh1, const int IH,
                       const int IW, const int OW, const int PT, const acc_t b, const acc_t act_a, const acc_t act_b) {
  for (int oh = oh0; oh < oh1; oh++, y += OW, residual += OW) {
    vec sum[SUMS];
    UNROLL for (int i = 0; i < SUMS; i++) sum[i] = VEC_OF(0);
    UNROLL for (int kh = 0; kh < KH; kh++) {
      const int ih = oh * SH - PT + kh * DH; /* may lie outside 0 .. IH-1 */
      if ((uint)ih < (uint)IH) {
        __global const real *row = p + (long)ih * IW;
        UNROLL for (int j = 0; j < SW; j++)
          if (j == 0 || j < some) {
            const vec v = LOAD_LANES(row + j * VEC, mask[j]);
            UNROLL for (int i = j; i < SUMS; i += SW) sum[i] += v * tap[kh * SUMS + i];
          }
      }
    }
    vec v = VEC_OF(b) + whole(sum, some);
    if (HAS_RESIDUAL) v += LOAD_LANES(residual, inside);
    STORE_LANES(y, activate_vec(v, act_a, act_b), inside);
  }
}

/* Rows oh0 .. oh1-1 of the outputs of channels c0 .. c1-1 of image n. */
ITEM void item(__global const real *x, __global const real *w, __global const real *bias, __global const real *residual,
               __global real *y, const int oh0, const int oh1, const int c0, const int c1, const int n, const int C,
               const int IH, const int IW, const int OH, const int OW, const int M, const int PT, const int PL,
               const acc_t act_a, const acc_t act_b) {
  for (int c = c0; c < c1; c++) {
    __global const real *image = x + ((long)n * C + c) * IH * IW;
    for (int m = 0; m < M; m++) {
      const int oc = c * M + m;
      acc_t b = 0;
      if (HAS_BIAS) b = LOAD(bias, oc);
      vec tap[KH * SUMS];
      UNROLL for (int kh = 0; kh < KH; kh++) spread_taps(tap + kh * SUMS, w + (oc * KH + kh) * KW);
      for (int ow = 0; ow < OW; ow += COLUMNS) {
        const int iw0 = ow * SW - PL; /* may lie left of the image */
        const int columns = LESSER(OW - ow, COLUMNS);
        const int used = LESSER((columns - 1) * SW + (KW - 1) * DW + 1, IW - iw0); /* elements of a row */
        lanes_t mask[SW];
        UNROLL for (int j = 0; j < SW; j++) mask[j] = lanes_between(-iw0 - j * VEC, used - j * VEC);
        const long at = (((long)n * C * M + oc) * OH + oh0) * OW + ow;
        make_strip(image + iw0, tap, residual + at, y + at, mask, (used + VEC - 1) / VEC, lanes_below(columns), oh0, oh1, IH, IW,
                   OW, PT, b, act_a, act_b);
      }
    }
  }
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void depthwise_stride_simd(
    __global const real *restrict x, __global const real *restrict w, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, const int C, const int IH, const int IW,
    const int OH, const int OW, const int M, const int PT, const int PL, const int BANDS, const int CHANNELS,
    const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = (long)get_global_id(0) * OH / BANDS;       /* first row of the band */
  const int oh1 = (long)(get_global_id(0) + 1) * OH / BANDS; /* first row behind it */
  const int c0 = get_global_id(1) * CHANNELS;                /* 0 .. C-1 */
  const int c1 = LESSER(c0 + CHANNELS, C);
  const int n = get_global_id(2);                            /* 0 .. N-1 */
  item(x, w, bias, residual, y, oh0, oh1, c0, c1, n, C, IH, IW, OH, OW, M, PT, PL, act_a, act_b);
}
