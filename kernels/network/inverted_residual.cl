/* The block of MobileNet V2 in one kernel: a pointwise convolution that widens, a depthwise one, a pointwise one that narrows.
 *
 *   e[n, ih, iw, ec] = clamp( lift[ec]  + sum over ic of x[n, ih, iw, ic] * expand[ec, ic] )
 *   d[n, oh, ow, ec] = clamp( shift[ec] + sum over kh, kw of e[n, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL, ec] * taps[kh, kw, ec] )
 *   y[n, oh, ow, oc] = act( bias[oc] + residual[n, oh, ow, oc] + sum over ec of d[n, oh, ow, ec] * w[oc, ec] )
 *
 * with e = 0 outside the image. e and d, several times as large as x and y, never leave the second-level cache: a work-item goes
 * down a band of rows and keeps as many rows of e as the filter is high.
 *
 *    x                    ring, EKH rows of e                d, one row               y
 *    +-----------+        +---+-----------------+---+
 *    | row ih    |  --->  | 0 | row ih          | 0 |
 *    +-----------+        | 0 | row ih-2        | 0 |  --->  +----------------+  --->  +----------------+
 *                         | 0 | row ih-1        | 0 |        | row oh         |        | row oh         |
 *                         +---+-----------------+---+        +----------------+        +----------------+
 *                         | zeros: a row outside    |
 *                         +-------------------------+
 *
 * x, y, residual   N H W C
 * expand           BLOCKS IC OCB            from pack_filter.cl, OCB = OCV*VEC, zero behind the last channel; packed: the same of w
 * lift, shift      EC, may be absent        bias: OC, may be absent
 * taps             KH*KW TAP_PITCH          from depthwise/pixel_simd.cl, which begins with VEC zeros
 *
 * Work-items: (BANDS bands of rows of outputs, image), one in a work-group. The EKH - SH rows of e between two bands are computed
 * in both.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, epilogue.clh (of the last part); KH KW SH SW DH DW; TILE_OW (at most OW); PXB,
 * OCV (see include/pixel_tile.clh); HAS_LIFT, HAS_SHIFT (0, 1).
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
#if !defined(PXB) || !defined(OCV) || !defined(HAS_LIFT) || !defined(HAS_SHIFT)
#error "PXB, OCV, HAS_LIFT and HAS_SHIFT must be set by the plan"
#endif

#define NHWC 1
#define EKH ((KH - 1) * DH + 1)
#define SPAN_W ((TILE_OW - 1) * SW + (KW - 1) * DW + 1)
typedef __local const acc_t *pixels_t;
#include "include/pixel_tile.clh"

DEFINE_ADD_PIXELS(add_image_pixels, __global const real *, LOAD)

/* `size` pixels of e, of which the first `some` exist, OCB of its channels, `channels` of which exist; pixel i of x at x + from[i]. */
INLINE void expand_tile(const int size, const int some, __global const real *x, const long *from, __global const acc_t *w,
                        const ahead_t ahead, __global const real *lift, __local acc_t *e, const int channels, const int IC,
                        const int PITCH, const acc_t low, const acc_t high) {
  vec acc[PXB][OCV];
  UNROLL for (int j = 0; j < OCV; j++) {
    const vec first = HAS_LIFT ? LOAD_LANES(lift + j * VEC, lanes_between(0, channels - j * VEC)) : VEC_OF(0);
    UNROLL for (int i = 0; i < PXB; i++) acc[i][j] = first;
  }
  add_image_pixels(acc, size, x, from, 1, w, ahead, IC);
  UNROLL for (int i = 0; i < PXB; i++)
    if (i < size && i < some)
      UNROLL for (int j = 0; j < OCV; j++)
        STORE_ACC_LOCAL(e + i * PITCH + j * VEC, CLCONV_CLAMP(acc[i][j], VEC_OF(low), VEC_OF(high)));
}

/* A row of e; x: its first pixel. */
ITEM void expand_row(__global const real *x, __global const acc_t *w, __global const real *lift, __local acc_t *e, const int IC,
                     const int IW, const int EC, const int PITCH, const acc_t low, const acc_t high) {
  for (int ec = 0; ec < EC; ec += OCB, w += IC * OCB) {
    long from[PXB];
    SPREAD_PIXELS(from, PXB, IC);
    for (int t = 0; t < IW; t += PXB) {
      const int some = LESSER(PXB, IW - t);
      if (some < PXB) SPREAD_PIXELS(from, some, IC);
      __global const real *first = x + (long)t * IC;
      const ahead_t ahead = ahead_of((long)IC * OCB, IC, OCB, t / PXB, (IW + PXB - 1) / PXB);
      __local acc_t *to = e + t * PITCH + ec;
      if (some > PXB / 2) expand_tile(PXB, some, first, from, w, ahead, lift + ec, to, EC - ec, IC, PITCH, low, high);
      else expand_tile(PXB / 2, some, first, from, w, ahead, lift + ec, to, EC - ec, IC, PITCH, low, high);
    }
  }
}

/* A row of d from the ring. rows: where the window of its first pixel begins, in each row of the filter. */
ITEM void depthwise_row(__local const acc_t *const *rows, __global const acc_t *taps, __global const real *shift, __local acc_t *d,
                        const int EC, const int OW, const int TAP_PITCH, const int PITCH, const acc_t low, const acc_t high) {
  for (int c = 0; c < EC; c += VEC) {
    const vec first = HAS_SHIFT ? LOAD_LANES(shift + c, lanes_between(0, EC - c)) : VEC_OF(0);
    vec tap[KH][KW];
    UNROLL for (int kh = 0; kh < KH; kh++)
      UNROLL for (int kw = 0; kw < KW; kw++) tap[kh][kw] = LOAD_ACC(taps + c + (kh * KW + kw) * TAP_PITCH);
    for (int column = 0; column < OW; column += TILE_OW) {
      const int ow = column < OW - TILE_OW ? column : OW - TILE_OW; /* the last tile overlaps the one before */
      vec acc[TILE_OW];
      UNROLL for (int j = 0; j < TILE_OW; j++) acc[j] = first;
      UNROLL for (int kh = 0; kh < KH; kh++) {
        __local const acc_t *e = rows[kh] + ow * SW * PITCH + c;
        UNROLL for (int q = 0; q < SPAN_W; q++) {
          const vec v = LOAD_ACC_LOCAL(e + q * PITCH);
          UNROLL for (int kw = 0; kw < KW; kw++) {
            const int j = q - kw * DW; /* j*SW for output j */
            if (j >= 0 && j % SW == 0 && j / SW < TILE_OW) acc[j / SW] += v * tap[kh][kw];
          }
        }
      }
      UNROLL for (int j = 0; j < TILE_OW; j++)
        STORE_ACC_LOCAL(d + (ow + j) * PITCH + c, CLCONV_CLAMP(acc[j], VEC_OF(low), VEC_OF(high)));
    }
  }
}

/* A row of y from d. residual, y: its first pixel. */
ITEM void project_row(__local const acc_t *d, __global const acc_t *w, __global const real *bias, __global const real *residual,
                      __global real *y, const int EC, const int OC, const int OW, const int YC, const int PITCH, const acc_t act_a,
                      const acc_t act_b) {
  for (int oc = 0; oc < OC; oc += OCB, w += EC * OCB) {
    long from[PXB];
    SPREAD_PIXELS(from, PXB, PITCH);
    for (int t = 0; t < OW; t += PXB) {
      const int some = LESSER(PXB, OW - t);
      if (some < PXB) SPREAD_PIXELS(from, some, PITCH);
      const long at = (long)t * YC;
      const ahead_t ahead = ahead_of((long)EC * OCB, EC, OCB, t / PXB, (OW + PXB - 1) / PXB);
#define TILE(SIZE) \
  tile(SIZE, some, d + t * PITCH, from, 1, w, ahead, 0, bias, residual + at, y + at, EC, oc, OC, YC, act_a, act_b)
      if (some > PXB / 2) TILE(PXB);
      else TILE(PXB / 2);
    }
  }
}

/* Rows oh0 .. oh0+rows-1 of an image. */
ITEM void item(__global const real *x, __global const acc_t *expand, __global const real *lift, __global const acc_t *taps,
               __global const real *shift, __global const acc_t *packed, __global const real *bias, __global const real *residual,
               __global real *y, __local acc_t *ring, __local acc_t *d, const int oh0, const int rows, const int IC, const int IH,
               const int IW, const int EC, const int OC, const int OW, const int PT, const int PL, const int YC,
               const int WIDTH, const int TAP_PITCH, const int PITCH, const acc_t low0, const acc_t high0, const acc_t low,
               const acc_t high, const acc_t act_a, const acc_t act_b) {
  const int ring_row = WIDTH * PITCH;
  for (int i = 0; i < (EKH + 1) * ring_row; i += VEC) STORE_ACC_LOCAL(ring + i, VEC_OF(0));
  int next = GREATER(oh0 * SH - PT, 0); /* the first row of e that is not in the ring */
  for (int oh = oh0; oh < oh0 + rows; oh++) {
    const int ih0 = oh * SH - PT;
    for (; next < LESSER(ih0 + EKH, IH); next++)
      expand_row(x + (long)next * IW * IC, expand, lift, ring + next % EKH * ring_row + PL * PITCH, IC, IW, EC, PITCH, low0, high0);
    __local const acc_t *at[KH];
    UNROLL for (int kh = 0; kh < KH; kh++) {
      const int ih = ih0 + kh * DH;
      at[kh] = ring + (ih >= 0 && ih < IH ? ih % EKH : EKH) * ring_row;
    }
    depthwise_row(at, taps + VEC, shift, d, EC, OW, TAP_PITCH, PITCH, low, high);
    const long to = (long)oh * OW * YC;
    project_row(d, packed, bias, residual + to, y + to, EC, OC, OW, YC, PITCH, act_a, act_b);
  }
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void inverted_residual(
    __global const real *restrict x, __global const acc_t *restrict expand, __global const real *restrict lift,
    __global const acc_t *restrict taps, __global const real *restrict shift, __global const acc_t *restrict packed,
    __global const real *restrict bias, __global const real *restrict residual, __global real *restrict y, __local acc_t *ring,
    __local acc_t *d, const int IC, const int IH, const int IW, const int EC, const int OC, const int OH,
    const int OW, const int PT, const int PL, const int YC, const int BANDS, const int WIDTH, const int TAP_PITCH, const int PITCH,
    const acc_t low0, const acc_t high0, const acc_t low, const acc_t high, const acc_t act_a, const acc_t act_b
    BELL_PARAMETERS) {
  RING_BELL;
  const int band = get_global_id(0), oh0 = BAND_START(band, BANDS, OH); /* 0 .. OH-1 */
  const int rows = BAND_START(band + 1, BANDS, OH) - oh0;
  const long n = get_global_id(1); /* 0 .. N-1 */
  item(x + n * IH * IW * IC, expand, lift, taps, shift, packed, bias, residual + n * OH * OW * YC, y + n * OH * OW * YC, ring, d,
       oh0, rows, IC, IH, IW, EC, OC, OW, PT, PL, YC, WIDTH, TAP_PITCH, PITCH, low0, high0, low, high, act_a, act_b);
}
