/* Maximum or mean over a window, channels last:
 *
 *   y[n, oh, ow, c] = max or mean over kh, kw of x[n, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL, c]
 *
 * x    N x IH x IW x C
 * y    N x OH x OW x C
 * Places outside of x are left out of a maximum. A mean divides by the places inside of x (MODE 1), or by those inside of
 * x and its padding (MODE 2).
 *
 * Work-items: (block of ROWS output rows, n); vectors along the channels of TILE_OW outputs side by side, columns first:
 *
 *      x  [VEC] [VEC] [VEC] [VEC] [VEC]
 *         [VEC] [VEC] [VEC] [VEC] [VEC]   KH rows of SPAN_W pixels
 *         [VEC] [VEC] [VEC] [VEC] [VEC]
 *           |     |     |     |     |
 *         [VEC] [VEC] [VEC] [VEC] [VEC]   a column each, of which an output takes KW     ->    y [VEC] [VEC] [VEC]
 *
 * Per output of a tile KH*SW elements of x and a few are read, and one is written; outputs with columns outside of x, too few for a tile
 * or of fewer channels than a vector are computed one by one, from KH*KW. Planes of N C H W are images of one channel here, where their
 * rows are too long for the local memory that pool.cl needs.
 *
 * Macros: types.clh, vector.clh, combine.clh; KH KW SH SW DH DW; MODE (0 maximum, 1, 2 mean); TILE_OW (outputs of a tile, 1: none).
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "combine.clh"
#include "window.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#ifndef TILE_OW
#error "TILE_OW must be set by the plan"
#endif

#define SPAN_W ((TILE_OW - 1) * SW + (KW - 1) * DW + 1)

/* One output, of taps kh0 .. kh1-1 by kw0 .. kw1-1. x: the first tap of all, which may lie outside; row: elements from row to row. */
static inline void pixel(__global const real *x, __global real *y, const int kh0, const int kh1, const int kw0, const int kw1,
                         const acc_t count, const int C, const int XC, const long row) {
  for (int c = 0; c < C; c += VEC) {
    vec v = VEC_OF(NOTHING);
    for (int kh = kh0; kh < kh1; kh++)
      for (int kw = kw0; kw < kw1; kw++) {
        __global const real *p = x + kh * DH * row + (long)kw * DW * XC + c;
        const vec q = c + VEC <= C ? LOAD_VEC(p) : LOAD_VEC_SOME(p, C - c);
        v = COMBINE(v, q);
      }
    if (MODE) v /= VEC_OF(count);
    if (c + VEC <= C) STORE_VEC(y + c, v);
    else STORE_VEC_SOME(y + c, v, C - c);
  }
}

/* TILE_OW outputs of rows kh0 .. kh1-1 whose columns are all inside, of VEC channels and more. */
static inline void tile(__global const real *x, __global real *y, const int kh0, const int kh1, const acc_t count, const int C,
                        const int XC, const int YC, const long row) {
  for (int from = 0; from < C; from += VEC) {
    const int c = LESSER(from, C - VEC); /* the last vector overlaps the one before */
    __global const real *p = x + kh0 * DH * row + c;
    vec column[SPAN_W];
    UNROLL for (int q = 0; q < SPAN_W; q++) column[q] = VEC_OF(NOTHING);
    for (int kh = kh0; kh < kh1; kh++, p += DH * row)
      UNROLL for (int q = 0; q < SPAN_W; q++) column[q] = COMBINE(column[q], LOAD_VEC(p + (long)q * XC));
    UNROLL for (int j = 0; j < TILE_OW; j++) {
      vec v = column[j * SW];
      UNROLL for (int kw = 1; kw < KW; kw++) v = COMBINE(v, column[j * SW + kw * DW]);
      if (MODE) v /= VEC_OF(count);
      STORE_VEC(y + (long)j * YC + c, v);
    }
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void pool_channels(
    __global const real *restrict x, __global real *restrict y, const int C, const int IH, const int IW, const int OH,
    const int OW, const int PT, const int PL, const int PB, const int PR, const int XC, const int YC,
    const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = (int)get_global_id(0) * ROWS; /* 0 .. OH-1 */
  const long n = get_global_id(1);              /* 0 .. N-1 */
  const long row = (long)IW * XC;
  __global const real *image = x + n * IH * row;
  const int first = (PL + SW - 1) / SW, inside = IW + PL - (KW - 1) * DW - 1; /* outputs first .. last-1 have all columns inside */
  const int last = inside < 0 ? 0 : LESSER(inside / SW + 1, OW);
  const bool tiled = TILE_OW > 1 && last - first >= TILE_OW && C >= VEC;
  for (int oh = oh0; oh < oh0 + ROWS && oh < OH; oh++) {
    const int top = oh * SH - PT; /* may be negative */
    const int kh0 = first_tap(top, KH, DH, 0), kh1 = first_tap(top, KH, DH, IH);
    const int down = MODE == 2 ? first_tap(top, KH, DH, IH + PB) - first_tap(top, KH, DH, -PT) : kh1 - kh0; /* taps that a mean counts */
    __global real *out = y + (n * OH + oh) * OW * YC;
    for (int ow = 0; ow < OW;) {
      const bool whole = tiled && ow >= first && ow < last;
      const int o = whole ? LESSER(ow, last - TILE_OW) : ow; /* the last tile overlaps the one before */
      const int left = o * SW - PL; /* may be negative */
      __global const real *from = image + top * row + (long)left * XC;
      if (whole) {
        tile(from, out + (long)o * YC, kh0, kh1, (acc_t)(down * KW), C, XC, YC, row);
        ow = o + TILE_OW;
        continue;
      }
      const int kw0 = first_tap(left, KW, DW, 0), kw1 = first_tap(left, KW, DW, IW);
      const int across = MODE == 2 ? first_tap(left, KW, DW, IW + PR) - first_tap(left, KW, DW, -PL) : kw1 - kw0;
      pixel(from, out + (long)o * YC, kh0, kh1, kw0, kw1, (acc_t)(down * across), C, XC, row);
      ow++;
    }
  }
}
