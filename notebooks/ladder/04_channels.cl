/* Step 4, channels: each work-item computes the same pixel of 4 output channels.
 *
 * An element of p is loaded once and used four times, from a register. The four sums do not wait for each other, so
 * four multiply-adds can be under way at once.
 *
 * Work-items: (ow, oh, oc / 4). Per multiply-add: 1 + 1/4 loads.
 */
#define BLOCK 4

__kernel void ladder_04(__global const float *restrict p, __global const float *restrict w, __global float *restrict y,
                        const int IC, const int OH, const int OW, const int PH, const int PW) {
  const int ow = get_global_id(0);         /* 0 .. OW-1 */
  const int oh = get_global_id(1);         /* 0 .. OH-1 */
  const int oc = get_global_id(2) * BLOCK; /* 0 .. OC-1 */
  float sum[BLOCK] = {0, 0, 0, 0};
  for (int ic = 0; ic < IC; ic++)
#pragma unroll
    for (int kh = 0; kh < 3; kh++)
#pragma unroll
      for (int kw = 0; kw < 3; kw++) {
        const float v = p[(ic * PH + oh + kh) * PW + ow + kw];
#pragma unroll
        for (int j = 0; j < BLOCK; j++) sum[j] += v * w[(((oc + j) * IC + ic) * 3 + kh) * 3 + kw];
      }
#pragma unroll
  for (int j = 0; j < BLOCK; j++) y[((oc + j) * OH + oh) * OW + ow] = sum[j];
}
