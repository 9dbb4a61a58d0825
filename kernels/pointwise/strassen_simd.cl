/* 1x1 convolution by Strassen's matrix product: seven products of halves where the direct method has eight.
 *
 *   y[n, oc, p] = act( bias[oc] + residual[n, oc, p] + sum over ic of x[n, ic, at(p)] * w[oc, ic] )
 *
 * with p = oh*OW + ow counting the output's pixels, and at(p) the pixel (oh*SH, ow*SW) of x.
 *
 * include/strassen.clh has the scheme: sums of quarters A11 A12 over A21 A22 of 2*s pixels by 2*ICH channels of x are
 * multiplied with sums of quarters B11 B12 over B21 B22 of the filter.
 *
 * x, y, residual   N H W C, or N C H W     (macro NHWC)
 * packed           BLOCKS 7 ICH OCB        from pack_strassen.cl: B11 B21 T2 T3 T4 T1 B22 of OCB output channels from b*OCB on and
 *                                          OCB from (BLOCKS + b)*OCB on; zero behind the last channel
 * bias             OC
 *
 * Work-items: (tiles, blocks, image), one in a work-group:
 *   gid 0   tiles gid0*TILES_ITEM ... of an image in N C H W, of all images in one row in N H W C
 *   gid 1   blocks gid1*BLOCKS_ITEM ... of output channels, each with its partner
 *   gid 2   image n, 0 .. N-1, in N C H W; 0 in N H W C
 *
 *      x, a tile                operands, in local memory             y
 *      +---------------+        +-----+-----+-----+                    +-----+-----+
 *      | A11  |  A12   |  --->  | A11 | A12 | A22 |   7 products  -->  | C11 | C12 |  `size` pixels
 *      +---------------+        +-----+-----+-----+-----+              +-----+-----+
 *      | A21  |  A22   |        | S1  | S2  | S3  | S4  |              | C21 | C22 |  `size` pixels
 *      +---------------+        +-----+-----+-----+-----+              +-----+-----+
 *                                                                       OCB channels, and their partners OCH further
 *
 * Per multiply-add, 1/OCB + 1/PXB elements are read from local memory and the filter; x is read once per work-item.
 *
 * With IN_PARTS, input channels come in parts of PART, whose sums are added to those of the parts before, in y: so that the operands of
 * an item's tiles and a block of the filter stay in the second cache together.
 *
 * With IN_PLACE, quarters whose pixels all exist are not copied: a pixel is broadcast from where x has it.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, epilogue.clh; NHWC; SH SW; IN_PLACE (1: N H W C without stride, whole vectors in
 * half of IC, and pointers to local memory may be cast to global ones, as on PoCL's CPUs); IN_PARTS (1: N H W C, real is acc_t); PXB, PXS
 * (pixels of a tile's half, PXS < PXB), OCV (its vectors of output channels); PXB*OCV vector registers hold the sums; AHEAD, FAR (1:
 * IN_PLACE without IN_PARTS), see prefetch.clh.
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/lanes.clh"
#include "include/epilogue.clh"

#if !defined(NHWC) || !defined(PXB) || !defined(OCV) || !defined(SH) || !defined(SW)
#error "NHWC, PXB, OCV, SH and SW must be set by the plan"
#endif
#if !defined(IN_PLACE) || !defined(IN_PARTS) || !defined(FAR)
#error "IN_PLACE, IN_PARTS and FAR must be set by the plan"
#endif

typedef __local const acc_t *pixels_t;
#if IN_PLACE
typedef __global const acc_t *quarter_t;
#define QUARTER(COPY, X) (whole ? (X) : (quarter_t)(size_t)(COPY))
#else
typedef pixels_t quarter_t;
#define QUARTER(COPY, X) (COPY)
#endif
#define ASK_OUTPUTS (NHWC && (HAS_RESIDUAL || FAR))
#include "include/pixel_tile.clh"
#include "include/strassen_tile.clh"
#if !NHWC
#include "include/picks.clh"
#include "include/write_channels.clh"
#endif

#define STRIDED (SH != 1 || SW != 1)
#define WIDE_PIXELS ((PXB + VEC - 1) / VEC * VEC) /* a half's pixels side by side, N C H W */

/* Where pixel p lies in a channel of image 0: in N H W C counted over all images, and PITCH elements from pixel to pixel. */
INLINE long pixel_at(const int p, const int PITCH, const int IH, const int IW, const int OH, const int OW) {
  const long step = NHWC ? PITCH : 1;
#if !STRIDED
  return p * step;
#else
  const int ow = p % OW, oh = p / OW % OH, n = p / OW / OH;
  return (((long)n * IH + oh * SH) * IW + ow * SW) * step;
#endif
}

#if NHWC
/* A tile's operands: OPERANDS times `size` rows of ROW elements, each ICH channels of a pixel; or their sums alone. x: the first of IC
 * channels of pixel 0. */
INLINE void put_tile(__global const real *x, __local acc_t *to, const int size, const int p0, const int pixels, const int ROW,
                     const int IC, const int ICH, const int PITCH, const int IH, const int IW, const int OH, const int OW) {
  for (int i = 0; i < size; i++, to += ROW) {
    const bool upper = i < pixels, lower = size + i < pixels; /* the pixel exists */
    __global const real *a1 = x + (upper ? pixel_at(p0 + i, PITCH, IH, IW, OH, OW) : 0);
    __global const real *a2 = x + (lower ? pixel_at(p0 + size + i, PITCH, IH, IW, OH, OW) : 0);
    if (IN_PLACE && 2 * size <= pixels) {
      for (int ic = 0; ic < ICH; ic += VEC)
        put_sums(to + RAW * PXB * ROW + ic, PXB * ROW, LOAD_VEC(a1 + ic), LOAD_VEC(a1 + ICH + ic), LOAD_VEC(a2 + ic),
                 LOAD_VEC(a2 + ICH + ic));
      continue;
    }
    if (upper && lower && ICH % VEC == 0 && IC % 2 == 0) {
      for (int ic = 0; ic < ICH; ic += VEC)
        put_operands(to + ic, PXB * ROW, LOAD_VEC(a1 + ic), LOAD_VEC(a1 + ICH + ic), LOAD_VEC(a2 + ic),
                     LOAD_VEC(a2 + ICH + ic));
      continue;
    }
    for (int ic = 0; ic < ICH; ic += VEC) {
      const lanes_t left = lanes_between(0, ICH - ic), right = lanes_between(0, IC - ICH - ic);
      const vec none = VEC_OF(0);
      put_operands(to + ic, PXB * ROW, upper ? LOAD_LANES(a1 + ic, left) : none,
                   upper ? LOAD_LANES(a1 + ICH + ic, right) : none, lower ? LOAD_LANES(a2 + ic, left) : none,
                   lower ? LOAD_LANES(a2 + ICH + ic, right) : none);
    }
  }
}
#else
/* A tile's operands: OPERANDS times ICH rows of WIDE_PIXELS pixels. x: channel 0 of the image. */
INLINE void put_tile(__global const real *x, __local acc_t *to, const int size, const int p0, const int pixels, const int IC,
                     const int ICH, const int IH, const int IW, const int OH, const int OW) {
  const long area = (long)IH * IW, left = ICH * area; /* from a channel to its partner */
  const int uppers = LESSER(size, pixels), lowers = LESSER(size, pixels - size);
#if STRIDED
  int from[2][WIDE_PIXELS]; /* of the upper and the lower half */
  for (int h = 0; h < 2; h++)
    for (int i = 0; i < size; i++) from[h][i] = pixel_at(p0 + h * size + i, 1, IH, IW, OH, OW);
#endif
  for (int j = 0; j < WIDE_PIXELS; j += VEC) {
#if STRIDED
    picks_t upper, lower;
    set_picks(&upper, from[0] + j, uppers - j);
    set_picks(&lower, from[1] + j, lowers - j);
    __global const real *a1 = x, *a2 = x;
#define LOAD_PIXELS(P, HALF) load_picks((P), &HALF)
#else
    const lanes_t upper = lanes_between(0, uppers - j), lower = lanes_between(0, lowers - j);
    __global const real *a1 = x + p0 + j, *a2 = a1 + size;
#define LOAD_PIXELS(P, HALF) LOAD_LANES((P), HALF)
#endif
    for (int ic = 0; ic < ICH; ic++, a1 += area, a2 += area) {
      const bool right = ICH + ic < IC; /* the channel exists */
      const vec none = VEC_OF(0);
      put_operands(to + ic * WIDE_PIXELS + j, ICH * WIDE_PIXELS, LOAD_PIXELS(a1, upper),
                   right ? LOAD_PIXELS(a1 + left, upper) : none, LOAD_PIXELS(a2, lower),
                   right ? LOAD_PIXELS(a2 + left, lower) : none);
    }
  }
}
#endif

/* Tiles t0 .. t1-1 of image n, blocks b0 .. b1-1 of output channels, a part of the input channels: `channels` from c0 on. */
INLINE void add_part(__global const real *x, __global const acc_t *packed, __global const real *bias, __global const real *residual,
                     __global real *y, __local acc_t *operands, __local acc_t *sums, const int n, const int t0, const int t1,
                     const int b0, const int b1, const int c0, const int channels, const passes_t passes, const int TILES,
                     const int SMALL, const int BLOCKS, const int P, const int IC, const int IH, const int IW, const int OC,
                     const int OH, const int OW, const int XC, const int YC, const acc_t act_a, const acc_t act_b) {
  const int ICH = (channels + 1) / 2, OCH = BLOCKS * OCB;
  const int ROW = (ICH + VEC - 1) / VEC * VEC + VEC; /* rows of 4 KB would share the sets of the first cache, which are few */
  const int step = NHWC ? PXB * ROW : ICH * WIDE_PIXELS; /* from operand to operand */
  const int row = NHWC ? ROW : 1, channel = NHWC ? 1 : WIDE_PIXELS;
  const int start = tile_start(t0, TILES, SMALL);
  const int all = LESSER(tile_start(t1, TILES, SMALL), P) - start; /* pixels of this item, 1 or more */
  const long out = NHWC ? (long)start * YC : (long)n * YC * P + start;
  const bool first = !IN_PARTS || c0 == 0, last = !IN_PARTS || c0 + channels == IC;
  x += NHWC ? c0 : (long)n * XC * IH * IW;

  for (int t = t0; t < t1; t++) {
    const int size = t < TILES - SMALL ? PXB : PXS, p0 = tile_start(t, TILES, SMALL);
#if NHWC
    put_tile(x, operands + (t - t0) * OPERANDS * step, size, p0, P - p0, ROW, channels, ICH, XC, IH, IW, OH, OW);
#else
    put_tile(x, operands + (t - t0) * OPERANDS * step, size, p0, P - p0, IC, ICH, IH, IW, OH, OW);
#endif
  }
  const int partner = (tile_start(t1, TILES, SMALL) - start) * OCB;
  for (int b = b0; b < b1; b++) {
    const int oc = b * OCB; /* 0 .. OCH-1 */
    __global const acc_t *w = packed + (long)b * STEPS * ICH * OCB;
#if IN_PARTS && AHEAD == 1
    const int next = b + 1 < b1 ? passes.next : BLOCKS - (b - b0); /* at the end, to the next part's first block */
#else
    const int next = passes.next;
#endif
    for (int t = t0; t < t1; t++) {
      const int size = t < TILES - SMALL ? PXB : PXS, p0 = tile_start(t, TILES, SMALL);
      const bool whole = IN_PLACE && 2 * size <= P - p0;
      __local const acc_t *a = operands + (t - t0) * OPERANDS * step;
      const quarter_t a11 = QUARTER(a + A11 * step, x + (long)p0 * XC), a12 = QUARTER(a + A12 * step, a11 + ICH);
      const quarter_t a22 = QUARTER(a + A22 * step, a12 + (long)size * XC);
      const long at = out + (NHWC ? (long)(p0 - start) * YC : 0);
      ahead_t ahead = ahead_of((long)next * STEPS * ICH * OCB, STEPS * ICH, OCB, passes.turn + t - t0, passes.turns);
      if (FAR) {
        ahead.stride = (4 * PXB + STEPS * (b1 - b0) - 1) / (STEPS * (b1 - b0));
        ahead.pixels = x + (long)(p0 + all) * XC + (b - b0) * STEPS * ICH * ahead.stride;
      }
#define QUARTERS(SIZE)                                                                                                       \
  quarters(SIZE, P - p0, a11, a12, a22, whole ? XC : row, a + RAW * step, row, step, channel, w, ahead, first, last,         \
           sums + (p0 - start) * OCB, partner, bias, residual + at, y + at, ICH, oc, OCH, OC, YC, act_a, act_b)
      if (size == PXB) QUARTERS(PXB);
      else QUARTERS(PXS);
    }
#if !NHWC
    ROLLED for (int right = 0; right < 2; right++)
      write_channels(sums + right * partner, bias, residual + out, y + out, all, oc + right * OCH, OC, P, act_a, act_b);
#endif
  }
}

/* Tiles t0 .. t1-1 of image n, blocks b0 .. b1-1 of output channels. */
ITEM void item(__global const real *x, __global const acc_t *packed, __global const real *bias, __global const real *residual,
               __global real *y, __local acc_t *operands, __local acc_t *sums, const int n, const int t0, const int t1,
               const int b0, const int b1, const passes_t passes, const int TILES, const int SMALL, const int BLOCKS, const int PART,
               const int P, const int IC, const int IH, const int IW, const int OC, const int OH, const int OW, const int XC,
               const int YC, const acc_t act_a, const acc_t act_b) {
  if (!IN_PARTS) {
    add_part(x, packed, bias, residual, y, operands, sums, n, t0, t1, b0, b1, 0, IC, passes, TILES, SMALL, BLOCKS, P, IC, IH, IW, OC,
             OH, OW, XC, YC, act_a, act_b);
    return;
  }
  for (int c0 = 0; c0 < IC; c0 += PART, packed += (long)BLOCKS * STEPS * (PART / 2) * OCB)
    add_part(x, packed, bias, residual, y, operands, sums, n, t0, t1, b0, b1, c0, LESSER(PART, IC - c0), passes, TILES, SMALL, BLOCKS,
             P, IC, IH, IW, OC, OH, OW, XC, YC, act_a, act_b);
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void pointwise_strassen(__global const real *restrict x, __global const acc_t *restrict packed,
                        __global const real *restrict bias, __global const real *restrict residual,
                        __global real *restrict y, __local acc_t *operands, __local acc_t *sums, const int N, const int IC,
                        const int IH, const int IW, const int OC, const int OH, const int OW, const int XC, const int YC, const int TILES,
                        const int SMALL, const int TILES_ITEM, const int BLOCKS, const int BLOCKS_ITEM, const int PART, const acc_t act_a,
                        const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int t0 = get_global_id(0) * TILES_ITEM;         /* first tile of the item */
  const int t1 = LESSER(t0 + TILES_ITEM, TILES);        /* and the one behind the last */
  const int b0 = get_global_id(1) * BLOCKS_ITEM;        /* first block of output channels */
  const int b1 = LESSER(b0 + BLOCKS_ITEM, BLOCKS);      /* and the one behind the last */
  const passes_t passes = passes_of(TILES_ITEM, BLOCKS_ITEM);
  item(x, packed, bias, residual, y, operands, sums, get_global_id(2), t0, t1, b0, b1, passes, TILES, SMALL, BLOCKS, PART,
       (NHWC ? N : 1) * OH * OW, IC, IH, IW, OC, OH, OW, XC, YC, act_a, act_b);
}
