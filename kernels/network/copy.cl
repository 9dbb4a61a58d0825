/* Elements from one place to another:  y[YO + i.Y] = x[XO + i.X]  for all i = (i0 .. i5) below (D0 .. D5).
 *
 * With strides X and Y this is a transpose, a slice (also with negative steps), a part of a concatenation or of a split,
 * or a repetition (a stride of 0). Axes that can be joined are joined by the host. Elements are moved as bits, so every
 * type of that size is served.
 *
 * Work-items: (block of rows), rounded up to work-groups; a row is D5 elements, ROWS rows each. On a GPU a row is one element, where
 * the axes are few enough for that.
 *
 * Per output one element is read and one written.
 *
 * Macros: element.clh; BYTES (1, 2, 4, 8: size of an element), CONTIGUOUS (1: X5 and Y5 are 1), UNALIGNED_VECTORS,
 * ITEMS (work-items of a work-group).
 */
#if !defined(BYTES) || !defined(CONTIGUOUS) || !defined(UNALIGNED_VECTORS) || !defined(ITEMS)
#error "BYTES, CONTIGUOUS, UNALIGNED_VECTORS and ITEMS must be set by the plan"
#endif

#include "include/element.clh"

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void copy(
    __global const element *restrict x, __global element *restrict y, const int D0, const int D1, const int D2,
    const int D3, const int D4, const int D5, const int X0, const int X1, const int X2, const int X3, const int X4,
    const int X5, const int Y0, const int Y1, const int Y2, const int Y3, const int Y4, const int Y5, const int XO,
    const int YO, const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const int rows = D0 * D1 * D2 * D3 * D4;
  const int row0 = (int)get_global_id(0) * ROWS; /* 0 .. rows-1 */
  for (int row = row0; row < row0 + ROWS && row < rows; row++) {
    /* row is (((i0 * D1 + i1) * D2 + i2) * D3 + i3) * D4 + i4 */
    const int row3 = row / D4, i4 = row - row3 * D4;
    const int row2 = row3 / D3, i3 = row3 - row2 * D3;
    const int row1 = row2 / D2, i2 = row2 - row1 * D2;
    const int i0 = row1 / D1, i1 = row1 - i0 * D1;
    __global const element *px = x + (XO + (long)i0 * X0 + (long)i1 * X1 + (long)i2 * X2 + (long)i3 * X3 + (long)i4 * X4);
    __global element *py = y + (YO + (long)i0 * Y0 + (long)i1 * Y1 + (long)i2 * Y2 + (long)i3 * Y3 + (long)i4 * Y4);
#if CONTIGUOUS
    move_row(py, px, D5);
#else
    for (int i = 0; i < D5; i++) py[(long)i * Y5] = px[(long)i * X5];
#endif
  }
}
