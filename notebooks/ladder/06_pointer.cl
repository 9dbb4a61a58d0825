/* Step 6, pointer: vectors are read with LOAD_VEC of kernels/include/vector.clh instead of vload8.
 *
 * Where a compiler turns vload8 into a function call, LOAD_VEC reads through a pointer to an unaligned vector; where
 * it does not, LOAD_VEC is vload8.
 *
 * Work-items: (ow / 8, oh, oc / 4). Per vector multiply-add: 1/4 vector load, 1 number.
 *
 * Macros: vector.clh.
 */
#include "include/vector.clh"
#define BLOCK 4

__kernel void ladder_06(__global const float *restrict p, __global const float *restrict w, __global float *restrict y,
                        const int IC, const int OH, const int OW, const int PH, const int PW) {
  const int ow = get_global_id(0) * VEC;   /* 0 .. OW-1 */
  const int oh = get_global_id(1);         /* 0 .. OH-1 */
  const int oc = get_global_id(2) * BLOCK; /* 0 .. OC-1 */
  vec sum[BLOCK];
  UNROLL for (int j = 0; j < BLOCK; j++) sum[j] = VEC_OF(0);
  for (int ic = 0; ic < IC; ic++)
    UNROLL for (int kh = 0; kh < 3; kh++) UNROLL for (int kw = 0; kw < 3; kw++) {
      const vec v = LOAD_VEC(p + (ic * PH + oh + kh) * PW + ow + kw);
      UNROLL for (int j = 0; j < BLOCK; j++) sum[j] += v * w[(((oc + j) * IC + ic) * 3 + kh) * 3 + kw];
    }
  UNROLL for (int j = 0; j < BLOCK; j++) {
    __global float *to = y + ((oc + j) * OH + oh) * OW + ow;
    if (ow + VEC <= OW) STORE_VEC(to, sum[j]);
    else STORE_VEC_SOME(to, sum[j], OW - ow);
  }
}
