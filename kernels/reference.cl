/* The convolution as it is defined: any problem, one work-item per output.
 *
 *   y[n, oc, oh, ow] = act( bias[oc] + residual[n, oc, oh, ow]
 *                           + sum over ic, kh, kw of x[n, g*ICG + ic, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL]
 *                                                   * w[oc, ic, kh, kw] )          with g = oc / OCG
 *
 * Where the index into x leaves the image, the product is 0: that is what padding means.
 *
 * x, y, residual   N C H W, or N H W C        (macro NHWC)
 * w                OC ICG KH KW, or KH KW ICG OC
 * bias             OC
 *
 * Work-groups: side by side along a row of y, which is rounded up to whole ones, then row after row, channel after channel, image after
 * image; all in one dimension, for the other ones end at 65535 on some devices.
 *
 *        x, channel ic of group g            y, channel oc
 *        +----------------------+            +-----------------+
 *        |    KW, DW apart      |            |                 |
 *        |   o   o   o          |            |      [y]        |   one work-item
 *        |   o   o   o  KH      |  ------->  |                 |
 *        |   o   o   o          |            +-----------------+
 *        +----------------------+
 *
 * Per output: ICG*KH*KW elements of x and of w are read, one element is written. Nothing is shared between
 * work-items; the caches do what they can.
 *
 * Macros: types.clh, index.clh, epilogue.clh; KH KW SH SW DH DW.
 */
#include "include/types.clh"
#include "include/index.clh"
#include "include/epilogue.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif

__kernel void conv_reference(__global const real *restrict x, __global const real *restrict w,
                             __global const real *restrict bias, __global const real *restrict residual,
                             __global real *restrict y, const int IC, const int IH, const int IW, const int OC,
                             const int OH, const int OW, const int ICG, const int OCG, const int PT, const int PL,
                             const acc_t act_a, const acc_t act_b) {
  const uint width = get_local_size(0), parts = (OW + width - 1) / width; /* work-groups of a row */
  const ulong row = get_group_id(0) / parts;                              /* 0 .. N*OC*OH-1 */
  const int ow = get_group_id(0) % parts * width + get_local_id(0);       /* 0 .. OW-1, and a few more */
  const int oh = row % OH;                                                /* 0 .. OH-1 */
  const int oc = row / OH % OC;                                           /* 0 .. OC-1 */
  const int n = row / OH / OC;                                            /* 0 .. N-1 */
  const int ic0 = oc / OCG * ICG;                                         /* first input channel of the group */
  if (ow >= OW) return;

  acc_t sum = 0;
  for (int ic = 0; ic < ICG; ic++)
    for (int kh = 0; kh < KH; kh++)
      for (int kw = 0; kw < KW; kw++) {
        const int ih = oh * SH + kh * DH - PT; /* may lie outside 0 .. IH-1 */
        const int iw = ow * SW + kw * DW - PL; /* may lie outside 0 .. IW-1 */
        if (ih >= 0 && ih < IH && iw >= 0 && iw < IW)
          sum += LOAD(x, tensor_index(n, ic0 + ic, ih, iw, IC, IH, IW)) * LOAD(w, filter_index(oc, ic, kh, kw, OC, ICG));
      }

  const long at = tensor_index(n, oc, oh, ow, OC, OH, OW);
  if (HAS_BIAS) sum += LOAD(bias, oc);
  if (HAS_RESIDUAL) sum += LOAD(residual, at);
  STORE(y, at, activate(sum, act_a, act_b));
}
