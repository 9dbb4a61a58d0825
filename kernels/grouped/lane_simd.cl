/* Grouped convolution in NHWC with few channels a group: the output channels of several groups share a vector.
 *
 *   y[n, oh, ow, oc] = act( bias + residual + sum over ic, kh, kw of
 *                           x[n, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL, g*GROUP + ic] * w[kh, kw, ic, oc] )    with g = oc / GROUP
 *
 * Each group has GROUP input and GROUP output channels: up to VEC, or a multiple. A vector takes as many whole groups as it holds,
 * STEP channels; with 2, 4, 8, ... a group, all lanes are filled.
 *
 * x, y, residual N H W C
 *
 * Work-items: (NV*STEP channels, band of output rows, n), as in depthwise/channel_simd.cl: each goes down its band row by row, the
 * rows of x under the current one in a ring in local memory (ring.clh), into which the next ones come meanwhile. What differs is the
 * operand, which must bring to each lane channels of that lane's group. Here for vectors of VEC = 8 and groups of 4, a0 .. a3 and
 * b0 .. b3 in memory:
 *
 *   PARTS = VEC/GROUP, where GROUP is a multiple of it: a vector of sums is one group's, PARTS lanes for each output channel, whose
 *   sum is made at the end. The operand is PARTS neighbours, repeated; a load does that.
 *
 *     operand  a0 a1 a0 a1 a0 a1 a0 a1                  a2 a3 a2 a3 a2 a3 a2 a3
 *     sums     y0 y0 y1 y1 y2 y2 y3 y3 of group a       sum of neighbours, of a and of b:  a: y0 y1 y2 y3  b: y0 y1 y2 y3
 *
 *   PARTS = 1, where a group is as wide as a vector or wider: the operand is one element, repeated. ABREAST vectors of the same group take
 *   it at once: with one, a tile of seven outputs has fewer sums than multiply-adds are under way.
 *
 *   PARTS = 1 and GROUP < VEC, for other groups: a lane for each output channel. VEC channels of a pixel are spread within their
 *   groups, which takes an instruction of those that the multiply-adds compete with.
 *
 *     operand  a1 a1 a1 a1 b1 b1 b1 b1
 *
 * packed   PARTS = 1: ceil(C/STEP) GROUP KH KW VEC, elements of acc_t, from pack_filter.cl: for each input channel of a group its
 *          weights to STEP output channels, whichever groups these belong to, then zeros
 *          otherwise: ceil(C/STEP) PARTS KH GROUP/PARTS KW VEC, from pack_lanes below: group by group, in the order of its lanes
 *
 * Per tile: GROUP*KH*SPAN_W operands and ABREAST*GROUP*KH*KW vectors of the filter are read, ABREAST*TILE_OW vectors are written. With
 * PARTS = 1, rows of the filter that meet only padding are left out, and operands left and right of the image.
 *
 * Macros: wide.clh, types.clh, vector.clh, lanes.clh, ring.clh, border.clh, epilogue.clh; KH KW SH SW DH DW; NV (vectors of
 * channels of a work-item); GROUP; PARTS (1, 2, 4); ABREAST (1; 2 where GROUP is a multiple of 2*VEC); TILE_OW (outputs side by side, at
 * most OW).
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/lanes.clh"
#include "include/epilogue.clh"
#include "include/border.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#if !defined(TILE_OW) || !defined(NV) || !defined(GROUP) || !defined(PARTS) || !defined(ABREAST)
#error "TILE_OW, NV, GROUP, PARTS and ABREAST must be set by the plan"
#endif

#define RING_ROWS (RING + SH) /* and those that come in while others are multiplied */
#include "include/ring.clh"

#define STEP (GROUP < VEC ? VEC / GROUP * GROUP : VEC)
#define OUTSIDE ((KW - 1) / 2 * DW) /* columns on a side that a padding of half the filter puts outside the image */
#define SPAN_W ((TILE_OW - 1) * SW + (KW - 1) * DW + 1)

#if PARTS > 1

#ifdef REAL_FLOAT64
typedef CLCONV_JOIN(double, PARTS) parts_t;
#else
typedef CLCONV_JOIN(float, PARTS) parts_t;
#endif

/* PARTS neighbours from p on, GROUP times. */
INLINE vec operand(__local const acc_t *p) {
#if UNALIGNED_VECTORS
  const parts_t v = *(__local const parts_t *)p;
#else
  const parts_t v = CLCONV_JOIN(vload, PARTS)(0, p);
#endif
#if VEC == 4
  return v.s0101;
#elif VEC == 8
  return v.s01010101;
#elif PARTS == 2
  return v.s0101010101010101;
#else
  return v.s0123012301230123;
#endif
}

/* The sums of neighbours, those of a before those of b. The compiler knows an instruction for that, which is slower than three. */
INLINE vec fold(const vec a, const vec b) {
  vec evens = EVENS(a, b);
  KEEP_ORDER(evens);
  return evens + ODDS(a, b);
}

/* acc[0][i] += all input channels and taps; row[kh] + `at` is where the tile's first pixel stands. Of few channels, leaving rows and
 * columns of the filter out costs more than it saves. */
INLINE void tile(vec acc[ABREAST][TILE_OW], __local const acc_t *const *row, const int at, __global const acc_t *w, const int kh0,
                 const int kh1, const int left, const int right, ring_t *in) {
  vec sums[PARTS][TILE_OW];
  UNROLL for (int g = 0; g < PARTS; g++) {
    UNROLL for (int i = 0; i < TILE_OW; i++) sums[g][i] = VEC_OF(0);
    for (int kh = 0; kh < KH; kh++) {
      __local const acc_t *p = row[kh] + at + g * GROUP;
      begin_row(in);
      for (int ic = 0; ic < GROUP; ic += PARTS, w += KW * VEC) {
        bring(in);
        vec tap[KW];
        UNROLL for (int kw = 0; kw < KW; kw++) tap[kw] = LOAD_ACC(w + kw * VEC);
        UNROLL for (int q = 0; q < SPAN_W; q++) {
          const vec v = operand(p + q * CHANNELS + ic);
          UNROLL for (int kw = 0; kw < KW; kw++) {
            const int i = q - kw * DW; /* q = i*SW + kw*DW for output i */
            if (i >= 0 && i % SW == 0 && i / SW < TILE_OW) sums[g][i / SW] += v * tap[kw];
          }
        }
      }
    }
  }
#if PARTS == 2
  UNROLL for (int i = 0; i < TILE_OW; i++) acc[0][i] += fold(sums[0][i], sums[1][i]);
#else
  UNROLL for (int i = 0; i < TILE_OW; i++) acc[0][i] += fold(fold(sums[0][i], sums[1][i]), fold(sums[2][i], sums[3][i]));
#endif
}

#else

/* Input channel ic of each lane's group; p points at the channels of the vector's first group, in the ring. With AVX-512 the lanes'
 * numbers are a vector too, and its loop is kept from being unrolled: the compiler, if it knew them, would use two instructions. */
#if GROUP >= VEC
#define SPREAD_LOOP
INLINE vec operand(__local const acc_t *p, const int ic) { return VEC_OF(p[ic]); }
#elif AVX512
#define SPREAD_LOOP _Pragma("unroll 1")
typedef union {
  mask_t v;
  lane_t s[VEC];
} indices;

INLINE vec operand(__local const acc_t *p, const int ic) {
  indices from;
  UNROLL for (int i = 0; i < VEC; i++) from.s[i] = i / GROUP * GROUP;
#ifdef REAL_FLOAT64
  return __builtin_ia32_permvardf512(LOAD_ACC_LOCAL(p), from.v + (mask_t)(ic));
#else
  return __builtin_ia32_permvarsf512(LOAD_ACC_LOCAL(p), from.v + (mask_t)(ic));
#endif
}
#else
#define SPREAD_LOOP UNROLL
INLINE vec operand(__local const acc_t *p, const int ic) {
  const vec v = LOAD_ACC_LOCAL(p);
#if VEC == 8 && GROUP == 2
  return ic == 0 ? v.s00224466 : v.s11335577;
#elif VEC == 16 && GROUP == 2
  return ic == 0 ? v.s0022446688aaccee : v.s1133557799bbddff;
#else
  vec_lanes from, to;
  from.v = v;
  UNROLL for (int i = 0; i < VEC; i++) to.s[i] = from.s[i < STEP ? i / GROUP * GROUP + ic : i];
  return to.v;
#endif
}
#endif

/* acc[j][i] += all input channels and the taps of the rows kh0 .. kh1-1 for vector j; row[kh] + `at` is where the tile's first pixel
 * stands, of whose columns `left` and those from `right` on lie outside the image. */
INLINE void tile(vec acc[ABREAST][TILE_OW], __local const acc_t *const *row, const int at, __global const acc_t *w, const int kh0,
                 const int kh1, const int left, const int right, ring_t *in) {
  for (int kh = kh0; kh < kh1; kh++) {
    __local const acc_t *p = row[kh] + at;
    __global const acc_t *wr = w + kh * KW * VEC;
    begin_row(in);
    SPREAD_LOOP for (int ic = 0; ic < GROUP; ic++, wr += KH * KW * VEC) {
      bring(in);
      vec tap[ABREAST][KW];
      UNROLL for (int j = 0; j < ABREAST; j++)
        UNROLL for (int kw = 0; kw < KW; kw++)
          tap[j][kw] = LOAD_ACC(wr + (j * GROUP * KH * KW + kw) * VEC);
      UNROLL for (int q = 0; q < SPAN_W; q++) {
        if ((q < OUTSIDE && q < left) || (q >= SPAN_W - OUTSIDE && q >= right)) continue;
        const vec v = operand(p + q * CHANNELS, ic);
        UNROLL for (int kw = 0; kw < KW; kw++) {
          const int i = q - kw * DW; /* q = i*SW + kw*DW for output i */
          if (i >= 0 && i % SW == 0 && i / SW < TILE_OW)
            UNROLL for (int j = 0; j < ABREAST; j++) {
              acc[j][i / SW] += v * tap[j][kw];
              KEEP_ORDER(acc[j][i / SW]);
            }
        }
      }
    }
  }
}

#endif

/* Rows oh0 .. oh1-1 of outputs, channels c0 .. c0+CHANNELS-1 of image n. */
ITEM void item(__global const real *x, __global const acc_t *packed, __global const real *bias,
               __global const real *residual, __global real *y, __local acc_t *ring, const int oh0, const int oh1,
               const int c0, const int n, const int C, const int IH, const int IW, const int OH, const int OW,
               const int PT, const int PL, const int XC, const int YC, const int WIDTH, const acc_t act_a, const acc_t act_b) {
  __global const real *image = x + (long)n * IH * IW * XC + c0;
  ring_t in = {ring, image, C - c0, XC, IH, IW, PT, PL, WIDTH, 0, 0, 0, image, ring};

  for (int oh = oh0; oh < oh1; oh++) {
    fill_ring(&in, oh);
    if (oh + 1 < oh1) expect_rows(&in, oh + 1);
    const int above = PT - oh * SH, below = IH + above; /* rows of the window above the image, and those up to its lower edge */
    const int kh0 = above > 0 ? (above - 1) / DH + 1 : 0, kh1 = below > 0 ? LESSER(KH, (below - 1) / DH + 1) : 0;
    for (int j = 0; j < NV && c0 + j * STEP < C; j += ABREAST) {
      const int oc = c0 + j * STEP;                               /* 0 .. C-1 */
      const lanes_t lanes = lanes_between(0, LESSER(C - oc, STEP)); /* not those behind the last group */
      const bool whole = STEP == VEC && oc + ABREAST * VEC <= C; /* always, if ABREAST is 2: C is a multiple of GROUP */
      const int first = GROUP >= VEC ? j * VEC / GROUP * GROUP : j * STEP;
      __local const acc_t *row[KH];
      UNROLL for (int kh = 0; kh < KH; kh++)
        row[kh] = ring_row(&in, oh * SH + kh * DH) + first;
      __global const acc_t *w = packed + (long)(oc / STEP) * GROUP * KH * KW * VEC;
      vec b[ABREAST];
      UNROLL for (int k = 0; k < ABREAST; k++) b[k] = HAS_BIAS ? LOAD_LANES(bias + oc + k * VEC, lanes) : VEC_OF(0);
      for (int ows = 0; ows < OW; ows += TILE_OW) {
        const int ow = LESSER(ows, OW - TILE_OW); /* the last tile overlaps the one before */
        const long at = (((long)n * OH + oh) * OW + ow) * YC + oc;
        vec acc[ABREAST][TILE_OW];
        UNROLL for (int k = 0; k < ABREAST; k++)
          UNROLL for (int i = 0; i < TILE_OW; i++) acc[k][i] = b[k];
        tile(acc, row, ow * SW * CHANNELS, w, kh0, kh1, PL - ow * SW, IW + PL - ow * SW, &in);
        if (whole) {
          UNROLL for (int i = 0; i < TILE_OW; i++)
            UNROLL for (int k = 0; k < ABREAST; k++) {
              const long to = at + (long)i * YC + k * VEC;
              if (HAS_RESIDUAL) acc[k][i] += LOAD_VEC(residual + to);
              STORE_VEC(y + to, activate_vec(acc[k][i], act_a, act_b));
            }
        } else {
          UNROLL for (int i = 0; i < TILE_OW; i++) {
            if (HAS_RESIDUAL) acc[0][i] += LOAD_LANES(residual + at + (long)i * YC, lanes);
            STORE_LANES(y + at + (long)i * YC, activate_vec(acc[0][i], act_a, act_b), lanes);
          }
        }
      }
    }
  }
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void grouped_lane_simd(
    __global const real *restrict x, __global const acc_t *restrict packed, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, __local acc_t *restrict ring, const int C,
    const int IH, const int IW, const int OH, const int OW, const int PT, const int PL, const int XC, const int YC,
    const int BANDS, const int WIDTH, const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = (long)get_global_id(1) * OH / BANDS;       /* first row of the band */
  const int oh1 = (long)(get_global_id(1) + 1) * OH / BANDS; /* first row behind it */
  const int c0 = get_global_id(0) * NV * STEP;               /* 0 .. C-1 */
  const int n = get_global_id(2);                            /* 0 .. N-1 */
  item(x, packed, bias, residual, y, ring, oh0, oh1, c0, n, C, IH, IW, OH, OW, PT, PL, XC, YC, WIDTH, act_a, act_b);
}

#if PARTS > 1
/* packed[s, g, kh, ic/PARTS, kw, o*PARTS + ic%PARTS] = w[kh, kw, ic, (s*PARTS + g)*GROUP + o], 0 behind the last channel.
 * Work-items: (s*PARTS + g). */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void pack_lanes(
    __global const real *restrict w, __global acc_t *restrict packed, const int C BELL_PARAMETERS) {
  RING_BELL;
  const int rows = KH * (GROUP / PARTS) * KW;
  __global acc_t *to = packed + get_global_id(0) * (rows * VEC);
  ROLLED for (int row = 0; row < rows; row++) {
    const int kw = row % KW, ic = row / KW % (GROUP / PARTS) * PARTS, kh = row / KW / (GROUP / PARTS);
    ROLLED for (int lane = 0; lane < VEC; lane++) {
      const int oc = get_global_id(0) * GROUP + lane / PARTS;
      to[row * VEC + lane] = oc < C ? LOAD(w, ((long)(kh * KW + kw) * GROUP + ic + lane % PARTS) * C + oc) : 0;
    }
  }
}
#endif
