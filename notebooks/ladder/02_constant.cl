/* Step 2, constants: the size of the filter is known to the compiler, and the loops over it are unrolled.
 *
 * As step 1, but KH and KW are 3 for good. Nine copies of the body: no loop counters, addresses differ by constants.
 *
 * Work-items: (ow, oh, oc).
 */
__kernel void ladder_02(__global const float *restrict x, __global const float *restrict w, __global float *restrict y,
                        const int IC, const int OH, const int OW) {
  const int ow = get_global_id(0); /* 0 .. OW-1 */
  const int oh = get_global_id(1); /* 0 .. OH-1 */
  const int oc = get_global_id(2); /* 0 .. OC-1 */
  float sum = 0;
  for (int ic = 0; ic < IC; ic++)
#pragma unroll
    for (int kh = 0; kh < 3; kh++)
#pragma unroll
      for (int kw = 0; kw < 3; kw++) {
        const int ih = oh + kh - 1, iw = ow + kw - 1;
        if (ih >= 0 && ih < OH && iw >= 0 && iw < OW)
          sum += x[(ic * OH + ih) * OW + iw] * w[((oc * IC + ic) * 3 + kh) * 3 + kw];
      }
  y[(oc * OH + oh) * OW + ow] = sum;
}
