/* Grouped convolution: filters through local memory, a register tile of outputs a work-item (GPUs).
 *
 *   y[n, oc, oh, ow] = act( bias[oc] + residual[n, oc, oh, ow]
 *                           + sum over ic, kh, kw of x[n, g*ICG + ic, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL]
 *                                                   * w[oc, ic, kh, kw] )     with g = oc / OCG, 0 outside the image
 *
 * A group has too few channels for the tiles of a matrix product, and each of its inputs is used KH*KW times. So a
 * work-item holds a patch of one input channel in registers and multiplies it with the filters of the work-group's
 * TILE_OC output channels, which all work-items share; then comes the next input channel.
 *
 * x, y, residual   N C H W, or N H W C        (macro NHWC)
 * w                OC ICG KH KW, or KH KW ICG OC
 * bias             OC
 *
 * Work-groups: (block of work-item tiles) * (blocks of channels) + (block of channels), along dimension 0. A block has
 * TILE_OC = OC_LANES * WPT_OC channels and ITEMS / OC_LANES tiles of WPT_H x WPT_W outputs.
 *   NCHW   OC_LANES is 1: each work-item computes all channels of the block, which lie in one group; neighbouring
 *          work-items are neighbouring columns (WPT_W is 1), joined over rows and images.
 *   NHWC   WPT_OC is 1: neighbouring work-items are neighbouring channels, of several groups if these are small.
 * Either way x, y, residual are read and written side by side, and w is read from local memory at one address for all
 * work-items (NCHW) or at neighbouring ones (NHWC): without bank conflicts. include/patch.clh has the picture.
 *
 * Per work-item and input channel PATCH_H*PATCH_W elements of x are read from global and KH*KW*WPT_OC of w from local
 * memory, for 2*KH*KW*WPT_OC*WPT_H*WPT_W operations.
 *
 * Macros: types.clh, index.clh, epilogue.clh, patch.clh; ITEMS (work-items of a work-group), OC_LANES, WPT_OC (one of
 * them 1), TILE_IC (input channels whose filters are in local memory at a time). Tuned by: all of them, WPT_H WPT_W.
 */
#include "include/types.clh"
#include "include/index.clh"
#include "include/epilogue.clh"
#include "include/patch.clh"

#if !defined(ITEMS) || !defined(OC_LANES) || !defined(WPT_OC) || !defined(TILE_IC)
#error "ITEMS, OC_LANES, WPT_OC and TILE_IC must be set by the plan"
#endif

#define TILE_OC (OC_LANES * WPT_OC)
#define TAPS (KH * KW)

/* Brings the filters of channels oc0 .. oc0+TILE_OC-1 for input channels ic0 .. ic0+count-1 into local memory as
 * ws[ic][kh][kw][oc]; 0 behind the last channel oc_end-1. */
static inline void load_filters(__global const real *w, __local acc_t *ws, const uint lid,
                                const int oc0, const int oc_end, const int ic0, const int count, const int OC,
                                const int ICG) {
  for (uint e = lid; e < count * TAPS * TILE_OC; e += ITEMS) {
    const int oc = oc0 + e % TILE_OC;
    const int tap = e / TILE_OC % TAPS;
    const int ic = ic0 + e / TILE_OC / TAPS; /* 0 .. ICG-1 */
    acc_t v = 0;
    if (oc < oc_end) v = LOAD(w, filter_index(oc, ic, tap / KW, tap % KW, OC, ICG));
    ws[e] = v;
  }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
conv_grouped(__global const real *restrict x, __global const real *restrict w, __global const real *restrict bias,
             __global const real *restrict residual, __global real *restrict y, const int N, const int IC, const int IH,
             const int IW, const int OC, const int OH, const int OW, const int ICG, const int OCG, const int PT,
             const int PL, const acc_t act_a, const acc_t act_b) {
  __local acc_t ws[TILE_IC * TAPS * TILE_OC] __attribute__((aligned(16)));

  const uint ROWS = (OH + WPT_H - 1) / WPT_H;
  const uint COLS = (OW + WPT_W - 1) / WPT_W;
  const uint lid = get_local_id(0); /* 0 .. ITEMS-1 */
  const int group = get_group_id(0);
#if NHWC
  const int blocks = (OC + TILE_OC - 1) / TILE_OC;
  const int oc0 = group % blocks * TILE_OC; /* first channel of the block, 0 .. OC-1 */
  const int oc_end = OC;
#else
  const int blocks_g = (OCG + TILE_OC - 1) / TILE_OC; /* of one group */
  const int blocks = OC / OCG * blocks_g;
  const int block_group = group % blocks / blocks_g;  /* 0 .. G-1 */
  const int oc0 = block_group * OCG + group % blocks_g * TILE_OC;
  const int oc_end = (block_group + 1) * OCG;
#endif
  const int lane = lid % OC_LANES;              /* the first of the work-item's channels within the block */
  const uint tile = (uint)(group / blocks) * (ITEMS / OC_LANES) + lid / OC_LANES;
  const int ow0 = tile % COLS * WPT_W;          /* first column of the tile, 0 .. OW-1 */
  const int oh0 = tile / COLS % ROWS * WPT_H;   /* first row, 0 .. OH-1 */
  const int n = tile / COLS / ROWS;             /* 0 .. N-1, and more in the last block */
  const int there = n < N && oc0 + lane < oc_end; /* the others only help to load filters */
  const int c0 = (oc0 + lane) / OCG * ICG;      /* first input channel of the group */
  const int ih0 = oh0 * SH - PT;                /* may lie outside 0 .. IH-1 */
  const int iw0 = ow0 * SW - PL;                /* may lie outside 0 .. IW-1 */

  acc_t acc[WPT_OC][WPT_H][WPT_W];
  UNROLL for (int o = 0; o < WPT_OC; o++)
    UNROLL for (int i = 0; i < WPT_H; i++)
      UNROLL for (int j = 0; j < WPT_W; j++) acc[o][i][j] = 0;

  for (int ic0 = 0; ic0 < ICG; ic0 += TILE_IC) {
    const int count = min(TILE_IC, ICG - ic0);
    barrier(CLK_LOCAL_MEM_FENCE); /* nobody reads the filters before any more */
    load_filters(w, ws, lid, oc0, oc_end, ic0, count, OC, ICG);
    barrier(CLK_LOCAL_MEM_FENCE); /* these are complete */
    for (int ic = 0; there && ic < count; ic++)
      for (int kh0 = 0; kh0 < KH; kh0 += KH_STEP) {
        const int ih = ih0 + kh0 * DH;
        acc_t patch[PATCH_H][PATCH_W];
        load_patch(x, tensor_index(n, c0 + ic0 + ic, ih, iw0, IC, IH, IW), ih, iw0, IC, IH, IW, patch);
        UNROLL for (int kh = 0; kh < KH_STEP; kh++)
          UNROLL for (int kw = 0; kw < KW; kw++)
            UNROLL for (int o = 0; o < WPT_OC; o++) {
              const acc_t tap = ws[(ic * TAPS + (kh0 + kh) * KW + kw) * TILE_OC + lane + o];
              UNROLL for (int i = 0; i < WPT_H; i++)
                UNROLL for (int j = 0; j < WPT_W; j++) acc[o][i][j] += patch[i * SH + kh * DH][j * SW + kw * DW] * tap;
            }
      }
  }

  if (!there) return;
  UNROLL for (int o = 0; o < WPT_OC; o++)
    UNROLL for (int i = 0; i < WPT_H; i++)
      UNROLL for (int j = 0; j < WPT_W; j++) {
        const int oc = oc0 + lane + o;
        if (oc >= oc_end || oh0 + i >= OH || ow0 + j >= OW) continue; /* tails of the last block and tile */
        const long at = tensor_index(n, oc, oh0 + i, ow0 + j, OC, OH, OW);
        acc_t v = acc[o][i][j];
        if (HAS_BIAS) v += LOAD(bias, oc);
        if (HAS_RESIDUAL) v += LOAD(residual, at);
        STORE(y, at, activate(v, act_a, act_b));
      }
}
