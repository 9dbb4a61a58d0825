/* Matrix products of two tensors that are both computed at run time (a constant one goes through a pointwise convolution):
 *
 *   y[b, m, n] = f( alpha * sum over k of a[b, m, k] * w[b, k, n]  +  beta * c[m, n] )
 *
 * a    element (b, m, k) at ao + m*AM + k*AK, with ao = b / BATCH1 * AB0 + b % BATCH1 * AB1
 * w    element (b, k, n) at wo + k*N + n,     with wo = b / BATCH1 * WB0 + b % BATCH1 * WB1
 * c    element (m, n) at m*CM + n*CN; null unless HAS_C
 * y    BATCH x M x N
 *
 * Work-items: ((b * blocks of TILE_M rows + block) * blocks of VEC columns + block), all in one dimension.
 *
 *                w   [VEC]
 *                    [VEC]   K steps
 *      a  . . . . -> [VEC]
 *         . . . . -> [VEC]   TILE_M rows of y
 *
 * Per TILE_M * VEC outputs, K * (TILE_M + VEC) elements are read.
 *
 * Macros: types.clh, vector.clh, function.clh (f); HAS_C (0, 1); TILE_M.
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "function.clh"

#if !defined(HAS_C) || !defined(TILE_M)
#error "HAS_C and TILE_M must be set by the plan"
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void matmul(
    __global const real *restrict a, __global const real *restrict w, __global const real *restrict c,
    __global real *restrict y, const int M, const int N, const int K, const int BATCH1, const int AB0, const int AB1,
    const int AM, const int AK, const int WB0, const int WB1, const int CM, const int CN, const acc_t alpha,
    const acc_t beta, const acc_t fa, const acc_t fb BELL_PARAMETERS) {
  RING_BELL;
  const int id = get_global_id(0), across = (N + VEC - 1) / VEC, down = (M + TILE_M - 1) / TILE_M;
  const int tile = id / across;                  /* 0 .. BATCH*down-1 */
  const int n = (id - tile * across) * VEC;      /* 0 .. N-1 */
  const int batch = tile / down;                 /* 0 .. BATCH-1 */
  const int m0 = (tile - batch * down) * TILE_M; /* 0 .. M-1 */
  const int b0 = batch / BATCH1;                 /* its two axes */
  const int b1 = batch - b0 * BATCH1;
  const int some = N - n;                        /* columns that are left; VEC of them are taken at most */
  __global const real *pa = a + ((long)b0 * AB0 + (long)b1 * AB1);
  __global const real *pw = w + ((long)b0 * WB0 + (long)b1 * WB1 + n);

  /* Rows behind the last one compute the last one again and are not stored. */
  long at[TILE_M];
  vec acc[TILE_M];
  UNROLL for (int i = 0; i < TILE_M; i++) {
    at[i] = (long)(m0 + i < M ? m0 + i : M - 1) * AM;
    acc[i] = VEC_OF(0);
  }
  for (int k = 0; k < K; k++) {
    const vec v = some >= VEC ? LOAD_VEC(pw + (long)k * N) : LOAD_VEC_SOME(pw + (long)k * N, some);
    UNROLL for (int i = 0; i < TILE_M; i++) acc[i] += VEC_OF(LOAD(pa, at[i] + (long)k * AK)) * v;
  }
  UNROLL for (int i = 0; i < TILE_M; i++) {
    if (m0 + i >= M) break;
    vec_lanes r;
    r.v = acc[i] * VEC_OF(alpha);
#if HAS_C
    UNROLL for (int j = 0; j < VEC; j++)
      if (j < some) r.s[j] += beta * LOAD(c, (long)(m0 + i) * CM + (long)(n + j) * CN);
#endif
    STORE_VEC_SOME(y + ((long)batch * M + m0 + i) * N + n, function_vec(r.v, fa, fb), some);
  }
}
