/* Step 8, packed: the filter is rearranged once, so that the weights stand in the order in which they are used.
 *
 * q (OC / 4, IC, 3, 3, 4): the weights of 4 output channels are neighbours. Before, they were IC * 9 apart: four places
 * in memory to follow, four addresses to compute.
 *
 * ladder_pack   Work-items: (i, oc) with i = (ic * 3 + kh) * 3 + kw, one weight each. Runs once per filter, not per call.
 * ladder_08     Work-items: (ow / 8, oh / 3, oc / 4), as step 7.
 *
 * Macros: vector.clh.
 */
#include "include/vector.clh"
#define BLOCK 4
#define ROWS 3

__kernel void ladder_pack(__global const float *restrict w, __global float *restrict q) {
  const int i = get_global_id(0);  /* 0 .. IC*9-1 */
  const int oc = get_global_id(1); /* 0 .. OC-1 */
  const int n = get_global_size(0);
  q[(oc / BLOCK * n + i) * BLOCK + oc % BLOCK] = w[oc * n + i];
}

__kernel void ladder_08(__global const float *restrict p, __global const float *restrict q, __global float *restrict y,
                        const int IC, const int OH, const int OW, const int PH, const int PW) {
  const int ow = get_global_id(0) * VEC;   /* 0 .. OW-1 */
  const int oh = get_global_id(1) * ROWS;  /* 0 .. OH-1 */
  const int oc = get_global_id(2) * BLOCK; /* 0 .. OC-1 */
  vec sum[BLOCK][ROWS];
  UNROLL for (int j = 0; j < BLOCK; j++) UNROLL for (int i = 0; i < ROWS; i++) sum[j][i] = VEC_OF(0);
  q += oc * IC * 9;
  for (int ic = 0; ic < IC; ic++)
    _Pragma("unroll 1") for (int kh = 0; kh < 3; kh++) /* a loop, see step 7 */
      UNROLL for (int kw = 0; kw < 3; kw++) {
        vec v[ROWS];
        UNROLL for (int i = 0; i < ROWS; i++) v[i] = LOAD_VEC(p + (ic * PH + oh + i + kh) * PW + ow + kw);
        UNROLL for (int j = 0; j < BLOCK; j++) {
          const vec f = VEC_OF(q[((ic * 3 + kh) * 3 + kw) * BLOCK + j]);
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
