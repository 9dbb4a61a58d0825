/* Mean, sum, product, largest or smallest element, or norm, along one axis, several work-items a result (GPUs):
 *
 *   y[o, i] = mean, sum, .. over r of x[o, r, i]
 *
 * x    OUTER x R x INNER
 * y    OUTER x INNER
 *
 * Work-groups: o * (blocks of columns) + (block of columns), along dimension 0. A block has ITEMS / SHARES columns i; work-item
 * share * (columns) + column takes r = share, share + SHARES, ...
 *
 *      r  0  1  2  3  4  5  6  7          SHARES = 4, one column:  work-item 0 takes 0 and 4, 1 takes 1 and 5, ..
 *         0  1  2  3  0  1  2  3          and the first one adds up what they leave in local memory, in their order
 *
 * Each element of x is read once; neighbours read neighbouring elements, along r where INNER is 1, else along i.
 *
 * Macros: types.clh, reduction.clh; ITEMS (work-items of a work-group), SHARES (of them a column).
 */
#include "include/types.clh"
#include "reduction.clh"

#if !defined(ITEMS) || !defined(SHARES)
#error "ITEMS and SHARES must be set by the plan"
#endif

#define COLUMNS (ITEMS / SHARES)

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void reduce_simt(__global const real *restrict x,
                                                                             __global real *restrict y, const int R,
                                                                             const int INNER) {
  __local acc_t results[ITEMS];
  const uint lid = get_local_id(0); /* 0 .. ITEMS-1 */
  const int blocks = (INNER + COLUMNS - 1) / COLUMNS;
  const long o = get_group_id(0) / blocks;                                       /* 0 .. OUTER-1 */
  const int i = (int)(get_group_id(0) % blocks) * COLUMNS + lid % COLUMNS;       /* 0 .. INNER-1, and the tail of the last block */
  acc_t v = NOTHING;
  if (i < INNER)
    for (int r = lid / COLUMNS; r < R; r += SHARES) {
      const acc_t u = LOAD(x, (o * R + r) * INNER + i);
      v = COMBINE(v, TAKE(u));
    }
  results[lid] = v;
  barrier(CLK_LOCAL_MEM_FENCE);
  if (lid >= COLUMNS || i >= INNER) return;
  for (int share = 1; share < SHARES; share++) {
    const acc_t u = results[share * COLUMNS + lid];
    v = COMBINE(v, u);
  }
  STORE(y, o * INNER + i, FINISH(acc_t, v));
}
