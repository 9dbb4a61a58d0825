/* 1x1 convolution, vectors along the output channels: every pixel of a tile is broadcast, the filter is read in vectors.
 *
 *   y[n, oc, p] = act( bias[oc] + residual[n, oc, p] + sum over ic of x[n, ic, at(p)] * w[oc, ic] )
 *
 * with p = oh*OW + ow counting the output's pixels, and at(p) the pixel (oh*SH - PT, ow*SW - PL) of x, 0 outside.
 *
 * x, y, residual   N H W C, or N C H W     (macro NHWC)
 * packed           BLOCKS IC OCB           from pack_filter.cl, OCB = OCV*VEC, zero behind the last output channel
 * bias             OC
 *
 * Work-items: (pixels, output channels, image), one in a work-group:
 *   gid 0   pixels gid0*PIXELS_ITEM ... of an image in N C H W, of all images in one row in N H W C
 *   gid 1   blocks gid1*BLOCKS_ITEM ... of output channels
 *   gid 2   image n, 0 .. N-1, in N C H W; 0 in N H W C
 *
 *                                     packed, one block of output channels
 *                                     |<-- OCV vectors of VEC channels -->|
 *                                 --  +-----------------+-----------------+
 *                        IC_BLOCK     | w[ic]           |                 |    stays in the nearest cache
 *                                 --  +-----------------+-----------------+
 *      x, a tile of 6 pixels
 *      +----------------+         --  +-----------------+-----------------+
 *      | x[p, ic] ...   |          6  | sums of pixel p |                 |    in registers
 *      +----------------+         --  +-----------------+-----------------+
 *      next tile: the next 6 pixels of the item, the same w
 *
 * Tiles of 6 and of 5 pixels make up any number from 20 on, so images as odd as 7 x 7 waste nothing. Where
 * IC > IC_BLOCK, the sums of an item wait in local memory between blocks of input channels. In N C H W they pass
 * through local memory also at the end, and are transposed on their way out. Per multiply-add, 1/OCB + 1/6 elements
 * are read; x is read once per block of output channels, the filter once per item.
 *
 * With PANEL (N H W C only), the pixels of an item are first copied into local memory, as acc_t and with zeros for the
 * padding: for 16-bit elements, which would be converted again and again, and for images with padding.
 *
 * Macros: types.clh, vector.clh, epilogue.clh; NHWC; SH SW; PANEL (0, 1); OCV (vectors of output channels of a tile).
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "include/epilogue.clh"

#if !defined(NHWC) || !defined(OCV) || !defined(SH) || !defined(SW) || !defined(PANEL)
#error "NHWC, OCV, SH, SW and PANEL must be set by the plan"
#endif

#define PXB 6           /* pixels of a tile, at most */
#define OCB (OCV * VEC) /* output channels of a tile */
#if PANEL
#define SOURCE panel
typedef __local const acc_t *pixels_t;
#else
#define SOURCE x
typedef __global const real *pixels_t;
#endif

/* What is added to the sums of one vector of output channels, and the activation: v[oc .. oc+VEC-1] of one pixel. */
static inline void finish(const vec sum, const int oc, const int OC, __global const real *bias,
                          __global const real *residual, __global real *y, const acc_t act_a, const acc_t act_b) {
  vec v = sum;
  if (oc + VEC <= OC) {
    if (HAS_BIAS) v += LOAD_VEC(bias + oc);
    if (HAS_RESIDUAL) v += LOAD_VEC(residual + oc);
    STORE_VEC(y + oc, activate_vec(v, act_a, act_b));
  } else {
    if (HAS_BIAS) v += LOAD_VEC_SOME(bias + oc, OC - oc);
    if (HAS_RESIDUAL) v += LOAD_VEC_SOME(residual + oc, OC - oc);
    STORE_VEC_SOME(y + oc, activate_vec(v, act_a, act_b), OC - oc);
  }
}

/* A tile: some pixels, OCB output channels from oc on, ics input channels. Pixel i lies at x + from[i], its next
 * channel channel_step further; sums is where its sums wait, residual and y where its output channel 0 lies. */
static inline __attribute__((always_inline)) void tile(const int pixels, pixels_t x, const long *from, const long channel_step,
                        __global const acc_t *w, __local acc_t *sums, __global const real *bias,
                        __global const real *residual, __global real *y, const int ics, const int oc, const int OC,
                        const bool first, const bool last, const acc_t act_a, const acc_t act_b) {
  vec acc[PXB][OCV];
  UNROLL for (int i = 0; i < PXB; i++)
    UNROLL for (int j = 0; j < OCV; j++)
      if (i < pixels) acc[i][j] = first ? VEC_OF(0) : LOAD_ACC_LOCAL(sums + i * OCB + j * VEC);

  _Pragma("unroll 2") for (int ic = 0; ic < ics; ic++, x += channel_step, w += OCB) {
    vec wv[OCV];
    UNROLL for (int j = 0; j < OCV; j++) wv[j] = LOAD_ACC(w + j * VEC);
    UNROLL for (int i = 0; i < PXB; i++)
      if (i < pixels) {
        const acc_t xv = x[from[i]];
        UNROLL for (int j = 0; j < OCV; j++) acc[i][j] += xv * wv[j];
      }
  }

  UNROLL for (int i = 0; i < PXB; i++)
    UNROLL for (int j = 0; j < OCV; j++)
      if (i < pixels) {
        if (last && NHWC)
          finish(acc[i][j], oc + j * VEC, OC, bias, residual + (long)i * OC, y + (long)i * OC, act_a, act_b);
        else
          STORE_ACC_LOCAL(sums + i * OCB + j * VEC, acc[i][j]);
      }
}

#if !NHWC
/* v[i].s[j] <- v[j].s[i]: each round interleaves the lower half of the vectors with the upper one. */
static inline void transpose(vec v[VEC]) {
  UNROLL for (int round = 1; round < VEC; round *= 2) {
    vec t[VEC];
    UNROLL for (int i = 0; i < VEC / 2; i++) {
      t[2 * i].even = v[i].lo;
      t[2 * i].odd = v[i + VEC / 2].lo;
      t[2 * i + 1].even = v[i].hi;
      t[2 * i + 1].odd = v[i + VEC / 2].hi;
    }
    UNROLL for (int i = 0; i < VEC; i++) v[i] = t[i];
  }
}

/* The sums of an item, pixel by pixel in local memory, to y, channel by channel. y + oc*P is pixel 0 of the item. */
static inline void write_channels(__local const acc_t *sums, __global const real *bias, __global const real *residual,
                                  __global real *y, const int pixels, const int oc, const int OC, const long P,
                                  const acc_t act_a, const acc_t act_b) {
  for (int j = 0; j < OCV; j++)
    for (int t = 0; t < pixels; t += VEC) {
      vec v[VEC];
      UNROLL for (int i = 0; i < VEC; i++) v[i] = LOAD_ACC_LOCAL(sums + (t + i) * OCB + j * VEC);
      transpose(v);
      UNROLL for (int i = 0; i < VEC; i++) {
        const int c = oc + j * VEC + i;
        if (c >= OC) continue;
        const long at = c * P + t;
        if (HAS_BIAS) v[i] += LOAD(bias, c);
        if (t + VEC <= pixels) {
          if (HAS_RESIDUAL) v[i] += LOAD_VEC(residual + at);
          STORE_VEC(y + at, activate_vec(v[i], act_a, act_b));
        } else {
          if (HAS_RESIDUAL) v[i] += LOAD_VEC_SOME(residual + at, pixels - t);
          STORE_VEC_SOME(y + at, activate_vec(v[i], act_a, act_b), pixels - t);
        }
      }
    }
}
#endif

/* From a pixel of the output to the next: along the row, then down, then to the next image. */
static inline void next_pixel(int *n, int *oh, int *ow, const int OH, const int OW) {
  if (++*ow < OW) return;
  *ow = 0;
  if (++*oh < OH) return;
  *oh = 0;
  ++*n;
}

/* How many pixels the next tile takes of those left: fives first, as many as leave a multiple of six. */
static inline int tile_pixels(const int left) {
  const int fives = (PXB - left % PXB) % PXB;
  return fives > 0 && left >= 5 * fives ? 5 : left >= PXB ? PXB : left >= 3 ? 3 : 1;
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void pointwise_channel(__global const real *restrict x, __global const acc_t *restrict packed,
                       __global const real *restrict bias, __global const real *restrict residual,
                       __global real *restrict y, __local acc_t *panel, __local acc_t *sums, const int N, const int IC,
                       const int IH, const int IW, const int OC, const int OH, const int OW, const int PT,
                       const int PL, const int PIXELS_ITEM, const int BLOCKS_ITEM, const int IC_BLOCK,
                       const acc_t act_a, const acc_t act_b) {
  const int P = OH * OW;
  const int q0 = get_global_id(0) * PIXELS_ITEM;                   /* first pixel of the item */
  const int pixels = min(PIXELS_ITEM, (NHWC ? N * P : P) - q0);    /* 1 .. PIXELS_ITEM */
  const int b0 = get_global_id(1) * BLOCKS_ITEM;                   /* first block of output channels */
  const int b1 = min(b0 + BLOCKS_ITEM, (OC + OCB - 1) / OCB);      /* and the one behind the last */
  const int n0 = NHWC ? q0 / P : get_global_id(2);                 /* image, row and column of the first pixel */
  const int oh0 = NHWC ? q0 / OW % OH : q0 / OW;
  const int ow0 = q0 % OW;
  const long pixel_step = NHWC ? IC : 1;
  const long channel_step = NHWC ? 1 : (long)IH * IW;
  const long out = NHWC ? (long)q0 * OC : (long)n0 * OC * P + q0;  /* pixel q0 of output channel 0 */

#if PANEL
  for (int t = 0, n = n0, oh = oh0, ow = ow0; t < pixels; t++) {
    const int ih = oh * SH - PT, iw = ow * SW - PL;
    const bool inside = ih >= 0 && ih < IH && iw >= 0 && iw < IW;
    __global const real *from = x + (((long)n * IH + ih) * IW + iw) * IC;
    __local acc_t *to = panel + t * IC;
    for (int ic = 0; ic < IC; ic++) to[ic] = inside ? LOAD(from, ic) : 0;
    next_pixel(&n, &oh, &ow, OH, OW);
  }
#endif

  for (int b = b0; b < b1; b++) {
    const int oc = b * OCB; /* 0 .. OC-1 */
    for (int ic0 = 0; ic0 < IC; ic0 += IC_BLOCK) {
      const int ics = min(IC_BLOCK, IC - ic0);
      __global const acc_t *w = packed + ((long)b * IC + ic0) * OCB;
      for (int t = 0, n = n0, oh = oh0, ow = ow0, some; t < pixels; t += some) {
        some = tile_pixels(pixels - t);
        long from[PXB];
        UNROLL for (int i = 0; i < PXB; i++) {
#if PANEL
          from[i] = (t + i) * IC + ic0;
#else
          from[i] = (((long)n * (NHWC ? IH : IH * IC) + oh * SH) * IW + ow * SW) * pixel_step + ic0 * channel_step;
          if (i < some) next_pixel(&n, &oh, &ow, OH, OW);
#endif
        }
        __local acc_t *s = sums + t * OCB;
        const long at = out + (NHWC ? (long)t * OC : t);
        const bool first = ic0 == 0, last = ic0 + ics == IC;
#define TILE(P)                                                                                                     \
  tile(P, SOURCE, from, channel_step, w, s, bias, residual + at, y + at, ics, oc, OC, first, last, act_a, act_b)
        if (some == PXB) TILE(PXB);
        else if (some == 5) TILE(5);
        else if (some == 3) TILE(3);
        else TILE(1);
      }
    }
#if !NHWC
    write_channels(sums, bias, residual + out, y + out, pixels, oc, OC, P, act_a, act_b);
#endif
  }
}
