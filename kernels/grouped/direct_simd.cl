/* Grouped convolution from a zero-padded panel: any number of channels a group, any stride, any type. Vectors lie along the width.
 *
 *   y[n, oc, oh, ow] = act( bias + residual + sum over ic, kh, kw of
 *                           x[n, g*ICG + ic, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL] * w[oc, ic, kh, kw] )     with g = oc / OCG
 *
 * x, y, residual   N C H W, or N H W C      (macro NHWC)
 * packed           G BLOCKS ICG KH KW OC_BLOCK, elements of acc_t, from pack_filter.cl
 *
 * Work-items: (band of output rows, g, n). Each copies the rows that its outputs read, of all ICG channels of the group, into a
 * zero-padded panel in local memory (panel.clh), and computes all OCG output channels of the group from it:
 *
 *   panel: ICG channels              one tile: OC_BLOCK channels x TILE_OH rows x VEC columns
 *   +----------------------+         +------+
 *   | . . . . . . . . . .  |         |      | TILE_OH      of each of OC_BLOCK output channels
 *   | .  rows of x      .  |  --->   |      |
 *   | .                 .  |         +------+
 *   +----------------------+           VEC
 *
 * Per tile, input channel and tap: TILE_OH vectors and OC_BLOCK scalars are read for TILE_OH * OC_BLOCK multiply-adds.
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

#if KW > 11
#define UNROLL_TAPS ROLLED /* the program would be long with all of them, and no faster */
#else
#define UNROLL_TAPS UNROLL
#endif

/* acc[o*TILE_OH + j] += all input channels and taps; p points at the tile's first row and column in the panel. */
INLINE void tile(vec *acc, __local const acc_t *p, __global const acc_t *w, const int ICG, const int ROWS,
            const int PHASE) {
  const int PITCH = SW * PHASE;
  for (int ic = 0; ic < ICG; ic++, p += ROWS * PITCH)
    for (int kh = 0; kh < KH; kh++) {
      UNROLL_TAPS for (int kw = 0; kw < KW; kw++, w += OC_BLOCK) {
        vec v[TILE_OH];
        UNROLL for (int j = 0; j < TILE_OH; j++) v[j] = LOAD_ACC_LOCAL(p + (j * SH + kh * DH) * PITCH + PANEL_TAP(kw));
        UNROLL for (int o = 0; o < OC_BLOCK; o++)
          UNROLL for (int j = 0; j < TILE_OH; j++) acc[o * TILE_OH + j] += v[j] * w[o];
      }
    }
}

/* Rows oh0 .. oh1-1 (at least TILE_OH) of all output channels of group g of image n. */
ITEM void item(__global const real *x, __global const acc_t *packed, __global const real *bias,
               __global const real *residual, __global real *y, __local acc_t *panel, const int oh0, const int oh1,
               const int g, const int n, const int N, const int IC, const int IH, const int IW, const int OC,
               const int OH, const int OW, const int ICG, const int OCG, const int PT, const int PL, const int PHASE,
               const acc_t act_a, const acc_t act_b) {
  const int BLOCKS = (OCG + OC_BLOCK - 1) / OC_BLOCK;
  const int ROWS = (oh1 - oh0 - 1) * SH + (KH - 1) * DH + 1;
  const int used = GREATER(OW, VEC) + (KW - 1) * DW / SW;
  const int last = GREATER(OW - VEC, 0); /* where the last tile of a row begins: it overlaps the one before */

  for (int ic = 0; ic < ICG; ic++)
    panel_fill(panel + (long)ic * ROWS * SW * PHASE, x, n, N, g * ICG + ic, oh0 * SH - PT, ROWS, IC, IH, IW, PL, used, PHASE);

  for (int ob = 0; ob < BLOCKS; ob++)
    for (int ohs = oh0; ohs < oh1; ohs += TILE_OH) {
      const int oh = LESSER(ohs, oh1 - TILE_OH);
      for (int ows = 0; ows < OW; ows += VEC) {
        const int ow = LESSER(ows, last);
        vec acc[OC_BLOCK * TILE_OH];
        UNROLL for (int i = 0; i < OC_BLOCK * TILE_OH; i++) acc[i] = VEC_OF(0);
        tile(acc, panel + (oh - oh0) * SH * SW * PHASE + ow, packed + (long)(g * BLOCKS + ob) * ICG * KH * KW * OC_BLOCK,
             ICG, ROWS, PHASE);
        UNROLL for (int o = 0; o < OC_BLOCK; o++) {
          if (ob * OC_BLOCK + o < OCG) {
            const int oc = g * OCG + ob * OC_BLOCK + o;
            acc_t b = 0;
            if (HAS_BIAS) b = LOAD(bias, oc);
#if NHWC
            UNROLL for (int j = 0; j < TILE_OH; j++) {
              const long at = tensor_index(n, oc, oh + j, ow, OC, OH, OW);
              vec_lanes r;
              r.v = acc[o * TILE_OH + j];
              UNROLL for (int i = 0; i < VEC; i++)
                if (ow + i < OW) {
                  acc_t v = r.s[i] + b;
                  if (HAS_RESIDUAL) v += LOAD(residual, at + (long)i * OC);
                  STORE(y, at + (long)i * OC, activate(v, act_a, act_b));
                }
            }
#else
            /* Where a row is shorter than a vector, what is stored behind it is overwritten by the next row's store. */
            const long end = tensor_index(n, oc, oh1, 0, OC, OH, OW);
            UNROLL for (int j = 0; j < TILE_OH; j++) {
              const long at = tensor_index(n, oc, oh + j, ow, OC, OH, OW);
              vec v = acc[o * TILE_OH + j] + VEC_OF(b);
              if (HAS_RESIDUAL) v += load_within(residual + at, end - at);
              v = activate_vec(v, act_a, act_b);
              if (end - at >= VEC)
                STORE_VEC(y + at, v);
              else
                STORE_VEC_SOME(y + at, v, (int)(end - at));
            }
#endif
          }
        }
      }
    }
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void grouped_direct_simd(
    __global const real *restrict x, __global const acc_t *restrict packed, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, __local acc_t *restrict panel, const int N,
    const int IC, const int IH, const int IW, const int OC, const int OH, const int OW, const int ICG, const int OCG,
    const int PT, const int PL, const int BANDS, const int PHASE, const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = (long)get_global_id(0) * OH / BANDS;       /* first row of the band */
  const int oh1 = (long)(get_global_id(0) + 1) * OH / BANDS; /* first row behind it */
  const int g = get_global_id(1);                            /* 0 .. G-1 */
  const int n = get_global_id(2);                            /* 0 .. N-1 */
  item(x, packed, bias, residual, y, panel, oh0, oh1, g, n, N, IC, IH, IW, OC, OH, OW, ICG, OCG, PT, PL, PHASE, act_a,
       act_b);
}
