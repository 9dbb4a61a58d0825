/* One axis of a tensor at other places, each a weighted sum of TAPS old ones:
 *
 *   y[o, j, i] = sum over t of weights[j, t] * x[o, places[j, t], i]
 *
 * x         OUTER x SIZE x INNER
 * y         OUTER x COUNT x INNER
 * places    COUNT x TAPS, each 0 .. SIZE-1
 * weights   COUNT x TAPS, in the accumulation type
 *
 * Nearest (TAPS 1), linear (2) and cubic (4) interpolation are tables; the host makes them. An image that grows is resized along its
 * width and then along its height, where elements come in vectors; one whose height shrinks the other way round.
 *
 * resample_rows, for INNER = 1.   Work-items: (block of ROWS rows o); each writes whole rows.
 * resample_columns.               Work-items: (o * COUNT + j); vectors along INNER.
 *
 * Per output TAPS elements are read and one is written.
 *
 * Macros: types.clh, vector.clh; TAPS.
 */
#include "include/types.clh"
#include "include/vector.clh"

#ifndef TAPS
#error "TAPS must be set by the plan"
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void resample_rows(
    __global const real *restrict x, __global const int *restrict places, __global const acc_t *restrict weights,
    __global real *restrict y, const int OUTER, const int SIZE, const int COUNT, const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const int o0 = (int)get_global_id(0) * ROWS; /* 0 .. OUTER-1 */
  for (int o = o0; o < o0 + ROWS && o < OUTER; o++) {
    __global const real *p = x + (long)o * SIZE;
    __global real *q = y + (long)o * COUNT;
    for (int j = 0; j < COUNT; j++) {
      acc_t sum = 0;
      for (int t = 0; t < TAPS; t++) sum += weights[j * TAPS + t] * LOAD(p, places[j * TAPS + t]);
      STORE(q, j, sum);
    }
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void resample_columns(
    __global const real *restrict x, __global const int *restrict places, __global const acc_t *restrict weights,
    __global real *restrict y, const int SIZE, const int COUNT, const int INNER BELL_PARAMETERS) {
  RING_BELL;
  const int row = get_global_id(0); /* 0 .. OUTER*COUNT-1 */
  const int o = row / COUNT;        /* 0 .. OUTER-1 */
  const int j = row - o * COUNT;    /* 0 .. COUNT-1 */
  __global const real *p = x + (long)o * SIZE * INNER;
  __global real *q = y + (long)row * INNER;
  int i = 0;
  for (; i + VEC <= INNER; i += VEC) {
    vec sum = VEC_OF(0);
    for (int t = 0; t < TAPS; t++)
      sum += VEC_OF(weights[j * TAPS + t]) * LOAD_VEC(p + (long)places[j * TAPS + t] * INNER + i);
    STORE_VEC(q + i, sum);
  }
  for (; i < INNER; i++) {
    acc_t sum = 0;
    for (int t = 0; t < TAPS; t++) sum += weights[j * TAPS + t] * LOAD(p, (long)places[j * TAPS + t] * INNER + i);
    STORE(q, i, sum);
  }
}
