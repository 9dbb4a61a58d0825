/* Softmax along one axis, or its logarithm, several work-items a row (GPUs):
 *
 *   y[o, r, i] = exp(x[o, r, i] - max) / sum,   or   x[o, r, i] - max - log(sum),   sum over r of exp(x[o, r, i] - max)
 *
 * x, y   OUTER x R x INNER
 *
 * Work-groups and work-items: as of reduce_simt.cl. The work-items of a column leave their maxima, then their sums, in local memory;
 * each reads all of them, in the same order.
 *
 * x is read three times (for the maximum, the sum, the result) and y is written once; a row stays in the cache.
 *
 * Macros: types.clh; ITEMS (work-items of a work-group), SHARES (of them a column); LOGARITHM (0, 1).
 */
#include "include/types.clh"

#if !defined(ITEMS) || !defined(SHARES) || !defined(LOGARITHM)
#error "ITEMS, SHARES and LOGARITHM must be set by the plan"
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
  for (int r = share; there && r < R; r += SHARES) sum += exp(LOAD(x, row + (long)r * INNER) - most);
  sums[lid] = sum;
  barrier(CLK_LOCAL_MEM_FENCE);
  sum = 0;
  for (int s = 0; s < SHARES; s++) sum += sums[s * COLUMNS + column];
#if LOGARITHM
  const acc_t less = log(sum);
  for (int r = share; there && r < R; r += SHARES) {
    const acc_t v = LOAD(x, row + (long)r * INNER) - most;
    STORE(y, row + (long)r * INNER, v - less);
  }
#else
  const acc_t scale = 1 / sum;
  for (int r = share; there && r < R; r += SHARES)
    STORE(y, row + (long)r * INNER, exp(LOAD(x, row + (long)r * INNER) - most) * scale);
#endif
}
