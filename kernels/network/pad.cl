/* A tensor with a border, or without some of it:  y[i0, i1, i2, i3] = x[m(i0 - P0), m(i1 - P1), m(i2 - P2), m(i3 - P3)].
 *
 * x      X0 X1 X2 X3
 * y      Y0 Y1 Y2 Y3
 * value  one element, for MODE 0
 * m      what an index outside of x means: MODE 0 constant (the element is value), 1 reflect (the border is not
 *        repeated), 2 edge (the nearest element), 3 wrap (x again and again). P may be negative: x is cropped.
 *
 * Work-items: (block of ROWS rows); row (i0 * Y1 + i1) * Y2 + i2 has Y3 elements.
 *
 *      v v v v v v      v: outside, one by one; the middle of a row is copied as it is
 *      v [x x x] v
 *      v [x x x] v
 *      v v v v v v
 *
 * Per output at most one element is read and one written.
 *
 * Macros: element.clh; BYTES (1, 2, 4, 8: size of an element), UNALIGNED_VECTORS, MODE.
 */
#if !defined(BYTES) || !defined(UNALIGNED_VECTORS) || !defined(MODE)
#error "BYTES, UNALIGNED_VECTORS and MODE must be set by the plan"
#endif

#include "include/element.clh"

/* Index in x for index i outside of it, or -1 for none. */
static inline int inside(int i, const int size) {
#if MODE == 0
  return i >= 0 && i < size ? i : -1;
#elif MODE == 1
  const int period = size > 1 ? 2 * (size - 1) : 1;
  i = (i % period + period) % period;
  return i < size ? i : period - i;
#elif MODE == 2
  return i < 0 ? 0 : i < size ? i : size - 1;
#elif MODE == 3
  return (i % size + size) % size;
#else
#error "MODE must be 0, 1, 2 or 3"
#endif
}

/* Elements begin .. end-1 of a row of y, whose row of x begins at px; value where there is none. */
static inline void fill_border(__global element *py, __global const element *px, const element value, const int begin,
                               const int end, const int X3, const int P3) {
  for (int i = begin; i < end; i++) {
    const int j = inside(i - P3, X3);
#if MODE == 0
    py[i] = j < 0 ? value : px[j];
#else
    py[i] = px[j];
#endif
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void pad(
    __global const element *restrict x, __global const element *restrict value, __global element *restrict y,
    const int X0, const int X1, const int X2, const int X3, const int Y0, const int Y1, const int Y2, const int Y3,
    const int P0, const int P1, const int P2, const int P3, const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const int rows = Y0 * Y1 * Y2;
  const int row0 = (int)get_global_id(0) * ROWS; /* 0 .. rows-1 */
  const int first = P3 < 0 ? 0 : P3 < Y3 ? P3 : Y3; /* of the middle, if there is one */
  const int some = X3 + P3 < Y3 ? X3 + P3 : Y3;
  const int last = first < some ? some : first;
  for (int row = row0; row < row0 + ROWS && row < rows; row++) {
    const int block = row / Y2;           /* 0 .. Y0*Y1-1 */
    const int i2 = row - block * Y2;      /* 0 .. Y2-1 */
    const int i0 = block / Y1;            /* 0 .. Y0-1 */
    const int i1 = block - i0 * Y1;       /* 0 .. Y1-1 */
    const int j0 = inside(i0 - P0, X0), j1 = inside(i1 - P1, X1), j2 = inside(i2 - P2, X2);
    __global const element *px = x + (((long)j0 * X1 + j1) * X2 + j2) * X3;
    __global element *py = y + (long)row * Y3;
#if MODE == 0
    if (j0 < 0 || j1 < 0 || j2 < 0) { /* the whole row is outside */
      for (int i = 0; i < Y3; i++) py[i] = value[0];
      continue;
    }
#endif
    fill_border(py, px, value[0], 0, first, X3, P3);
    move_row(py + first, px + (first - P3), last - first);
    fill_border(py, px, value[0], last, Y3, X3, P3);
  }
}
