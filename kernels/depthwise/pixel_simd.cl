/* Depthwise convolution in NHWC, straight from the tensor: vectors along the channels, several pixels at once.
 *
 *   y[n, oh, ow, c] = act( bias + residual + sum over kh, kw of
 *                          x[n, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL, c] * w[kh, kw, c] )
 *
 * x, y, residual N H W C
 * packed         KH KW PITCH, elements of acc_t, written by pack_taps from w (KH KW 1 C): VEC zeros, C elements, zeros
 *
 * Work-items: (block of channels, band of tile rows, n). One box is VEC channels of one pixel:
 *
 *     x, SPAN_H x SPAN_W pixels        y, TILE_OH x TILE_OW pixels
 *     [v][v][v][v][v][v][v][v][v]
 *     [v][v][v][v][v][v][v][v][v]      [acc][acc][acc][acc][acc][acc][acc]
 *     [v][v][v][v][v][v][v][v][v]      [acc][acc][acc][acc][acc][acc][acc]
 *     [v][v][v][v][v][v][v][v][v]
 *
 * Each v is read once, and multiplied at once by the taps of all outputs of the tile that use it; the taps stay in registers too. The
 * next tile is that of the next VEC channels, so that an item reads whole pixels.
 *
 * Where pixels lie a large power of two apart, their vectors share few sets of the first cache. There (ALIGN) a vector should not lie
 * in two lines: the first and the last of a pixel are cut short so that the others begin where lines do, those of y, or with a
 * stride, where more vectors are read for each that is written, those of x.
 *
 * A processor takes a load for that of a store which has not reached the cache yet if the lowest 12 bits of their addresses say so. If
 * they overlap in part, the load waits. Pixels that lie a power of two apart agree in these bits, so where vectors of y lie a little
 * ahead of those of x, the next tile would wait for this one's (36 us where others take 17): there, an item goes from the last channels
 * to the first (22). So it does where vectors of y lie one or two ahead of those of x, which Zen 4 waits for as well: 512 channels at
 * 28 x 28 take 86 us, 51 from the last to the first.
 *
 * Per tile: SPAN_H*SPAN_W vectors of x are read and KH*KW of the filter, TILE_OH*TILE_OW are written. What lies outside the image is
 * skipped: rows by a test each; columns that may by one each in tiles at the border, which a second copy of the code has. A third one
 * has lanes without a channel.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, pixel_taps.clh, epilogue.clh; KH KW SH SW DH DW; TILE_OH, TILE_OW (at most OH, OW).
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/lanes.clh"
#include "include/epilogue.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#if !defined(TILE_OH) || !defined(TILE_OW)
#error "TILE_OH and TILE_OW must be set by the plan"
#endif

#include "include/pixel_taps.clh"

/* A vector of channels of a tile; residual and y point at its first output. */
INLINE void tile(const bool inside, const bool whole, __global const real *p, __global const acc_t *w, __global const real *bias,
                 __global const real *residual, __global real *y, const lanes_t channels, const int ih0, const int iw0,
                 const int PITCH, const int XC, const int YC, const int IH, const int IW, const int OW, const acc_t act_a,
                 const acc_t act_b) {
  vec b = VEC_OF(0);
  if (HAS_BIAS) b = whole ? LOAD_VEC(bias) : LOAD_LANES(bias, channels);
  vec acc[TILE_OH][TILE_OW];
  UNROLL for (int i = 0; i < TILE_OH; i++)
    UNROLL for (int j = 0; j < TILE_OW; j++) acc[i][j] = b;
  add_taps(acc, inside, whole, p, w, channels, ih0, iw0, PITCH, XC, IH, IW);
  UNROLL for (int i = 0; i < TILE_OH; i++, y += (long)OW * YC, residual += (long)OW * YC) {
    ADDRESS_ANEW(y);
    if (HAS_RESIDUAL) ADDRESS_ANEW(residual);
    UNROLL for (int j = 0; j < TILE_OW; j++) {
      const long at = (long)j * YC;
      if (HAS_RESIDUAL) acc[i][j] += whole ? LOAD_VEC(residual + at) : LOAD_LANES(residual + at, channels);
      const vec v = activate_vec(acc[i][j], act_a, act_b);
      if (whole) STORE_VEC(y + at, v);
      else STORE_LANES(y + at, v, channels);
    }
  }
}

/* Vectors of channels of a tile that are whole: from channel c0 on, each `step` further, until c1. */
ITEM void whole_vectors(__global const real *p, __global const acc_t *w, __global const real *bias, __global const real *residual,
                        __global real *y, const int c0, const int c1, const int step, const int ih0, const int iw0, const int PITCH,
                        const int XC, const int YC, const int IH, const int IW, const int OW, const acc_t act_a, const acc_t act_b) {
#define TILE(INSIDE) \
  tile(INSIDE, true, p + c, w + c, bias + c, residual + c, y + c, ALL_LANES, ih0, iw0, PITCH, XC, YC, IH, IW, OW, act_a, act_b)
  if (is_inside(iw0, IW)) {
    for (int c = c0; c != c1; c += step) TILE(true);
  } else {
    for (int c = c0; c != c1; c += step) TILE(false);
  }
}

/* A vector that begins before the first channel, or ends behind the last. */
ITEM void cut_vector(__global const real *p, __global const acc_t *w, __global const real *bias, __global const real *residual,
                     __global real *y, const int c, const int C, const int ih0, const int iw0, const int PITCH, const int XC,
                     const int YC, const int IH, const int IW, const int OW, const acc_t act_a, const acc_t act_b) {
  tile(false, false, p + c, w + c, bias + c, residual + c, y + c, lanes_between(-c, C - c), ih0, iw0, PITCH, XC, YC, IH, IW, OW,
       act_a, act_b);
}

/* Whether vectors of y lie ahead of those of x in the bits of an address that are compared, and overlap two of them, or are one of the
 * next two. */
INLINE bool stores_are_ahead(__global const real *x, __global const real *y, const int XC, const int YC) {
  const int pixel = (XC | YC) * (int)sizeof(real), same = LESSER(pixel & -pixel, 4096); /* bits below agree for all pixels */
  const int distance = (int)((size_t)y - (size_t)x) & (same - 1);
  return distance > 0 && distance < (distance % (int)sizeof(vec) ? same / 2 : 3 * (int)sizeof(vec));
}

ITEM void item(__global const real *x, __global const acc_t *packed, __global const real *bias,
               __global const real *residual, __global real *y, const int row0, const int row1, const int block, const int BLOCKS,
               const int n, const int C, const int IH, const int IW, const int OH, const int OW, const int PT, const int PL,
               const int XC, const int YC, const int PITCH, const int ALIGN, const acc_t act_a, const acc_t act_b) {
  const size_t aligned = SH * SW > 1 ? (size_t)x : (size_t)y;
  const int before = ALIGN ? aligned / sizeof(real) % VEC : 0; /* lanes of the first vector without a channel */
  const int vectors = (before + C + VEC - 1) / VEC;
  const int c0 = (long)vectors * block / BLOCKS * VEC - before, c1 = (long)vectors * (block + 1) / BLOCKS * VEC - before;
  const int whole0 = c0 < 0 ? c0 + VEC : c0, whole1 = c1 > C ? c1 - VEC : c1; /* without vectors that are cut */
  const bool first = c0 < whole0, last = whole1 < c1 && (!first || whole1 > c0);
  const bool back = stores_are_ahead(x, y, XC, YC);
  for (int row = row0; row < row1; row += TILE_OH) {
    const int oh = row < row1 - TILE_OH ? row : row1 - TILE_OH; /* the last tile overlaps the one before, in the same item */
    const int ih0 = oh * SH - PT;
    for (int column = 0; column < OW; column += TILE_OW) {
      const int ow = column < OW - TILE_OW ? column : OW - TILE_OW;
      const int iw0 = ow * SW - PL;
      __global const real *p = x + (((long)n * IH + ih0) * IW + iw0) * XC; /* may lie outside the tensor */
      const long to = (((long)n * OH + oh) * OW + ow) * YC;
#define CUT(C0) \
  cut_vector(p, packed + VEC, bias, residual + to, y + to, C0, C, ih0, iw0, PITCH, XC, YC, IH, IW, OW, act_a, act_b)
#define WHOLE(C0, C1, STEP) \
  whole_vectors(p, packed + VEC, bias, residual + to, y + to, C0, C1, STEP, ih0, iw0, PITCH, XC, YC, IH, IW, OW, act_a, act_b)
      if (back ? last : first) CUT(back ? whole1 : c0);
      if (whole0 < whole1) WHOLE(back ? whole1 - VEC : whole0, back ? whole0 - VEC : whole1, back ? -VEC : VEC);
      if (back ? first : last) CUT(back ? c0 : whole1);
    }
  }
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void depthwise_pixel_simd(
    __global const real *restrict x, __global const acc_t *restrict packed, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, const int C, const int IH, const int IW,
    const int OH, const int OW, const int PT, const int PL, const int XC, const int YC, const int BANDS, const int BLOCKS, const int PITCH,
    const int ALIGN, const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int band = get_global_id(1); /* 0 .. BANDS-1 */
  const int rows = OH / TILE_OH;     /* of whole tiles */
  const int row0 = (long)band * rows / BANDS * TILE_OH; /* first row of outputs */
  const int row1 = band + 1 < BANDS ? (int)((long)(band + 1) * rows / BANDS * TILE_OH) : OH; /* and behind the last */
  const int block = get_global_id(0); /* 0 .. BLOCKS-1 */
  const int n = get_global_id(2);     /* 0 .. N-1 */
  item(x, packed, bias, residual, y, row0, row1, block, BLOCKS, n, C, IH, IW, OH, OW, PT, PL, XC, YC, PITCH, ALIGN, act_a,
       act_b);
}

/* packed[kh, kw, VEC + c] = w[kh, kw, c], 0 before and behind. Work-items: (kh*KW + kw). */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void pack_taps(
    __global const real *restrict w, __global acc_t *restrict packed, const int C, const int PITCH BELL_PARAMETERS) {
  RING_BELL;
  const long tap = get_global_id(0); /* 0 .. KH*KW-1 */
  ROLLED for (int c = -VEC; c < PITCH - VEC; c++)
    packed[tap * PITCH + VEC + c] = c >= 0 && c < C ? LOAD(w, tap * C + c) : 0;
}
