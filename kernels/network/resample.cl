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
 * resample_columns.               Work-items: (block of ROWS rows o * COUNT + j); vectors along INNER, of which the last one ends where
 *                                 INNER does: some elements are computed twice.
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

#define ABREAST 4 /* rows at once, which share what is read of the tables */

/* COUNT of ABREAST rows. */
static inline void resample_abreast(__global const real *p, __global const int *places, __global const acc_t *weights,
                                    __global real *q, const int SIZE, const int WIDTH, const int COUNT) {
  for (int j = 0; j < WIDTH; j++) {
    acc_t sums[ABREAST];
    UNROLL for (int a = 0; a < COUNT; a++) sums[a] = 0;
    UNROLL for (int t = 0; t < TAPS; t++) {
      const acc_t weight = weights[j * TAPS + t];
      const int place = places[j * TAPS + t]; /* 0 .. SIZE-1 */
      UNROLL for (int a = 0; a < COUNT; a++) sums[a] += weight * LOAD(p, (long)a * SIZE + place);
    }
    UNROLL for (int a = 0; a < COUNT; a++) STORE(q, (long)a * WIDTH + j, sums[a]);
  }
}

/* Rows o .. end-1. */
ITEM void resample_from(__global const real *x, __global const int *places, __global const acc_t *weights, __global real *y,
                        const int SIZE, const int COUNT, int o, const int end) {
  for (; o + ABREAST <= end; o += ABREAST)
    resample_abreast(x + (long)o * SIZE, places, weights, y + (long)o * COUNT, SIZE, COUNT, ABREAST);
  for (; o < end; o++) resample_abreast(x + (long)o * SIZE, places, weights, y + (long)o * COUNT, SIZE, COUNT, 1);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void resample_rows(
    __global const real *restrict x, __global const int *restrict places, __global const acc_t *restrict weights,
    __global real *restrict y, const int OUTER, const int SIZE, const int COUNT, const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const int o = (int)get_global_id(0) * ROWS; /* 0 .. OUTER-1 */
  resample_from(x, places, weights, y, SIZE, COUNT, o, OUTER - o < ROWS ? OUTER : o + ROWS);
}

/* VEC elements of row j. */
static inline void resample_vector(__global const real *p, __global const int *places, __global const acc_t *weights,
                                   __global real *q, const int INNER, const int j) {
  vec sum = VEC_OF(0);
  UNROLL for (int t = 0; t < TAPS; t++)
    sum += VEC_OF(weights[j * TAPS + t]) * LOAD_VEC(p + (long)places[j * TAPS + t] * INNER);
  STORE_VEC(q, sum);
}

/* Row j. */
ITEM void resample_row(__global const real *p, __global const int *places, __global const acc_t *weights, __global real *q,
                       const int INNER, const int j) {
  int i = 0;
  for (; i + VEC <= INNER; i += VEC) resample_vector(p + i, places, weights, q + i, INNER, j);
  if (i == INNER) return;
  if (INNER > VEC) {
    i = INNER - VEC;
    resample_vector(p + i, places, weights, q + i, INNER, j);
    return;
  }
  for (; i < INNER; i++) {
    acc_t sum = 0;
    for (int t = 0; t < TAPS; t++) sum += weights[j * TAPS + t] * LOAD(p, (long)places[j * TAPS + t] * INNER + i);
    STORE(q, i, sum);
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void resample_columns(
    __global const real *restrict x, __global const int *restrict places, __global const acc_t *restrict weights,
    __global real *restrict y, const int OUTER, const int SIZE, const int COUNT, const int INNER, const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const long rows = (long)OUTER * COUNT;
  const long row0 = (long)get_global_id(0) * ROWS; /* 0 .. OUTER*COUNT-1 */
  const long end = row0 + ROWS < rows ? row0 + ROWS : rows;
  long o = row0 / COUNT;        /* 0 .. OUTER-1 */
  int j = (int)(row0 % COUNT); /* 0 .. COUNT-1 */
  for (long row = row0; row < end; row++) {
    resample_row(x + o * SIZE * INNER, places, weights, y + row * INNER, INNER, j);
    j++;
    if (j == COUNT) j = 0, o++;
  }
}
