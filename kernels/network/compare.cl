/* Two tensors compared, or joined as truth values, element by element, with broadcasting:  y = a op b, 0 or 1.
 *
 * y      D0 x D1 x D2 rows of D3 truth values
 * a, b   of one type of numbers; element (i0, i1, i2, i) at i0*A0 + i1*A1 + i2*A2 + i*A_STEP; a stride is 0 along a broadcast axis
 *
 * Work-items: as in binary.cl, (block of rows * pieces of a row + piece, rounded up to work-groups); each takes CHUNK elements of ROWS
 * rows.
 *
 * Per output two elements are read and a byte is written. What is no number is neither equal to, less nor more than anything.
 *
 * Macros: types.clh, number.clh; OP (0 equal, 1 less, 2 less or equal, 3 and, 4 or, 5 xor); A_STEP, B_STEP (0, 1); ITEMS (work-items of
 * a work-group).
 */
#include "include/types.clh"
#include "number.clh"

#if !defined(OP) || !defined(A_STEP) || !defined(B_STEP) || !defined(ITEMS)
#error "OP, A_STEP, B_STEP and ITEMS must be set by the plan"
#endif

#if OP == 0
#define COMBINE(p, q) ((p) == (q))
#elif OP == 1
#define COMBINE(p, q) ((p) < (q))
#elif OP == 2
#define COMBINE(p, q) ((p) <= (q))
#elif OP == 3
#define COMBINE(p, q) (((p) != 0) & ((q) != 0))
#elif OP == 4
#define COMBINE(p, q) (((p) != 0) | ((q) != 0))
#elif OP == 5
#define COMBINE(p, q) (((p) != 0) ^ ((q) != 0))
#else
#error "OP must be one of 0 .. 5"
#endif

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void compare(
    __global const STORED(FROM) *restrict a, __global const STORED(FROM) *restrict b, __global uchar *restrict y, const int D0,
    const int D1, const int D2, const int D3, const int A0, const int A1, const int A2, const int B0, const int B1, const int B2,
    const int CHUNK, const int ROWS BELL_PARAMETERS) {
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
    __global const STORED(FROM) *pa = a + ((long)i0 * A0 + (long)i1 * A1 + (long)i2 * A2);
    __global const STORED(FROM) *pb = b + ((long)i0 * B0 + (long)i1 * B1 + (long)i2 * B2);
    __global uchar *py = y + (long)row * D3;
    for (int i = begin; i < end; i++) {
      const taken_t p = TAKE(pa, i * A_STEP), q = TAKE(pb, i * B_STEP);
      py[i] = COMBINE(p, q);
    }
  }
}
