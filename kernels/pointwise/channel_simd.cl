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
 *                                     +-----------------+-----------------+
 *                                     | w[ic]           |                 |    for each ic in turn
 *                                     +-----------------+-----------------+
 *      x, a tile of PXB pixels
 *      +----------------+         --  +-----------------+-----------------+
 *      | x[p, ic] ...   |        PXB  | sums of pixel p |                 |    in registers
 *      +----------------+         --  +-----------------+-----------------+
 *      next tile: the next PXB pixels of the item, the same w
 *
 * Where PXB/2 pixels or fewer are left, the tile is half as high; pixels too many are computed and dropped. A single one, all there
 * is in a fully connected layer, has a tile of its own. So an image of 7 x 7 wastes nothing with PXB of 14, or of 7. In N C H W the
 * sums of an item pass through local memory and are transposed on their way out. Per multiply-add, 1/OCB + 1/PXB elements are read; x
 * is read once per block of output channels, the filter once per item.
 *
 * With PANEL (N H W C only), the pixels of an item are first copied into local memory, as acc_t and with zeros for the
 * padding: for 16-bit elements, which would be converted again and again, and for images with padding.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, epilogue.clh; NHWC; SH SW; PANEL (0, 1); PXB (pixels of a tile), OCV
 * (its vectors of output channels); PXB*OCV vector registers hold the tile; AHEAD, FAR (1: N H W C
 * without PANEL and stride), see prefetch.clh.
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/lanes.clh"
#include "include/epilogue.clh"
#if !defined(NHWC) || !defined(PXB) || !defined(OCV) || !defined(SH) || !defined(SW) || !defined(PANEL) || !defined(FAR)
#error "NHWC, PXB, OCV, SH, SW, PANEL and FAR must be set by the plan"
#endif

#define STRIDED (!PANEL && (SH != 1 || SW != 1)) /* pixels of a tile have no one distance */

#if PANEL
#define SOURCE panel
typedef __local const acc_t *pixels_t;
#else
#define SOURCE (x + (NHWC ? 0 : n0 * image_step) + q0 * pixel_step)
typedef __global const real *pixels_t;
#endif

#include "include/pixel_tile.clh"
#if !NHWC
#include "include/write_channels.clh"
#endif

/* From a pixel of the output to the next: along the row, then down, then to the next image. */
INLINE void next_pixel(int *n, int *oh, int *ow, const int OH, const int OW) {
  if (++*ow < OW) return;
  *ow = 0;
  if (++*oh < OH) return;
  *oh = 0;
  ++*n;
}

/* `pixels` pixels from q0 on, of image n0 in N C H W, and blocks b0 .. b1-1 of output channels. */
ITEM void item(__global const real *x, __global const acc_t *packed, __global const real *bias,
               __global const real *residual, __global real *y, __local acc_t *panel, __local acc_t *sums,
               const int n0, const int q0, const int pixels, const int b0, const int b1, const passes_t passes,
               const int IC, const int IH, const int IW, const int OC, const int OH, const int OW, const int PT, const int PL,
               const int XC, const int YC, const acc_t act_a, const acc_t act_b) {
  const int oh0 = q0 / OW % OH, ow0 = q0 % OW;                           /* row and column of the first pixel */
  const long pixel_step = PANEL ? IC : NHWC ? XC : 1;
  const long channel_step = NHWC || PANEL ? 1 : (long)IH * IW;
  const long image_step = (long)XC * IH * IW;
  const long out = NHWC ? (long)q0 * YC : (long)n0 * YC * OH * OW + q0;  /* pixel q0 of output channel 0 */

#if PANEL
  for (int t = 0, n = n0, oh = oh0, ow = ow0; t < pixels; t++) {
    const int ih = oh * SH - PT, iw = ow * SW - PL;
    const bool inside = ih >= 0 && ih < IH && iw >= 0 && iw < IW;
    for (int ic = 0; ic < IC; ic++)
      panel[t * IC + ic] = inside ? LOAD(x, n * image_step + ((long)ih * IW + iw) * XC + ic) : 0;
    next_pixel(&n, &oh, &ow, OH, OW);
  }
#endif

  for (int b = b0; b < b1; b++) {
    const int oc = b * OCB; /* 0 .. OC-1 */
    __global const acc_t *w = packed + (long)b * IC * OCB;
    long from[PXB];
    if (!STRIDED) SPREAD_PIXELS(from, PXB, pixel_step);
    for (int t = 0, n = n0, oh = oh0, ow = ow0; t < pixels; t += PXB) {
      const int some = LESSER(PXB, pixels - t);
#if !STRIDED
      if (some < PXB) SPREAD_PIXELS(from, some, pixel_step);
      const pixels_t first = SOURCE + t * pixel_step;
#else
      const pixels_t first = x;
      UNROLL for (int i = 0; i < PXB; i++) {
        from[i] = i < some ? n * image_step + ((long)oh * SH * IW + ow * SW) * pixel_step : from[0];
        if (i < some) next_pixel(&n, &oh, &ow, OH, OW);
      }
#endif
      const long at = out + (NHWC ? (long)t * YC : t);
      ahead_t ahead = ahead_of((long)passes.next * IC * OCB, IC, OCB, passes.turn + t / PXB, passes.turns);
      if (FAR) {
        ahead.stride = (PXB + b1 - b0 - 1) / (b1 - b0);
        ahead.pixels = x + (q0 + pixels + t) * pixel_step + (b - b0) * IC * ahead.stride;
      }
#define TILE(SIZE)                                                                                                  \
  tile(SIZE, some, first, from, channel_step, w, ahead, sums + t * OCB, bias, residual + at, y + at, IC, oc, OC, YC, act_a, act_b)
#if NHWC && (HAS_RESIDUAL || FAR)
      ask_tile(PXB, residual + at, y + at, oc, YC);
#endif
      if (some > PXB / 2) TILE(PXB);
      else if (some > 1) TILE(PXB / 2);
      else TILE(1);
    }
#if !NHWC
    write_channels(sums, bias, residual + out, y + out, pixels, oc, OC, (long)OH * OW, act_a, act_b);
#endif
  }
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void pointwise_channel(__global const real *restrict x, __global const acc_t *restrict packed,
                       __global const real *restrict bias, __global const real *restrict residual,
                       __global real *restrict y, __local acc_t *panel, __local acc_t *sums, const int N, const int IC,
                       const int IH, const int IW, const int OC, const int OH, const int OW, const int PT,
                       const int PL, const int XC, const int YC, const int PIXELS_ITEM, const int BLOCKS_ITEM, const acc_t act_a,
                       const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int q0 = get_global_id(0) * PIXELS_ITEM;                               /* first pixel of the item */
  const int pixels = LESSER(PIXELS_ITEM, (NHWC ? N : 1) * OH * OW - q0);       /* 1 .. PIXELS_ITEM */
  const int b0 = get_global_id(1) * BLOCKS_ITEM;                               /* first block of output channels */
  const int b1 = LESSER(b0 + BLOCKS_ITEM, (OC + OCB - 1) / OCB);               /* and the one behind the last */
  const int n0 = NHWC ? q0 / (OH * OW) : (int)get_global_id(2);                /* image of the first pixel */
  const passes_t passes = passes_of((PIXELS_ITEM + PXB - 1) / PXB, BLOCKS_ITEM);
  item(x, packed, bias, residual, y, panel, sums, n0, q0, pixels, b0, b1, passes, IC, IH, IW, OC, OH, OW, PT, PL, XC, YC, act_a,
       act_b);
}
