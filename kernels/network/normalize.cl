/* Normalisation: elements less the mean of a row or a column of them, by the root of its variance, then scaled and shifted:
 *
 *   y[o, r, i] = (x[o, r, i] - mean) / sqrt(variance + epsilon) * scale[a] + shift[a]        mean and variance over r
 *
 * x, y           OUTER x R x INNER
 * scale, shift   a numbers; the shift may be absent, a null pointer
 *
 * normalize_rows, for INNER = 1 and a = r (layers). Work-items: (block of ROWS rows); vectors along a row.
 * normalize_columns, for a = r (channels in N C H W). Work-items: (block of VEC columns, o); vectors along INNER.
 * inverse_deviation_rows gives 1 / sqrt(variance + epsilon) itself, which models of training hand on. Work-items: (o).
 * normalize_planes, for INNER = 1 and a = o % KINDS * PLANES + r / AREA (instances and groups: PLANES planes of AREA pixels).
 *   Work-items: (o).
 * normalize_pixels, for INNER = 1 and a = r % C (one group, in N H W C). Work-items: (o).
 *
 *      rows, planes:  [VEC][VEC][VEC]..[tail]         columns:    [VEC]
 *                                                                 [VEC]   R of them, one work-item
 *                                                                 [VEC]
 *
 * x is read three times (for the mean, the variance, the result) and y is written once; a row stays in the cache.
 *
 * Macros: types.clh, vector.clh; HAS_SHIFT.
 */
#include "include/types.clh"
#include "include/vector.clh"

#ifndef HAS_SHIFT
#error "HAS_SHIFT must be set by the plan"
#endif

/* The sum of R elements side by side, or of the squares of what they are away from a mean. */
static inline acc_t sum_row(__global const real *p, const int R) {
  vec_lanes lanes;
  lanes.v = VEC_OF(0);
  int r = 0;
  for (; r + VEC <= R; r += VEC) lanes.v += LOAD_VEC(p + r);
  acc_t sum = 0;
  UNROLL for (int i = 0; i < VEC; i++) sum += lanes.s[i];
  for (; r < R; r++) sum += LOAD(p, r);
  return sum;
}

static inline acc_t sum_squares(__global const real *p, const int R, const acc_t mean) {
  vec_lanes lanes;
  lanes.v = VEC_OF(0);
  int r = 0;
  for (; r + VEC <= R; r += VEC) {
    const vec d = LOAD_VEC(p + r) - VEC_OF(mean);
    lanes.v += d * d;
  }
  acc_t sum = 0;
  UNROLL for (int i = 0; i < VEC; i++) sum += lanes.s[i];
  for (; r < R; r++) {
    const acc_t d = LOAD(p, r) - mean;
    sum += d * d;
  }
  return sum;
}

/* R elements less a mean, times a factor, each with a scale and a shift of its own. */
static inline void scale_row(__global const real *p, __global const real *scale, __global const real *shift, __global real *q,
                             const int R, const acc_t mean, const acc_t factor) {
  int r = 0;
  for (; r + VEC <= R; r += VEC) {
    const vec v = (LOAD_VEC(p + r) - VEC_OF(mean)) * VEC_OF(factor) * LOAD_VEC(scale + r);
    STORE_VEC(q + r, HAS_SHIFT ? v + LOAD_VEC(shift + r) : v);
  }
  for (; r < R; r++) {
    const acc_t v = (LOAD(p, r) - mean) * factor * LOAD(scale, r);
    STORE(q, r, HAS_SHIFT ? v + LOAD(shift, r) : v);
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void normalize_rows(
    __global const real *restrict x, __global const real *restrict scale, __global const real *restrict shift,
    __global real *restrict y, const int OUTER, const int R, const int ROWS, const acc_t epsilon BELL_PARAMETERS) {
  RING_BELL;
  const int o0 = (int)get_global_id(0) * ROWS; /* 0 .. OUTER-1 */
  for (int o = o0; o < o0 + ROWS && o < OUTER; o++) {
    __global const real *p = x + (long)o * R;
    const acc_t mean = sum_row(p, R) / R;
    const acc_t factor = 1 / sqrt(sum_squares(p, R, mean) / R + epsilon);
    scale_row(p, scale, shift, y + (long)o * R, R, mean, factor);
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void normalize_columns(
    __global const real *restrict x, __global const real *restrict scale, __global const real *restrict shift,
    __global real *restrict y, const int R, const int INNER, const acc_t epsilon BELL_PARAMETERS) {
  RING_BELL;
  const int i = (int)get_global_id(0) * VEC; /* 0 .. INNER-1 */
  const long o = get_global_id(1);           /* 0 .. OUTER-1 */
  const int some = INNER - i;                /* columns that are left; VEC of them are taken at most */
  __global const real *p = x + o * R * INNER + i;
  __global real *q = y + o * R * INNER + i;
  vec mean = VEC_OF(0), squares = VEC_OF(0);
  for (int r = 0; r < R; r++) mean += LOAD_VEC_SOME(p + (long)r * INNER, some);
  mean /= VEC_OF(R);
  for (int r = 0; r < R; r++) {
    const vec d = LOAD_VEC_SOME(p + (long)r * INNER, some) - mean;
    squares += d * d;
  }
  const vec factor = VEC_OF(1) / sqrt(squares / VEC_OF(R) + VEC_OF(epsilon));
  for (int r = 0; r < R; r++) {
    const acc_t s = LOAD(scale, r);
    const vec v = (LOAD_VEC_SOME(p + (long)r * INNER, some) - mean) * factor * VEC_OF(s);
    STORE_VEC_SOME(q + (long)r * INNER, HAS_SHIFT ? v + VEC_OF(LOAD(shift, r)) : v, some);
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void normalize_planes(
    __global const real *restrict x, __global const real *restrict scale, __global const real *restrict shift,
    __global real *restrict y, const int KINDS, const int PLANES, const int AREA, const acc_t epsilon BELL_PARAMETERS) {
  RING_BELL;
  const long o = get_global_id(0); /* 0 .. OUTER-1 */
  const int R = PLANES * AREA;
  __global const real *p = x + o * R;
  __global real *q = y + o * R;
  const acc_t mean = sum_row(p, R) / R;
  const acc_t factor = 1 / sqrt(sum_squares(p, R, mean) / R + epsilon);
  for (int plane = 0; plane < PLANES; plane++, p += AREA, q += AREA) {
    const int a = (int)(o % KINDS) * PLANES + plane;
    const acc_t s = factor * LOAD(scale, a);
    const acc_t t = HAS_SHIFT ? LOAD(shift, a) : 0;
    int r = 0;
    for (; r + VEC <= AREA; r += VEC) STORE_VEC(q + r, (LOAD_VEC(p + r) - VEC_OF(mean)) * VEC_OF(s) + VEC_OF(t));
    for (; r < AREA; r++) STORE(q, r, (LOAD(p, r) - mean) * s + t);
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void normalize_pixels(
    __global const real *restrict x, __global const real *restrict scale, __global const real *restrict shift,
    __global real *restrict y, const int PIXELS, const int C, const acc_t epsilon BELL_PARAMETERS) {
  RING_BELL;
  const long o = get_global_id(0); /* 0 .. OUTER-1 */
  const int R = PIXELS * C;
  const acc_t mean = sum_row(x + o * R, R) / R;
  const acc_t factor = 1 / sqrt(sum_squares(x + o * R, R, mean) / R + epsilon);
  for (int pixel = 0; pixel < PIXELS; pixel++)
    scale_row(x + o * R + (long)pixel * C, scale, shift, y + o * R + (long)pixel * C, C, mean, factor);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void inverse_deviation_rows(
    __global const real *restrict x, __global real *restrict y, const int R, const acc_t epsilon BELL_PARAMETERS) {
  RING_BELL;
  const long o = get_global_id(0); /* 0 .. OUTER-1 */
  STORE(y, o, 1 / sqrt(sum_squares(x + o * R, R, sum_row(x + o * R, R) / R) / R + epsilon));
}
