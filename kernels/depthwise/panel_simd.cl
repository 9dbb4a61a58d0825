/* Depthwise convolution in NCHW from a zero-padded panel: any stride, any element type. Vectors lie along the width.
 *
 *   y[n, c*M + m, oh, ow] = act( bias + residual + sum over kh, kw of
 *                                x[n, c, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL] * w[c*M + m, 0, kh, kw] )
 *
 * x N C IH IW,  w C*M 1 KH KW,  y and residual N C*M OH OW.
 *
 * Work-items: (band of output rows, CHANNELS channels, n). For each channel the rows under the band are copied into the panel in
 * local memory (panel.clh), converted to acc_t once, and the tiles of the M output channels are computed from it:
 *
 *   panel                      one tile: TILE_OH rows x VEC columns
 *   +----------------+         +------+
 *   | . . . . . . .  |  --->   |      | TILE_OH
 *   | . x       .    |         +------+
 *   +----------------+           VEC
 *
 * Per tile: KW * SPAN_H vectors are read from the panel, KH*KW elements of w, and TILE_OH vectors are written.
 * direct_simd.cl does without the panel where no element needs converting and the stride is 1 or 2.
 *
 * Macros: types.clh, vector.clh, panel.clh, epilogue.clh; KH KW SH SW DH DW; TILE_OH (a band has at least so many rows).
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "include/epilogue.clh"
#include "include/panel.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#ifndef TILE_OH
#error "TILE_OH must be set by the plan"
#endif

/* Rows of the panel under a tile. */
#define SPAN_H ((TILE_OH - 1) * SH + (KH - 1) * DH + 1)

/* acc[i] += sum over kh of panel row i*SH + kh*DH, times w[kh, kw] */
static inline void column(vec *acc, __local const acc_t *p, __global const real *w, const int PITCH) {
  acc_t tap[KH];
  UNROLL for (int kh = 0; kh < KH; kh++) tap[kh] = LOAD(w, kh * KW);
  UNROLL for (int r = 0; r < SPAN_H; r++) {
    const vec v = LOAD_ACC_LOCAL(p + r * PITCH);
    UNROLL for (int kh = 0; kh < KH; kh++) {
      const int i = r - kh * DH;
      if (i >= 0 && i % SH == 0 && i / SH < TILE_OH) acc[i / SH] += v * tap[kh];
    }
  }
}

/* The sums of TILE_OH rows, OW elements apart, from element `at` of y on; what this work-item writes ends at element `end`. Where a row
 * is shorter than a vector, what is stored behind it is overwritten by the next row's store. */
static inline void write_rows(vec *acc, __global const real *residual, __global real *y, const long at, const long end,
                              const int OW, const acc_t act_a, const acc_t act_b) {
  if (HAS_RESIDUAL)
    UNROLL for (int i = 0; i < TILE_OH; i++) acc[i] += load_within(residual + at + i * OW, end - at - i * OW);
  UNROLL for (int i = 0; i < TILE_OH; i++) acc[i] = activate_vec(acc[i], act_a, act_b);
  if (end - at >= (TILE_OH - 1) * OW + VEC) {
    UNROLL for (int i = 0; i < TILE_OH; i++) STORE_VEC(y + at + i * OW, acc[i]);
  } else {
    UNROLL for (int i = 0; i < TILE_OH; i++) STORE_VEC_SOME(y + at + i * OW, acc[i], (int)(end - at) - i * OW);
  }
}

/* Rows oh0 .. oh1-1 of the outputs of channels c0 .. c1-1 of image n. */
ITEM void item(__global const real *restrict x, __global const real *restrict w, __global const real *restrict bias,
               __global const real *restrict residual, __global real *restrict y, __local acc_t *restrict panel, const int oh0,
               const int oh1, const int c0, const int c1, const int n, const int N, const int C, const int IH, const int IW,
               const int OH, const int OW, const int M, const int PT, const int PL, const int BANDS, const int PHASE,
               const acc_t act_a, const acc_t act_b) {
  const int PITCH = SW * PHASE;
  const int ROWS = (oh1 - oh0 - 1) * SH + (KH - 1) * DH + 1;

  const int used = GREATER(OW, VEC) + (KW - 1) * DW / SW;
  const int last = GREATER(OW - VEC, 0); /* where the last tile of a row begins: it overlaps the one before */

  for (int c = c0; c < c1; c++) {
    panel_fill(panel, x, n, N, c, oh0 * SH - PT, ROWS, C, IH, IW, PL, used, PHASE);
    for (int m = 0; m < M; m++) {
      const int oc = c * M + m;
      const long plane = ((long)n * C * M + oc) * OH * OW;
      /* What this work-item writes ends here; see write_rows. */
      const long end = BANDS == 1 ? ((long)n * C + c1) * M * OH * OW : plane + (long)oh1 * OW;
      acc_t b = 0;
      if (HAS_BIAS) b = LOAD(bias, oc);
      for (int ohs = oh0; ohs < oh1; ohs += TILE_OH) {
        const int oh = LESSER(ohs, oh1 - TILE_OH);
        for (int ows = 0; ows < OW; ows += VEC) {
          const int ow = LESSER(ows, last);
          const long at = plane + (long)oh * OW + ow;
          vec acc[TILE_OH];
          UNROLL for (int i = 0; i < TILE_OH; i++) acc[i] = VEC_OF(b);
          UNROLL for (int kw = 0; kw < KW; kw++)
            column(acc, panel + (oh - oh0) * SH * PITCH + ow + PANEL_TAP(kw), w + (long)oc * (KH * KW) + kw, PITCH);
          write_rows(acc, residual, y, at, end, OW, act_a, act_b);
        }
      }
    }
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void depthwise_panel_simd(
    __global const real *restrict x, __global const real *restrict w, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, __local acc_t *restrict panel, const int N,
    const int C, const int IH, const int IW, const int OH, const int OW, const int M, const int PT, const int PL,
    const int BANDS, const int CHANNELS, const int PHASE, const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = (long)get_global_id(0) * OH / BANDS;       /* first row of the band */
  const int oh1 = (long)(get_global_id(0) + 1) * OH / BANDS; /* first row behind it */
  const int c0 = get_global_id(1) * CHANNELS;                /* 0 .. C-1 */
  const int c1 = LESSER(c0 + CHANNELS, C);
  const int n = get_global_id(2);                            /* 0 .. N-1 */
  item(x, w, bias, residual, y, panel, oh0, oh1, c0, c1, n, N, C, IH, IW, OH, OW, M, PT, PL, BANDS, PHASE, act_a, act_b);
}
