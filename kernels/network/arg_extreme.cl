/* Where the largest or smallest element along one axis is:
 *
 *   y[o, i] = the first, or last, r at which x[o, r, i] is the extreme of all; the first that is no number, if there is one
 *
 * x    OUTER x R x INNER
 * y    OUTER x INNER, integers of 64 bits
 *
 * Work-items: (block of ROWS of OUTER * blocks of CHUNK columns + block of CHUNK columns, rounded up to work-groups); vectors along
 * INNER, or along OUTER if INNER is 1, one step per r, and what is left of a block one element after the other.
 *
 *      [VEC]
 *      [VEC]   R of them                              with INNER = 1 elements of a vector are R apart
 *      [VEC] -> y[o, i .. i+VEC-1]
 *
 * Each element of x is read once. Places are numbers of acc_t meanwhile, so that lanes are as wide as elements: R is 2**24 at most.
 *
 * Macros: types.clh, vector.clh; SMALLEST (0, 1); LAST (0, 1: of equal ones); ITEMS (work-items of a work-group).
 */
#include "include/types.clh"
#include "include/vector.clh"

#if !defined(SMALLEST) || !defined(LAST) || !defined(ITEMS)
#error "SMALLEST, LAST and ITEMS must be set by the plan"
#endif

#if SMALLEST
#define BEFORE(v, best) ((v) < (best))
#else
#define BEFORE(v, best) ((v) > (best))
#endif
#define NO_NUMBER(v) ((v) != (v))
#if LAST
#define TAKES(v, best) (!NO_NUMBER(best) & (BEFORE(v, best) | ((v) == (best)) | NO_NUMBER(v)))
#else
#define TAKES(v, best) (!NO_NUMBER(best) & (BEFORE(v, best) | NO_NUMBER(v)))
#endif

/* R elements, PITCH apart. */
static inline long place_of(__global const real *p, const int R, const long PITCH) {
  acc_t best = LOAD(p, 0);
  int at = 0;
  for (int r = 1; r < R; r++) {
    const acc_t v = LOAD(p, r * PITCH);
    if (TAKES(v, best)) {
      best = v;
      at = r;
    }
  }
  return at;
}

/* Element r of VEC rows that follow each other. */
static inline vec of_rows(__global const real *p, const int R) {
  vec_lanes v;
  UNROLL for (int i = 0; i < VEC; i++) v.s[i] = LOAD(p, (long)i * R);
  return v.v;
}

/* VEC columns, or rows. */
static inline void places_of(__global const real *p, __global long *q, const int R, const int INNER) {
  vec best = INNER == 1 ? of_rows(p, R) : LOAD_VEC(p);
  vec_lanes at;
  at.v = VEC_OF(0);
  for (int r = 1; r < R; r++) {
    const vec v = INNER == 1 ? of_rows(p + r, R) : LOAD_VEC(p + (long)r * INNER);
    at.v = TAKES(v, best) ? VEC_OF(r) : at.v;
    best = TAKES(v, best) ? v : best;
  }
  UNROLL for (int i = 0; i < VEC; i++) q[i] = (long)at.s[i];
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void arg_extreme(
    __global const real *restrict x, __global long *restrict y, const int OUTER, const int R, const int INNER, const int CHUNK,
    const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const int blocks = (INNER - 1) / CHUNK + 1;
  const int id = get_global_id(0), block = id / blocks;
  const int begin = (id - block * blocks) * CHUNK; /* 0 .. INNER-1 */
  const int end = INNER - begin < CHUNK ? INNER : begin + CHUNK;
  int o = block * ROWS; /* 0 .. OUTER-1, or behind it */
  const int last = OUTER - o < ROWS ? OUTER : o + ROWS;
  if (INNER == 1)
    for (; o + VEC <= last; o += VEC) places_of(x + (long)o * R, y + o, R, 1);
  for (; o < last; o++) {
    __global const real *p = x + (long)o * R * INNER;
    __global long *q = y + (long)o * INNER;
    int i = begin;
    for (; i + VEC <= end; i += VEC) places_of(p + i, q + i, R, INNER);
    for (; i < end; i++) q[i] = place_of(p + i, R, INNER);
  }
}
