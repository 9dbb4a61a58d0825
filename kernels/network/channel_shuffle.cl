/* ShuffleNet's channel shuffle: the channels of two images in turn, and the result in one piece or in halves.
 *
 *   s[n, 2*c + i, p] = (i == 0 ? a : b)[n, c, p]        y, z = the first and the second half of the channels of s; or y = s
 *
 * a, b   N C AREA, or N AREA C      (macro NHWC)
 * y, z   N HALF AREA, or N AREA HALF: HALF is C, which is even; or 2*C, and there is no z
 *
 * Elements are moved as bits, so every type of that size is served.
 *
 * Work-items: (block of ROWS rows); a row is a channel of s in N C H W, a pixel in N H W C. Each element is read and written once.
 *
 * Macros: element.clh; BYTES (1, 2, 4, 8: size of an element), NHWC, UNALIGNED_VECTORS.
 */
#if !defined(BYTES) || !defined(NHWC) || !defined(UNALIGNED_VECTORS)
#error "BYTES, NHWC and UNALIGNED_VECTORS must be set by the plan"
#endif

#include "include/element.clh"

#if UNALIGNED_VECTORS
typedef element half_u __attribute__((ext_vector_type(LANES / 2), aligned(BYTES)));
#endif

#if NHWC
/* to = the elements of a and b in turn, `count` of each. */
static inline void deal(__global element *to, __global const element *a, __global const element *b, const int count) {
  int i = 0;
#if UNALIGNED_VECTORS
  for (; i + LANES / 2 <= count; i += LANES / 2) {
    lanes_u both;
    both.even = *(__global const half_u *)(a + i);
    both.odd = *(__global const half_u *)(b + i);
    *(__global lanes_u *)(to + 2 * i) = both;
  }
#endif
  for (; i < count; i++) {
    to[2 * i] = a[i];
    to[2 * i + 1] = b[i];
  }
}
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void channel_shuffle(
    __global const element *restrict a, __global const element *restrict b, __global element *restrict y,
    __global element *restrict z, const int N, const int C, const int AREA, const int HALF, const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const int rows = NHWC ? N * AREA : N * 2 * C;
  const int row0 = (int)get_global_id(0) * ROWS; /* 0 .. rows-1 */
  for (int row = row0; row < row0 + ROWS && row < rows; row++) {
#if NHWC
    const long from = (long)row * C, to = (long)row * HALF;
    deal(y + to, a + from, b + from, HALF / 2);
    if (HALF == C) deal(z + to, a + from + C / 2, b + from + C / 2, C / 2);
#else
    const int n = row / (2 * C), c = row - n * (2 * C);
    __global element *to = c < HALF ? y + ((long)n * HALF + c) * AREA : z + ((long)n * HALF + c - HALF) * AREA;
    move_row(to, (c % 2 ? b : a) + ((long)n * C + c / 2) * AREA, AREA);
#endif
  }
}
