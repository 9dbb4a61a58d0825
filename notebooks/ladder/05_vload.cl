/* Step 5, vectors: each work-item computes 8 neighbouring pixels of 4 output channels, one float8 for each channel.
 *
 * One instruction now does eight multiply-adds. Vectors are read as the OpenCL book says, with vload8.
 *
 * Work-items: (ow / 8, oh, oc / 4). Per vector multiply-add: 1/4 vector load, 1 number (a weight, spread to 8).
 */
#define BLOCK 4

__kernel void ladder_05(__global const float *restrict p, __global const float *restrict w, __global float *restrict y,
                        const int IC, const int OH, const int OW, const int PH, const int PW) {
  const int ow = get_global_id(0) * 8;     /* 0 .. OW-1 */
  const int oh = get_global_id(1);         /* 0 .. OH-1 */
  const int oc = get_global_id(2) * BLOCK; /* 0 .. OC-1 */
  float8 sum[BLOCK] = {0, 0, 0, 0};
  for (int ic = 0; ic < IC; ic++)
#pragma unroll
    for (int kh = 0; kh < 3; kh++)
#pragma unroll
      for (int kw = 0; kw < 3; kw++) {
        const float8 v = vload8(0, p + (ic * PH + oh + kh) * PW + ow + kw);
#pragma unroll
        for (int j = 0; j < BLOCK; j++) sum[j] += v * w[(((oc + j) * IC + ic) * 3 + kh) * 3 + kw];
      }
#pragma unroll
  for (int j = 0; j < BLOCK; j++) {
    __global float *to = y + ((oc + j) * OH + oh) * OW + ow;
    const float s[8] = {sum[j].s0, sum[j].s1, sum[j].s2, sum[j].s3, sum[j].s4, sum[j].s5, sum[j].s6, sum[j].s7};
#pragma unroll
    for (int i = 0; i < 8; i++)
      if (ow + i < OW) to[i] = s[i];
  }
}
