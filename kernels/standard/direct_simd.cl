/* Direct convolution without groups for CPUs: any filter, stride, dilation and padding.
 *
 *   y[n, oc, oh, ow] = act( bias[oc] + residual[n, oc, oh, ow]
 *                           + sum over ic, kh, kw of x[n, ic, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL] * w[oc, ic, kh, kw] )
 *
 * x, y, residual   N C H W, or N H W C                  (macro NHWC)
 * packed           BLOCKS ICG KH KW OC_BLOCK, see pack_filter.cl
 * bias             OC
 *
 * Work-items: (pixel block, block of output channels, n), one a work-group. Each computes PIXELS pixels, joined across rows,
 * of BLOCKS * OC_BLOCK output channels; include/channel_tile.clh has the picture, the loop and the macros.
 *
 *        pixels p = oh*OW + ow of y
 *        +-----------+-----------+-----
 *   oc   |  0, 0     |  1, 0     |          one work-item each
 *        +-----------+-----------+-----
 *        |  0, 1     |  1, 1     |
 *
 * Traffic: a work-item reads its part of x once and its filters once; the panel of IC_BLOCK channels and the filter of an
 * (IC_BLOCK, OC_BLOCK) pair are meant to stay in the first-level cache while all pixels pass by.
 */
#include "include/channel_tile.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void direct_simd(
    __global const real *restrict x, __global const acc_t *restrict packed, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, __local acc_t *restrict panel,
    __local acc_t *restrict sums, __local int *restrict table, const int N, const int IC,
    const int IH, const int IW, const int OC, const int OH, const int OW, const int PT, const int PL, const int XC, const int YC,
    const int PIXELS, const int BLOCKS, const int IC_BLOCK, const int TOGETHER, const int CS, const int RS, const int PS,
    const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int p0 = get_global_id(0) * PIXELS;     /* 0 .. OH*OW-1 */
  const int block0 = get_global_id(1) * BLOCKS; /* 0 .. ceil(OC / OC_BLOCK)-1 */
  const int n = get_global_id(2);               /* 0 .. N-1 */
  convolve(x, packed, bias, residual, y, panel, sums, table, n, 0, 1, p0, PIXELS, block0, BLOCKS, N, IC, IH, IW, OC, OH, OW,
           IC, OC, PT, PL, XC, YC, IC_BLOCK, TOGETHER, CS, RS, PS, act_a, act_b);
}
