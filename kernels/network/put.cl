/* Rows of one tensor in the place of some of another's:  y[r, j] = u[from[r], j], or x[r, j] where from[r] is below 0
 *
 * x, y    R x INNER
 * u       any number of rows, INNER each
 * from    R integers of 32 bits
 *
 * Elements are moved as bits, so every type of that size is served.
 *
 * Work-items: (block of ROWS rows), rounded up to work-groups.
 *
 *      x  [ 0 ][ 1 ][ 2 ][ 3 ]                     from  -1  1 -1  0
 *      u  [ a ][ b ]                       ->      y     [ 0 ][ b ][ 2 ][ a ]
 *
 * Per output one element is read and one written, and a number for each row.
 *
 * Macros: element.clh; BYTES (1, 2, 4, 8: size of an element), UNALIGNED_VECTORS;
 * ITEMS (work-items of a work-group).
 */
#if !defined(BYTES) || !defined(UNALIGNED_VECTORS) || !defined(ITEMS)
#error "BYTES, UNALIGNED_VECTORS and ITEMS must be set by the plan"
#endif

#include "include/element.clh"

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void put(
    __global const element *restrict x, __global const element *restrict u, __global const int *restrict from,
    __global element *restrict y, const int R, const int INNER, const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const long row0 = (long)get_global_id(0) * ROWS;
  const int end = R - row0 < ROWS ? (int)(R - row0) : ROWS; /* below 1 behind the last block */
  for (int i = 0; i < end; i++) {
    const long r = row0 + i; /* 0 .. R-1 */
    const int source = from[r];
    move_row(y + r * INNER, source < 0 ? x + r * INNER : u + (long)source * INNER, INNER);
  }
}
