/* Step 7, tile: each work-item computes 4 output channels x 3 rows x 8 pixels: 12 vectors of sums.
 *
 *                        p, rows oh .. oh+4              registers
 *                        [ v of row 0 ]                  sum[0][0] sum[0][1] sum[0][2]   channel oc
 *    w[oc .. oc+3]  x    [ v of row 1 ]         ----->   sum[1][0] sum[1][1] sum[1][2]   channel oc + 1
 *                        [ v of row 2 ]                  sum[2][0] sum[2][1] sum[2][2]   channel oc + 2
 *                                                        sum[3][0] sum[3][1] sum[3][2]   channel oc + 3
 *
 * A weight, once spread over a vector, is used for three rows; a vector of pixels for four channels. Twelve sums are
 * under way at once: enough to hide the latency of a multiply-add, and together with three vectors of pixels and one
 * of weights they just fill the 16 vector registers.
 *
 * Work-items: (ow / 8, oh / 3, oc / 4). Per vector multiply-add: 1/4 vector load, 1/3 number.
 *
 * The loop over kh stays a loop. Were it unrolled too, rows that neighbouring kh share would be kept in registers, none
 * would be left, and the sums would go to the stack and back; -DKH_LOOP=UNROLL shows it.
 *
 * Macros: vector.clh; KH_LOOP (optional).
 */
#include "include/vector.clh"
#ifndef KH_LOOP
#define KH_LOOP _Pragma("unroll 1")
#endif
#define BLOCK 4
#define ROWS 3

__kernel void ladder_07(__global const float *restrict p, __global const float *restrict w, __global float *restrict y,
                        const int IC, const int OH, const int OW, const int PH, const int PW) {
  const int ow = get_global_id(0) * VEC;   /* 0 .. OW-1 */
  const int oh = get_global_id(1) * ROWS;  /* 0 .. OH-1 */
  const int oc = get_global_id(2) * BLOCK; /* 0 .. OC-1 */
  vec sum[BLOCK][ROWS];
  UNROLL for (int j = 0; j < BLOCK; j++) UNROLL for (int i = 0; i < ROWS; i++) sum[j][i] = VEC_OF(0);
  for (int ic = 0; ic < IC; ic++)
    KH_LOOP for (int kh = 0; kh < 3; kh++) UNROLL for (int kw = 0; kw < 3; kw++) {
      vec v[ROWS];
      UNROLL for (int i = 0; i < ROWS; i++) v[i] = LOAD_VEC(p + (ic * PH + oh + i + kh) * PW + ow + kw);
      UNROLL for (int j = 0; j < BLOCK; j++) {
        const vec f = VEC_OF(w[(((oc + j) * IC + ic) * 3 + kh) * 3 + kw]);
        UNROLL for (int i = 0; i < ROWS; i++) sum[j][i] += v[i] * f;
      }
    }
  UNROLL for (int j = 0; j < BLOCK; j++) UNROLL for (int i = 0; i < ROWS; i++)
    if (oh + i < OH) {
      __global float *to = y + ((oc + j) * OH + oh + i) * OW + ow;
      if (ow + VEC <= OW) STORE_VEC(to, sum[j][i]);
      else STORE_VEC_SOME(to, sum[j][i], OW - ow);
    }
}
