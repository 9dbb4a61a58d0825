/* Direct convolution in N C H W for CPUs, for images whose rows fill vectors: pixels in vectors.
 *
 *   y[n, oc, oh, ow] = act( bias[oc] + residual[n, oc, oh, ow]
 *                           + sum over ic, kh, kw of x[n, ic, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL] * w[oc, ic, kh, kw] )
 *
 * x, y, residual   N C H W, rows of y are VEC pixels or longer
 * packed           BLOCKS IC KH KW OC_BLOCK, see pack_filter.cl
 * bias             OC
 *
 * Work-items: (band of ITEM_ROWS output rows, share of the output channels, n), one a work-group. Each copies what its rows
 * read of all input channels into a zero-padded panel in local memory (panel.clh), where even and odd columns are apart for
 * SW = 2, so that neighbouring outputs read neighbouring elements. Sums never leave the registers before they are done:
 *
 *   y of one channel              a tile, of each of OC_BLOCK channels
 *   +----------------------+      +------+
 *   |      |      |    |   |      |      | TILE_OH rows       per tap, TILE_OH vectors of the panel and OC_BLOCK scalars of the
 *   |------+------+---...  |      |      |                    filter are read for TILE_OH * OC_BLOCK multiply-adds
 *   |                      |      +------+
 *   +----------------------+        VEC
 *
 * At the right and at the lower end, tiles overlap those before and compute the same once more.
 *
 * Traffic: x is read once per band and share, its overlap from band to band twice; the part of the panel under a column of
 * tiles stays in the first-level cache while all output channels pass by.
 *
 * Macros: wide.clh, types.clh, vector.clh, index.clh, panel.clh, epilogue.clh; KH KW SH SW DH DW; OC_BLOCK, TILE_OH (the tile).
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/index.clh"
#include "include/epilogue.clh"
#include "include/panel.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#if !defined(OC_BLOCK) || !defined(TILE_OH)
#error "OC_BLOCK and TILE_OH must be set by the plan"
#endif

/* acc += the taps of one input channel, row and column of the filter. v: where the tile's first pixels stand, `rows` elements from
 * row to row; w: the weights. Of sixteen registers, twelve hold sums: three are left for the pixels of all rows and one for a
 * weight. Of thirty-two, all weights that find room have one; the others are read by the multiply-adds themselves. */
INLINE void add_tap(vec acc[OC_BLOCK][TILE_OH], __local const acc_t *v, const int rows, __global const acc_t *w) {
#if AVX512
#if 31 - OC_BLOCK * TILE_OH < OC_BLOCK
#define KEPT (31 - OC_BLOCK * TILE_OH)
#else
#define KEPT OC_BLOCK
#endif
  vec wv[OC_BLOCK];
  UNROLL for (int o = 0; o < KEPT; o++) wv[o] = VEC_OF(w[o]);
  UNROLL for (int j = 0; j < TILE_OH; j++) {
    const vec xv = LOAD_ACC_LOCAL(v + j * rows);
    UNROLL for (int o = 0; o < OC_BLOCK; o++) {
      acc[o][j] += xv * (o < KEPT ? wv[o] : VEC_OF(w[o]));
      KEEP_ORDER(acc[o][j]);
    }
  }
#else
  vec xv[TILE_OH];
  UNROLL for (int j = 0; j < TILE_OH; j++) xv[j] = LOAD_ACC_LOCAL(v + j * rows);
  UNROLL for (int o = 0; o < OC_BLOCK; o++) {
    const vec wv = VEC_OF(w[o]);
    UNROLL for (int j = 0; j < TILE_OH; j++) {
      acc[o][j] += xv[j] * wv;
      KEEP_ORDER(acc[o][j]);
    }
  }
#endif
}

/* One tile: its first row and column in the panel, the filters of its channels, of which `channels` exist, and where its first
 * element is in y and residual. A function of its own, or the loops around it would take its registers. */
static __attribute__((noinline)) void tile(__local const acc_t *panel, __global const acc_t *w, const int IC, const int ROWS,
                                           const int PHASE, const int channels, __global const real *bias,
                                           __global const real *residual, __global real *y, const long plane, const int OW,
                                           const acc_t act_a, const acc_t act_b) {
  const int PITCH = SW * PHASE;
  vec acc[OC_BLOCK][TILE_OH];
  UNROLL for (int o = 0; o < OC_BLOCK; o++) {
    UNROLL for (int j = 0; j < TILE_OH; j++) acc[o][j] = VEC_OF(0);
  }
  for (int ic = 0; ic < IC; ic++, panel += ROWS * PITCH)
    for (int kh = 0; kh < KH; kh++) {
      UNROLL for (int kw = 0; kw < KW; kw++, w += OC_BLOCK) add_tap(acc, panel + kh * DH * PITCH + PANEL_TAP(kw), SH * PITCH, w);
    }
  UNROLL for (int o = 0; o < OC_BLOCK; o++)
    if (o < channels) {
      const vec b = HAS_BIAS ? VEC_OF(LOAD(bias, o)) : VEC_OF(0);
      UNROLL for (int j = 0; j < TILE_OH; j++) {
        const long at = o * plane + (long)j * OW;
        vec v = acc[o][j];
        if (HAS_BIAS) v += b;
        if (HAS_RESIDUAL) v += LOAD_VEC(residual + at);
        STORE_VEC(y + at, activate_vec(v, act_a, act_b));
      }
    }
}

/* Rows oh0 .. oh1-1 (at least TILE_OH) of the blocks b0 .. b1-1 of output channels of image n. */
ITEM void item(__global const real *x, __global const acc_t *packed, __global const real *bias,
               __global const real *residual, __global real *y, __local acc_t *panel, const int oh0, const int oh1,
               const int b0, const int b1, const int n, const int N, const int IC, const int IH, const int IW,
               const int OC, const int OH, const int OW, const int PT, const int PL, const int PHASE, const acc_t act_a,
               const acc_t act_b) {
  const int ROWS = (oh1 - oh0 - 1) * SH + (KH - 1) * DH + 1;
  for (int ic = 0; ic < IC; ic++)
    panel_fill(panel + ic * ROWS * SW * PHASE, x, n, N, ic, oh0 * SH - PT, ROWS, IC, IH, IW, PL, OW + (KW - 1) * DW / SW,
               PHASE);
  for (int ows = 0; ows < OW; ows += VEC) {
    const int ow = LESSER(ows, OW - VEC);
    for (int ohs = oh0; ohs < oh1; ohs += TILE_OH) {
      const int oh = LESSER(ohs, oh1 - TILE_OH);
      for (int b = b0; b < b1; b++) {
        const int oc = b * OC_BLOCK; /* 0 .. OC-1 */
        const long at = tensor_index(n, oc, oh, ow, OC, OH, OW);
        tile(panel + (oh - oh0) * SH * SW * PHASE + ow, packed + (long)b * IC * KH * KW * OC_BLOCK, IC, ROWS, PHASE, OC - oc,
             HAS_BIAS ? bias + oc : bias, HAS_RESIDUAL ? residual + at : residual, y + at, (long)OH * OW, OW, act_a, act_b);
      }
    }
  }
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void pixel_simd(__global const real *restrict x, __global const acc_t *restrict packed, __global const real *restrict bias,
                __global const real *restrict residual, __global real *restrict y, __local acc_t *restrict panel,
                const int N, const int IC, const int IH, const int IW, const int OC, const int OH, const int OW,
                const int PT, const int PL, const int ITEM_ROWS, const int ITEM_BLOCKS, const int PHASE,
                const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int oh1 = LESSER((int)(get_global_id(0) + 1) * ITEM_ROWS, OH);              /* row behind the band's last */
  const int oh0 = LESSER((int)get_global_id(0) * ITEM_ROWS, oh1 - TILE_OH);         /* its first */
  const int b0 = get_global_id(1) * ITEM_BLOCKS;                                    /* first block of output channels */
  const int b1 = LESSER(b0 + ITEM_BLOCKS, (OC + OC_BLOCK - 1) / OC_BLOCK);          /* block behind the last */
  const int n = get_global_id(2);                                                   /* 0 .. N-1 */
  item(x, packed, bias, residual, y, panel, oh0, oh1, b0, b1, n, N, IC, IH, IW, OC, OH, OW, PT, PL, PHASE, act_a, act_b);
}
