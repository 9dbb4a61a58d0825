/* Where the K largest or smallest elements along one axis are, the first of them first:
 *
 *   y[o, k, i] = the r at which x[o, r, i] is the k-th in order; of equal ones the smallest r comes first
 *
 * x    OUTER x R x INNER
 * y    OUTER x K x INNER, integers of 64 bits
 *
 * What is no number counts as larger than all others, as NumPy and PyTorch sort it.
 *
 * Work-items: (block of ROWS rows, OUTER * INNER of them), rounded up to work-groups. A row's own part of y holds a heap of the K best
 * until now, the last of them on top, which a better one replaces; then the heap is emptied from behind.
 *
 *          [0]            the last of the K best
 *        [1] [2]          each is behind those below it
 *      [3] [4] ...
 *
 * Each element is read once, and again where it is compared with others: log2(K) times for each that enters the heap.
 *
 * Macros: types.clh; SMALLEST (0, 1); ITEMS (work-items of a work-group).
 */
#include "include/types.clh"

#if !defined(SMALLEST) || !defined(ITEMS)
#error "SMALLEST and ITEMS must be set by the plan"
#endif

/* Whether element a of a row, elements of which lie INNER apart, comes before b. */
static inline int is_before(__global const real *row, const int INNER, const long a, const long b) {
  const acc_t va = LOAD(row, a * INNER), vb = LOAD(row, b * INNER);
  const int no_a = va != va, no_b = vb != vb;
  if (no_a != no_b) return SMALLEST ? no_b : no_a;
#if SMALLEST
  return va < vb || ((va == vb || no_a) && a < b);
#else
  return va > vb || ((va == vb || no_a) && a < b);
#endif
}

/* Put place r where the top of a heap of K is, and let it sink below all that are behind it. */
static inline void sink(__global const real *row, __global long *heap, const int INNER, const int K, const long r) {
  int at = 0;
  for (int below = 1; below < K; below = 2 * at + 1) {
    long next = heap[(long)below * INNER];
    if (below + 1 < K) {
      const long other = heap[(long)(below + 1) * INNER];
      if (is_before(row, INNER, next, other)) {
        next = other;
        below++;
      }
    }
    if (!is_before(row, INNER, r, next)) break;
    heap[(long)at * INNER] = next;
    at = below;
  }
  heap[(long)at * INNER] = r;
}

/* One row. */
ITEM void best_of(__global const real *row, __global long *y, const int R, const int K, const int INNER) {
  for (int r = 0; r < K; r++) { /* from the bottom: rises to where those above it are behind it */
    int at = r;
    while (at > 0 && is_before(row, INNER, y[(long)((at - 1) / 2) * INNER], r)) {
      y[(long)at * INNER] = y[(long)((at - 1) / 2) * INNER];
      at = (at - 1) / 2;
    }
    y[(long)at * INNER] = r;
  }
  for (int r = K; r < R; r++)
    if (is_before(row, INNER, r, y[0])) sink(row, y, INNER, K, r);
  for (int left = K - 1; left > 0; left--) {
    const long last = y[0], r = y[(long)left * INNER];
    sink(row, y, INNER, left, r);
    y[(long)left * INNER] = last;
  }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void top_k(
    __global const real *restrict x, __global long *restrict y, const int ALL_ROWS, const int R, const int K, const int INNER,
    const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const long first = (long)get_global_id(0) * ROWS;
  const int end = ALL_ROWS - first < ROWS ? (int)(ALL_ROWS - first) : ROWS; /* below 1 behind the last block */
  for (int i = 0; i < end; i++) {
    const long o = (first + i) / INNER, j = first + i - o * INNER; /* 0 .. OUTER-1, 0 .. INNER-1 */
    best_of(x + o * R * INNER + j, y + o * K * INNER + j, R, K, INNER);
  }
}
