/* Normalisation: elements less the mean of a row or a column of them, by the root of its variance, then scaled and shifted:
 *
 *   y[o, r, i] = (x[o, r, i] - mean) / sqrt(variance + epsilon) * scale[a] + shift[a]        mean and variance over r
 *
 * x, y           OUTER x R x INNER
 * scale, shift   a numbers; the shift may be absent, a null pointer
 *
 * normalize_rows, for INNER = 1 and a = r (layers). Work-items: (block of ROWS rows); vectors along a row.
 * normalize_columns, for a = r (channels in N C H W). Work-items: (block of SUMS*VEC columns, o); vectors along INNER, SUMS at once,
 * so that whole lines of memory are moved, or one.
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

#define SUMS 4 /* vectors side by side, for an addition takes as long as several loads */

/* The sum of all lanes of some vectors. */
static inline acc_t sum_lanes(const vec *sums) {
  vec_lanes lanes;
  lanes.v = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  UNROLL for (int n = VEC / 2; n > 0; n /= 2)
    UNROLL for (int i = 0; i < n; i++) lanes.s[i] += lanes.s[i + n];
  return lanes.s[0];
}

/* The sum of R elements side by side, or of the squares of what they are away from a mean. */
#define DEFINE_SUM(NAME, TAKE)                                                          \
  static inline acc_t NAME(__global const real *p, const int R, const acc_t mean) {     \
    vec sums[SUMS];                                                                     \
    UNROLL for (int k = 0; k < SUMS; k++) sums[k] = VEC_OF(0);                          \
    int r = 0;                                                                          \
    for (; r + SUMS * VEC <= R; r += SUMS * VEC)                                        \
      UNROLL for (int k = 0; k < SUMS; k++) {                                           \
        const vec d = LOAD_VEC(p + r + k * VEC) - VEC_OF(mean);                         \
        sums[k] += TAKE(d);                                                             \
      }                                                                                 \
    for (; r + VEC <= R; r += VEC) {                                                    \
      const vec d = LOAD_VEC(p + r) - VEC_OF(mean);                                     \
      sums[0] += TAKE(d);                                                               \
    }                                                                                   \
    acc_t sum = sum_lanes(sums);                                                        \
    for (; r < R; r++) {                                                                \
      const acc_t d = LOAD(p, r) - mean;                                                \
      sum += TAKE(d);                                                                   \
    }                                                                                   \
    return sum;                                                                         \
  }
#define ITSELF(v) (v)
#define SQUARE(v) ((v) * (v))
DEFINE_SUM(sum_away, ITSELF)
DEFINE_SUM(sum_squares, SQUARE)
#define sum_row(p, R) sum_away((p), (R), 0)

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

/* R elements of some vectors of columns, INNER apart: SUMS whole ones, or one of which the first `some` elements exist. */
static inline void scale_columns(const int vectors, const int some, __global const real *p, __global const real *scale,
                                 __global const real *shift, __global real *q, const int R, const int INNER, const acc_t epsilon) {
#define COLUMNS(r, k) (vectors > 1 ? LOAD_VEC(p + (long)(r) * INNER + (k) * VEC) : LOAD_VEC_SOME(p + (long)(r) * INNER, some))
#define EACH(k) UNROLL for (int k = 0; k < SUMS; k++) if (k < vectors)
  vec mean[SUMS], factor[SUMS];
  EACH(k) mean[k] = factor[k] = VEC_OF(0);
  for (int r = 0; r < R; r++) EACH(k) mean[k] += COLUMNS(r, k);
  EACH(k) mean[k] /= VEC_OF(R);
  for (int r = 0; r < R; r++)
    EACH(k) {
      const vec d = COLUMNS(r, k) - mean[k];
      factor[k] += d * d;
    }
  EACH(k) factor[k] = VEC_OF(1) / sqrt(factor[k] / VEC_OF(R) + VEC_OF(epsilon));
  for (int r = 0; r < R; r++) {
    const vec s = VEC_OF(LOAD(scale, r)), t = HAS_SHIFT ? VEC_OF(LOAD(shift, r)) : VEC_OF(0);
    EACH(k) {
      const vec v = (COLUMNS(r, k) - mean[k]) * factor[k] * s;
      __global real *to = q + (long)r * INNER + k * VEC;
      if (vectors > 1) STORE_VEC(to, HAS_SHIFT ? v + t : v);
      else STORE_VEC_SOME(to, HAS_SHIFT ? v + t : v, some);
    }
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void normalize_columns(
    __global const real *restrict x, __global const real *restrict scale, __global const real *restrict shift,
    __global real *restrict y, const int R, const int INNER, const acc_t epsilon BELL_PARAMETERS) {
  RING_BELL;
  const int first = (int)get_global_id(0) * SUMS * VEC; /* 0 .. INNER-1 */
  const long from = get_global_id(1) * (long)R * INNER; /* of o */
  if (first + SUMS * VEC <= INNER) {
    scale_columns(SUMS, VEC, x + from + first, scale, shift, y + from + first, R, INNER, epsilon);
    return;
  }
  for (int i = first; i < INNER; i += VEC) /* the last columns */
    scale_columns(1, INNER - i, x + from + i, scale, shift, y + from + i, R, INNER, epsilon);
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
