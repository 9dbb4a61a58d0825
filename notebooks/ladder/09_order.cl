/* Step 9, order: the output channels run fastest over the work-items.
 *
 * A core works through neighbouring work-items one after the other. So far these were neighbours along a row: each
 * read the same weights and new pixels. Now they are blocks of channels: each reads the same pixels, 64 channels x 5 rows
 * x 10 columns, which stay in the innermost cache, and its own weights, one stream through memory after the other.
 *
 * Work-items: (oc / 4, ow / 8, oh / 3).
 *
 * Macros: vector.clh.
 */
#include "include/vector.clh"
#define BLOCK 4
#define ROWS 3

__kernel void ladder_09(__global const float *restrict p, __global const float *restrict q, __global float *restrict y,
                        const int IC, const int OH, const int OW, const int PH, const int PW) {
  const int ow = get_global_id(1) * VEC;   /* 0 .. OW-1 */
  const int oh = get_global_id(2) * ROWS;  /* 0 .. OH-1 */
  const int oc = get_global_id(0) * BLOCK; /* 0 .. OC-1 */
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
