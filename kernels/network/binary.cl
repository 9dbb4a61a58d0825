/* Two tensors, element by element, with broadcasting:  y = f(a op b).
 *
 * y      D0 x D1 x D2 rows of D3 elements
 * a, b   element (i0, i1, i2, i) at i0*A0 + i1*A1 + i2*A2 + i*A_STEP; a stride is 0 along a broadcast axis
 *
 * Neighbouring axes that both tensors walk alike are joined by the host: equal shapes are one single row, a number per
 * channel is rows of H*W elements with b standing still.
 *
 * Work-items: see walk.clh; on a GPU CHUNK is a single vector.
 *
 * Per output at most two elements are read and one written. What is not a number stays that, on either side.
 *
 * Macros: types.clh, vector.clh, function.clh (f); OP (0 add, 1 sub, 2 mul, 3 div, 4 prelu, 5 max, 6 min, 7 pow);
 * A_STEP, B_STEP (0, 1); ITEMS (work-items of a work-group).
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "function.clh"
#include "walk.clh"

#if !defined(OP) || !defined(A_STEP) || !defined(B_STEP) || !defined(ITEMS)
#error "OP, A_STEP, B_STEP and ITEMS must be set by the plan"
#endif

#if OP == 0
#define COMBINE(T, p, q) ((p) + (q))
#elif OP == 1
#define COMBINE(T, p, q) ((p) - (q))
#elif OP == 2
#define COMBINE(T, p, q) ((p) * (q))
#elif OP == 3
#define COMBINE(T, p, q) ((p) / (q))
#elif OP == 4
#define COMBINE(T, p, q) ((p) < (T)(0) ? (p) * (q) : (p))
#elif OP == 5
#define COMBINE(T, p, q) ((p) < (q) ? (q) : (p) >= (q) ? (p) : (p) + (q))
#elif OP == 6
#define COMBINE(T, p, q) ((q) < (p) ? (q) : (q) >= (p) ? (p) : (p) + (q))
#elif OP == 7
#define COMBINE(T, p, q) pow((p), (q))
#else
#error "OP must be one of 0 .. 7"
#endif

#if A_STEP
#define VEC_OF_A(i) LOAD_VEC(pa + (i))
#else
#define VEC_OF_A(i) VEC_OF(LOAD(pa, 0))
#endif
#if B_STEP
#define VEC_OF_B(i) LOAD_VEC(pb + (i))
#else
#define VEC_OF_B(i) VEC_OF(LOAD(pb, 0))
#endif

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void binary(
    __global const real *restrict a, __global const real *restrict b, __global real *restrict y, const int D0,
    const int D1, const int D2, const int D3, const int A0, const int A1, const int A2, const int B0, const int B1,
    const int B2, const int CHUNK, const int ROWS, const acc_t fa, const acc_t fb BELL_PARAMETERS) {
  RING_BELL;
  const walk w = walk_of(D0, D1, D2, D3, CHUNK, ROWS);
  for (int row = w.row; row < w.last; row++) {
    __global const real *pa = a + row_at(row, D1, D2, A0, A1, A2);
    __global const real *pb = b + row_at(row, D1, D2, B0, B1, B2);
    __global real *py = y + (long)row * D3;
    int i = w.begin;
    for (; i + VEC <= w.end; i += VEC) {
      const vec p = VEC_OF_A(i), q = VEC_OF_B(i);
      STORE_VEC(py + i, function_vec(COMBINE(vec, p, q), fa, fb));
    }
    for (; i < w.end; i++) {
      const acc_t p = LOAD(pa, i * A_STEP), q = LOAD(pb, i * B_STEP);
      STORE(py, i, function(COMBINE(acc_t, p, q), fa, fb));
    }
  }
}
