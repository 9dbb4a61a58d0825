/* Normalisation along one axis, several work-items a row (GPUs):
 *
 *   y[o, r, i] = (x[o, r, i] - mean) / sqrt(variance + epsilon) * scale[a] + shift[a]        mean and variance over r
 *
 * x, y           OUTER x R x INNER
 * scale, shift   a = o % KINDS * PLANES + r / AREA % PLANES, see normalize.cl; for layers, channels and pixels AREA is 1, and KINDS too
 *
 * Work-groups and work-items: as of reduce_simt.cl. The work-items of a column leave their sums, then those of squares, in local memory;
 * each reads all of them, in the same order.
 *
 * x is read three times (for the mean, the variance, the result) and y is written once; a row stays in the cache.
 *
 * Macros: types.clh; HAS_SHIFT; ITEMS (work-items of a work-group), SHARES (of them a column).
 */
#include "include/types.clh"

#if !defined(HAS_SHIFT) || !defined(ITEMS) || !defined(SHARES)
#error "HAS_SHIFT, ITEMS and SHARES must be set by the plan"
#endif

#define COLUMNS (ITEMS / SHARES)

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void normalize_simt(
    __global const real *restrict x, __global const real *restrict scale, __global const real *restrict shift,
    __global real *restrict y, const int R, const int INNER, const int KINDS, const int PLANES, const int AREA,
    const acc_t epsilon) {
  __local acc_t sums[ITEMS], squares[ITEMS];
  const uint lid = get_local_id(0); /* 0 .. ITEMS-1 */
  const int blocks = (INNER + COLUMNS - 1) / COLUMNS;
  const uint column = lid % COLUMNS, share = lid / COLUMNS;
  const int i = (int)(get_group_id(0) % blocks) * COLUMNS + column; /* 0 .. INNER-1, and the tail of the last block */
  const int there = i < INNER;
  const long o = get_group_id(0) / blocks; /* 0 .. OUTER-1 */
  const long row = o * R * INNER + i;
  acc_t mean = 0, square = 0;
  for (int r = share; there && r < R; r += SHARES) mean += LOAD(x, row + (long)r * INNER);
  sums[lid] = mean;
  barrier(CLK_LOCAL_MEM_FENCE);
  mean = 0;
  for (int s = 0; s < SHARES; s++) mean += sums[s * COLUMNS + column];
  mean /= R;
  for (int r = share; there && r < R; r += SHARES) {
    const acc_t d = LOAD(x, row + (long)r * INNER) - mean;
    square += d * d;
  }
  squares[lid] = square;
  barrier(CLK_LOCAL_MEM_FENCE);
  square = 0;
  for (int s = 0; s < SHARES; s++) square += squares[s * COLUMNS + column];
  const acc_t factor = 1 / sqrt(square / R + epsilon);
  for (int r = share; there && r < R; r += SHARES) {
    const int a = (int)(o % KINDS) * PLANES + r / AREA % PLANES;
    const acc_t v = (LOAD(x, row + (long)r * INNER) - mean) * factor * LOAD(scale, a);
    STORE(y, row + (long)r * INNER, HAS_SHIFT ? v + LOAD(shift, a) : v);
  }
}
