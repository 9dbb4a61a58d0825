/* Convolution on the processor's matrix unit, which multiplies bfloat16 numbers: each element is split into two or three of them.
 *
 *   y[n, oc, oh, ow] = act( bias[oc] + residual[n, oc, oh, ow]
 *                           + sum over ic, kh, kw of x[n, g*ICG + ic, oh*SH - PT + kh*DH, ow*SW - PL + kw*DW] * w[oc, ic, kh, kw] )
 *
 * with g = oc / OCG. include/split.clh splits, include/matrix.clh multiplies. For float32, two parts and three products leave out up
 * to 2^-15 of a product of elements; three parts hold every bit, and with six products less is left out than a float sum rounds. Two
 * parts and four products are exact for float16, one is for bfloat16.
 *
 * x, y, residual   N H W C, or N C H W     (macro NHWC)
 * packed           G BLOCKS KH KW STEPS PARTS 512     from pack_split.cl: tiles of 16 output channels by 32 input channels
 * bias             OC
 *
 * Work-items, one in a work-group:
 *   gid 0   CUTS*(rows of the output from r*ROWS_ITEM on) + columns from c*COLS_ITEM on
 *   gid 1   SPLITS*g + blocks of 16 output channels from s*BLOCKS_ITEM on
 *   gid 2   image n, 0 .. N-1
 *
 * A work-item first splits its window of x into the panel (include/split_panel.clh), in local memory, where output (oh, ow) is
 * position oh*WIDTH + ow: a tile of 16 may run on into the next row.
 *
 *      panel, 3x3, padding 1              y
 *      . . . . . . . .                    +---+---+---+---+---+---+---+
 *      . 0 1 2 3 4 5 6                    | 0   1   2   3   4   5   6 |  .     16 positions: two rows of 7 and what lies
 *      . 7 8 9 ...                        | 7   8   9   ...           |  .     between them, which is dropped
 *      . one column of zeros serves the   |                           |
 *      . right side and the next row's left
 *
 * Then CTILES blocks of output channels and PTILES times 16 positions at a time (include/split_multiply.clh), 2 x 2 or 4 x 1 tiles of
 * sums, and the end of the sums before (include/split_finish.clh).
 *
 * x is read once per work-item, the filter once per 16*PTILES positions.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, epilogue.clh, matrix.clh; NHWC; LEFT (0, 1; 1 in N H W C); PARTS (1, 2, 3),
 * PRODUCTS (1, 3, 4, 6), PTILES (2, 4), STREAM (0, 1; see include/split_finish.clh); KH KW SH SW DH DW.
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif

#include "include/split_panel.clh"
#include "include/split_finish.clh"
#include "include/split_multiply.clh"

/* Blocks b0 .. b1-1 of the group's output channels; x: the image's pixel 0 of the group's channel 0. */
ITEM void item(__global const real *x, __global const ushort *packed, __local ushort *panel, __local float *sums,
               __local int *shift, const target *to, const shape *s, const int b0, const int b1, const int IC, const int ICG,
               const int IH, const int IW) {
  for (int kh = 0; kh < KH; kh++)
    for (int kw = 0; kw < KW; kw++) {
      const int plane = kh * DH % SH * PHASES_W + kw * DW % SW;
      shift[kh * KW + kw] = (plane * s->PLANE + kh * DH / SH * s->WIDTH + kw * DW / SW) * POSITION;
    }
  put_panel(panel, s, x, IC, ICG, IH, IW);
  multiply(panel, packed, sums, shift, KH * KW, s->STEPS, (long)STEP * s->POSITIONS, TILE_ROW(s->POSITIONS), b0, b1, to);
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void split_matrix(__global const real *restrict x, __global const ushort *restrict packed, __global const real *restrict bias,
                  __global const real *restrict residual, __global real *restrict y, __local ushort *panel,
                  __local float *sums, __local int *table, const int IC, const int IH, const int IW, const int OC,
                  const int OH, const int OW, const int PT, const int PL, const int ICG, const int OCG, const int STEPS,
                  const int POSITIONS, const int WIDTH, const int ROWS, const int PLANE, const int CUTS,
                  const int ROWS_ITEM, const int COLS_ITEM, const int SPLITS, const int BLOCKS_ITEM, const acc_t act_a,
                  const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = get_global_id(0) / CUTS * ROWS_ITEM, ow0 = get_global_id(0) % CUTS * COLS_ITEM;
  const int g = get_global_id(1) / SPLITS, n = get_global_id(2);
  const int blocks = (OCG + TILE - 1) / TILE;
  const int b0 = get_global_id(1) % SPLITS * BLOCKS_ITEM, b1 = LESSER(b0 + BLOCKS_ITEM, blocks);
  const shape s = {STEPS, POSITIONS, WIDTH, ROWS, PLANE, oh0 * SH - PT, ow0 * SW - PL};
  const long area = (long)OH * OW, pixel = (long)oh0 * OW + ow0;
  const long out = NHWC ? (n * area + pixel) * OC + g * OCG : ((long)n * OC + g * OCG) * area + pixel;
  const target to = {bias + (HAS_BIAS ? g * OCG : 0), residual + (HAS_RESIDUAL ? out : 0), y + out, LESSER(ROWS_ITEM, OH - oh0),
                     LESSER(COLS_ITEM, OW - ow0), WIDTH, OW, OC, OCG, area, act_a, act_b};
  x += (long)n * IC * IH * IW + (NHWC ? g * ICG : (long)g * ICG * IH * IW);
  item(x, packed + (long)g * blocks * KH * KW * STEPS * PARTS * TILE_NUMBERS, panel, sums, table, &to, &s, b0, b1, IC, ICG,
       IH, IW);
}
