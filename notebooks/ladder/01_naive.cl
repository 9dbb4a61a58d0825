/* Step 1, naive: the definition, one work-item per output.
 *
 *   y[oc, oh, ow] = sum over ic, kh, kw of x[ic, oh + kh - 1, ow + kw - 1] * w[oc, ic, kh, kw]      0 outside
 *
 * x (IC, OH, OW)   w (OC, IC, KH, KW)   y (OC, OH, OW); padding 1, stride 1
 *
 * Work-items: (ow, oh, oc). Per multiply-add: two loads, four comparisons, two addresses.
 */
__kernel void ladder_01(__global const float *restrict x, __global const float *restrict w, __global float *restrict y,
                        const int IC, const int OH, const int OW, const int KH, const int KW) {
  const int ow = get_global_id(0); /* 0 .. OW-1 */
  const int oh = get_global_id(1); /* 0 .. OH-1 */
  const int oc = get_global_id(2); /* 0 .. OC-1 */
  float sum = 0;
  for (int ic = 0; ic < IC; ic++)
    for (int kh = 0; kh < KH; kh++)
      for (int kw = 0; kw < KW; kw++) {
        const int ih = oh + kh - 1, iw = ow + kw - 1;
        if (ih >= 0 && ih < OH && iw >= 0 && iw < OW)
          sum += x[(ic * OH + ih) * OW + iw] * w[((oc * IC + ic) * KH + kh) * KW + kw];
      }
  y[(oc * OH + oh) * OW + ow] = sum;
}
