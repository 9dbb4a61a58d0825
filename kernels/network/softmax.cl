/* Softmax along one axis, its logarithm, or the logarithm of the sum of exponentials, with sum over r of exp(x[o, r, i] - max):
 *
 *   FORM 0   y[o, r, i] = exp(x[o, r, i] - max) / sum
 *   FORM 1   y[o, r, i] = x[o, r, i] - max - log(sum)
 *   FORM 2   y[o, i]    = max + log(sum)
 *
 * x      OUTER x R x INNER
 * y      as x; OUTER x INNER in form 2
 *
 * softmax_rows, for INNER = 1. Work-items: (o); vectors along the row.
 * softmax_columns. Work-items: (block of VEC columns, o); vectors along INNER.
 *
 * x is read three times (for the maximum, the sum, the result) and y is written once; a row stays in the cache.
 *
 * Macros: types.clh, vector.clh; FORM (0, 1, 2).
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "include/exponential.clh"

#ifndef FORM
#error "FORM must be set by the plan"
#endif

/* What a sum is made to before it meets each element, and how the two do. */
#if FORM == 1
#define SCALE(T, sum) log(sum)
#define SCALED(T, v, scale) ((v) - (scale))
#else
#define SCALE(T, sum) ((T)(1) / (sum))
#define SCALED(T, v, scale) (CLCONV_EXP(T, v) * (scale))
#endif

/* What is taken off each element: the largest, but of a sum that alone is wanted no infinity, off which nothing can be taken. */
#if FORM == 2
#define SHIFT(T, most) ((most) > (T)(-INFINITY) ? (most) < (T)(INFINITY) ? (most) : (T)(0) : (T)(0))
#else
#define SHIFT(T, most) (most)
#endif

#define LARGER(p, q) ((p) < (q) ? (q) : (p))

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void softmax_rows(__global const real *restrict x,
                                                                          __global real *restrict y, const int R
                                                                          BELL_PARAMETERS) {
  RING_BELL;
  const long o = get_global_id(0); /* 0 .. OUTER-1 */
  __global const real *p = x + o * R;
  const int whole = R / VEC * VEC; /* elements in whole vectors */
  vec_lanes lanes;
  lanes.v = VEC_OF(-INFINITY);
  for (int r = 0; r < whole; r += VEC) {
    const vec v = LOAD_VEC(p + r);
    lanes.v = LARGER(lanes.v, v);
  }
  acc_t most = -INFINITY;
  UNROLL for (int i = 0; i < VEC; i++) most = LARGER(most, lanes.s[i]);
  for (int r = whole; r < R; r++) {
    const acc_t v = LOAD(p, r);
    most = LARGER(most, v);
  }
  most = SHIFT(acc_t, most);
  lanes.v = VEC_OF(0);
  for (int r = 0; r < whole; r += VEC) lanes.v += CLCONV_EXP(vec, LOAD_VEC(p + r) - VEC_OF(most));
  acc_t sum = 0;
  UNROLL for (int i = 0; i < VEC; i++) sum += lanes.s[i];
  for (int r = whole; r < R; r++) sum += CLCONV_EXP(acc_t, LOAD(p, r) - most);
#if FORM == 2
  STORE(y, o, most + log(sum));
#else
  __global real *q = y + o * R;
  const acc_t scale = SCALE(acc_t, sum);
  for (int r = 0; r < whole; r += VEC) STORE_VEC(q + r, SCALED(vec, LOAD_VEC(p + r) - VEC_OF(most), VEC_OF(scale)));
  for (int r = whole; r < R; r++) STORE(q, r, SCALED(acc_t, LOAD(p, r) - most, scale));
#endif
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void softmax_columns(__global const real *restrict x,
                                                                             __global real *restrict y, const int R,
                                                                             const int INNER BELL_PARAMETERS) {
  RING_BELL;
  const int i = (int)get_global_id(0) * VEC; /* 0 .. INNER-1 */
  const long o = get_global_id(1);           /* 0 .. OUTER-1 */
  const int some = INNER - i;                /* columns that are left; VEC of them are taken at most */
  __global const real *p = x + o * R * INNER + i;
  vec most = VEC_OF(-INFINITY), sum = VEC_OF(0);
  for (int r = 0; r < R; r++) {
    const vec v = LOAD_VEC_SOME(p + (long)r * INNER, some);
    most = LARGER(most, v);
  }
  most = SHIFT(vec, most);
  for (int r = 0; r < R; r++) sum += CLCONV_EXP(vec, LOAD_VEC_SOME(p + (long)r * INNER, some) - most);
#if FORM == 2
  STORE_VEC_SOME(y + o * INNER + i, most + log(sum), some);
#else
  __global real *q = y + o * R * INNER + i;
  const vec scale = SCALE(vec, sum);
  for (int r = 0; r < R; r++) {
    const vec v = SCALED(vec, LOAD_VEC_SOME(p + (long)r * INNER, some) - most, scale);
    STORE_VEC_SOME(q + (long)r * INNER, v, some);
  }
#endif
}
