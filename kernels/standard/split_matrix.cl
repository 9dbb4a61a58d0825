/* Convolution on the processor's matrix unit, which multiplies bfloat16 numbers: each element is split into three of them.
 *
 *   y[n, oc, oh, ow] = act( bias[oc] + residual[n, oc, oh, ow]
 *                           + sum over ic, kh, kw of x[n, g*ICG + ic, oh*SH - PT + kh*DH, ow*SW - PL + kw*DW] * w[oc, ic, kh, kw] )
 *
 * with g = oc / OCG. include/split.clh splits, include/matrix.clh multiplies: no bit of an element is lost, and the products of
 * parts that are left out come to less than the rounding of a float sum.
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
 * For each pair of blocks of output channels, each 32 positions: 2 x 2 tiles of sums, over all taps and input channels, and the
 * end of the sums before (include/split_finish.clh).
 *
 *                    filter, packed              positions are left operands, the filter right ones, or the reverse (LEFT)
 *                    +--------+--------+
 *                    | 16 oc  | 16 oc  |   32 input channels of a tap
 *      panel         +--------+--------+
 *      +----------+  +--------+--------+
 *      | 16 pos.  |  | sums   | sums   |   MULTIPLY for each product of parts:
 *      +----------+  +--------+--------+     PRODUCTS 1   1*1
 *      | 16 pos.  |  | sums   | sums   |     PRODUCTS 3   2*1 1*1 1*2
 *      +----------+  +--------+--------+     PRODUCTS 4   2*2 2*1 1*1 1*2
 *                                            PRODUCTS 6   3*1 2*1 2*2 1*2 1*1 1*3
 *
 * x is read once per work-item, the filter once per 32 positions; per multiply-add, 1/32 of the parts of either is read.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, epilogue.clh, matrix.clh; NHWC; LEFT (0, 1; 1 in N H W C); PARTS (1, 2, 3),
 * PRODUCTS (1, 3, 4, 6); KH KW SH SW DH DW.
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#ifndef PRODUCTS
#error "PRODUCTS must be set by the plan"
#endif

#include "include/split_panel.clh"
#include "include/split_finish.clh"

#if LEFT
#define LOAD_POSITIONS(i, p, row) LOAD_LEFT(i, p, row)
#define LOAD_FILTER(j, p) LOAD_RIGHT_GLOBAL(j, p, STEP)
#define TIMES(i, j) MULTIPLY(2 * (i) + (j), i, j)
#else
#define LOAD_POSITIONS(i, p, row) LOAD_RIGHT(i, p, row)
#define LOAD_FILTER(j, p) LOAD_LEFT_GLOBAL(j, p, STEP)
#define TIMES(i, j) MULTIPLY(2 * (i) + (j), j, i)
#endif

#define POSITIONS_PART(part)                            \
  LOAD_POSITIONS(0, at + ((part) - 1) * plane, row);    \
  LOAD_POSITIONS(1, at + ((part) - 1) * plane + TILE * POSITION, row)
#define FILTER_PART(part)                          \
  LOAD_FILTER(0, w0 + ((part) - 1) * TILE_NUMBERS); \
  LOAD_FILTER(1, w1 + ((part) - 1) * TILE_NUMBERS)
#define MULTIPLY_TILES \
  TIMES(0, 0);         \
  TIMES(0, 1);         \
  TIMES(1, 0);         \
  TIMES(1, 1)

/* Blocks b0 .. b1-1 of the group's output channels; packed, to: of the group's channel 0. sums: for two times 2 x 2 tiles. */
ITEM void item(__global const real *x, __global const ushort *packed, __local ushort *panel, __local float *sums,
               __local int *shift, const target *to, const shape *s, const int b0, const int b1, const int IC, const int ICG,
               const int IH, const int IW) {
  for (int kh = 0; kh < KH; kh++)
    for (int kw = 0; kw < KW; kw++) {
      const int plane = kh * DH % SH * PHASES_W + kw * DW % SW;
      shift[kh * KW + kw] = plane * s->PLANE + kh * DH / SH * s->WIDTH + kw * DW / SW;
    }
  put_panel(panel, s, x, IC, ICG, IH, IW);

  const int last = (to->rows - 1) * s->WIDTH + to->cols;
  const long block = (long)KH * KW * s->STEPS * PARTS * TILE_NUMBERS;
  const long row = TILE_ROW(s->POSITIONS), plane = (long)STEP * s->POSITIONS;
  const int terms = KH * KW * s->STEPS, share = (TURNS + terms - 1) / terms;
  int odd = 1; /* the second half of sums is free */
  sums += SUMS;
  waiting before;
  before.turn = TURNS;
  MATRIX_BEGIN();
  for (int b = b0; b < b1; b += 2)
    for (int v = 0; v < last; v += SIDE) {
      __global const ushort *w0 = packed + b * block, *w1 = b + 1 < b1 ? w0 + block : w0;
      CLEAR(0);
      CLEAR(1);
      CLEAR(2);
      CLEAR(3);
      for (int t = 0; t < KH * KW; t++) {
        __local const ushort *at = panel + (v + shift[t]) * POSITION;
        for (int k = 0; k < s->STEPS; k++) {
#if PARTS == 3
          POSITIONS_PART(3);
          FILTER_PART(1);
          MULTIPLY_TILES;
          POSITIONS_PART(2);
          MULTIPLY_TILES;
          FILTER_PART(2);
          MULTIPLY_TILES;
          POSITIONS_PART(1);
          MULTIPLY_TILES;
          FILTER_PART(1);
          MULTIPLY_TILES;
          FILTER_PART(3);
          MULTIPLY_TILES;
#elif PARTS == 2
          POSITIONS_PART(2);
#if PRODUCTS == 4
          FILTER_PART(2);
          MULTIPLY_TILES;
#endif
          FILTER_PART(1);
          MULTIPLY_TILES;
          POSITIONS_PART(1);
          MULTIPLY_TILES;
          FILTER_PART(2);
          MULTIPLY_TILES;
#else
          FILTER_PART(1);
          POSITIONS_PART(1);
          MULTIPLY_TILES;
#endif
          at += PARTS * plane;
          w0 += PARTS * TILE_NUMBERS;
          w1 += PARTS * TILE_NUMBERS;
          finish(&before, share, to);
        }
      }
      sums += odd ? -SUMS : SUMS;
      odd = !odd;
      STORE_SUMS(0, sums);
      STORE_SUMS(1, sums + TILE * TILE);
      STORE_SUMS(2, sums + 2 * TILE * TILE);
      STORE_SUMS(3, sums + 3 * TILE * TILE);
      wait(&before, sums, v, b * TILE, to);
    }
  finish(&before, TURNS, to);
  MATRIX_END();
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void split_matrix(__global const real *restrict x, __global const ushort *restrict packed, __global const real *restrict bias,
                  __global const real *restrict residual, __global real *restrict y, __local ushort *panel,
                  __local float *sums, __local int *table, const int IC, const int IH, const int IW, const int OC, const int OH, const int OW,
                  const int ICG, const int OCG, const int PT, const int PL, const int STEPS, const int POSITIONS,
                  const int WIDTH, const int ROWS, const int PLANE, const int CUTS, const int ROWS_ITEM,
                  const int COLS_ITEM, const int SPLITS, const int BLOCKS_ITEM, const acc_t act_a, const acc_t act_b) {
  const int oh0 = get_global_id(0) / CUTS * ROWS_ITEM, ow0 = get_global_id(0) % CUTS * COLS_ITEM;
  const int g = get_global_id(1) / SPLITS, n = get_global_id(2);
  const int blocks = (OCG + TILE - 1) / TILE;
  const int b0 = get_global_id(1) % SPLITS * BLOCKS_ITEM, b1 = min(b0 + BLOCKS_ITEM, blocks);
  const shape s = {STEPS, POSITIONS, WIDTH, ROWS, PLANE, oh0 * SH - PT, ow0 * SW - PL};
  const long area = (long)OH * OW, pixel = (long)oh0 * OW + ow0;
  const long out = NHWC ? (n * area + pixel) * OC + g * OCG : ((long)n * OC + g * OCG) * area + pixel;
  target to;
  to.bias = bias + (HAS_BIAS ? g * OCG : 0);
  to.residual = residual + (HAS_RESIDUAL ? out : 0);
  to.y = y + out;
  to.rows = min(ROWS_ITEM, OH - oh0);
  to.cols = min(COLS_ITEM, OW - ow0);
  to.WIDTH = WIDTH;
  to.OW = OW;
  to.OC = OC;
  to.OCG = OCG;
  to.AREA = area;
  to.act_a = act_a;
  to.act_b = act_b;
  x += (long)n * IC * IH * IW + (NHWC ? g * ICG : (long)g * ICG * IH * IW);
  item(x, packed + (long)g * blocks * KH * KW * STEPS * PARTS * TILE_NUMBERS, panel, sums, table, &to, &s, b0, b1, IC, ICG, IH, IW);
}
