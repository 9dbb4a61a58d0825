/* A depthwise convolution with the pointwise ones around it in one kernel, on the matrix unit, channels last:
 *
 *   e[n, ih, iw, ec] = clamp( lift[ec]  + sum over ic of x[n, ih, iw, ic] * expand[ec, ic] )              or x itself (EXPAND 0)
 *   d[n, oh, ow, ec] = clamp( shift[ec] + sum over kh, kw of e[n, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL, ec] * taps[kh, kw, ec] )
 *   y[n, oh, ow, oc] = act( bias[oc] + residual[n, oh, ow, oc] + sum over ec of d[n, oh, ow, ec] * w[oc, ec] )
 *
 * with e = 0 outside the image: a block of MobileNet V2, or with EXPAND 0 two layers of MobileNet V1. e and d never leave the
 * second-level cache, and e is there 32 channels at a time, a step of the last sum.
 *
 *    x, split             e, 32 channels         d, split                     y
 *    +-----------+        +---------------+      step 0 +-----------+
 *    | positions | -----> | 0 | row   | 0 | ---> step 1 | positions | -----> | positions |
 *    +-----------+ expand | 0 | row   | 0 | taps ...    +-----------+ packed
 *
 * x, y, residual   N H W C
 * expand, packed   tiles of 16 output by 32 input channels, from pack_split.cl
 * lift, shift      EC, may be absent        bias: OC, may be absent
 * taps             KH*KW TAP_PITCH          from depthwise/pixel_simd.cl, which begins with VEC zeros
 *
 * Work-items: (BANDS bands of rows of outputs, image), one in a work-group. The (KH-1)*DH + 1 - SH rows of e between two bands are
 * computed in both. Local memory: the split x (EXPAND 1), e, the split d, sums for the matrix unit.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, epilogue.clh (of the last part), matrix.clh; PARTS, PRODUCTS (see
 * include/split_multiply.clh); KH KW SH SW DH DW; TILE_OW (outputs side by side, at most OW); EXPAND, HAS_LIFT, HAS_SHIFT (0, 1).
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/lanes.clh"
#include "include/epilogue.clh"
#include "include/bands.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW) || !defined(TILE_OW)
#error "KH, KW, SH, SW, DH, DW and TILE_OW must be set by the plan"
#endif
#if !defined(EXPAND) || !defined(HAS_LIFT) || !defined(HAS_SHIFT)
#error "EXPAND, HAS_LIFT and HAS_SHIFT must be set by the plan"
#endif

#define NHWC 1
#define LEFT 1
#define PTILES 2
#define STREAM 0
#include "include/split_panel.clh"
#include "include/split_finish.clh"
#include "include/split_multiply.clh"

#define SPAN_W ((TILE_OW - 1) * SW + (KW - 1) * DW + 1)

/* What lies where in an item. */
typedef struct {
  int ih0, first, rows_in; /* row of x at e's first row; the first row of x that is inside, and how many are */
  int WIDTH;               /* positions of a row of e: padding, pixels, padding */
  int PL, IW, EC, TAP_PITCH;
  acc_t low0, high0, low, high;
} middle;

#if EXPAND
/* 32 channels of e, from channel c on, for all rows that are inside. panel: the split x. */
INLINE void put_rows(__local acc_t *e, __local const ushort *panel, __local float *sums, __global const ushort *expand,
                     __global const real *lift, const middle *m, const int c, const int STEPS, const int POSITIONS) {
  const long row = STEP, plane = (long)STEP * POSITIONS, block = (long)STEPS * PARTS * TILE_NUMBERS;
  const bool both = c + TILE < m->EC;
  int ih = m->first, iw = 0;
  vec b[STEP / VEC];
  UNROLL for (int i = 0; i < STEP / VEC; i++)
    b[i] = HAS_LIFT ? LOAD_LANES(lift + c + i * VEC, lanes_between(0, m->EC - c - i * VEC)) : VEC_OF(0);
  MATRIX_BEGIN();
  for (int v = 0; v < m->rows_in * m->IW; v += 2 * TILE) {
    __global const ushort *w0 = expand, *w1 = both ? expand + block : expand;
    __local const ushort *at = panel + v * POSITION;
    CLEAR(0);
    CLEAR(1);
    CLEAR(2);
    CLEAR(3);
    for (int k = 0; k < STEPS; k++) {
      ALL_PRODUCTS;
      at += PARTS * plane;
      w0 += PARTS * TILE_NUMBERS;
      w1 += PARTS * TILE_NUMBERS;
    }
    STORE_SUMS(0, sums);
    STORE_SUMS(1, sums + TILE * TILE);
    STORE_SUMS(2, sums + 2 * TILE * TILE);
    STORE_SUMS(3, sums + 3 * TILE * TILE);
    for (int i = 0; i < 2 * TILE && v + i < m->rows_in * m->IW; i++) {
      __local acc_t *to = e + ((ih - m->ih0) * m->WIDTH + m->PL + iw) * STEP;
      __local const float *from = sums + i / TILE * (2 * TILE * TILE) + i % TILE * TILE;
      UNROLL for (int j = 0; j < STEP / VEC; j++) {
        const vec sum = LOAD_ACC_LOCAL(from + j * VEC / TILE * (TILE * TILE) + j * VEC % TILE) + b[j];
        STORE_ACC_LOCAL(to + j * VEC, CLCONV_CLAMP(sum, VEC_OF(m->low0), VEC_OF(m->high0)));
      }
      if (++iw == m->IW) {
        iw = 0;
        ih++;
      }
    }
  }
  MATRIX_END();
}
#else
/* The same, e being x: the image's row 0. */
INLINE void put_rows(__local acc_t *e, __global const real *x, const middle *m, const int c) {
  lanes_t some[STEP / VEC];
  UNROLL for (int j = 0; j < STEP / VEC; j++) some[j] = lanes_between(0, m->EC - c - j * VEC);
  for (int r = 0; r < m->rows_in; r++) {
    __global const real *from = x + (long)(m->first + r) * m->IW * m->EC + c;
    __local acc_t *to = e + ((m->first + r - m->ih0) * m->WIDTH + m->PL) * STEP;
    for (int iw = 0; iw < m->IW; iw++, from += m->EC, to += STEP)
      UNROLL for (int j = 0; j < STEP / VEC; j++) STORE_ACC_LOCAL(to + j * VEC, LOAD_LANES(from + j * VEC, some[j]));
  }
}
#endif

/* TILE_OW outputs of VEC channels. e: where the first tap of the first one stands; taps: of the first channel; first: what the sums
 * begin with. */
INLINE void add_window(vec acc[TILE_OW], __local const acc_t *e, __global const acc_t *taps, const vec first, const int WIDTH,
                       const int TAP_PITCH) {
  UNROLL for (int j = 0; j < TILE_OW; j++) acc[j] = first;
  UNROLL for (int kh = 0; kh < KH; kh++) {
    vec tap[KW];
    UNROLL for (int kw = 0; kw < KW; kw++) tap[kw] = LOAD_ACC(taps + (kh * KW + kw) * TAP_PITCH);
    UNROLL for (int q = 0; q < SPAN_W; q++) {
      const vec v = LOAD_ACC_LOCAL(e + (kh * DH * WIDTH + q) * STEP);
      UNROLL for (int kw = 0; kw < KW; kw++) {
        const int j = q - kw * DW; /* j*SW for output j */
        if (j >= 0 && j % SW == 0 && j / SW < TILE_OW) acc[j / SW] += v * tap[kw];
      }
    }
  }
}

/* A step of d, from channel c on, split: `rows` rows of OW outputs. */
INLINE void put_step(__local ushort *to, const long plane, __local const acc_t *e, __global const acc_t *taps,
                     __global const real *shift, const middle *m, const int c, const int rows, const int OW) {
  const vec low = VEC_OF(m->low), high = VEC_OF(m->high);
  UNROLL for (int k = 0; k < TILE; k += VEC) {
    const int upper = k + TILE; /* the channels that share lanes with those from k on */
    const bool both = c + upper < m->EC;
    vec first = VEC_OF(0), second = VEC_OF(0);
    if (HAS_SHIFT) first = LOAD_LANES(shift + c + k, lanes_between(0, m->EC - c - k));
    if (HAS_SHIFT) second = LOAD_LANES(shift + c + upper, lanes_between(0, m->EC - c - upper));
    for (int oh = 0; oh < rows; oh++)
      for (int column = 0; column < OW; column += TILE_OW) {
        const int ow = column < OW - TILE_OW ? column : OW - TILE_OW; /* the last tile overlaps the one before */
        __local const acc_t *from = e + (oh * SH * m->WIDTH + ow * SW) * STEP;
        vec a[TILE_OW], b[TILE_OW];
        UNROLL for (int j = 0; j < TILE_OW; j++) b[j] = VEC_OF(0);
        if (c + k < m->EC) add_window(a, from + k, taps + c + k, first, m->WIDTH, m->TAP_PITCH);
        else UNROLL for (int j = 0; j < TILE_OW; j++) a[j] = VEC_OF(0);
        if (both) add_window(b, from + upper, taps + c + upper, second, m->WIDTH, m->TAP_PITCH);
        UNROLL for (int j = 0; j < TILE_OW; j++)
          put_parts(to + (oh * OW + ow + j) * STEP + 2 * k, plane, CLCONV_CLAMP(a[j], low, high),
                    CLCONV_CLAMP(b[j], low, high));
      }
  }
}

/* A band of rows of an image; x: its pixel 0. */
ITEM void item(__global const real *x, __global const ushort *expand, __global const real *lift, __global const acc_t *taps,
               __global const real *shift, __global const ushort *packed, __local ushort *panel, __local acc_t *e,
               __local ushort *d, __local float *sums, const middle *m, const target *to, const int rows, const int rows_e,
               const int IC, const int X_POSITIONS, const int POSITIONS) {
  for (int i = 0; i < rows_e * m->WIDTH * STEP; i += VEC) STORE_ACC_LOCAL(e + i, VEC_OF(0));
  const int steps = (m->EC + STEP - 1) / STEP;
  const long plane = (long)STEP * POSITIONS;
#if EXPAND
  const int steps_x = (IC + STEP - 1) / STEP, pixels = m->rows_in * m->IW;
  const shape sx = {steps_x, X_POSITIONS, 0, 0, 0, 0, 0};
  x += (long)m->first * m->IW * IC;
  for (int p = 0; p < pixels; p++) put_pixel(panel + p * STEP, (long)STEP * X_POSITIONS, x + (long)p * IC, IC);
  put_zeros(panel + pixels * STEP, &sx, X_POSITIONS - pixels);
#endif
  for (int step = 0; step < steps; step++) {
    const int c = step * STEP;
#if EXPAND
    put_rows(e, panel, sums, expand + (long)step * 2 * steps_x * PARTS * TILE_NUMBERS, lift, m, c, steps_x, X_POSITIONS);
#else
    put_rows(e, x, m, c);
#endif
    put_step(d + step * PARTS * plane, plane, e, taps, shift, m, c, rows, to->OW);
  }
  const shape sd = {steps, POSITIONS, 0, 0, 0, 0, 0};
  put_zeros(d + to->cols * STEP, &sd, POSITIONS - to->cols);
  __local int *none = (__local int *)(sums + 2 * SUMS); /* one tap, at its output's position */
  *none = 0;
  multiply(d, packed, sums, none, 1, steps, plane, STEP, 0, (to->OCG + TILE - 1) / TILE, to);
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void block_matrix(
    __global const real *restrict x, __global const ushort *restrict expand, __global const real *restrict lift,
    __global const acc_t *restrict taps, __global const real *restrict shift, __global const ushort *restrict packed,
    __global const real *restrict bias, __global const real *restrict residual, __global real *restrict y,
    __local ushort *panel, __local acc_t *e, __local ushort *d, __local float *sums, const int IC, const int IH, const int IW,
    const int EC, const int OC, const int OH, const int OW, const int PT, const int PL, const int BANDS, const int WIDTH,
    const int TAP_PITCH, const int X_POSITIONS, const int POSITIONS, const acc_t low0, const acc_t high0, const acc_t low,
    const acc_t high, const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int band = get_global_id(0), oh0 = BAND_START(band, BANDS, OH); /* 0 .. OH-1 */
  const int rows = BAND_START(band + 1, BANDS, OH) - oh0, ih0 = oh0 * SH - PT;
  const int rows_e = (rows - 1) * SH + (KH - 1) * DH + 1;
  const int first = GREATER(ih0, 0);
  const long n = get_global_id(1); /* 0 .. N-1 */
  const middle m = {ih0, first, LESSER(ih0 + rows_e, IH) - first, WIDTH, PL, IW, EC, TAP_PITCH, low0, high0, low, high};
  const long out = (n * OH + oh0) * OW * OC;
  const int pixels = rows * OW; /* of the band: they follow each other, like one row */
  const target to = {bias, residual + (HAS_RESIDUAL ? out : 0), y + out, 1, pixels, pixels, OW, OC, OC, (long)OH * OW, act_a, act_b};
  item(x + n * IH * IW * IC, expand, lift, taps + VEC, shift, packed, panel, e, d, sums, &m, &to, rows, rows_e, IC,
       X_POSITIONS, POSITIONS);
}
