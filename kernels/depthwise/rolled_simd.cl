/* Depthwise convolution with large filters from a zero-padded panel: loops over the taps that stay loops, so that the program is as
 * short for 51 x 51 taps as for 5 x 5.
 *
 *   y[n, oh, ow, c*M + m] = act( bias + residual + sum over kh, kw of
 *                                x[n, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL, c] * w[kh, kw, c*M + m] )
 *
 * x           N C IH IW, or N IH IW C               (macro NHWC)
 * y, residual N C*M OH OW, or N OH OW C*M
 * packed      C*M KH KW, or with ACROSS ceil(C/VEC) KH KW VEC, elements of acc_t, from pack_filter.cl
 *
 * Work-items: (band of output rows, CHANNELS channels, n). The rows under the band are copied into a panel in local memory, one channel
 * at a time (panel.clh), or with ACROSS one vector of channels, pixel by pixel, and the tiles are computed from it:
 *
 *   panel                               one tile: TILE_OH rows x TILE_OW vectors, or with ACROSS as many pixels
 *   +--------------------------+        +------+------+
 *   | . . . . . . . . . . . .  |        |      |      | TILE_OH
 *   | .  rows of x          .  |  --->  +------+------+
 *   | .                     .  |          VEC    VEC
 *   +--------------------------+
 *
 * A filter so large meets padding in many of its rows, with ACROSS in many of its columns as well: a tile leaves those out.
 *
 * Where rows of outputs read rows side by side (SLIDES), each vector of the panel is read once for all TILE_OH rows, which it meets with
 * another tap each; the first and the last rows of the panel under a tile are not under all of its rows:
 *
 *   row of the panel   0   1   2   3  ...  KH-1  KH  KH+1
 *   output row 0       0   1   2   3  ...  KH-1                the taps' rows, TILE_OH = 3
 *   output row 1           0   1   2  ...  KH-2 KH-1
 *   output row 2               0   1  ...  KH-3 KH-2 KH-1
 *
 * Elsewhere, two taps as far from each other as two vectors (FAR) meet the same vectors, but for one.
 *
 * Per tile and tap TILE_OW vectors are read, or TILE_OH*TILE_OW at most, and TILE_OH elements of the filter or one, or a vector of it.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, panel.clh, epilogue.clh; NHWC; KH KW SH SW DH DW; ACROSS (0: vectors lie along the
 * width, 1: along the channels of N H W C, M is 1); TILE_OH (a band has at least so many rows; 1 with ACROSS), TILE_OW.
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/lanes.clh"
#include "include/epilogue.clh"
#include "include/panel.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#if !defined(TILE_OH) || !defined(TILE_OW) || !defined(ACROSS)
#error "TILE_OH, TILE_OW and ACROSS must be set by the plan"
#endif

#define SLIDES (SH == 1 && DH == 1 && TILE_OH > 1 && TILE_OH <= KH)

/* The first of a filter's rows or columns, dilated by D, that is not `before` the image, and how many begin within `behind`. */
INLINE int first_tap(const long before, const int D) { return before <= 0 ? 0 : (int)((before + D - 1) / D); }
INLINE int taps_until(const long behind, const int D, const int K) {
  const long taps = behind <= 0 ? 0 : (behind + D - 1) / D;
  return taps < K ? (int)taps : K;
}

#if ACROSS
#define COLUMNS TILE_OW

/* acc[j] += the taps in rows kh0 .. kh1-1 and columns kw0 .. kw1-1; p: where the tile's first pixel would stand. */
INLINE void add_taps(vec acc[TILE_OH][TILE_OW], __local const acc_t *p, __global const acc_t *w, const int kh0, const int kh1,
                     const int kw0, const int kw1, const int PITCH) {
  ROLLED for (int kh = kh0; kh < kh1; kh++) {
    __local const acc_t *x = p + (long)kh * DH * PITCH + kw0 * DW * VEC;
    __global const acc_t *row = w + (kh * KW + kw0) * VEC;
    ROLLED for (int kw = kw0; kw < kw1; kw++, x += DW * VEC, row += VEC) {
      const vec tap = LOAD_ACC(row);
      UNROLL for (int j = 0; j < TILE_OW; j++) acc[0][j] += LOAD_ACC_LOCAL(x + j * SW * VEC) * tap;
    }
  }
}

/* The image's rows r0 .. r1-1, of the channels from x on, WIDTH pixels of VEC channels each. */
INLINE void fill(__local acc_t *panel, __global const real *x, const int r0, const int r1, const lanes_t channels, const int C,
                 const int IW, const int PL, const int WIDTH) {
  const int left = LESSER(PL, WIDTH), inside = LESSER(PL + IW, WIDTH);
  for (int r = r0; r < r1; r++) {
    __global const real *p = x + (long)r * IW * C;
    for (int q = 0; q < left; q++, panel += VEC) STORE_ACC_LOCAL(panel, VEC_OF(0));
    for (int q = left; q < inside; q++, p += C, panel += VEC) STORE_ACC_LOCAL(panel, LOAD_LANES(p, channels));
    for (int q = inside; q < WIDTH; q++, panel += VEC) STORE_ACC_LOCAL(panel, VEC_OF(0));
  }
}

/* A vector of channels, from c on, of rows oh0 .. oh1-1 of the outputs of image n. */
ITEM void item(__global const real *x, __global const acc_t *packed, __global const real *bias, __global const real *residual,
               __global real *y, __local acc_t *panel, const int oh0, const int oh1, const int c, const int n, const int C,
               const int IH, const int IW, const int OH, const int OW, const int PT, const int PL, const int WIDTH,
               const acc_t act_a, const acc_t act_b) {
  const lanes_t channels = lanes_between(0, C - c);
  const long top = (long)oh0 * SH - PT, bottom = (long)(oh1 - 1) * SH + (KH - 1) * (long)DH + 1 - PT;
  const int r0 = GREATER(top, 0), r1 = LESSER(bottom, IH), PITCH = WIDTH * VEC; /* rows of the image under the band */
  fill(panel, x + (long)n * IH * IW * C + c, r0, r1, channels, C, IW, PL, WIDTH);
  const vec b = HAS_BIAS ? LOAD_LANES(bias + c, channels) : VEC_OF(0);
  __global const acc_t *w = packed + (long)c * KH * KW;
  for (int oh = oh0; oh < oh1; oh++) {
    const long ih0 = (long)oh * SH - PT;
    const int kh0 = first_tap(-ih0, DH), kh1 = taps_until(IH - ih0, DH, KH);
    for (int ows = 0; ows < OW; ows += TILE_OW) {
      const int ow = LESSER(ows, OW - TILE_OW); /* the last tile overlaps the one before */
      const long iw0 = (long)ow * SW - PL;
      vec acc[1][TILE_OW];
      UNROLL for (int j = 0; j < TILE_OW; j++) acc[0][j] = b;
      add_taps(acc, panel + (ih0 - r0) * PITCH + (long)ow * SW * VEC, w, kh0, kh1,
               first_tap(-iw0 - (TILE_OW - 1) * SW, DW), taps_until(IW - iw0, DW, KW), PITCH);
      long at = (((long)n * OH + oh) * OW + ow) * C + c;
      UNROLL for (int j = 0; j < TILE_OW; j++, at += C) {
        if (HAS_RESIDUAL) acc[0][j] += LOAD_LANES(residual + at, channels);
        STORE_LANES(y + at, activate_vec(acc[0][j], act_a, act_b), channels);
      }
    }
  }
}
#else
#define COLUMNS (TILE_OW * VEC)

/* acc[i] += a row of the panel times the taps of output row 0 at w, those of row 1 a row before, for output rows i0 .. i1-1. */
INLINE void add_row(vec acc[TILE_OH][TILE_OW], __local const acc_t *p, __global const acc_t *w, const int i0, const int i1,
                    const int PHASE) {
  ROLLED for (int kw = 0; kw < KW; kw++) {
    vec v[TILE_OW];
    UNROLL for (int j = 0; j < TILE_OW; j++) v[j] = LOAD_ACC_LOCAL(p + PANEL_TAP(kw) + j * VEC);
    UNROLL for (int i = 0; i < TILE_OH; i++)
      if (i >= i0 && i < i1)
        UNROLL for (int j = 0; j < TILE_OW; j++) acc[i][j] += v[j] * w[kw - i * KW];
  }
}

/* Columns of the filter from a tap to the one that meets the same vectors, each a vector further. */
#if VEC * SW % DW == 0
#define FAR (VEC * SW / DW)
#else
#define FAR KW
#endif

/* acc += a tap, which meets the vectors from p on, and with `both` the one FAR columns on, which meets all but the first of them. */
INLINE void add_tap(vec acc[TILE_OH][TILE_OW], __local const acc_t *p, const vec tap, const vec far, const bool both,
                    const int PITCH) {
  UNROLL for (int i = 0; i < TILE_OH; i++) {
    vec v = LOAD_ACC_LOCAL(p + i * SH * PITCH);
    UNROLL for (int j = 0; j < TILE_OW; j++) {
      acc[i][j] += v * tap;
      if (both || j + 1 < TILE_OW) v = LOAD_ACC_LOCAL(p + i * SH * PITCH + (j + 1) * VEC);
      if (both) acc[i][j] += v * far;
    }
  }
}

/* acc += all taps whose rows meet the image; p: the tile's first row and column in the panel, row ih0 of the image. */
INLINE void add_taps(vec acc[TILE_OH][TILE_OW], __local const acc_t *p, __global const acc_t *w, const long ih0, const int IH,
                     const int PHASE) {
  const int PITCH = SW * PHASE;
#if SLIDES
  const int r0 = first_tap(-ih0, 1), r1 = taps_until(IH - ih0, 1, KH + TILE_OH - 1); /* rows of the panel that are the image's */
  UNROLL for (int r = 0; r < TILE_OH - 1; r++)
    if (r >= r0 && r < r1) add_row(acc, p + r * PITCH, w + r * KW, 0, r + 1, PHASE);
  ROLLED for (int r = GREATER(r0, TILE_OH - 1); r < LESSER(r1, KH); r++)
    add_row(acc, p + (long)r * PITCH, w + r * KW, 0, TILE_OH, PHASE);
  UNROLL for (int i = 1; i < TILE_OH; i++)
    if (KH - 1 + i >= r0 && KH - 1 + i < r1)
      add_row(acc, p + (long)(KH - 1 + i) * PITCH, w + (KH - 1 + i) * KW, i, TILE_OH, PHASE);
#else
  const int kh0 = first_tap(-ih0 - (TILE_OH - 1) * SH, DH), kh1 = taps_until(IH - ih0, DH, KH);
  ROLLED for (int kh = kh0; kh < kh1; kh++) {
    __local const acc_t *row = p + (long)kh * DH * PITCH;
    ROLLED for (int from = 0; from < KW; from += 2 * FAR) {
      const int pairs = GREATER(LESSER(KW - from - FAR, FAR), 0), end = LESSER(from + FAR, KW);
      ROLLED for (int kw = from; kw < from + pairs; kw++)
        add_tap(acc, row + PANEL_TAP(kw), VEC_OF(w[kh * KW + kw]), VEC_OF(w[kh * KW + kw + FAR]), true, PITCH);
      ROLLED for (int kw = from + pairs; kw < end; kw++)
        add_tap(acc, row + PANEL_TAP(kw), VEC_OF(w[kh * KW + kw]), VEC_OF(0), false, PITCH);
    }
  }
#endif
}

#if NHWC
/* A tile's sums to y, element by element, step apart; residual, y: the tile's first output. */
OUTLINE void write(vec acc[TILE_OH][TILE_OW], __global const real *residual, __global real *y, const int columns, const int step,
                   const long pitch, const acc_t act_a, const acc_t act_b) {
  ROLLED for (int i = 0; i < TILE_OH; i++)
    ROLLED for (int q = 0; q < columns; q++) {
      acc_t v = ((const acc_t *)acc[i])[q];
      const long at = i * pitch + (long)q * step;
      if (HAS_RESIDUAL) v += LOAD(residual, at);
      STORE(y, at, activate(v, act_a, act_b));
    }
}
#else
INLINE void write(vec acc[TILE_OH][TILE_OW], __global const real *residual, __global real *y, const int columns, const int step,
                  const long pitch, const acc_t act_a, const acc_t act_b) {
  UNROLL for (int i = 0; i < TILE_OH; i++, y += pitch, residual += pitch)
    UNROLL for (int j = 0; j < TILE_OW; j++) {
      const lanes_t there = lanes_between(0, columns - j * VEC);
      if (HAS_RESIDUAL) acc[i][j] += LOAD_LANES(residual + j * VEC, there);
      STORE_LANES(y + j * VEC, activate_vec(acc[i][j], act_a, act_b), there);
    }
}
#endif

/* Rows oh0 .. oh1-1 of the outputs of channels c0 .. c1-1 of image n. */
ITEM void item(__global const real *x, __global const acc_t *packed, __global const real *bias, __global const real *residual,
               __global real *y, __local acc_t *panel, const int oh0, const int oh1, const int c0, const int c1, const int n,
               const int N, const int C, const int IH, const int IW, const int OH, const int OW, const int M, const int PT,
               const int PL, const int PHASE, const acc_t act_a, const acc_t act_b) {
  const int ROWS = (oh1 - oh0 - 1) * SH + (KH - 1) * DH + 1, PITCH = SW * PHASE;
  const int used = GREATER(OW, COLUMNS) + (KW - 1) * DW / SW;
  for (int c = c0; c < c1; c++) {
    panel_fill(panel, x, n, N, c, oh0 * SH - PT, ROWS, C, IH, IW, PL, used, PHASE);
    for (int oc = c * M; oc < (c + 1) * M; oc++) {
      const acc_t b = HAS_BIAS ? LOAD(bias, oc) : 0;
      for (int ohs = oh0; ohs < oh1; ohs += TILE_OH) {
        const int oh = LESSER(ohs, oh1 - TILE_OH); /* the last tile overlaps the one before, here and along the rows */
        for (int ows = 0; ows < OW; ows += COLUMNS) {
          const int ow = GREATER(LESSER(ows, OW - COLUMNS), 0);
          vec acc[TILE_OH][TILE_OW];
          UNROLL for (int i = 0; i < TILE_OH; i++)
            UNROLL for (int j = 0; j < TILE_OW; j++) acc[i][j] = VEC_OF(b);
          add_taps(acc, panel + (long)(oh - oh0) * SH * PITCH + ow, packed + (long)oc * KH * KW, (long)oh * SH - PT, IH, PHASE);
          const long at = tensor_index(n, oc, oh, ow, C * M, OH, OW);
          write(acc, residual + at, y + at, LESSER(OW, COLUMNS), C * M, (long)OW * (NHWC ? C * M : 1), act_a, act_b);
        }
      }
    }
  }
}
#endif
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void depthwise_rolled_simd(
    __global const real *restrict x, __global const acc_t *restrict packed, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, __local acc_t *restrict panel, const int N,
    const int C, const int IH, const int IW, const int OH, const int OW, const int M, const int PT, const int PL,
    const int BANDS, const int CHANNELS, const int PHASE, const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = (long)get_global_id(0) * OH / BANDS;       /* first row of the band */
  const int oh1 = (long)(get_global_id(0) + 1) * OH / BANDS; /* first row behind it */
  const int c0 = get_global_id(1) * CHANNELS;                /* 0 .. C-1 */
  const int n = get_global_id(2);                            /* 0 .. N-1 */
#if ACROSS
  item(x, packed, bias, residual, y, panel, oh0, oh1, c0, n, C, IH, IW, OH, OW, PT, PL, PHASE, act_a, act_b);
#else
  const int c1 = LESSER(c0 + CHANNELS, C);
  item(x, packed, bias, residual, y, panel, oh0, oh1, c0, c1, n, N, C, IH, IW, OH, OW, M, PT, PL, PHASE, act_a, act_b);
#endif
}
