/* 1x1 convolution by Strassen's matrix product, N C H W, vectors along the pixels.
 *
 *   y[n, oc, p] = act( bias[oc] + residual[n, oc, p] + sum over ic of x[n, ic, p] * w[oc, ic] )
 *
 * with p = oh*OW + ow counting the pixels, which are those of x. include/strassen.clh has the scheme: sums of quarters A11 A12 over
 * A21 A22 of pixels by input channels are multiplied with sums of quarters B11 B12 over B21 B22 of the filter.
 *
 * x, y, residual   N C H W
 * packed           BLOCKS 7 ICH OCT         from pack_strassen.cl: OCT output channels from b*OCT on, their partners from
 *                                           (BLOCKS + b)*OCT on; zero behind the last channel
 * bias             OC
 *
 * Work-items: (tiles, blocks, image), one in a work-group:
 *   gid 0   tiles gid0*TILES_ITEM ... of pixels
 *   gid 1   blocks gid1*BLOCKS_ITEM ... of output channels, each with its partner
 *   gid 2   image n, 0 .. N-1
 *
 *                  operands, in local memory                     sums, in registers             y
 *                |<- a half: PXV vectors of VEC pixels ->|      |<- PXV vectors ->|     |<- half ->|<- half ->|
 *            --  +---------+---------+---------+            --  +-----+-----+-----+     +----------+----------+
 *            ^   |         |         |         |           OCT  |     |     |     |     |   C11    |   C21    |  OCT channels
 *           ICH  |         |         |         |  7 times       |     |     |     |     +----------+----------+
 *            v   |         |         |         |            --  +-----+-----+-----+     |   C12    |   C22    |  their partners
 *            --  +---------+---------+---------+                                        +----------+----------+
 *
 * The small tiles have PXV - 1 vectors. Per multiply-add, 1/OCT + 1/(PXV*VEC) elements are read from local memory and the filter;
 * x is read once per work-item. Unlike strassen_simd, nothing is transposed on its way out.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, epilogue.clh; OCT (output channels of a tile), PXV (its vectors of pixels, 2
 * or more); OCT*PXV vector registers hold the sums.
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/lanes.clh"
#include "include/epilogue.clh"

#if !defined(OCT) || !defined(PXV)
#error "OCT and PXV must be set by the plan"
#endif

#define PXB (PXV * VEC)
#define PXS ((PXV - 1) * VEC)
#include "include/prefetch.clh"
#include "include/strassen.clh"

DEFINE_SUMS(OCT, PXV, j < size)

/* The operands of a tile of 2*vectors*VEC pixels, of which `pixels` exist, the others 0. x: pixel 0 of the tile, channel 0. */
INLINE void put_tile(__global const real *x, __local acc_t *to, const int vectors, const int pixels, const int IC, const int ICH,
                     const long P) {
  const int step = ICH * PXB;
  const long left = ICH * P; /* from a channel to its partner */
  lanes_t upper[PXV], lower[PXV]; /* that exist, of each vector of a half */
  UNROLL for (int j = 0; j < PXV; j++) {
    upper[j] = lanes_between(0, pixels - j * VEC);
    lower[j] = lanes_between(0, pixels - (vectors + j) * VEC);
  }
  for (int ic = 0; ic < ICH; ic++, x += P, to += PXB) {
    const bool right = ICH + ic < IC; /* the partner exists */
    UNROLL for (int j = 0; j < PXV; j++) {
      if (j >= vectors) continue;
      __global const real *a1 = x + j * VEC, *a2 = a1 + vectors * VEC;
      const vec a11 = LOAD_LANES(a1, upper[j]), a21 = LOAD_LANES(a2, lower[j]);
      const vec a12 = right ? LOAD_LANES(a1 + left, upper[j]) : VEC_OF(0);
      const vec a22 = right ? LOAD_LANES(a2 + left, lower[j]) : VEC_OF(0);
      put_operands(to + j * VEC, step, a11, a12, a21, a22);
    }
  }
}

/* acc += a product of quarters: ICH rows of pixels, ICH times OCT filter elements. */
INLINE void add_product(vec acc[OCT][PXV], const int vectors, __local const acc_t *a, __global const acc_t *w, const int ICH) {
  for (int ic = 0; ic < ICH; ic++, a += PXB, w += OCT) {
    vec xv[PXV];
    UNROLL for (int j = 0; j < PXV; j++)
      if (j < vectors) xv[j] = LOAD_ACC_LOCAL(a + j * VEC);
    UNROLL for (int i = 0; i < OCT; i++)
      UNROLL for (int j = 0; j < PXV; j++)
        if (j < vectors) acc[i][j] += w[i] * xv[j];
  }
}

/* Bias, residual and activation of `channels` channels by `pixels` pixels to y. Called for the last tile or block alone: unrolled
 * in its place, it would be most of the program and of the compiler's time. */
OUTLINE void finish_some(const vec *sums, const int channels, const int pixels, __global const real *bias,
                         __global const real *residual, __global real *y, const long P, const acc_t act_a, const acc_t act_b) {
  for (int i = 0; i < channels; i++)
    for (int j = 0; j < PXV && j * VEC < pixels; j++) {
      const lanes_t lanes = lanes_between(0, pixels - j * VEC);
      const long at = i * P + j * VEC;
      vec v = sums[i * PXV + j];
      if (HAS_BIAS) v += VEC_OF(LOAD(bias, i));
      if (HAS_RESIDUAL) v += LOAD_LANES(residual + at, lanes);
      STORE_LANES(y + at, activate_vec(v, act_a, act_b), lanes);
    }
}

/* The sums of a quarter to y: channels from oc on, `pixels` pixels or all. residual, y: its first pixel, channel 0. */
INLINE void finish_quarter(vec acc[OCT][PXV], const int vectors, const int pixels, __global const real *bias,
                           __global const real *residual, __global real *y, const int oc, const int OC, const long P,
                           const acc_t act_a, const acc_t act_b) {
  if (HAS_BIAS) bias += oc;
  if (HAS_RESIDUAL) residual += oc * P;
  y += oc * P;
  if (pixels < vectors * VEC || oc + OCT > OC) {
    vec all[OCT * PXV];
    UNROLL for (int i = 0; i < OCT; i++)
      UNROLL for (int j = 0; j < PXV; j++)
        if (j < vectors) all[i * PXV + j] = acc[i][j];
    finish_some(all, OCT < OC - oc ? OCT : OC - oc, pixels < vectors * VEC ? pixels : vectors * VEC, bias, residual, y, P, act_a, act_b);
    return;
  }
  UNROLL for (int i = 0; i < OCT; i++) {
    const acc_t b = HAS_BIAS ? LOAD(bias, i) : 0;
    UNROLL for (int j = 0; j < PXV; j++)
      if (j < vectors) {
        const long at = i * P + j * VEC;
        vec v = acc[i][j] + b;
        if (HAS_RESIDUAL) v += LOAD_VEC(residual + at);
        STORE_VEC(y + at, activate_vec(v, act_a, act_b));
      }
  }
}

/* Asks for what finish_quarter reads and writes. */
INLINE void ask_quarter(const int vectors, __global const real *residual, __global real *y, const int oc, const long P) {
  UNROLL for (int i = 0; i < OCT; i++) ask_outputs(residual + (oc + i) * P, y + (oc + i) * P, vectors * VEC);
}

/* The four quarters of a tile of 2*vectors*VEC pixels, of which `pixels` exist, by OCT output channels from oc on and their
 * partners. a: its operands; residual, y: its first pixel, channel 0. */
INLINE void quarters(const int vectors, const int pixels, __local const acc_t *a, __global const acc_t *w,
                     __global const real *bias, __global const real *residual, __global real *y, const int ICH, const int oc,
                     const int OCH, const int OC, const long P, const acc_t act_a, const acc_t act_b) {
  const int lower = vectors * VEC; /* the first pixel of the lower half */
  vec acc[OCT][PXV], saved[2][OCT][PXV];
  vec(*kept)[PXV] = saved[0], (*more)[PXV] = saved[1];
  ADDRESS_ANEW(kept); /* or LLVM would have them in registers, of which there are none left */
  ADDRESS_ANEW(more);
  const int operand[STEPS] = {A11, A12, RAW + S2, RAW + S3, A22, RAW + S1, RAW + S4};
#define PRODUCT(STEP) add_product(acc, vectors, a + operand[STEP] * ICH * PXB, w + STEP * ICH * OCT, ICH)
#define FINISH(LOWER, RIGHT)                                                                                                \
  finish_quarter(acc, vectors, pixels - LOWER * lower, bias, residual + LOWER * lower, y + LOWER * lower, oc + RIGHT * OCH, OC, P, \
                 act_a, act_b)
#define SOON(LOWER, RIGHT) \
  if (HAS_RESIDUAL) ask_quarter(vectors, residual + LOWER * lower, y + LOWER * lower, oc + RIGHT * OCH, P)
  SEVEN_PRODUCTS(vectors);
#undef PRODUCT
#undef FINISH
#undef SOON
}

/* Tiles t0 .. t1-1 of an image, blocks b0 .. b1-1 of output channels. */
ITEM void item(__global const real *x, __global const acc_t *packed, __global const real *bias, __global const real *residual,
               __global real *y, __local acc_t *operands, const int t0, const int t1, const int b0, const int b1, const int TILES,
               const int SMALL, const int BLOCKS, const int IC, const int OC, const int P, const acc_t act_a, const acc_t act_b) {
  const int ICH = (IC + 1) / 2, OCH = BLOCKS * OCT;
  const int size = OPERANDS * ICH * PXB; /* of a tile's operands */
  for (int t = t0; t < t1; t++) {
    const int p0 = tile_start(t, TILES, SMALL);
    put_tile(x + p0, operands + (t - t0) * size, t < TILES - SMALL ? PXV : PXV - 1, P - p0, IC, ICH, P);
  }
  for (int b = b0; b < b1; b++)
    for (int t = t0; t < t1; t++) {
      const int p0 = tile_start(t, TILES, SMALL);
#define QUARTERS(VECTORS)                                                                                                 \
  quarters(VECTORS, P - p0, operands + (t - t0) * size, packed + (long)b * STEPS * ICH * OCT, bias, residual + p0, y + p0, ICH, \
           b *OCT, OCH, OC, P, act_a, act_b)
      if (t < TILES - SMALL) QUARTERS(PXV);
      else QUARTERS(PXV - 1);
    }
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void strassen_panel(__global const real *restrict x, __global const acc_t *restrict packed, __global const real *restrict bias,
                    __global const real *restrict residual, __global real *restrict y, __local acc_t *operands, const int IC,
                    const int OC, const int P, const int TILES, const int SMALL, const int TILES_ITEM, const int BLOCKS,
                    const int BLOCKS_ITEM, const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int t0 = get_global_id(0) * TILES_ITEM;         /* first tile of the item */
  const int t1 = LESSER(t0 + TILES_ITEM, TILES);        /* and the one behind the last */
  const int b0 = get_global_id(1) * BLOCKS_ITEM;        /* first block of output channels */
  const int b1 = LESSER(b0 + BLOCKS_ITEM, BLOCKS);      /* and the one behind the last */
  const long n = get_global_id(2);                      /* 0 .. N-1 */
  item(x + n * IC * P, packed, bias, residual + n * OC * P, y + n * OC * P, operands, t0, t1, b0, b1, TILES, SMALL, BLOCKS, IC, OC,
       P, act_a, act_b);
}
