/* ShuffleNet's channel shuffle, two channels of a pixel a work-item (GPUs): as channel_shuffle.cl,
 *
 *   s[n, 2*c + i, p] = (i == 0 ? a : b)[n, c, p]        y, z = the first and the second half of the channels of s; or y = s
 *
 * a, b   N C AREA, or N AREA C      (macro NHWC)
 * y, z   N HALF AREA, or N AREA HALF: HALF is C, which is even; or 2*C, and there is no z
 *
 * Work-items: one per element of a, in its order, rounded up to work-groups. Each element is read and written once.
 *
 * Macros: BYTES (1, 2, 4, 8: size of an element), NHWC, UNALIGNED_VECTORS, ITEMS (work-items of a work-group).
 */
#if !defined(BYTES) || !defined(NHWC) || !defined(UNALIGNED_VECTORS) || !defined(ITEMS)
#error "BYTES, NHWC, UNALIGNED_VECTORS and ITEMS must be set by the plan"
#endif

#include "include/element.clh"

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void shuffle_simt(
    __global const element *restrict a, __global const element *restrict b, __global element *restrict y,
    __global element *restrict z, const int N, const int C, const int AREA, const int HALF) {
  const uint item = get_global_id(0);
  const int c = NHWC ? item % C : item / AREA % C;    /* 0 .. C-1 */
  const int p = NHWC ? item / C % AREA : item % AREA; /* 0 .. AREA-1 */
  const int n = item / AREA / C;                      /* 0 .. N-1, and more in the last work-group */
  if (n >= N) return;
  for (int i = 0; i < 2; i++) {
    const int s = 2 * c + i; /* 0 .. 2*C-1 */
    const int h = s < HALF ? s : s - HALF;
    const long at = NHWC ? ((long)n * AREA + p) * HALF + h : ((long)n * HALF + h) * AREA + p;
    const element v = i == 0 ? a[item] : b[item];
    if (s < HALF) y[at] = v;
    else z[at] = v;
  }
}
