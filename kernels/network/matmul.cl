/* Matrix products of two tensors that are both computed at run time (a constant one goes through a pointwise convolution):
 *
 *   y[b, m, n] = f( alpha * sum over k of a[b, m, k] * w[b, k, n]  +  beta * c[m, n] )
 *
 * a    element (b, m, k) at ao + m*AM + k*AK, with ao = b / BATCH1 * AB0 + b % BATCH1 * AB1
 * w    element (b, k, n) at wo + k*N + n,     with wo = b / BATCH1 * WB0 + b % BATCH1 * WB1
 * c    element (m, n) at m*CM + n*CN; null unless HAS_C
 * y    BATCH x M x N
 *
 * Work-items: ((b * PARTS + part) * SHARES + share), all in one dimension: a part of the tiles of TILE_M rows, and a share of those of
 * TILE_N vectors of columns. For each tile of columns all tiles of rows: w is read from the cache again, a line of it at a time.
 *
 *                w   [VEC][VEC]
 *                    [VEC][VEC]   K steps
 *      a  . . . . -> [VEC][VEC]
 *         . . . . -> [VEC][VEC]   TILE_M rows of y, TILE_N vectors each, in registers
 *
 * The last vector of a row, if the row does not end with it, ends there none the less: what it has in common with the one before is not
 * stored. Per TILE_M * TILE_N vectors of outputs, K * (TILE_M + TILE_N * VEC) elements are read.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, function.clh (f); HAS_C (0, 1); TILE_M; TILE_N (1, 2, 4).
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/lanes.clh"
#include "function.clh"

#if !defined(HAS_C) || !defined(TILE_M) || !defined(TILE_N)
#error "HAS_C, TILE_M and TILE_N must be set by the plan"
#endif

typedef struct {
  int M, N, K, AM, AK, CM, CN;
  acc_t alpha, beta, fa, fb;
} product_t;

/* A tile from row m0 and column n on, of `vectors` (a constant, 1 .. TILE_N) vectors. */
INLINE void multiply_tile(const int vectors, __global const real *a, __global const real *w, __global const real *c,
                          __global real *y, const int m0, const int n, const product_t p) {
  const int behind = n + (vectors - 1) * VEC;                                /* column of the last vector, as the others follow */
  const int last = p.N - behind >= VEC ? behind : p.N >= VEC ? p.N - VEC : behind; /* and where it is */
  const lanes_t there = lanes_between(0, p.N - last), own = lanes_between(behind - last, p.N - last);

  /* Rows behind the last one compute the last one again and are not stored. */
  __global const real *row[TILE_M];
  vec acc[TILE_M][TILE_N];
  UNROLL for (int i = 0; i < TILE_M; i++) {
    row[i] = a + (long)(m0 + i < p.M ? m0 + i : p.M - 1) * p.AM;
    UNROLL for (int j = 0; j < TILE_N; j++) acc[i][j] = VEC_OF(0);
  }
  for (int k = 0; k < p.K; k++) {
    __global const real *from = w + (long)k * p.N;
    vec v[TILE_N];
    UNROLL for (int j = 0; j < TILE_N; j++)
      if (j < vectors) v[j] = j < vectors - 1 ? LOAD_VEC(from + n + j * VEC) : LOAD_LANES(from + last, there);
    UNROLL for (int i = 0; i < TILE_M; i++) {
      const acc_t u = LOAD(row[i], (long)k * p.AK);
      UNROLL for (int j = 0; j < TILE_N; j++)
        if (j < vectors) acc[i][j] += VEC_OF(u) * v[j];
    }
  }
  UNROLL for (int i = 0; i < TILE_M; i++) {
    const int m = m0 + i;
    if (m >= p.M) break;
    UNROLL for (int j = 0; j < TILE_N; j++)
      if (j < vectors) {
        const int column = j < vectors - 1 ? n + j * VEC : last;
        vec r = acc[i][j] * VEC_OF(p.alpha);
#if HAS_C
        vec_lanes s;
        s.v = r;
        ROLLED for (int l = 0; l < VEC; l++)
          if (column + l < p.N) s.s[l] += p.beta * LOAD(c, (long)m * p.CM + (long)(column + l) * p.CN);
        r = s.v;
#endif
        r = function_vec(r, p.fa, p.fb);
        __global real *to = y + (long)m * p.N + column;
        if (j < vectors - 1)
          STORE_VEC(to, r);
        else
          STORE_LANES(to, r, own);
      }
  }
}

/* The tiles of rows m0 .. m1-1 and of columns n0 .. n1-1. */
ITEM void multiply(__global const real *a, __global const real *w, __global const real *c, __global real *y, const int m0,
                   const int m1, const int n0, const int n1, const product_t p) {
  for (int n = n0; n < n1; n += TILE_N * VEC) {
    const int vectors = (p.N - n + VEC - 1) / VEC;
#define CASE(SIZE) \
  case SIZE: \
    for (int m = m0; m < m1; m += TILE_M) multiply_tile(SIZE, a, w, c, y, m, n, p); \
    break
    switch (vectors) {
#if TILE_N > 1
      CASE(1);
#endif
#if TILE_N > 2
      CASE(2);
      CASE(3);
#endif
      default:
        for (int m = m0; m < m1; m += TILE_M) multiply_tile(TILE_N, a, w, c, y, m, n, p);
    }
  }
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void matmul(
    __global const real *restrict a, __global const real *restrict w, __global const real *restrict c,
    __global real *restrict y, const int M, const int N, const int K, const int BATCH1, const int AB0, const int AB1,
    const int AM, const int AK, const int WB0, const int WB1, const int CM, const int CN, const int PARTS, const int SHARES,
    const acc_t alpha, const acc_t beta, const acc_t fa, const acc_t fb BELL_PARAMETERS) {
  RING_BELL;
  const int down = (M + TILE_M - 1) / TILE_M, across = (N + TILE_N * VEC - 1) / (TILE_N * VEC); /* tiles */
  const int id = get_global_id(0), share = id % SHARES, part = id / SHARES % PARTS, batch = id / SHARES / PARTS;
  const int b0 = batch / BATCH1, b1 = batch - b0 * BATCH1; /* its two axes */
  const int i0 = (long)down * part / PARTS, i1 = (long)down * (part + 1) / PARTS;
  const int j0 = (long)across * share / SHARES, j1 = (long)across * (share + 1) / SHARES;
  const product_t p = {M, N, K, AM, AK, CM, CN, alpha, beta, fa, fb};
  multiply(a + ((long)b0 * AB0 + (long)b1 * AB1), w + ((long)b0 * WB0 + (long)b1 * WB1), c, y + (long)batch * M * N, i0 * TILE_M,
           i1 * TILE_M, j0 * TILE_N * VEC, j1 * TILE_N * VEC, p);
}
