/* Grouped convolution for CPUs, for groups with enough output channels to fill vectors: any filter, stride, dilation, padding.
 *
 *   y[n, oc, oh, ow] = act( bias[oc] + residual[n, oc, oh, ow]
 *                           + sum over ic, kh, kw of x[n, g*ICG + ic, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL]
 *                                                   * w[oc, ic, kh, kw] )          with g = oc / OCG
 *
 * x, y, residual   N C H W, or N H W C                  (macro NHWC)
 * packed           G BLOCKS ICG KH KW OC_BLOCK, see pack_filter.cl
 * bias             OC
 *
 * Work-items: (pixel block, block of output channels of the group, n*PARTS + part of the groups), one a work-group. Each
 * computes PIXELS pixels, joined across rows, of BLOCKS * OC_BLOCK output channels, of one group at a time, GROUPS of them;
 * include/channel_tile.clh has the picture, the loop, the macros.
 *
 *   x   | group 0 | group 1 | ...        y   | group 0 | group 1 | ...
 *            |                                    ^
 *            +---- panel of ICG channels ---------+       one group at a time
 *
 * Traffic: a work-item reads the part of x that its pixels need once and its filters once.
 */
#include "include/channel_tile.clh"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void grouped_channel_simd(
    __global const real *restrict x, __global const acc_t *restrict packed, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, __local acc_t *restrict panel,
    __local acc_t *restrict sums, __local int *restrict table, const int N, const int IC,
    const int IH, const int IW, const int OC, const int OH, const int OW, const int ICG, const int OCG, const int PT,
    const int PL, const int XC, const int YC, const int GROUPS, const int PIXELS, const int BLOCKS, const int IC_BLOCK, const int TOGETHER,
    const int CS, const int RS, const int PS, const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int parts = (OC / OCG + GROUPS - 1) / GROUPS;
  const int p0 = get_global_id(0) * PIXELS;     /* 0 .. OH*OW-1 */
  const int block0 = get_global_id(1) * BLOCKS; /* 0 .. ceil(OCG / OC_BLOCK)-1 */
  const int n = get_global_id(2) / parts;              /* 0 .. N-1 */
  const int g = get_global_id(2) % parts * GROUPS;     /* 0 .. G-1 */
  convolve(x, packed, bias, residual, y, panel, sums, table, n, g, GROUPS, p0, PIXELS, block0, BLOCKS, N, IC, IH, IW, OC, OH, OW,
           ICG, OCG, PT, PL, XC, YC, IC_BLOCK, TOGETHER, CS, RS, PS, act_a, act_b);
}
