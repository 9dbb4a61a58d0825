/* Pointwise (1x1) convolution, a matrix product: y = w x with x (IC, P), w (OC, IC), y (OC, P), P pixels.
 *
 *   y[oc, p] = sum over ic of w[oc, ic] * x[ic, p]
 *
 * Work-items: (p / (VEC * NV), oc / BLOCK), rounded up. Each owns a register tile of BLOCK channels x NV vectors:
 *
 *                   x  [v0][v1]   one channel ic: NV vectors are loaded
 *          w
 *        [ w0 ]        [ acc  ]   ... and used by BLOCK output channels
 *        [ w1 ]        [ acc  ]
 *        [ w2 ]        [ acc  ]
 *        [ w3 ]        [ acc  ]
 *
 * Per step: NV vectors and BLOCK numbers are loaded for BLOCK * NV vector multiply-adds.
 *
 * Macros: vector.clh; BLOCK, NV.
 */
#include "include/vector.clh"

#if !defined(BLOCK) || !defined(NV)
#error "BLOCK and NV, the register tile, must be set"
#endif

__kernel void pointwise(__global const float *restrict x, __global const float *restrict w, __global float *restrict y,
                        const int IC, const int OC, const int P) {
  const int p = get_global_id(0) * (VEC * NV); /* 0 .. P-1 */
  const int oc = get_global_id(1) * BLOCK;     /* 0 .. OC-1 */
  vec acc[BLOCK][NV];
  UNROLL for (int i = 0; i < BLOCK; i++) UNROLL for (int j = 0; j < NV; j++) acc[i][j] = VEC_OF(0);

  const int pixels = P - p, channels = min(BLOCK, OC - oc);
  if (pixels >= VEC * NV && channels == BLOCK) {
    for (int ic = 0; ic < IC; ic++) {
      vec v[NV];
      UNROLL for (int j = 0; j < NV; j++) v[j] = LOAD_VEC(x + ic * P + p + VEC * j);
      UNROLL for (int i = 0; i < BLOCK; i++)
        UNROLL for (int j = 0; j < NV; j++) acc[i][j] += w[(oc + i) * IC + ic] * v[j];
    }
    UNROLL for (int i = 0; i < BLOCK; i++)
      UNROLL for (int j = 0; j < NV; j++) STORE_VEC(y + (oc + i) * P + p + VEC * j, acc[i][j]);
  } else { /* the last pixels or channels: the same with care */
    for (int ic = 0; ic < IC; ic++)
      UNROLL for (int j = 0; j < NV; j++) {
        const vec v = LOAD_VEC_SOME(x + ic * P + p + VEC * j, pixels - VEC * j);
        UNROLL for (int i = 0; i < BLOCK; i++)
          if (i < channels) acc[i][j] += w[(oc + i) * IC + ic] * v;
      }
    UNROLL for (int i = 0; i < BLOCK; i++)
      UNROLL for (int j = 0; j < NV; j++)
        if (i < channels) STORE_VEC_SOME(y + (oc + i) * P + p + VEC * j, acc[i][j], pixels - VEC * j);
  }
}
