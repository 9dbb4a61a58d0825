/* Two tensors compared, or joined as truth values, element by element, with broadcasting:  y = a op b, 0 or 1.
 *
 * y      D0 x D1 x D2 rows of D3 truth values
 * a, b   of one type of numbers; element (i0, i1, i2, i) at i0*A0 + i1*A1 + i2*A2 + i*A_STEP; a stride is 0 along a broadcast axis
 *
 * Work-items: see walk.clh.
 *
 * Per output two elements are read and a byte is written. What is no number is neither equal to, less nor more than anything.
 *
 * Macros: types.clh, number.clh; OP (0 equal, 1 less, 2 less or equal, 3 and, 4 or, 5 xor); A_STEP, B_STEP (0, 1); ITEMS (work-items of
 * a work-group).
 */
#include "include/types.clh"
#include "number.clh"
#include "walk.clh"

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
  const walk w = walk_of(D0, D1, D2, D3, CHUNK, ROWS);
  for (int row = w.row; row < w.last; row++) {
    __global const STORED(FROM) *pa = a + row_at(row, D1, D2, A0, A1, A2);
    __global const STORED(FROM) *pb = b + row_at(row, D1, D2, B0, B1, B2);
    __global uchar *py = y + (long)row * D3;
    for (int i = w.begin; i < w.end; i++) {
      const taken_t p = TAKE(pa, i * A_STEP), q = TAKE(pb, i * B_STEP);
      py[i] = COMBINE(p, q);
    }
  }
}
