/* Local response normalisation, as in AlexNet and GoogLeNet:
 *
 *   y[n, c, i] = x[n, c, i] / (bias + alpha * sum over k of x[n, k, i]^2) ^ beta,   k = c - BEFORE .. c + AFTER that there are
 *
 * x, y   N x C x INNER
 *
 * Work-items: n * (blocks) + (block of VEC pixels i), rounded up to work-groups; each takes all channels.
 *
 *      c  0  1  2  3  4  5  6          BEFORE = AFTER = 2:  the squares of 1 .. 5 for channel 3
 *            [-----x-----]
 *
 * Per output BEFORE + AFTER + 1 elements are read, all but one of them from the cache, and one is written.
 *
 * Macros: types.clh, vector.clh; ROOTS (1: beta is 3/4, which takes two roots; 0: any), ITEMS (work-items of a work-group).
 */
#include "include/types.clh"
#include "include/vector.clh"

#if !defined(ROOTS) || !defined(ITEMS)
#error "ROOTS and ITEMS must be set by the plan"
#endif

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void lrn(__global const real *restrict x,
                                                                     __global real *restrict y, const int N, const int C,
                                                                     const int INNER, const int BEFORE, const int AFTER,
                                                                     const acc_t alpha, const acc_t beta,
                                                                     const acc_t bias BELL_PARAMETERS) {
  RING_BELL;
  const int blocks = (INNER - 1) / VEC + 1;
  const int n = (int)get_global_id(0) / blocks; /* 0 .. N-1, or behind it */
  if (n >= N) return;
  const int i = ((int)get_global_id(0) - n * blocks) * VEC; /* 0 .. INNER-1 */
  const int some = INNER - i;                               /* pixels that are left; VEC of them are taken at most */
  __global const real *p = x + (long)n * C * INNER + i;
  __global real *q = y + (long)n * C * INNER + i;
  for (int c = 0; c < C; c++) {
    const int first = c < BEFORE ? 0 : c - BEFORE, last = C - 1 - c < AFTER ? C - 1 : c + AFTER;
    vec sum = VEC_OF(0);
    for (int k = first; k <= last; k++) {
      const vec v = LOAD_VEC_SOME(p + (long)k * INNER, some);
      sum += v * v;
    }
    const vec base = VEC_OF(bias) + VEC_OF(alpha) * sum;
#if ROOTS
    const vec root = sqrt(base), power = root * sqrt(root);
#else
    const vec power = pow(base, VEC_OF(beta));
#endif
    const vec v = LOAD_VEC_SOME(p + (long)c * INNER, some) / power;
    STORE_VEC_SOME(q + (long)c * INNER, v, some);
  }
}
