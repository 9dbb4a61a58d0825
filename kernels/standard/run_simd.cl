/* Direct convolution in N H W C for CPUs, for few input channels (the first layer of a network): output channels in vectors.
 *
 *   y[n, oh, ow, oc] = act( bias[oc] + residual[n, oh, ow, oc]
 *                           + sum over kh, kw, ic of x[n, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL, ic] * w[kh, kw, ic, oc] )
 *
 * x                N H W C, or N C H W     (macro PLANES; for networks, which are given images so)
 * y, residual      N H W C
 * packed           BLOCKS IC KH KW OCB, see pack_filter.cl; OCB = OCV*VEC, zero behind the last output channel
 * bias             OC
 *
 * Work-items: (band of ITEM_ROWS output rows, n), one a work-group. Each copies the rows that it reads into a zero-padded panel
 * in local memory, where a row of a window is a run of KW*CHANNELS elements, and that of the next output lies SW*CHANNELS further:
 *
 *   a row of the panel   0 0 0 r g b r g b r g b r g b r g b ...        CHANNELS 3, KW 3, SW 2
 *      output 0          |-- kw = 0 1 2 --|
 *      output 1                      |-- kw = 0 1 2 --|
 *
 * All these distances are constants, so that a tile of PXB outputs of a row by OCV vectors of channels needs one address for
 * its elements and one for its weights, and nothing but their loads and its multiply-adds in its innermost loop. The last
 * tile of a row overlaps the one before and computes the same once more.
 *
 * Traffic: x is read once, its overlap from band to band twice; the filter for each row, from the first cache.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, epilogue.clh; pixel_tile.clh with NHWC 1; KH KW SH SW DH DW; CHANNELS (input
 * channels); PLANES (0, 1).
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/lanes.clh"
#include "include/epilogue.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#if !defined(NHWC) || !defined(PXB) || !defined(OCV) || !defined(CHANNELS) || !defined(PLANES)
#error "NHWC, PXB, OCV, CHANNELS and PLANES must be set by the plan"
#endif

typedef __local const acc_t *pixels_t;
#include "include/pixel_tile.clh"

/* `pixels` pixels of a row of the image to a row of the panel. */
#if PLANES
/* A vector of each channel at a time; their elements are dealt out, two vectors into one. from: channel 0. */
INLINE void copy_row(__local acc_t *to, __global const real *from, const int pixels, const long plane) {
  int i = 0;
  for (; i + VEC <= pixels; i += VEC) {
    vec_lanes channel[CHANNELS];
    UNROLL for (int c = 0; c < CHANNELS; c++) channel[c].v = LOAD_VEC(from + c * plane + i);
    UNROLL for (int j = 0; j < CHANNELS; j++) {
      vec_lanes dealt;
      dealt.v = VEC_OF(0);
      UNROLL for (int c = 0; c < CHANNELS; c++)
        UNROLL for (int l = 0; l < VEC; l++)
          if ((j * VEC + l) % CHANNELS == c) dealt.s[l] = channel[c].s[(j * VEC + l) / CHANNELS];
      STORE_ACC_LOCAL(to + i * CHANNELS + j * VEC, dealt.v);
    }
  }
  for (; i < pixels; i++)
    UNROLL for (int c = 0; c < CHANNELS; c++) to[i * CHANNELS + c] = LOAD(from, c * plane + i);
}
#else
INLINE void copy_row(__local acc_t *to, __global const real *from, const int pixels, const long plane) {
  int i = 0;
  for (; i + VEC <= pixels * CHANNELS; i += VEC) STORE_ACC_LOCAL(to + i, LOAD_VEC(from + i));
  for (; i < pixels * CHANNELS; i++) to[i] = LOAD(from, i);
}
#endif

/* Rows ih0 .. ih0+rows-1 of an image, which may lie outside of it, to a panel with PITCH elements a row. x: the image. */
INLINE void fill(__local acc_t *panel, __global const real *x, const int ih0, const int rows, const int PITCH, const int IH,
                 const int IW, const int PL) {
  const int begin = LESSER(PL * CHANNELS, PITCH), end = LESSER(begin + IW * CHANNELS, PITCH); /* of the image, in a row of the panel */
  for (int r = 0; r < rows; r++, panel += PITCH) {
    const int ih = ih0 + r;
    const bool inside = ih >= 0 && ih < IH;
    for (int i = inside ? end : 0; i < PITCH; i++) panel[i] = 0;
    if (!inside) continue;
    for (int i = 0; i < begin; i++) panel[i] = 0;
    copy_row(panel + begin, x + (long)ih * IW * (PLANES ? 1 : CHANNELS), (end - begin) / CHANNELS, (long)IH * IW);
  }
}

/* Rows oh0 .. oh1-1 of an image. x, residual, y: the image. */
ITEM void item(__global const real *x, __global const acc_t *packed, __global const real *bias, __global const real *residual,
               __global real *y, __local acc_t *panel, const int oh0, const int oh1, const int IH, const int IW, const int OC,
               const int OW, const int PT, const int PL, const int YC, const int PITCH, const acc_t act_a, const acc_t act_b) {
  const int blocks = (OC + OCB - 1) / OCB, some = LESSER(PXB, OW);
  fill(panel, x, oh0 * SH - PT, (oh1 - oh0 - 1) * SH + (KH - 1) * DH + 1, PITCH, IH, IW, PL);
  for (int oh = oh0; oh < oh1; oh++)
    for (int b = 0; b < blocks; b++)
      for (int t = 0; t < OW; t += PXB) {
        const int ow = GREATER(LESSER(t, OW - PXB), 0);
        __local const acc_t *window = panel + (oh - oh0) * SH * PITCH + ow * (SW * CHANNELS);
        __global const acc_t *w = packed + (long)b * (CHANNELS * KH * KW * OCB);
        const long to = ((long)oh * OW + ow) * YC;
#if HAS_RESIDUAL || FAR
        ask_tile(some, residual + to, y + to, b * OCB, YC);
#endif
        vec acc[PXB][OCV];
        no_pixels(acc, PXB);
        for (int kh = 0; kh < KH; kh++, window += DH * PITCH, w += KW * OCB) {
          UNROLL for (int r = 0; r < KW * CHANNELS; r++) {
            __local const acc_t *at = window + (r / CHANNELS * DW * CHANNELS + r % CHANNELS);
            __global const acc_t *wt = w + (r % CHANNELS * (KH * KW) + r / CHANNELS) * OCB;
            vec wv[OCV];
            UNROLL for (int j = 0; j < OCV; j++) wv[j] = LOAD_ACC(wt + j * VEC);
            UNROLL for (int i = 0; i < PXB; i++) {
              const vec v = VEC_OF(at[i * (SW * CHANNELS)]);
              UNROLL for (int j = 0; j < OCV; j++) acc[i][j] += v * wv[j];
              UNROLL for (int j = 0; j < OCV; j++) KEEP_ORDER(acc[i][j]);
            }
          }
        }
        finish_tile(acc, PXB, some, true, true, panel, bias, residual + to, y + to, b * OCB, OC, YC, act_a, act_b);
      }
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void run_simd(__global const real *restrict x, __global const acc_t *restrict packed, __global const real *restrict bias,
              __global const real *restrict residual, __global real *restrict y, __local acc_t *restrict panel, const int IH,
              const int IW, const int OC, const int OH, const int OW, const int PT, const int PL, const int YC, const int ITEM_ROWS,
              const int PITCH, const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = get_global_id(0) * ITEM_ROWS;      /* 0 .. OH-1 */
  const int oh1 = LESSER(oh0 + ITEM_ROWS, OH);       /* row behind the band's last */
  const long n = get_global_id(1);                   /* 0 .. N-1 */
  const long out = n * OH * OW * YC;
  item(x + n * IH * IW * CHANNELS, packed, bias, residual + out, y + out, panel, oh0, oh1, IH, IW, OC, OW, PT, PL, YC, PITCH, act_a,
       act_b);
}
