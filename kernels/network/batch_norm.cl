/* Batch normalisation that no convolution has taken in:
 *
 *   y[n, c, i] = f( (x[n, c, i] - mean[c]) * scale[c] / sqrt(variance[c] + epsilon) + shift[c] )
 *
 * x, y                            N x C x SIZE; with the channels last, N is the pixels of all images and SIZE is 1
 * scale, shift, mean, variance    C
 *
 * batch_norm. Work-items: (block of ROWS rows n * C + c); vectors along a row.
 * batch_norm_vectors, for SIZE = 1 and C of VEC and more. Work-items: (block of ROWS of N); vectors along the channels, of which the last
 * one ends where C does: some elements are computed twice.
 *
 * Per output one element is read and one written.
 *
 * Macros: types.clh, vector.clh, function.clh (f).
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "function.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void batch_norm(
    __global const real *restrict x, __global const real *restrict scale, __global const real *restrict shift,
    __global const real *restrict mean, __global const real *restrict variance, __global real *restrict y,
    const int TOTAL, const int C, const int SIZE, const int ROWS, const acc_t epsilon, const acc_t fa, const acc_t fb
    BELL_PARAMETERS) {
  RING_BELL;
  const int row0 = (int)get_global_id(0) * ROWS; /* 0 .. TOTAL-1, TOTAL = N*C */
  int c = row0 % C;                              /* 0 .. C-1 */
  for (int row = row0; row < row0 + ROWS && row < TOTAL; row++, c = c + 1 < C ? c + 1 : 0) {
    const acc_t factor = LOAD(scale, c) / sqrt(LOAD(variance, c) + epsilon);
    const acc_t offset = LOAD(shift, c) - LOAD(mean, c) * factor;
    __global const real *p = x + (long)row * SIZE;
    __global real *q = y + (long)row * SIZE;
    int i = 0;
    for (; i + VEC <= SIZE; i += VEC)
      STORE_VEC(q + i, function_vec(LOAD_VEC(p + i) * VEC_OF(factor) + VEC_OF(offset), fa, fb));
    for (; i < SIZE; i++) STORE(q, i, function(LOAD(p, i) * factor + offset, fa, fb));
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void batch_norm_vectors(
    __global const real *restrict x, __global const real *restrict scale, __global const real *restrict shift,
    __global const real *restrict mean, __global const real *restrict variance, __global real *restrict y, const int N, const int C,
    const int XC, const int YC, const int ROWS, const acc_t epsilon, const acc_t fa, const acc_t fb BELL_PARAMETERS) {
  RING_BELL;
  const int n0 = (int)get_global_id(0) * ROWS; /* 0 .. N-1 */
  const int end = N - n0 < ROWS ? N : n0 + ROWS;
  for (int i = 0; i < C; i += VEC) {
    const int c = i + VEC <= C ? i : C - VEC;
    const vec factor = LOAD_VEC(scale + c) / sqrt(LOAD_VEC(variance + c) + VEC_OF(epsilon));
    const vec offset = LOAD_VEC(shift + c) - LOAD_VEC(mean + c) * factor;
    for (int n = n0; n < end; n++) {
      STORE_VEC(y + (long)n * YC + c, function_vec(LOAD_VEC(x + (long)n * XC + c) * factor + offset, fa, fb));
    }
  }
}
