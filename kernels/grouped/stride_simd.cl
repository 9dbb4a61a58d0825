/* Grouped convolution in NCHW with a stride of 3 and more: rows are multiplied as they lie, and sums are picked apart at the end.
 *
 *   y[n, oc, oh, ow] = act( bias + residual + sum over ic, kh, kw of
 *                           x[n, g*ICG + ic, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL] * w[oc, ic, kh, kw] )     with g = oc / OCG
 *
 * x N IC IH IW,  w OC ICG KH KW,  y and residual N OC OH OW.
 *
 * Work-items: (band of output rows, g, n). For each OC_BLOCK output channels of the group, each spreads their taps into local memory
 * (spread.clh), and goes down strips of COLUMNS columns of outputs, which lie above SW vectors of a row of x:
 *
 *     x, a channel    [v v v v v v v v][v v v v v v v v][v v v v v v v v]        SW = 3, VEC = 8
 *                             |                |                |                times taps of each of OC_BLOCK output channels
 *     sums            [v v v v v v v v][v v v v v v v v][v v v v v v v v]  --->  y [v v v v v v v v]      of each of them
 *
 * A strip goes down ROWS rows, so few that the first cache keeps what the next strip reads, too.
 * Columns beside the image are masked (lanes.clh), rows above and below it left out, and so are vectors with nothing of the image or of
 * no output.
 *
 * Per row of a strip and OC_BLOCK channels: ICG*KH*SW vectors are read, each for ACROSS*OC_BLOCK multiply-adds with as many vectors of
 * taps; OC_BLOCK*KW*(SW-1) instructions pick; OC_BLOCK vectors are written.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, spread.clh, epilogue.clh; KH KW SH SW DH DW, SW at least 3; OC_BLOCK.
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/lanes.clh"
#include "include/epilogue.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#ifndef OC_BLOCK
#error "OC_BLOCK must be set by the plan"
#endif

#include "include/spread.clh"

/* taps[ic][kh][o] of `some` output channels, whose filters begin at w; those of the others are 0. */
INLINE void spread_filters(__local acc_t *taps, __global const real *w, const int some, const int ICG) {
  for (int i = 0; i < ICG * KH; i++) /* ic, kh */
    for (int o = 0; o < OC_BLOCK; o++, taps += SUMS * VEC) {
      vec tap[SUMS];
      UNROLL for (int j = 0; j < SUMS; j++) tap[j] = VEC_OF(0);
      if (o < some) spread_taps(tap, w + ((long)o * ICG * KH + i) * KW);
      UNROLL for (int j = 0; j < SUMS; j++) STORE_ACC_LOCAL(taps + j * VEC, tap[j]);
    }
}

/* sum[o] += all channels and rows of the filter. p: the strip's first element in the row of the first tap, of the group's first channel. */
INLINE void add_channels(vec sum[OC_BLOCK][SUMS], __global const real *p, __local const acc_t *taps, const strip_t *s, const int ih0,
                         const int ICG, const int IH, const int IW) {
  for (int ic = 0; ic < ICG; ic++, p += (long)IH * IW)
    UNROLL for (int kh = 0; kh < KH; kh++, taps += OC_BLOCK * SUMS * VEC)
      if ((uint)(ih0 + kh * DH) < (uint)IH)
        UNROLL for (int j = 0; j < SW; j++)
          if (j == 0 || j < s->some) {
            const vec v = LOAD_LANES(p + (long)kh * DH * IW + j * VEC, s->mask[j]);
            UNROLL for (int o = 0; o < OC_BLOCK; o++)
              UNROLL for (int i = j; i < SUMS; i += SW) sum[o][i] += v * LOAD_ACC_LOCAL(taps + (o * SUMS + i) * VEC);
          }
}

/* Rows oh0 .. oh1-1 of all output channels of group g of image n. */
ITEM void item(__global const real *x, __global const real *w, __global const real *bias, __global const real *residual,
               __global real *y, __local acc_t *taps, const int oh0, const int oh1, const int g, const int n, const int IC,
               const int IH, const int IW, const int OC, const int OH, const int OW, const int ICG, const int OCG, const int PT,
               const int PL, const int ROWS, const acc_t act_a, const acc_t act_b) {
  __global const real *image = x + ((long)n * IC + (long)g * ICG) * IH * IW;
  for (int oc = g * OCG; oc < (g + 1) * OCG; oc += OC_BLOCK) {
    const int some = LESSER((g + 1) * OCG - oc, OC_BLOCK);
    spread_filters(taps, w + (long)oc * ICG * KH * KW, some, ICG);
    for (int first = oh0; first < oh1; first += ROWS)
      for (int ow = 0; ow < OW; ow += COLUMNS) {
        strip_t s;
        set_strip(&s, ow, IW, OW, PL);
        for (int oh = first; oh < LESSER(first + ROWS, oh1); oh++) {
          const int ih0 = oh * SH - PT; /* may lie above the image */
          vec sum[OC_BLOCK][SUMS];
          UNROLL for (int o = 0; o < OC_BLOCK; o++)
            UNROLL for (int i = 0; i < SUMS; i++) sum[o][i] = VEC_OF(0);
          add_channels(sum, image + (long)ih0 * IW + s.iw0, taps, &s, ih0, ICG, IH, IW);
          UNROLL for (int o = 0; o < OC_BLOCK; o++)
            if (o < some) {
              const long at = (((long)n * OC + oc + o) * OH + oh) * OW + ow;
              vec v = whole(sum[o]);
              if (HAS_BIAS) v += VEC_OF(LOAD(bias, oc + o));
              if (HAS_RESIDUAL) v += LOAD_LANES(residual + at, s.inside);
              STORE_LANES(y + at, activate_vec(v, act_a, act_b), s.inside);
            }
        }
      }
  }
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void grouped_stride_simd(
    __global const real *restrict x, __global const real *restrict w, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, __local acc_t *restrict taps, const int IC, const int IH,
    const int IW, const int OC, const int OH, const int OW, const int ICG, const int OCG, const int PT, const int PL,
    const int BANDS, const int ROWS, const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = (long)get_global_id(0) * OH / BANDS;       /* first row of the band */
  const int oh1 = (long)(get_global_id(0) + 1) * OH / BANDS; /* first row behind it */
  const int g = get_global_id(1);                            /* 0 .. G-1 */
  const int n = get_global_id(2);                            /* 0 .. N-1 */
  item(x, w, bias, residual, y, taps, oh0, oh1, g, n, IC, IH, IW, OC, OH, OW, ICG, OCG, PT, PL, ROWS, act_a, act_b);
}
