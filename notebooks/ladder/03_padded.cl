/* Step 3, padded: the border of zeros is really written once, so that the inner loop need not ask.
 *
 * p (IC, PH, PW): x with one row and column of zeros in front, and zeros behind up to whole tiles of later steps:
 * PH >= OH + 2, PW >= OW + 2.
 *
 * ladder_pad   Work-items: (pw, ph, ic), one element of p each.
 * ladder_03    Work-items: (ow, oh, oc). Per multiply-add: two loads, and no comparison.
 */
__kernel void ladder_pad(__global const float *restrict x, __global float *restrict p, const int OH, const int OW) {
  const int pw = get_global_id(0); /* 0 .. PW-1 */
  const int ph = get_global_id(1); /* 0 .. PH-1 */
  const int ic = get_global_id(2); /* 0 .. IC-1 */
  const int PW = get_global_size(0), PH = get_global_size(1);
  const int ih = ph - 1, iw = pw - 1;
  const int inside = ih >= 0 && ih < OH && iw >= 0 && iw < OW;
  p[(ic * PH + ph) * PW + pw] = inside ? x[(ic * OH + ih) * OW + iw] : 0;
}

__kernel void ladder_03(__global const float *restrict p, __global const float *restrict w, __global float *restrict y,
                        const int IC, const int OH, const int OW, const int PH, const int PW) {
  const int ow = get_global_id(0); /* 0 .. OW-1 */
  const int oh = get_global_id(1); /* 0 .. OH-1 */
  const int oc = get_global_id(2); /* 0 .. OC-1 */
  float sum = 0;
  for (int ic = 0; ic < IC; ic++)
#pragma unroll
    for (int kh = 0; kh < 3; kh++)
#pragma unroll
      for (int kw = 0; kw < 3; kw++)
        sum += p[(ic * PH + oh + kh) * PW + ow + kw] * w[((oc * IC + ic) * 3 + kh) * 3 + kw];
  y[(oc * OH + oh) * OW + ow] = sum;
}
