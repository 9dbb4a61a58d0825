/* Batch normalisation that no convolution has taken in:
 *
 *   y[n, c, i] = f( (x[n, c, i] - mean[c]) * scale[c] / sqrt(variance[c] + epsilon) + shift[c] )
 *
 * x, y                            N x C x SIZE; with the channels last, N is the pixels of all images and SIZE is 1
 * scale, shift, mean, variance    C
 *
 * batch_norm. Work-items: (block of ROWS rows n * C + c); vectors along a row.
 * batch_norm_vectors, for SIZE = 1 and C of VEC and more. Work-items: (block of ROWS of N); BLOCK vectors along the channels at once, so
 * that whole lines of memory are moved, then one by one. The last ends where C does: some elements are computed twice.
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

#define BLOCK 4

/* Pixels n0 .. end-1 of BLOCK vectors of channels from c on, or of one. */
static inline void some_channels(const int vectors, __global const real *x, __global const real *scale, __global const real *shift,
                                 __global const real *mean, __global const real *variance, __global real *y, const int c, const int n0,
                                 const int end, const int XC, const int YC, const acc_t epsilon, const acc_t fa, const acc_t fb) {
  vec factor[BLOCK], offset[BLOCK];
  UNROLL for (int b = 0; b < BLOCK; b++)
    if (b < vectors) {
      const int at = c + b * VEC;
      factor[b] = LOAD_VEC(scale + at) / sqrt(LOAD_VEC(variance + at) + VEC_OF(epsilon));
      offset[b] = LOAD_VEC(shift + at) - LOAD_VEC(mean + at) * factor[b];
    }
  for (int n = n0; n < end; n++) {
    __global const real *p = x + (long)n * XC + c;
    __global real *q = y + (long)n * YC + c;
    UNROLL for (int b = 0; b < BLOCK; b++)
      if (b < vectors) STORE_VEC(q + b * VEC, function_vec(LOAD_VEC(p + b * VEC) * factor[b] + offset[b], fa, fb));
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void batch_norm_vectors(
    __global const real *restrict x, __global const real *restrict scale, __global const real *restrict shift,
    __global const real *restrict mean, __global const real *restrict variance, __global real *restrict y, const int N, const int C,
    const int XC, const int YC, const int ROWS, const acc_t epsilon, const acc_t fa, const acc_t fb BELL_PARAMETERS) {
  RING_BELL;
  const int n0 = (int)get_global_id(0) * ROWS; /* 0 .. N-1 */
  const int end = N - n0 < ROWS ? N : n0 + ROWS;
  int c = 0;
  for (; c + BLOCK * VEC <= C; c += BLOCK * VEC)
    some_channels(BLOCK, x, scale, shift, mean, variance, y, c, n0, end, XC, YC, epsilon, fa, fb);
  for (; c < C; c += VEC)
    some_channels(1, x, scale, shift, mean, variance, y, LESSER(c, C - VEC), n0, end, XC, YC, epsilon, fa, fb);
}
