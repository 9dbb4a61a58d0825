/* Convolution on the processor's matrix unit, for few channels: of the first image of a network, or of a group.
 *
 *   y[n, oc, oh, ow] = act( bias[oc] + residual[n, oc, oh, ow]
 *                           + sum over ic, kh, kw of x[n, g*ICG + ic, oh*SH - PT + kh*DH, ow*SW - PL + kw] * w[oc, ic, kh, kw] )
 *
 * with g = oc / OCG. standard/split_matrix would fill the 32 numbers of a step with the channels of one tap; here it takes as many
 * taps of a row as fit, for they lie side by side in memory: 7 taps of 3 channels, or 2 taps of 16 (include/run_panel.clh).
 *
 * Groups of up to 16 channels go 16 channels at a time; the packed filter has zeros where an output meets another group's input.
 *
 * x, y, residual   N H W C, or N C H W     (macro NHWC)
 * packed           BUNCHES BLOCKS TERMS PARTS 512     from pack_run.cl: tiles of 32 numbers by 16 output channels
 * bias             OC
 *
 * Work-items, one in a work-group:
 *   gid 0   CUTS*(rows of the output from r*ROWS_ITEM on) + columns from c*COLS_ITEM on
 *   gid 1   SPLITS*bunch + blocks of 16 output channels from s*BLOCKS_ITEM on; a bunch is 16 channels of groups, or all without groups
 *   gid 2   image n, 0 .. N-1
 *
 * A work-item splits its window of x into the panel, with FOLD copies all taps of an output together (include/run_fold.clh), computes
 * CTILES blocks of output channels and PTILES times 16 positions at a time (include/split_multiply.clh), and brings the sums to their
 * end (include/split_finish.clh). Position oh*WIDTH/SW + ow is output (oh, ow).
 *
 * x is read once per work-item, the filter once per 16*PTILES positions.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, epilogue.clh, matrix.clh; NHWC; LEFT (1); PARTS (1, 2, 3), PRODUCTS (1, 3, 4, 6),
 * PTILES (2, 4), STREAM (0, 1; see include/split_finish.clh); RUN (channels of a position in the panel, see run_panel.clh); FOLD (0, 1);
 * KH KW SH SW DH; DW (1).
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH)
#error "KH, KW, SH, SW and DH must be set by the plan"
#endif
#if !defined(FOLD)
#error "FOLD must be set by the plan"
#endif

#include "include/run_fold.clh"
#include "include/run_panel.clh"

#define POSITION (FOLD ? FOLD_WIDTH : SW * RUN) /* from one output to the next in the panel that is multiplied */

#include "include/split_finish.clh"
#include "include/split_multiply.clh"

#define STEPS ((KW * RUN + STEP - 1) / STEP)    /* of a row's taps */
#define TERMS (FOLD ? FOLD_STEPS : KH * STEPS)  /* of an output */

/* Blocks b0 .. b1-1 of the bunch's output channels; x: the image's pixel 0 of its channel 0, of which there are `some`. */
ITEM void item(__global const real *x, __global const ushort *packed, __local ushort *panel, __local float *sums,
               __local int *shift, const target *to, const shape *s, const int b0, const int b1, const int some,
               const int IC, const int IH, const int IW) {
  long plane = (long)s->POSITIONS * RUN;
  put_panel(panel, s, x, IC, IH, IW, some);
#if FOLD
  __local ushort *folded = panel + PARTS * plane;
  fold(folded, panel, s, to->rows, to->WIDTH);
  plane = (long)FOLD_COUNT(to->rows * to->WIDTH) * FOLD_WIDTH + VEC;
  panel = folded;
  for (int step = 0; step < TERMS; step++) shift[step] = step * STEP;
#else
  for (int kh = 0; kh < KH; kh++)
    for (int step = 0; step < STEPS; step++)
      shift[kh * STEPS + step] = (kh * DH % SH * s->PLANE + kh * DH / SH * s->WIDTH) * RUN + step * STEP;
#endif
  multiply(panel, packed, sums, shift, TERMS, 1, plane, POSITION, b0, b1, to);
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void run_matrix(__global const real *restrict x, __global const ushort *restrict packed, __global const real *restrict bias,
                __global const real *restrict residual, __global real *restrict y, __local ushort *panel,
                __local float *sums, __local int *table, const int IC, const int IH, const int IW, const int OC,
                const int OH, const int OW, const int PT, const int PL, const int BUNCH, const int POSITIONS,
                const int WIDTH, const int ROWS, const int PLANE, const int CUTS, const int ROWS_ITEM,
                const int COLS_ITEM, const int SPLITS, const int BLOCKS_ITEM, const acc_t act_a, const acc_t act_b
                BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = get_global_id(0) / CUTS * ROWS_ITEM, ow0 = get_global_id(0) % CUTS * COLS_ITEM;
  const int bunch = get_global_id(1) / SPLITS, n = get_global_id(2);
  const int oc = bunch * TILE, ic = bunch * TILE;        /* the bunch's first channels; 0 without groups */
  const int blocks = (BUNCH + TILE - 1) / TILE;
  const int b0 = get_global_id(1) % SPLITS * BLOCKS_ITEM, b1 = LESSER(b0 + BLOCKS_ITEM, blocks);
  const shape s = {POSITIONS, WIDTH, ROWS, PLANE, oh0 * SH - PT, ow0 * SW - PL};
  const long area = (long)OH * OW, pixel = (long)oh0 * OW + ow0;
  const long out = NHWC ? (n * area + pixel) * OC + oc : ((long)n * OC + oc) * area + pixel;
  const target to = {bias + (HAS_BIAS ? oc : 0), residual + (HAS_RESIDUAL ? out : 0), y + out, LESSER(ROWS_ITEM, OH - oh0),
                     LESSER(COLS_ITEM, OW - ow0), WIDTH / SW, OW, OC, LESSER(BUNCH, OC - oc), area, act_a, act_b};
  x += (long)n * IC * IH * IW + (NHWC ? ic : (long)ic * IH * IW);
  item(x, packed + (long)bunch * blocks * TERMS * PARTS * TILE_NUMBERS, panel, sums, table, &to, &s, b0, b1,
       LESSER(RUN, IC - ic), IC, IH, IW);
}
