/* One of two tensors' elements, as a third one says, with broadcasting:  y = c ? a : b.
 *
 * y         D0 x D1 x D2 rows of D3 elements
 * c         truth values, bytes
 * a, b      of y's type; element (i0, i1, i2, i) at i0*A0 + i1*A1 + i2*A2 + i*A_STEP; a stride is 0 along a broadcast axis
 *
 * Work-items: as in binary.cl, (block of rows * pieces of a row + piece, rounded up to work-groups); each takes CHUNK elements of ROWS
 * rows.
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

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void where(
    __global const uchar *restrict c, __global const element *restrict a, __global const element *restrict b,
    __global element *restrict y, const int D0, const int D1, const int D2, const int D3, const int C0, const int C1, const int C2,
    const int A0, const int A1, const int A2, const int B0, const int B1, const int B2, const int CHUNK,
    const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const int pieces = (D3 - 1) / CHUNK + 1;
  const int id = get_global_id(0), block = id / pieces;
  const int begin = (id - block * pieces) * CHUNK; /* 0 .. D3-1 */
  const int end = D3 - begin < CHUNK ? D3 : begin + CHUNK;
  const int row0 = block * ROWS; /* 0 .. D0*D1*D2-1, or behind it */
  const int rows = D0 * D1 * D2;
  for (int row = row0; row < row0 + ROWS && row < rows; row++) {
    const int pair = row / D2, i2 = row - pair * D2; /* pair is i0 * D1 + i1 */
    const int i0 = pair / D1, i1 = pair - i0 * D1;
    __global const uchar *pc = c + ((long)i0 * C0 + (long)i1 * C1 + (long)i2 * C2);
    __global const element *pa = a + ((long)i0 * A0 + (long)i1 * A1 + (long)i2 * A2);
    __global const element *pb = b + ((long)i0 * B0 + (long)i1 * B1 + (long)i2 * B2);
    __global element *py = y + (long)row * D3;
    for (int i = begin; i < end; i++) py[i] = pc[i * C_STEP] ? pa[i * A_STEP] : pb[i * B_STEP];
  }
}
