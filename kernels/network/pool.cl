/* Maximum or mean over a window:
 *
 *   y[p, oh, ow] = max or mean over kh, kw of x[p, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL]
 *
 * x    PLANES x IH x IW   (planes are images times channels)
 * y    PLANES x OH x OW
 * Places outside of x are left out of a maximum. A mean divides by the places inside of x (MODE 1), or by those inside of
 * x and its padding (MODE 2).
 *
 * Work-items: (block of ROWS output rows, plane). For each output row the KH rows of x are combined into `row` first,
 * in vectors; then the KW neighbours in `row` are combined, again in vectors where no neighbour is outside.
 *
 *       x   ......................
 *           ......................   KH rows        row  ..ooooooooooooo..      y  .[VEC][VEC].
 *           ......................   -------->                              ->
 *
 * Per output KH*SW elements of x are read, in whole rows, and one is written.
 *
 * Macros: types.clh, vector.clh, border.clh, combine.clh; KH KW SH SW DH DW; MODE (0 maximum, 1, 2 mean). The maximum
 * of a window with a NaN in it is not defined.
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "include/border.clh"
#include "combine.clh"
#include "window.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif

/* VEC outputs from the combined row, all of whose neighbours are inside; p points at the first one's first neighbour. */
static inline vec across(__local const acc_t *p) {
  vec v = VEC_OF(NOTHING);
  UNROLL for (int kw = 0; kw < KW; kw++) {
#if SW == 1
    v = COMBINE(v, LOAD_ACC_LOCAL(p + kw * DW));
#elif SW == 2
    const vec low = LOAD_ACC_LOCAL(p + kw * DW), high = LOAD_ACC_LOCAL(p + kw * DW + VEC);
    const vec q = EVENS(low, high);
    v = COMBINE(v, q);
#else
    vec_lanes q;
    UNROLL for (int i = 0; i < VEC; i++) q.s[i] = p[kw * DW + i * SW];
    v = COMBINE(v, q.v);
#endif
  }
  return v;
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void pool(
    __global const real *restrict x, __global real *restrict y, const int IH, const int IW, const int OH, const int OW,
    const int PT, const int PL, const int PB, const int PR, const int ROWS, __local acc_t *restrict row BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = (int)get_global_id(0) * ROWS; /* 0 .. OH-1 */
  const long plane = get_global_id(1);          /* 0 .. PLANES-1 */
  __global const real *px = x + plane * IH * IW;

  /* Outputs first .. last-1 of a row have all their neighbours inside. */
  const int first = PL > 0 ? (PL + SW - 1) / SW : 0;
  const int room = IW - 1 + PL - (KW - 1) * DW;
  const int last = room < 0 ? 0 : room / SW + 1 < OW ? room / SW + 1 : OW;
  row[IW] = 0; /* across() may look at it and throws it away */

  for (int oh = oh0; oh < oh0 + ROWS && oh < OH; oh++) {
    const int at = oh * SH - PT;
    const int low = at < 0 ? (-at + DH - 1) / DH : 0;                         /* kh of the first row inside */
    const int high = at + (KH - 1) * DH >= IH ? (IH - at + DH - 1) / DH : KH; /* and behind the last one */
    for (int from = 0; IW >= VEC && from < IW; from += VEC) {
      const int i = LESSER(from, IW - VEC); /* the last vector overlaps the one before */
      vec v = VEC_OF(NOTHING);
      for (int kh = low; kh < high; kh++) {
        const vec q = LOAD_VEC(px + (long)(at + kh * DH) * IW + i);
        v = COMBINE(v, q);
      }
      STORE_ACC_LOCAL(row + i, v);
    }
    for (int i = 0; IW < VEC && i < IW; i++) {
      acc_t v = NOTHING;
      for (int kh = low; kh < high; kh++) {
        const acc_t q = LOAD(px, (long)(at + kh * DH) * IW + i);
        v = COMBINE(v, q);
      }
      row[i] = v;
    }

#if MODE == 1
    const int rows = high - low;
#elif MODE == 2
    const int rows = taps_within(at, KH, DH, -PT, IH + PB);
#endif
    __global real *py = y + (plane * OH + oh) * OW;
    int ow = 0;
    while (ow < OW) {
      if (ow >= first && ow < last && last - first >= VEC) {
        ow = LESSER(ow, last - VEC);
        vec v = across(row + ow * SW - PL);
#if MODE != 0
        v = v / VEC_OF((acc_t)(rows * KW));
#endif
        STORE_VEC(py + ow, v);
        ow += VEC;
        continue;
      }
      const int left = ow * SW - PL;
      acc_t v = NOTHING;
      for (int kw = 0; kw < KW; kw++) {
        const int iw = left + kw * DW; /* may lie outside 0 .. IW-1 */
        if (iw >= 0 && iw < IW) v = COMBINE(v, row[iw]);
      }
#if MODE == 1
      v = v / (acc_t)(rows * taps_within(left, KW, DW, 0, IW));
#elif MODE == 2
      v = v / (acc_t)(rows * taps_within(left, KW, DW, -PL, IW + PR));
#endif
      STORE(py, ow, v);
      ow++;
    }
  }
}
