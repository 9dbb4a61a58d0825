/* Softmax along one axis, its logarithm, or the logarithm of the sum of exponentials, several work-items a row (GPUs); with sum over r
 * of exp(x[o, r, i] - max):
 *
 *   FORM 0   y[o, r, i] = exp(x[o, r, i] - max) / sum
 *   FORM 1   y[o, r, i] = x[o, r, i] - max - log(sum)
 *   FORM 2   y[o, i]    = max + log(sum)
 *
 * x      OUTER x R x INNER
 * y      as x; OUTER x INNER in form 2
 *
 * Work-groups and work-items: as of reduce_simt.cl. The work-items of a column leave their maxima, then their sums, in local memory;
 * each reads all of them, in the same order.
 *
 * x is read three times (for the maximum, the sum, the result) and y is written once; a row stays in the cache.
 *
 * Macros: types.clh; ITEMS (work-items of a work-group), SHARES (of them a column); FORM (0, 1, 2).
 */
#include "include/types.clh"

#if !defined(ITEMS) || !defined(SHARES) || !defined(FORM)
#error "ITEMS, SHARES and FORM must be set by the plan"
#endif

#define COLUMNS (ITEMS / SHARES)

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void softmax_simt(__global const real *restrict x,
                                                                              __global real *restrict y, const int R,
                                                                              const int INNER) {
  __local acc_t maxima[ITEMS], sums[ITEMS];
  const uint lid = get_local_id(0); /* 0 .. ITEMS-1 */
  const int blocks = (INNER + COLUMNS - 1) / COLUMNS;
  const int column = lid % COLUMNS, share = lid / COLUMNS;
  const int i = (int)(get_group_id(0) % blocks) * COLUMNS + column; /* 0 .. INNER-1, and the tail of the last block */
  const int there = i < INNER;
  const long row = (long)(get_group_id(0) / blocks) * R * INNER + i;
  acc_t most = -INFINITY, sum = 0;
  for (int r = share; there && r < R; r += SHARES) {
    const acc_t v = LOAD(x, row + (long)r * INNER);
    most = most < v ? v : most;
  }
  maxima[lid] = most;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int s = 0; s < SHARES; s++) {
    const acc_t v = maxima[s * COLUMNS + column];
    most = most < v ? v : most;
  }
#if FORM == 2 /* off an infinity nothing can be taken */
  most = most > -INFINITY ? most < INFINITY ? most : 0 : 0;
#endif
  for (int r = share; there && r < R; r += SHARES) sum += exp(LOAD(x, row + (long)r * INNER) - most);
  sums[lid] = sum;
  barrier(CLK_LOCAL_MEM_FENCE);
  sum = 0;
  for (int s = 0; s < SHARES; s++) sum += sums[s * COLUMNS + column];
#if FORM == 0
  const acc_t scale = 1 / sum;
  for (int r = share; there && r < R; r += SHARES)
    STORE(y, row + (long)r * INNER, exp(LOAD(x, row + (long)r * INNER) - most) * scale);
#elif FORM == 1
  const acc_t less = log(sum);
  for (int r = share; there && r < R; r += SHARES) {
    const acc_t v = LOAD(x, row + (long)r * INNER) - most;
    STORE(y, row + (long)r * INNER, v - less);
  }
#else
  if (there && share == 0) STORE(y, (long)(get_group_id(0) / blocks) * INNER + i, most + log(sum));
#endif
}
