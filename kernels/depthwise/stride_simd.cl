/* Depthwise convolution in NCHW with a stride of 3 and more: rows are multiplied as they lie, and sums are picked apart at the end.
 *
 *   y[n, c*M + m, oh, ow] = act( bias + residual + sum over kh, kw of
 *                                x[n, c, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL] * w[c*M + m, 0, kh, kw] )
 *
 * x N C IH IW,  w C*M 1 KH KW,  y and residual N C*M OH OW.
 *
 * Work-items: (band of output rows, CHANNELS channels, n). Each goes down strips of COLUMNS columns of outputs, which lie above SW vectors
 * of a row of x. These are multiplied by taps that repeat every SW elements, made once for each channel; spread.clh has pictures:
 *
 *     x          [v v v v v v v v][v v v v v v v v][v v v v v v v v]        SW = 3, VEC = 8, KH = 2
 *                [v v v v v v v v][v v v v v v v v][v v v v v v v v]
 *                        |                |                |
 *     sums       [v v v v v v v v][v v v v v v v v][v v v v v v v v]  --->  y [v v v v v v v v]
 *
 * A strip goes down ROWS rows, so few that the first cache keeps what the next strip reads, too.
 * Columns beside the image are masked (lanes.clh), rows above and below it left out, and so are vectors with nothing of the image or of
 * no output: a strip at the right border has a few columns only.
 *
 * Per row of a strip: KH*SW vectors are read, each for ACROSS multiply-adds, KW*(SW-1) instructions pick, a vector is written.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, spread.clh, epilogue.clh; KH KW SH SW DH DW, SW at least 3.
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/lanes.clh"
#include "include/epilogue.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif

#include "include/spread.clh"

/* Rows oh0 .. oh1-1 of a strip. p: where its first element would stand in row 0 of the image; residual and y: its first output. */
INLINE void make_strip(__global const real *p, const vec *tap, __global const real *residual, __global real *y, const strip_t *s,
                       const int oh0, const int oh1, const int IH, const int IW, const int OW, const int PT, const acc_t b,
                       const acc_t act_a, const acc_t act_b) {
  for (int oh = oh0; oh < oh1; oh++, y += OW, residual += OW) {
    vec sum[SUMS];
    UNROLL for (int i = 0; i < SUMS; i++) sum[i] = VEC_OF(0);
    UNROLL for (int kh = 0; kh < KH; kh++) {
      const int ih = oh * SH - PT + kh * DH; /* may lie outside 0 .. IH-1 */
      if ((uint)ih < (uint)IH) {
        __global const real *row = p + (long)ih * IW;
        UNROLL for (int j = 0; j < SW; j++)
          if (j == 0 || j < s->some) add_vector(sum, j, LOAD_LANES(row + j * VEC, s->mask[j]), tap + kh * SUMS);
      }
    }
    vec v = VEC_OF(b) + whole(sum);
    if (HAS_RESIDUAL) v += LOAD_LANES(residual, s->inside);
    STORE_LANES(y, activate_vec(v, act_a, act_b), s->inside);
  }
}

/* Rows oh0 .. oh1-1 of the outputs of channels c0 .. c1-1 of image n. */
ITEM void item(__global const real *x, __global const real *w, __global const real *bias, __global const real *residual,
               __global real *y, const int oh0, const int oh1, const int c0, const int c1, const int n, const int C,
               const int IH, const int IW, const int OH, const int OW, const int M, const int PT, const int PL,
               const int ROWS, const acc_t act_a, const acc_t act_b) {
  for (int c = c0; c < c1; c++) {
    __global const real *image = x + ((long)n * C + c) * IH * IW;
    for (int m = 0; m < M; m++) {
      const int oc = c * M + m;
      acc_t b = 0;
      if (HAS_BIAS) b = LOAD(bias, oc);
      vec tap[KH * SUMS];
      UNROLL for (int kh = 0; kh < KH; kh++) spread_taps(tap + kh * SUMS, w + ((long)oc * KH + kh) * KW);
      for (int first = oh0; first < oh1; first += ROWS)
        for (int ow = 0; ow < OW; ow += COLUMNS) {
          strip_t s;
          set_strip(&s, ow, IW, OW, PL);
          const long at = (((long)n * C * M + oc) * OH + first) * OW + ow;
          make_strip(image + s.iw0, tap, residual + at, y + at, &s, first, LESSER(first + ROWS, oh1), IH, IW, OW, PT, b, act_a, act_b);
        }
    }
  }
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void depthwise_stride_simd(
    __global const real *restrict x, __global const real *restrict w, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, const int C, const int IH, const int IW,
    const int OH, const int OW, const int M, const int PT, const int PL, const int BANDS, const int CHANNELS,
    const int ROWS, const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = (long)get_global_id(0) * OH / BANDS;       /* first row of the band */
  const int oh1 = (long)(get_global_id(0) + 1) * OH / BANDS; /* first row behind it */
  const int c0 = get_global_id(1) * CHANNELS;                /* 0 .. C-1 */
  const int c1 = LESSER(c0 + CHANNELS, C);
  const int n = get_global_id(2);                            /* 0 .. N-1 */
  item(x, w, bias, residual, y, oh0, oh1, c0, c1, n, C, IH, IW, OH, OW, M, PT, PL, ROWS, act_a, act_b);
}
