/* Mean, sum, product, largest or smallest element, or norm, along one axis (neighbouring axes are joined by the host):
 *
 *   y[o, i] = mean, sum, .. over r of x[o, r, i]
 *
 * x    OUTER x R x INNER
 * y    OUTER x INNER
 *
 * reduce_rows, for INNER = 1. Work-items: (block of ROWS rows); vectors along a row, lanes joined at its end.
 * reduce_columns. Work-items: (block of CHUNK columns, block of ROWS of OUTER); vectors along INNER, BLOCK of them at once, one step
 * per r. CHUNK is a multiple of VEC; what is left behind the last block and is less than a vector belongs to that block.
 *
 *      rows:     [VEC][VEC][VEC]..[tail] -> y[o]         columns:    [VEC][VEC][VEC][VEC]
 *                                                                    [VEC][VEC][VEC][VEC]   R of them
 *                                                                    [VEC][VEC][VEC][VEC] -> y[o, i .. i+BLOCK*VEC-1]
 *
 * Each element of x is read once, but for some columns of a last vector, which is one that ends where INNER does.
 *
 * Macros: types.clh, vector.clh, reduction.clh.
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "reduction.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void reduce_rows(__global const real *restrict x,
                                                                         __global real *restrict y, const int OUTER,
                                                                         const int R, const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const int o0 = (int)get_global_id(0) * ROWS; /* 0 .. OUTER-1 */
  for (int o = o0; o < o0 + ROWS && o < OUTER; o++) {
    __global const real *p = x + (long)o * R;
    vec s = VEC_OF(NOTHING), t = VEC_OF(NOTHING);
    int r = 0;
    for (; r + 2 * VEC <= R; r += 2 * VEC) {
      const vec u = LOAD_VEC(p + r), v = LOAD_VEC(p + r + VEC);
      s = COMBINE(s, TAKE(u));
      t = COMBINE(t, TAKE(v));
    }
    vec_lanes lanes;
    lanes.v = COMBINE(s, t);
    acc_t sum = NOTHING;
    UNROLL for (int i = 0; i < VEC; i++) sum = COMBINE(sum, lanes.s[i]);
    for (; r < R; r++) {
      const acc_t u = LOAD(p, r);
      sum = COMBINE(sum, TAKE(u));
    }
    STORE(y, o, FINISH(acc_t, sum));
  }
}

#define BLOCK 4
#define SUMS 4

/* BLOCK vectors of columns, or one: each in SUMS sums, of every SUMS-th element, for an addition takes as long as several loads. */
static inline void reduce_vectors(const int vectors, __global const real *p, __global real *q, const int R, const int INNER) {
#define EACH(b) UNROLL for (int b = 0; b < BLOCK; b++) if (b < vectors)
  vec sums[SUMS][BLOCK];
  UNROLL for (int k = 0; k < SUMS; k++) EACH(b) sums[k][b] = VEC_OF(NOTHING);
  int r = 0;
  for (; r + SUMS <= R; r += SUMS)
    UNROLL for (int k = 0; k < SUMS; k++, p += INNER)
      EACH(b) {
        const vec u = LOAD_VEC(p + b * VEC);
        sums[k][b] = COMBINE(sums[k][b], TAKE(u));
      }
  for (; r < R; r++, p += INNER)
    EACH(b) {
      const vec u = LOAD_VEC(p + b * VEC);
      sums[0][b] = COMBINE(sums[0][b], TAKE(u));
    }
  EACH(b) {
    UNROLL for (int k = 1; k < SUMS; k++) sums[0][b] = COMBINE(sums[0][b], sums[k][b]);
    STORE_VEC(q + b * VEC, FINISH(vec, sums[0][b]));
  }
}

/* Fewer columns than a vector has. */
static inline void reduce_some(__global const real *p, __global real *q, const int R, const int INNER) {
  vec sum = VEC_OF(NOTHING);
  for (int r = 0; r < R; r++, p += INNER) {
    const vec u = LOAD_VEC_SOME(p, INNER);
    sum = COMBINE(sum, TAKE(u));
  }
  STORE_VEC_SOME(q, FINISH(vec, sum), INNER);
}

/* Columns i .. end-1 of one o; a vector of them at least, or all. */
ITEM void reduce_from(__global const real *p, __global real *q, const int R, const int INNER, int i, const int end) {
  for (; i + BLOCK * VEC <= end; i += BLOCK * VEC) reduce_vectors(BLOCK, p + i, q + i, R, INNER);
  for (; i + VEC <= end; i += VEC) reduce_vectors(1, p + i, q + i, R, INNER);
  if (i == end) return;
  if (end >= VEC) reduce_vectors(1, p + end - VEC, q + end - VEC, R, INNER); /* some of them again */
  else reduce_some(p, q, R, INNER);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void reduce_columns(
    __global const real *restrict x, __global real *restrict y, const int OUTER, const int R, const int INNER, const int CHUNK,
    const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const int i = (int)get_global_id(0) * CHUNK; /* 0 .. INNER-1 */
  const int o0 = (int)get_global_id(1) * ROWS; /* 0 .. OUTER-1 */
  const int end = INNER - i < CHUNK + VEC ? INNER : i + CHUNK;
  for (int o = o0; o < o0 + ROWS && o < OUTER; o++)
    reduce_from(x + (long)o * R * INNER, y + (long)o * INNER, R, INNER, i, end);
}
