/* Maximum or mean over a window, one output a work-item (GPUs):
 *
 *   y[n, c, oh, ow] = max or mean over kh, kw of x[n, c, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL]
 *
 * x    N C IH IW, or N IH IW C        (macro NHWC)
 * y    N C OH OW, or N OH OW C
 * Places outside of x are left out of a maximum. A mean divides by the places inside of x (MODE 1), or by those inside of
 * x and its padding (MODE 2).
 *
 * Work-items: one per element of y, in its order, rounded up to work-groups; so neighbours read neighbouring elements of x, or those
 * SW apart.
 *
 * Per output KH*KW elements of x are read, mostly from the cache, and one is written.
 *
 * Macros: types.clh, index.clh, combine.clh; KH KW SH SW DH DW; MODE (0 maximum, 1, 2 mean); ITEMS (work-items of a work-group).
 */
#include "include/types.clh"
#include "include/index.clh"
#include "combine.clh"
#include "window.clh"

#if !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW) || !defined(ITEMS)
#error "SH, SW, DH, DW and ITEMS must be set by the plan"
#endif

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void pool_simt(
    __global const real *restrict x, __global real *restrict y, const int N, const int C, const int IH, const int IW,
    const int OH, const int OW, const int PT, const int PL, const int PB, const int PR) {
  const uint item = get_global_id(0);
#if NHWC
  const int c = item % C;           /* 0 .. C-1 */
  const int ow = item / C % OW;     /* 0 .. OW-1 */
  const int oh = item / C / OW % OH;
  const int n = item / C / OW / OH; /* 0 .. N-1, and more in the last work-group */
#else
  const int ow = item % OW;
  const int oh = item / OW % OH;
  const int c = item / OW / OH % C;
  const int n = item / OW / OH / C;
#endif
  if (n >= N) return;
  const int top = oh * SH - PT;  /* may lie outside 0 .. IH-1 */
  const int left = ow * SW - PL; /* may lie outside 0 .. IW-1 */
  acc_t v = NOTHING;
  for (int kh = 0; kh < KH; kh++) {
    const int ih = top + kh * DH;
    if (ih < 0 || ih >= IH) continue;
    for (int kw = 0; kw < KW; kw++) {
      const int iw = left + kw * DW;
      if (iw < 0 || iw >= IW) continue;
      const acc_t q = LOAD(x, tensor_index(n, c, ih, iw, C, IH, IW));
      v = COMBINE(v, q);
    }
  }
#if MODE == 1
  v /= (acc_t)(taps_within(top, KH, DH, 0, IH) * taps_within(left, KW, DW, 0, IW));
#elif MODE == 2
  v /= (acc_t)(taps_within(top, KH, DH, -PT, IH + PB) * taps_within(left, KW, DW, -PL, IW + PR));
#endif
  STORE(y, item, v);
}
