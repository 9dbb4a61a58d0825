/* Maximum or mean over a window, channels last:
 *
 *   y[n, oh, ow, c] = max or mean over kh, kw of x[n, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL, c]
 *
 * x    N x IH x IW x C
 * y    N x OH x OW x C
 * Places outside of x are left out of a maximum. A mean divides by the places inside of x (MODE 1), or by those inside of
 * x and its padding (MODE 2).
 *
 * Work-items: (block of ROWS output rows, n); vectors along the channels of one output pixel.
 *
 *      x  [VEC] [VEC] [VEC]
 *         [VEC] [VEC] [VEC]   KH x KW pixels    ->    y [VEC]   one pixel; then its next channels
 *         [VEC] [VEC] [VEC]
 *
 * Per output KH*KW elements of x are read, mostly from the cache, and one is written. Planes of N C H W are images of one channel here,
 * where their rows are too long for the local memory that pool.cl needs.
 *
 * Macros: types.clh, vector.clh, combine.clh; KH KW SH SW DH DW; MODE (0 maximum, 1, 2 mean).
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "combine.clh"
#include "window.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void pool_channels(
    __global const real *restrict x, __global real *restrict y, const int C, const int IH, const int IW, const int OH,
    const int OW, const int PT, const int PL, const int PB, const int PR, const int XC, const int YC,
    const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = (int)get_global_id(0) * ROWS; /* 0 .. OH-1 */
  const long n = get_global_id(1);              /* 0 .. N-1 */
  __global const real *px = x + n * IH * IW * XC;
  for (int oh = oh0; oh < oh0 + ROWS && oh < OH; oh++) {
    const int top = oh * SH - PT; /* may be negative */
    const int kh0 = first_tap(top, KH, DH, 0), kh1 = first_tap(top, KH, DH, IH);
    for (int ow = 0; ow < OW; ow++) {
      const int left = ow * SW - PL; /* may be negative */
      const int kw0 = first_tap(left, KW, DW, 0), kw1 = first_tap(left, KW, DW, IW);
      __global real *py = y + ((n * OH + oh) * OW + ow) * YC;
#if MODE == 1
      const acc_t count = (acc_t)((kh1 - kh0) * (kw1 - kw0));
#elif MODE == 2
      const acc_t count = (acc_t)((first_tap(top, KH, DH, IH + PB) - first_tap(top, KH, DH, -PT)) *
                                  (first_tap(left, KW, DW, IW + PR) - first_tap(left, KW, DW, -PL)));
#else
      const acc_t count = 1;
#endif
      for (int c = 0; c < C; c += VEC) {
        vec v = VEC_OF(NOTHING);
        for (int kh = kh0; kh < kh1; kh++)
          for (int kw = kw0; kw < kw1; kw++) {
            __global const real *p = px + ((long)(top + kh * DH) * IW + left + kw * DW) * XC + c;
            const vec q = c + VEC <= C ? LOAD_VEC(p) : LOAD_VEC_SOME(p, C - c);
            v = COMBINE(v, q);
          }
        if (MODE) v /= VEC_OF(count);
        if (c + VEC <= C) STORE_VEC(py + c, v);
        else STORE_VEC_SOME(py + c, v, C - c);
      }
    }
  }
}
