/* Depthwise convolution and the pointwise one behind it, channels last, in one kernel:
 *
 *   d[n, oh, ow, ic] = clamp( shift[ic] + sum over kh, kw of x[n, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL, ic] * taps[kh, kw, ic] )
 *   y[n, oh, ow, oc] = act( bias[oc] + residual[n, oh, ow, oc] + sum over ic of d[n, oh, ow, ic] * w[oc, ic] )
 *
 * x            N IH IW IC
 * taps         KH KW TAP_PITCH, from pack_taps of depthwise/pixel_simd.cl: VEC zeros, IC elements, zeros
 * packed       BLOCKS IC OCB, from pack_filter.cl; or BLOCKS 7 ICH OCB, from pack_strassen.cl  (macro STRASSEN)
 * shift, bias  IC, OC
 * residual, y  N OH OW OC
 *
 * d is never in global memory: a work-item computes it for some rows into local memory, and the pointwise tiles read it there,
 * from the first-level cache.
 *
 *      x rows                 d, in local memory                        y
 *      [v][v][v][v] ..  taps  +-- pitch: IC, filled up --+   packed    [acc][acc]
 *      [v][v][v][v] ..  --->  | pixel 0                  |   ----->    [acc][acc]  PXB pixels, OCV vectors
 *      [v][v][v][v] ..        | pixel 1 ...              |             ...
 *
 * With STRASSEN, the pointwise part is Strassen's product (include/strassen_tile.clh): the quarters of a tile are read where they
 * are, in d, their sums are put beside it.
 *
 * Work-items:
 *   gid 0   band gid0 of BANDS of output rows, see include/bands.clh
 *   gid 1   blocks gid1*BLOCKS_ITEM ... of OCB output channels, or of twice as many; the depthwise part is computed again for each
 *   gid 2   image n, 0 .. N-1
 *
 * x is read once and y is written once, per part of the output channels; a launch and a tensor are saved.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, pixel_taps.clh, epilogue.clh (of the pointwise part); KH KW SH SW DH DW; TILE_OW (at
 * most OW); HAS_SHIFT, CLAMP (0, 1: of the depthwise part); STRASSEN (0, 1), PXB (even), PXS (with STRASSEN), OCV; AHEAD, see prefetch.clh.
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/lanes.clh"
#include "include/epilogue.clh"
#include "include/bands.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW) || !defined(TILE_OW)
#error "KH, KW, SH, SW, DH, DW and TILE_OW must be set by the plan"
#endif
#if !defined(PXB) || !defined(OCV) || !defined(HAS_SHIFT) || !defined(CLAMP) || !defined(STRASSEN)
#error "PXB, OCV, HAS_SHIFT, CLAMP and STRASSEN must be set by the plan"
#endif

#define NHWC 1
#define TILE_OH 1
typedef __local const acc_t *pixels_t;
#include "include/pixel_taps.clh"
#include "include/pixel_tile.clh"
#if STRASSEN
#define ASK_OUTPUTS 0
typedef pixels_t quarter_t;
#include "include/strassen_tile.clh"
#endif

/* VEC channels of a tile. */
INLINE void depthwise_vector(const bool inside, const bool whole, __global const real *p, __global const acc_t *taps,
                             __global const real *shift, __local acc_t *d, const lanes_t channels, const int ih0, const int iw0,
                             const int TAP_PITCH, const int PITCH, const int IC, const int IH, const int IW, const acc_t low,
                             const acc_t high) {
  vec first = VEC_OF(0);
  if (HAS_SHIFT) first = whole ? LOAD_VEC(shift) : LOAD_LANES(shift, channels);
  vec acc[1][TILE_OW];
  UNROLL for (int j = 0; j < TILE_OW; j++) acc[0][j] = first;
  add_taps(acc, inside, whole, p, taps, channels, ih0, iw0, TAP_PITCH, IC, IH, IW);
  ADDRESS_ANEW(d);
  UNROLL for (int j = 0; j < TILE_OW; j++) {
    vec v = acc[0][j];
    if (CLAMP) v = CLCONV_CLAMP(v, VEC_OF(low), VEC_OF(high));
    STORE_ACC_LOCAL(d + j * PITCH, v);
  }
}

#define DEPTHWISE_VECTOR(INSIDE, WHOLE) \
  depthwise_vector(INSIDE, WHOLE, p + c, taps + c, shift + c, d + c, lanes_between(0, IC - c), ih0, iw0, TAP_PITCH, PITCH, IC, IH, IW, \
                   low, high)

/* The channels from c on, fewer than VEC. */
ITEM void last_channels(__global const real *p, __global const acc_t *taps, __global const real *shift, __local acc_t *d, const int c,
                        const int ih0, const int iw0, const int TAP_PITCH, const int PITCH, const int IC, const int IH,
                        const int IW, const acc_t low, const acc_t high) {
  DEPTHWISE_VECTOR(false, false);
}

/* TILE_OW pixels of d to local memory; p and iw0 are where the first tap of the first pixel would stand. */
ITEM void depthwise_tile(__global const real *p, __global const acc_t *taps, __global const real *shift, __local acc_t *d,
                         const int ih0, const int iw0, const int TAP_PITCH, const int PITCH, const int IC, const int IH,
                         const int IW, const acc_t low, const acc_t high) {
  const int whole = IC / VEC * VEC;
  if (is_inside(iw0, IW)) {
    for (int c = 0; c < whole; c += VEC) DEPTHWISE_VECTOR(true, true);
  } else {
    for (int c = 0; c < whole; c += VEC) DEPTHWISE_VECTOR(false, true);
  }
  if (whole < IC) last_channels(p, taps, shift, d, whole, ih0, iw0, TAP_PITCH, PITCH, IC, IH, IW, low, high);
}

#if STRASSEN
/* Blocks b0 .. b1-1 of the output channels of `pixels` pixels, each with its partner. sums: room for those of d. */
INLINE void pointwise(__local acc_t *d, __local acc_t *sums, __global const acc_t *packed, __global const real *bias,
                      __global const real *residual, __global real *y, const int pixels, const int b0, const int b1,
                      const int BLOCKS, const int IC, const int OC, const int YC, const int PITCH, const acc_t act_a, const acc_t act_b) {
  const int tiles = tiles_of(pixels), small = small_tiles_of(pixels);
  const int ICH = IC / 2, ROW = ICH + VEC; /* rows of 4 KB would share the sets of the first cache, which are few */
  const int step = PXB * ROW;
  for (int i = pixels * PITCH; i < tile_start(tiles, tiles, small) * PITCH; i += VEC) STORE_ACC_LOCAL(d + i, VEC_OF(0));
  for (int t = 0; t < tiles; t++) {
    const int size = t < tiles - small ? PXB : PXS;
    __local const acc_t *upper = d + tile_start(t, tiles, small) * PITCH, *lower = upper + size * PITCH;
    __local acc_t *to = sums + t * SUMS * step;
    for (int i = 0; i < size; i++, upper += PITCH, lower += PITCH, to += ROW)
      for (int ic = 0; ic < ICH; ic += VEC)
        put_sums(to + ic, step, LOAD_ACC_LOCAL(upper + ic), LOAD_ACC_LOCAL(upper + ICH + ic), LOAD_ACC_LOCAL(lower + ic),
                 LOAD_ACC_LOCAL(lower + ICH + ic));
  }
  for (int b = b0; b < b1; b++) {
    __global const acc_t *w = packed + (long)b * STEPS * ICH * OCB;
    for (int t = 0; t < tiles; t++) {
      const int p0 = tile_start(t, tiles, small);
      __local const acc_t *upper = d + p0 * PITCH, *s = sums + t * SUMS * step;
      const long at = (long)p0 * YC;
      const ahead_t ahead = ahead_of((long)STEPS * ICH * OCB, STEPS * ICH, OCB, t, tiles);
#define QUARTERS(SIZE)                                                                                                \
  quarters(SIZE, pixels - p0, upper, upper + ICH, upper + SIZE * PITCH + ICH, PITCH, s, ROW, step, 1, w, ahead, true, true, sums, 0, bias, \
           residual + at, y + at, ICH, b * OCB, BLOCKS * OCB, OC, YC, act_a, act_b)
      if (t < tiles - small) QUARTERS(PXB);
      else QUARTERS(PXS);
    }
  }
}
#else
/* Blocks b0 .. b1-1 of the output channels of `pixels` pixels. */
INLINE void pointwise(__local acc_t *d, __local acc_t *sums, __global const acc_t *packed, __global const real *bias,
                      __global const real *residual, __global real *y, const int pixels, const int b0, const int b1,
                      const int BLOCKS, const int IC, const int OC, const int YC, const int PITCH, const acc_t act_a, const acc_t act_b) {
  for (int b = b0; b < b1; b++) {
    const int oc = b * OCB; /* 0 .. OC-1 */
    __global const acc_t *w = packed + (long)b * IC * OCB;
    long from[PXB];
    SPREAD_PIXELS(from, PXB, PITCH);
    for (int t = 0; t < pixels; t += PXB) {
      const int some = LESSER(PXB, pixels - t);
      if (some < PXB) SPREAD_PIXELS(from, some, PITCH);
      const long at = (long)t * YC;
      const ahead_t ahead = ahead_of((long)IC * OCB, IC, OCB, t / PXB, (pixels + PXB - 1) / PXB);
#define TILE(SIZE) tile(SIZE, some, d + t * PITCH, from, 1, w, ahead, d, bias, residual + at, y + at, IC, oc, OC, YC, act_a, act_b)
      if (some > PXB / 2) TILE(PXB);
      else TILE(PXB / 2);
    }
  }
}
#endif

/* Rows oh0 .. oh0+rows-1 of image n, blocks b0 .. b1-1 of output channels. */
ITEM void item(__global const real *x, __global const acc_t *taps, __global const real *shift, __global const acc_t *packed,
               __global const real *bias, __global const real *residual, __global real *y, __local acc_t *d,
               __local acc_t *sums, const int n, const int oh0, const int rows, const int b0, const int b1, const int BLOCKS,
               const int IC, const int IH, const int IW, const int OC, const int OH, const int OW, const int PT, const int PL,
               const int YC, const int TAP_PITCH, const int PITCH, const acc_t low, const acc_t high, const acc_t act_a,
               const acc_t act_b) {
  for (int row = 0; row < rows; row++) {
    const int ih0 = (oh0 + row) * SH - PT;
    for (int column = 0; column < OW; column += TILE_OW) {
      const int ow = column < OW - TILE_OW ? column : OW - TILE_OW; /* the last tile overlaps the one before */
      const int iw0 = ow * SW - PL;
      const long from = (((long)n * IH + ih0) * IW + iw0) * IC; /* may lie outside the tensor */
      __local acc_t *to = d + (row * OW + ow) * PITCH;
      depthwise_tile(x + from, taps + VEC, shift, to, ih0, iw0, TAP_PITCH, PITCH, IC, IH, IW, low, high);
    }
  }
  const long out = ((long)n * OH + oh0) * OW * YC; /* the first pixel's output channel 0 */
  pointwise(d, sums, packed, bias, residual + out, y + out, rows * OW, b0, b1, BLOCKS, IC, OC, YC, PITCH, act_a, act_b);
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void separable(
    __global const real *restrict x, __global const acc_t *restrict taps, __global const real *restrict shift,
    __global const acc_t *restrict packed, __global const real *restrict bias, __global const real *restrict residual,
    __global real *restrict y, __local acc_t *d, __local acc_t *sums, const int IC, const int IH, const int IW, const int OC,
    const int OH, const int OW, const int PT, const int PL, const int YC, const int BANDS, const int BLOCKS, const int BLOCKS_ITEM,
    const int TAP_PITCH, const int PITCH, const acc_t low, const acc_t high, const acc_t act_a, const acc_t act_b
    BELL_PARAMETERS) {
  RING_BELL;
  const int band = get_global_id(0), oh0 = BAND_START(band, BANDS, OH); /* 0 .. OH-1 */
  const int rows = BAND_START(band + 1, BANDS, OH) - oh0;
  const int b0 = (int)get_global_id(1) * BLOCKS_ITEM; /* first block of output channels */
  const int b1 = LESSER(b0 + BLOCKS_ITEM, BLOCKS);
  const int n = get_global_id(2); /* 0 .. N-1 */
  item(x, taps, shift, packed, bias, residual, y, d, sums, n, oh0, rows, b0, b1, BLOCKS, IC, IH, IW, OC, OH, OW, PT, PL,
       YC, TAP_PITCH, PITCH, low, high, act_a, act_b);
}
