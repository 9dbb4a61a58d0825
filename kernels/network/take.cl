/* Elements of an axis that numbers in memory name:  y[o, i, j] = x[o, at[i], j]; with EACH  y[o, i, j] = x[o, at[o, i, j], j]
 *
 * x    OUTER x R x INNER
 * at   COUNT integers, with EACH as many as y has elements; those below 0 count from the end
 * y    OUTER x COUNT x INNER
 *
 * A number that names no element, -R - 1 or R say, gives 0: nothing outside of x is read. Elements are moved as bits, so every type
 * of that size is served.
 *
 * Work-items: (block of ROWS of OUTER * COUNT rows), rounded up to work-groups; a row is INNER elements.
 *
 *      at[i]
 *        |
 *        v
 *      [ x[o, at[i], 0 .. INNER-1] ]  ->  [ y[o, i, 0 .. INNER-1] ]
 *
 * Per output one element is read and one written, and a number for each row, or for each element.
 *
 * Macros: element.clh; BYTES (1, 2, 4, 8: size of an element), UNALIGNED_VECTORS; LONG (1: the numbers have 64 bits, 0: 32); EACH (0, 1);
 * ITEMS (work-items of a work-group).
 */
#if !defined(BYTES) || !defined(LONG) || !defined(EACH) || !defined(UNALIGNED_VECTORS) || !defined(ITEMS)
#error "BYTES, LONG, EACH, UNALIGNED_VECTORS and ITEMS must be set by the plan"
#endif

#include "include/element.clh"

#if LONG
typedef long number;
#else
typedef int number;
#endif

/* The place that a number names, -1 if there is none. */
static inline long place_of(const number n, const int R) { return n < -R || n >= R ? -1 : n < 0 ? n + R : n; }

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void take(
    __global const element *restrict x, __global const number *restrict at, __global element *restrict y, const int ALL_ROWS,
    const int R, const int COUNT, const int INNER, const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const long row0 = (long)get_global_id(0) * ROWS;
  const int end = ALL_ROWS - row0 < ROWS ? (int)(ALL_ROWS - row0) : ROWS; /* below 1 behind the last block */
  int o = row0 / COUNT, i = row0 - (long)o * COUNT; /* 0 .. OUTER-1, 0 .. COUNT-1 */
  for (int r = 0; r < end; r++) {
    __global const element *px = x + (long)o * R * INNER;
    __global element *py = y + (row0 + r) * INNER;
#if EACH
    for (int j = 0; j < INNER; j++) {
      const long place = place_of(at[(row0 + r) * INNER + j], R);
      py[j] = place < 0 ? 0 : px[place * INNER + j];
    }
#else
    const long place = place_of(at[i], R);
    if (place < 0)
      for (int j = 0; j < INNER; j++) py[j] = 0;
    else
      move_row(py, px + place * INNER, INNER);
#endif
    if (++i == COUNT) {
      i = 0;
      o++;
    }
  }
}
