/* One of two tensors' elements, as a third one says, with broadcasting:  y = c ? a : b.
 *
 * y         D0 x D1 x D2 rows of D3 elements
 * c         truth values, bytes
 * a, b      of y's type; element (i0, i1, i2, i) at i0*A0 + i1*A1 + i2*A2 + i*A_STEP; a stride is 0 along a broadcast axis
 *
 * Work-items: see walk.clh.
 *
 * Per output a byte and two elements are read and one is written.
 *
 * Macros: element.clh; BYTES (1, 2, 4, 8: size of an element), UNALIGNED_VECTORS; C_STEP, A_STEP, B_STEP (0, 1); ITEMS (work-items of
 * a work-group).
 */
#if !defined(BYTES) || !defined(C_STEP) || !defined(A_STEP) || !defined(B_STEP) || !defined(ITEMS)
#error "BYTES, C_STEP, A_STEP, B_STEP and ITEMS must be set by the plan"
#endif

#include "include/element.clh"
#include "walk.clh"

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void where(
    __global const uchar *restrict c, __global const element *restrict a, __global const element *restrict b,
    __global element *restrict y, const int D0, const int D1, const int D2, const int D3, const int C0, const int C1, const int C2,
    const int A0, const int A1, const int A2, const int B0, const int B1, const int B2, const int CHUNK,
    const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const walk w = walk_of(D0, D1, D2, D3, CHUNK, ROWS);
  for (int row = w.row; row < w.last; row++) {
    __global const uchar *pc = c + row_at(row, D1, D2, C0, C1, C2);
    __global const element *pa = a + row_at(row, D1, D2, A0, A1, A2);
    __global const element *pb = b + row_at(row, D1, D2, B0, B1, B2);
    __global element *py = y + (long)row * D3;
    for (int i = w.begin; i < w.end; i++) py[i] = pc[i * C_STEP] ? pa[i * A_STEP] : pb[i * B_STEP];
  }
}
