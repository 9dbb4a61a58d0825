/* Mean, sum, product, largest or smallest element, or norm, along one axis (neighbouring axes are joined by the host):
 *
 *   y[o, i] = mean, sum, .. over r of x[o, r, i]
 *
 * x    OUTER x R x INNER
 * y    OUTER x INNER
 *
 * reduce_rows, for INNER = 1. Work-items: (block of ROWS rows); vectors along a row, lanes joined at its end.
 * reduce_columns. Work-items: (block of VEC columns, o); vectors along INNER, one step per r.
 *
 *      rows:     [VEC][VEC][VEC]..[tail] -> y[o]         columns:    [VEC]
 *                                                                    [VEC]   R of them, one work-item
 *                                                                    [VEC] -> y[o, i .. i+VEC-1]
 *
 * Each element of x is read once.
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

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void reduce_columns(__global const real *restrict x,
                                                                            __global real *restrict y, const int R,
                                                                            const int INNER BELL_PARAMETERS) {
  RING_BELL;
  const int i = (int)get_global_id(0) * VEC; /* 0 .. INNER-1 */
  const long o = get_global_id(1);           /* 0 .. OUTER-1 */
  const int some = INNER - i;                /* columns that are left; VEC of them are taken at most */
  __global const real *p = x + o * R * INNER + i;
  vec sum = VEC_OF(NOTHING);
  if (some >= VEC)
    for (int r = 0; r < R; r++) {
      const vec u = LOAD_VEC(p + (long)r * INNER);
      sum = COMBINE(sum, TAKE(u));
    }
  else
    for (int r = 0; r < R; r++) {
      const vec u = LOAD_VEC_SOME(p + (long)r * INNER, some);
      sum = COMBINE(sum, TAKE(u));
    }
  STORE_VEC_SOME(y + o * INNER + i, FINISH(vec, sum), some);
}
