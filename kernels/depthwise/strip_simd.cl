/* Depthwise convolution in NCHW, straight from the tensor: down a strip of the image, a vector wide, each row read once.
 *
 *   y[n, c*M + m, oh, ow] = act( bias + residual + sum over kh, kw of
 *                                x[n, c, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL] * w[c*M + m, 0, kh, kw] )
 *
 * x N C IH IW,  w C*M 1 KH KW,  y and residual N C*M OH OW
 *
 * Work-items: (band of output rows, CHANNELS channels, n). Each goes down strips of VEC columns of outputs:
 *
 *     x                            sums
 *     [v v v     row 0             y[0] += taps of kh 0
 *     [v v v     row 1             y[0] += taps of kh 1    y[1] += taps of kh 0
 *     [v v v     row 2             y[0] += taps of kh 2    y[1] += taps of kh 1    y[2] += taps of kh 0      y[0] is stored
 *     [v v v     row 3                                     y[1] += taps of kh 2    y[2] += ...               y[1] is stored
 *
 * Each row of x is read once, in a vector for each tap (two for two taps with SW = 2), and serves all outputs that use it while it is
 * at hand. Sums of LIVE rows of outputs are in the making; sixteen registers hold them and nine taps. Rows above and below the image
 * are left out, columns beside it masked (border.clh).
 *
 * A processor asks by itself for what lies behind what is read, which here is read much later. So each channel's image is asked
 * for during the one before, line by line, at the pace at which outputs are made.
 *
 * Macros: wide.clh, types.clh, vector.clh, border.clh, epilogue.clh, prefetch.clh; KH KW SH SW DH DW, SW is 1 or 2, DH 1.
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/epilogue.clh"
#include "include/border.clh"
#include "include/prefetch.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#if DH != 1
#error "DH must be 1; panel_simd.cl takes any"
#endif
#if SW > 2
#error "SW must be 1 or 2; stride_simd.cl takes larger ones"
#endif

#define LIVE ((KH - 1) / SH + 1)          /* rows of outputs that one row of the image is used for, at most */
#define SPAN_W (SW * VEC + (KW - 1) * DW) /* elements read from a row, no more */
#define STEP (SH * SW * VEC)              /* elements of an image for which there is one vector of outputs */

/* sum[i] += taps * row, for the LIVE rows of outputs from the one for which this is row kh. */
INLINE void add_row(vec *sum, const int kh, const vec *v, const acc_t *tap) {
  UNROLL for (int i = 0; i < LIVE; i++)
    if (kh - i * SH >= 0 && kh - i * SH < KH)
      UNROLL for (int kw = 0; kw < KW; kw++) sum[i] += v[kw] * tap[(kh - i * SH) * KW + kw];
}

/* For each tap the elements of a row that it multiplies. */
INLINE void read_taps(vec *v, __global const real *row) {
#if SW == 1
  UNROLL for (int kw = 0; kw < KW; kw++) v[kw] = LOAD_VEC(row + kw * DW);
#else
  UNROLL for (int kw = 0; kw < KW; kw += 2) {
    const vec a = LOAD_VEC(row + kw * DW), b = LOAD_VEC(row + kw * DW + VEC);
    v[kw] = EVEN_LANES(a, b);
    if (kw + 1 < KW) {
#if DW == 1
      v[kw + 1] = ODD_LANES(a, b);
#else
      const vec d = LOAD_VEC(row + (kw + 1) * DW), e = LOAD_VEC(row + (kw + 1) * DW + VEC);
      v[kw + 1] = EVEN_LANES(d, e);
#endif
    }
  }
#endif
}

/* What a strip reads. */
typedef struct {
  __global const real *x; /* its first element in row 0 of the image; with padding, one that is not the strip's */
  long before;            /* elements of the tensor in front of that one; less than 0 with padding */
  ulong places;           /* from the tensor's beginning on, at which a whole span can be read */
  int iw0;                /* column of that element, may be less than 0 */
  mask_t mask[KW];        /* for each tap, of the columns inside the image */
} strip_t;

/* A row of the image, for each tap; `inside`: neither the image's left nor its right border is in the strip. */
INLINE void read_row(vec *v, const bool inside, const strip_t *s, __global const real *row, const int IW) {
  if (inside) {
    read_taps(v, row);
  } else if ((ulong)(s->before + (row - s->x)) >= s->places) { /* over the tensor's end: lane by lane */
    for (int kw = 0; kw < KW; kw++) v[kw] = lanes_within(row - s->iw0, s->iw0 + kw * DW, IW);
  } else {
    read_taps(v, row);
    UNROLL for (int kw = 0; kw < KW; kw++) v[kw] = KEEP(v[kw], s->mask[kw]);
  }
}

/* Rows oh0 .. oh1-1 of a strip. y, residual: its row oh0, of which `left` elements and those behind may be written.
 * next: what is asked for meanwhile. */
INLINE void make_strip(const bool inside, const strip_t *s, const acc_t *tap, const acc_t b, __global const real *residual,
                       __global real *y, long left, __global const real *next, const int oh0, const int oh1, const int IH,
                       const int IW, const int OW, const int PT, const acc_t act_a, const acc_t act_b) {
  vec sum[LIVE], v[KW];
  UNROLL for (int i = 0; i < LIVE; i++) sum[i] = VEC_OF(b);
  int ih = oh0 * SH - PT;
  __global const real *row = s->x + (long)ih * IW;
  UNROLL for (int kh = 0; kh < KH - SH; kh++, ih++, row += IW) /* rows that the first outputs read beside those of the loop below */
    if ((uint)ih < (uint)IH) {
      read_row(v, inside, s, row, IW);
      add_row(sum, kh, v, tap);
    }
  for (int oh = oh0; oh < oh1; oh++, next += STEP, y += OW, residual += OW, left -= OW) {
    UNROLL for (int i = 0; i < STEP; i += 64 / (int)sizeof(real)) PREFETCH_L2(next + i);
    UNROLL for (int kh = GREATER(KH - SH, 0); kh < KH; kh++, ih++, row += IW) {
      READ_ANEW(row); /* else LLVM multiplies for each row */
      if ((uint)ih < (uint)IH) {
        read_row(v, inside, s, row, IW);
        add_row(sum, kh, v, tap);
      }
    }
    ih += GREATER(SH - KH, 0);
    row += GREATER(SH - KH, 0) * IW;
    vec done = NATURAL(sum[0]);
    if (HAS_RESIDUAL) done += load_within(residual, left);
    done = activate_vec(done, act_a, act_b);
    if (left >= VEC) STORE_VEC(y, done);
    else STORE_VEC_SOME(y, done, (int)left);
    UNROLL for (int i = 0; i + 1 < LIVE; i++) sum[i] = sum[i + 1];
    sum[LIVE - 1] = VEC_OF(b);
  }
}

/* Rows oh0 .. oh1-1 of the outputs of channels c0 .. c1-1 of image n. */
ITEM void item(__global const real *restrict x, __global const real *restrict w, __global const real *restrict bias,
               __global const real *restrict residual, __global real *restrict y, const int oh0, const int oh1, const int c0,
               const int c1, const int n, const int N, const int C, const int IH, const int IW, const int OH, const int OW,
               const int M, const int PT, const int PL, const int BANDS, const acc_t act_a, const acc_t act_b) {
  const int last = GREATER(OW - VEC, 0); /* where the last strip begins: it overlaps the one before */
  strip_t s;
  const long total = (long)N * C * IH * IW;
  s.places = GREATER(total - SPAN_W + 1, 0);

  for (int c = c0; c < c1; c++) {
    const long image = ((long)n * C + c) * IH * IW;
    for (int m = 0; m < M; m++) {
      const int oc = c * M + m;
      const long plane = ((long)n * C * M + oc) * OH * OW;
      /* What this work-item writes ends here. Where a row is shorter than a vector, what is stored behind it is overwritten
       * by the next row's store. */
      const long end = BANDS == 1 ? ((long)n * C + c1) * M * OH * OW : plane + (long)oh1 * OW;
      __global const real *next = x + image + (long)(IH + GREATER(oh0 * SH - PT, 0)) * IW;
      acc_t tap[KH * KW], b = 0;
      UNROLL for (int i = 0; i < KH * KW; i++) tap[i] = LOAD(w, (long)oc * (KH * KW) + i);
      if (HAS_BIAS) b = LOAD(bias, oc);
      for (int ows = 0; ows < OW; ows += VEC, next += (long)(oh1 - oh0) * STEP) {
        const int ow = LESSER(ows, last);
        const long to = plane + (long)oh0 * OW + ow;
        s.iw0 = ow * SW - PL;
        s.before = image + s.iw0;
        s.x = x + s.before;
        UNROLL for (int kw = 0; kw < KW; kw++) s.mask[kw] = columns(s.iw0 + kw * DW, IW);
        /* The last SW - 1 elements of the span serve no output, and may be the next row's. */
        if (s.iw0 >= 0 && s.iw0 + SPAN_W - (SW - 1) <= IW && s.before + (long)(IH - 1) * IW + SPAN_W <= total)
          make_strip(true, &s, tap, b, residual + to, y + to, end - to, next, oh0, oh1, IH, IW, OW, PT, act_a, act_b);
        else make_strip(false, &s, tap, b, residual + to, y + to, end - to, next, oh0, oh1, IH, IW, OW, PT, act_a, act_b);
      }
    }
  }
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void depthwise_strip_simd(
    __global const real *restrict x, __global const real *restrict w, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, const int N, const int C, const int IH, const int IW,
    const int OH, const int OW, const int M, const int PT, const int PL, const int BANDS, const int CHANNELS, const acc_t act_a,
    const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = (long)get_global_id(0) * OH / BANDS;       /* first row of the band */
  const int oh1 = (long)(get_global_id(0) + 1) * OH / BANDS; /* first row behind it */
  const int c0 = get_global_id(1) * CHANNELS;                /* 0 .. C-1 */
  const int c1 = LESSER(c0 + CHANNELS, C);
  const int n = get_global_id(2);                            /* 0 .. N-1 */
  item(x, w, bias, residual, y, oh0, oh1, c0, c1, n, N, C, IH, IW, OH, OW, M, PT, PL, BANDS, act_a, act_b);
}
