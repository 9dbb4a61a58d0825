/* Softmax along one axis, its logarithm, or the logarithm of the sum of exponentials, with sum over r of exp(x[o, r, i] - max):
 *
 *   FORM 0   y[o, r, i] = exp(x[o, r, i] - max) / sum
 *   FORM 1   y[o, r, i] = x[o, r, i] - max - log(sum)
 *   FORM 2   y[o, i]    = max + log(sum)
 *
 * x      OUTER x R x INNER
 * y      as x; OUTER x INNER in form 2
 *
 * softmax_rows, for INNER = 1. Work-items: (block of ROWS of OUTER); vectors along the row, of which the last one ends where the row
 * does: some elements are in two, and counted in one.
 * softmax_columns. Work-items: (block of CHUNK columns, block of ROWS of OUTER); vectors along INNER. CHUNK is a multiple of VEC; what is
 * left behind the last block and is less than a vector belongs to that block.
 *
 * x is read three times (for the maximum, the sum, the result) and y is written once; a row stays in the cache. In form 0 the exponentials
 * wait in y for their sum, where its type holds them as they are.
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

#if FORM == 0 && (defined(REAL_FLOAT32) || defined(REAL_FLOAT64))
#define KEPT 1
#else
#define KEPT 0
#endif

#define LARGER(p, q) ((p) < (q) ? (q) : (p))

/* What becomes of all lanes, two by two. */
static inline acc_t largest(vec_lanes lanes) {
  UNROLL for (int n = VEC / 2; n > 0; n /= 2)
    UNROLL for (int i = 0; i < n; i++) lanes.s[i] = LARGER(lanes.s[i], lanes.s[i + n]);
  return lanes.s[0];
}

static inline acc_t total(vec_lanes lanes) {
  UNROLL for (int n = VEC / 2; n > 0; n /= 2)
    UNROLL for (int i = 0; i < n; i++) lanes.s[i] += lanes.s[i + n];
  return lanes.s[0];
}

/* A row of a vector and more. */
ITEM void softmax_row(__global const real *p, __global real *q, const int R) {
  const int whole = R / VEC * VEC; /* elements in whole vectors */
  const int last = R - VEC;        /* the first element of the vector behind those, if whole < R */
  vec_lanes lanes;
  lanes.v = VEC_OF(-INFINITY);
  for (int r = 0; r < whole; r += VEC) {
    const vec v = LOAD_VEC(p + r);
    lanes.v = LARGER(lanes.v, v);
  }
  if (whole < R) {
    const vec v = LOAD_VEC(p + last);
    lanes.v = LARGER(lanes.v, v);
  }
  const acc_t found = largest(lanes);
  const acc_t most = SHIFT(acc_t, found);
  lanes.v = VEC_OF(0);
  for (int r = 0; r < whole; r += VEC) {
    const vec e = CLCONV_EXP(vec, LOAD_VEC(p + r) - VEC_OF(most));
    if (KEPT) STORE_VEC(q + r, e);
    lanes.v += e;
  }
  vec_lanes more;
  if (whole < R) {
    more.v = CLCONV_EXP(vec, LOAD_VEC(p + last) - VEC_OF(most));
    UNROLL for (int i = 0; i < VEC; i++) lanes.s[i] += last + i < whole ? 0 : more.s[i];
  }
  const acc_t sum = total(lanes);
#if FORM == 2
  STORE(q, 0, most + log(sum));
#else
  const acc_t scale = SCALE(acc_t, sum);
  for (int r = 0; r < whole; r += VEC)
    STORE_VEC(q + r, KEPT ? LOAD_VEC(q + r) * VEC_OF(scale) : SCALED(vec, LOAD_VEC(p + r) - VEC_OF(most), VEC_OF(scale)));
  if (whole < R)
    STORE_VEC(q + last, KEPT ? more.v * VEC_OF(scale) : SCALED(vec, LOAD_VEC(p + last) - VEC_OF(most), VEC_OF(scale)));
#endif
}

/* A shorter one. */
static inline void softmax_few(__global const real *p, __global real *q, const int R) {
  acc_t most = -INFINITY, sum = 0;
  for (int r = 0; r < R; r++) {
    const acc_t v = LOAD(p, r);
    most = LARGER(most, v);
  }
  most = SHIFT(acc_t, most);
  for (int r = 0; r < R; r++) sum += CLCONV_EXP(acc_t, LOAD(p, r) - most);
#if FORM == 2
  STORE(q, 0, most + log(sum));
#else
  const acc_t scale = SCALE(acc_t, sum);
  for (int r = 0; r < R; r++) STORE(q, r, SCALED(acc_t, LOAD(p, r) - most, scale));
#endif
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void softmax_rows(__global const real *restrict x,
                                                                          __global real *restrict y, const int OUTER,
                                                                          const int R, const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const int o0 = (int)get_global_id(0) * ROWS; /* 0 .. OUTER-1 */
  for (int o = o0; o < o0 + ROWS && o < OUTER; o++) {
    __global const real *p = x + (long)o * R;
    __global real *q = y + (long)o * (FORM == 2 ? 1 : R);
    if (R >= VEC) softmax_row(p, q, R);
    else softmax_few(p, q, R);
  }
}

#define BLOCK 2 /* vectors of columns at once, a line of the cache */

static inline vec load(__global const real *p, const int some) { return some >= VEC ? LOAD_VEC(p) : LOAD_VEC_SOME(p, some); }

static inline void store(__global real *q, const vec v, const int some) {
  if (some >= VEC) STORE_VEC(q, v);
  else STORE_VEC_SOME(q, v, some);
}

/* The first COUNT of BLOCK vectors of columns, or of one the first `some` columns. */
static inline void softmax_block(__global const real *x, __global real *y, const int R, const int INNER, const int COUNT,
                                 const int some) {
  vec most[BLOCK], sums[BLOCK];
  UNROLL for (int b = 0; b < COUNT; b++) most[b] = VEC_OF(-INFINITY), sums[b] = VEC_OF(0);
  __global const real *p = x;
  for (int r = 0; r < R; r++, p += INNER) {
    UNROLL for (int b = 0; b < COUNT; b++) {
      const vec v = load(p + b * VEC, some);
      most[b] = LARGER(most[b], v);
    }
  }
  UNROLL for (int b = 0; b < COUNT; b++) most[b] = SHIFT(vec, most[b]);
  p = x;
  __global real *q = y;
  for (int r = 0; r < R; r++, p += INNER, q += INNER) {
    UNROLL for (int b = 0; b < COUNT; b++) {
      const vec e = CLCONV_EXP(vec, load(p + b * VEC, some) - most[b]);
      if (KEPT) store(q + b * VEC, e, some);
      sums[b] += e;
    }
  }
#if FORM == 2
  UNROLL for (int b = 0; b < COUNT; b++) store(y + b * VEC, most[b] + log(sums[b]), some);
#else
  UNROLL for (int b = 0; b < COUNT; b++) sums[b] = SCALE(vec, sums[b]);
  p = x;
  q = y;
  for (int r = 0; r < R; r++, p += INNER, q += INNER) {
    UNROLL for (int b = 0; b < COUNT; b++) {
      const vec v = load((KEPT ? q : p) + b * VEC, some);
      store(q + b * VEC, KEPT ? v * sums[b] : SCALED(vec, v - most[b], sums[b]), some);
    }
  }
#endif
}

/* Columns i .. end-1 of one o; a vector of them at least, or all. */
ITEM void softmax_from(__global const real *p, __global real *q, const int R, const int INNER, int i, const int end) {
  for (; i + BLOCK * VEC <= end; i += BLOCK * VEC) softmax_block(p + i, q + i, R, INNER, BLOCK, VEC);
  for (; i < end; i += VEC) {
    if (i + VEC > end) i = end - VEC; /* some of them again, unless there are no more */
    if (i >= 0) softmax_block(p + i, q + i, R, INNER, 1, VEC);
    else softmax_block(p, q, R, INNER, 1, INNER);
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void softmax_columns(
    __global const real *restrict x, __global real *restrict y, const int OUTER, const int R, const int INNER, const int CHUNK,
    const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const int i = (int)get_global_id(0) * CHUNK; /* 0 .. INNER-1 */
  const int o0 = (int)get_global_id(1) * ROWS; /* 0 .. OUTER-1 */
  const int end = INNER - i < CHUNK + VEC ? INNER : i + CHUNK;
  for (int o = o0; o < o0 + ROWS && o < OUTER; o++)
    softmax_from(x + (long)o * R * INNER, y + (long)o * (FORM == 2 ? 1 : R) * INNER, R, INNER, i, end);
}
