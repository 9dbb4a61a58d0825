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
 * A work-item first splits its window of x into the panel, in local memory. The panel has a plane for each phase: rows and
 * columns that are SH and SW apart lie side by side there, so that neighbours in y read neighbours whatever the stride. Its rows
 * are WIDTH positions long, and output (oh, ow) is position oh*WIDTH + ow: a tile of 16 may run on into the next row.
 *
 *      panel, one plane, 3x3, padding 1        y
 *      . . . . . . . .                         +---+---+---+---+---+---+---+
 *      . 0 1 2 3 4 5 6                         | 0   1   2   3   4   5   6 |  .     16 positions: two rows of 7 and the gaps
 *      . 7 8 9 ...                             | 7   8   9   ...           |  .     between them, which are dropped
 *      . one column of zeros serves the        |                           |
 *      . right side and the next row's left
 *
 * For each pair of blocks of output channels, each 32 positions: one product (matrix.clh), and bias, residual and activation.
 * x is read once per work-item, the filter once per 32 positions; per multiply-add, 1/16 of a part of each is read.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, epilogue.clh, matrix.clh; NHWC; KH KW SH SW DH DW.
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/lanes.clh"
#include "include/epilogue.clh"
#include "include/split.clh"
#include "include/matrix.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#if !defined(PARTS) || !defined(PRODUCTS)
#error "PARTS and PRODUCTS must be set by the plan"
#endif

/* Rows and columns of the window that no tap reads have no plane. */
#define LESSER(a, b) ((a) < (b) ? (a) : (b))
#define PHASES_H LESSER(SH, (KH - 1) * DH + 1)
#define PHASES_W LESSER(SW, (KW - 1) * DW + 1)

/* From one position to the next, and from one row of a tile of them to the next, in bfloat16 numbers. */
#define POSITION (NHWC ? STEP : 2)
#define TILE_ROW(POSITIONS) (NHWC ? STEP : 2 * (POSITIONS))

typedef struct {
  int STEPS, POSITIONS; /* of the panel */
  int WIDTH, ROWS, PLANE; /* of a plane: a row, how many, positions with what lies behind */
  int ih0, iw0;         /* row and column of x at the panel's first position */
} shape;

/* 32 channels of a position, or of VEC positions: `first` the lower 16, `second` the upper ones of each pair. */
INLINE void put(__local ushort *to, const long plane, vec first, vec second) {
  UNROLL for (int part = 0; part < PARTS; part++) STORE_BITS(to + part * plane, take_pair(&first, &second));
}

#if NHWC
/* All positions of a row of a plane, ICG channels from x on: x is the row's column 0 in the group's channel 0. */
INLINE void put_row(__local ushort *panel, const shape *s, __global const real *x, const bool inside, const int iw0,
                    const int IW, const int IC, const int ICG) {
  const long plane = (long)STEP * s->POSITIONS;
  for (int c = 0, iw = iw0; c < s->WIDTH; c++, iw += SW) {
    const bool there = inside && iw >= 0 && iw < IW;
    __global const real *from = x + (there ? (long)iw * IC : 0);
    __local ushort *to = panel + c * STEP;
    for (int ic = 0; ic < ICG; ic += STEP, to += PARTS * plane)
      UNROLL for (int k = 0; k < TILE; k += VEC) {
        const lanes_t lower = lanes_between(0, there ? ICG - ic - k : 0);
        const lanes_t upper = lanes_between(0, there ? ICG - ic - k - TILE : 0);
        put(to + 2 * k, plane, LOAD_LANES(from + ic + k, lower), LOAD_LANES(from + ic + k + TILE, upper));
      }
  }
}
#else
/* VEC columns of x, SW apart, from column iw on. row: column 0; lo .. hi-1 of the VEC lie inside the image. */
INLINE vec columns(__global const real *row, const int iw, const int lo, const int hi) {
#if SW == 1
  return LOAD_LANES(row + iw, lanes_between(lo, hi));
#else
  vec_lanes r;
  r.v = VEC_OF(0);
  for (int i = lo < 0 ? 0 : lo; i < VEC && i < hi; i++) r.s[i] = LOAD(row, iw + i * SW);
  return r.v;
#endif
}

/* All positions of a row of a plane. The last vector may run on into the next row, which is put later, or behind the plane. */
INLINE void put_row(__local ushort *panel, const shape *s, __global const real *x, const bool inside, const int iw0,
                    const int IW, const long AREA, const int ICG) {
  const long plane = (long)STEP * s->POSITIONS;
  const int left = iw0 < 0 ? (-iw0 + SW - 1) / SW : 0;               /* columns of padding */
  const int right = inside && iw0 < IW ? (IW - 1 - iw0) / SW + 1 : 0; /* the column behind the last one that x has */
  const int end = right < s->WIDTH ? right : s->WIDTH;
  for (int ic = 0; ic < ICG; ic += STEP, panel += PARTS * plane)
    for (int k = 0; k < TILE; k++) {
      __global const real *lower = x + (long)(ic + k) * AREA;
      const int some = ic + k < ICG ? end : 0, more = ic + k + TILE < ICG ? end : 0;
      __local ushort *to = panel + k * TILE_ROW(s->POSITIONS);
      for (int c = 0; c < s->WIDTH; c += VEC)
        put(to + 2 * c, plane, columns(lower, iw0 + c * SW, left - c, some - c),
            columns(lower + TILE * AREA, iw0 + c * SW, left - c, more - c));
    }
}
#endif

/* Zeros at `count` positions. */
INLINE void put_zeros(__local ushort *panel, const shape *s, const int count) {
  const int rows = NHWC ? 1 : TILE;
  for (int i = 0; i < s->STEPS * PARTS * rows; i++, panel += STEP * s->POSITIONS / rows)
    for (int c = 0; c < count * POSITION; c++) panel[c] = 0;
}

/* The panel of image n, group g: x at its first row and channel. */
INLINE void put_panel(__local ushort *panel, const shape *s, __global const real *x, const int IC, const int ICG, const int IH,
                      const int IW) {
  const long row = NHWC ? (long)IW * IC : IW;
  for (int ph = 0; ph < PHASES_H; ph++)
    for (int pw = 0; pw < PHASES_W; pw++) {
      __local ushort *to = panel + (ph * PHASES_W + pw) * s->PLANE * POSITION;
      for (int r = 0; r < s->ROWS; r++, to += s->WIDTH * POSITION) {
        const int ih = s->ih0 + r * SH + ph;
        const bool inside = ih >= 0 && ih < IH;
        put_row(to, s, x + (inside ? ih * row : 0), inside, s->iw0 + pw, IW, NHWC ? IC : (long)IH * IW, ICG);
      }
      put_zeros(to, s, s->PLANE - s->ROWS * s->WIDTH);
    }
  const int planes = PHASES_H * PHASES_W * s->PLANE;
  put_zeros(panel + planes * POSITION, s, s->POSITIONS - planes);
}

/* Where the sums belong. */
typedef struct {
  __global const real *bias, *residual;
  __global real *y;   /* at the item's first output, channel 0 of the group */
  int rows, cols;     /* of the item */
  int WIDTH, OW, OC;  /* positions of a row of the panel */
  long AREA;
  acc_t act_a, act_b;
} target;

/* Sums that wait in local memory, 2 x 2 tiles of 16 positions by 16 output channels, until the next ones are computed: what
 * they need and the matrix unit do not get in each other's way. */
typedef struct {
  __local const float *sums;
  int turn;       /* N H W C: next position, N C H W: next output channel; of 32 */
  int v, row, col; /* N H W C: of the next position, N C H W: of the first */
  int oc, channels; /* output channel, and how many there are from it on */
} waiting;

INLINE void finish_vec(vec v, const vec b, const long at, const lanes_t some, const target *to) {
  if (HAS_BIAS) v += b;
  if (HAS_RESIDUAL) v += LOAD_LANES(to->residual + at, some);
  STORE_LANES(to->y + at, activate_vec(v, to->act_a, to->act_b), some);
}

#if NHWC
/* The next `count` positions. */
INLINE void finish(waiting *from, int count, const target *to) {
  for (; count > 0 && from->turn < 2 * TILE && from->row < to->rows; count--, from->turn++) {
    if (from->col < to->cols) {
      const long at = ((long)from->row * to->OW + from->col) * to->OC + from->oc;
      __local const float *sums = from->sums + from->turn / TILE * (2 * TILE * TILE) + from->turn % TILE * TILE;
      UNROLL for (int c = 0; c < 2 * TILE; c += VEC) {
        const lanes_t some = lanes_between(0, from->channels - c);
        const vec b = HAS_BIAS ? LOAD_LANES(to->bias + from->oc + c, some) : VEC_OF(0);
        finish_vec(LOAD_ACC_LOCAL(sums + c / TILE * (TILE * TILE) + c % TILE), b, at + c, some, to);
      }
    }
    if (++from->col == to->WIDTH) {
      from->col = 0;
      from->row++;
    }
  }
}
#else
/* The next `count` output channels: the positions of each row of the image that are among them. */
INLINE void finish(waiting *from, int count, const target *to) {
  for (; count > 0 && from->turn < 2 * TILE && from->turn < from->channels; count--, from->turn++) {
    const int c = from->oc + from->turn;
    const vec b = HAS_BIAS ? VEC_OF(LOAD(to->bias, c)) : VEC_OF(0);
    UNROLL for (int i = 0; i < 2 * TILE; i += VEC) {
      const vec v = LOAD_ACC_LOCAL(from->sums + i / TILE * (2 * TILE * TILE) + from->turn * TILE + i % TILE);
      for (int row = from->row, start = -from->col - i; row < to->rows && start < VEC; row++, start += to->WIDTH) {
        const lanes_t some = lanes_between(start, start + to->cols); /* start: lane of the row's first column */
        if (some) finish_vec(v, b, c * to->AREA + (long)row * to->OW - start, some, to);
      }
    }
  }
}
#endif

/* Tile numbers of sums, left and right operands for position tile i and filter tile j. */
#if NHWC
#define LOAD_POSITIONS(i, p, row) LOAD_LEFT(i, p, row)
#define LOAD_FILTER(j, p) LOAD_RIGHT_GLOBAL(j, p, STEP)
#define TIMES(i, j) MULTIPLY(2 * (i) + (j), i, j)
#else
#define LOAD_POSITIONS(i, p, row) LOAD_RIGHT(i, p, row)
#define LOAD_FILTER(j, p) LOAD_LEFT_GLOBAL(j, p, STEP)
#define TIMES(i, j) MULTIPLY(2 * (i) + (j), j, i)
#endif

#define POSITIONS_PART(part)                                      \
  LOAD_POSITIONS(0, at + ((part) - 1) * plane, row);                      \
  LOAD_POSITIONS(1, at + ((part) - 1) * plane + TILE * POSITION, row)
#define FILTER_PART(part)               \
  LOAD_FILTER(0, w0 + ((part) - 1) * TILE_NUMBERS); \
  LOAD_FILTER(1, w1 + ((part) - 1) * TILE_NUMBERS)
#define MULTIPLY_TILES \
  TIMES(0, 0);   \
  TIMES(0, 1);   \
  TIMES(1, 0);   \
  TIMES(1, 1)

/* Blocks b0 .. b1-1 of the group's output channels; packed, to: of the group's channel 0. sums: for two times 2 x 2 tiles. */
ITEM void item(__global const real *x, __global const ushort *packed, __local ushort *panel, __local float *sums,
               __local int *shift, const target *to, const shape *s, const int b0, const int b1, const int IC, const int ICG,
               const int OCG, const int IH, const int IW) {
  for (int kh = 0; kh < KH; kh++)
    for (int kw = 0; kw < KW; kw++) {
      const int plane = kh * DH % SH * PHASES_W + kw * DW % SW;
      shift[kh * KW + kw] = plane * s->PLANE + kh * DH / SH * s->WIDTH + kw * DW / SW;
    }
  put_panel(panel, s, x, IC, ICG, IH, IW);

  const int last = (to->rows - 1) * s->WIDTH + to->cols;
  const long block = (long)KH * KW * s->STEPS * PARTS * TILE_NUMBERS;
  const long row = TILE_ROW(s->POSITIONS), plane = (long)STEP * s->POSITIONS;
  const int share = (2 * TILE + KH * KW * s->STEPS - 1) / (KH * KW * s->STEPS);
  int odd = 1; /* the second half of sums is free */
  sums += 4 * TILE * TILE;
  waiting before;
  before.turn = 2 * TILE;
  MATRIX_BEGIN();
  for (int b = b0; b < b1; b += 2)
    for (int v = 0; v < last; v += 2 * TILE) {
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
      sums += odd ? -4 * TILE * TILE : 4 * TILE * TILE;
      odd = !odd;
      STORE_SUMS(0, sums);
      STORE_SUMS(1, sums + TILE * TILE);
      STORE_SUMS(2, sums + 2 * TILE * TILE);
      STORE_SUMS(3, sums + 3 * TILE * TILE);
      before.sums = sums;
      before.turn = 0;
      before.row = v / s->WIDTH;
      before.col = v % s->WIDTH;
      before.oc = b * TILE;
      before.channels = OCG - b * TILE;
    }
  finish(&before, 2 * TILE, to);
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
  to.AREA = area;
  to.act_a = act_a;
  to.act_b = act_b;
  x += (long)n * IC * IH * IW + (NHWC ? g * ICG : (long)g * ICG * IH * IW);
  item(x, packed + (long)g * blocks * KH * KW * STEPS * PARTS * TILE_NUMBERS, panel, sums, table, &to, &s, b0, b1, IC, ICG, OCG, IH,
       IW);
}
