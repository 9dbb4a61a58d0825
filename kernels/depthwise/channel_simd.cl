/* Depthwise convolution in NHWC: vectors along the channels, which lie side by side.
 *
 *   y[n, oh, ow, c*M + m] = act( bias + residual + sum over kh, kw of
 *                                x[n, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL, c] * w[kh, kw, c*M + m] )
 *
 * x           N IH IW C
 * packed      ceil(C/VEC) M KH KW VEC, elements of acc_t, written by pack_multiplied from w (KH KW 1 C*M)
 * y, residual N OH OW C*M
 *
 * Work-items: (NV*VEC channels, band of output rows, n). Each goes down its band row by row; the rows of x under the current one are
 * in a ring in local memory (ring.clh). One box is VEC channels of one pixel:
 *
 *      ring                            y, row oh
 *      [v][v][v][v][v][v]              [acc][acc][acc][acc]
 *      [v][v][v][v][v][v]  KH rows      TILE_OW pixels
 *      [v][v][v][v][v][v]
 *       SPAN_W pixels
 *
 * Per tile: KH*SPAN_W vectors of x are read (a pixel serves the KW outputs that use it) and KH*KW of the filter, TILE_OW are written.
 *
 * Macros: types.clh, vector.clh, ring.clh, epilogue.clh; KH KW SH SW DH DW; NV (vectors of channels of a
 * work-item); TILE_OW (outputs side by side, at most OW).
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "include/epilogue.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#if !defined(TILE_OW) || !defined(NV)
#error "TILE_OW and NV must be set by the plan"
#endif

#include "include/ring.clh"

#define SPAN_W ((TILE_OW - 1) * SW + (KW - 1) * DW + 1)

#if KH * KW < 25
#define ROWS UNROLL
#else /* LLVM has a second's work with all multiply-adds of so large a filter, and what it makes of them is no faster */
#define ROWS ROLLED
#endif

/* acc[i] += all taps; row[kh] + `at` is where the tile's first pixel stands. */
static inline void tile(vec *acc, __local const acc_t *const *row, const int at, __global const acc_t *w) {
  ROWS for (int kh = 0; kh < KH; kh++) {
    vec tap[KW];
    UNROLL for (int kw = 0; kw < KW; kw++) tap[kw] = LOAD_ACC(w + (kh * KW + kw) * VEC);
    UNROLL for (int q = 0; q < SPAN_W; q++) {
      const vec v = LOAD_ACC_LOCAL(row[kh] + at + q * CHANNELS);
      UNROLL for (int kw = 0; kw < KW; kw++) {
        const int i = q - kw * DW; /* q = i*SW + kw*DW for output i */
        if (i >= 0 && i % SW == 0 && i / SW < TILE_OW) acc[i / SW] += v * tap[kw];
      }
    }
  }
}

/* n elements from `at` on, M apart. */
static inline vec load_strided(__global const real *p, const long at, const int M, const int n) {
  vec_lanes r;
  r.v = VEC_OF(0);
  UNROLL for (int i = 0; i < VEC; i++)
    if (i < n) r.s[i] = LOAD(p, at + i * M);
  return r.v;
}

static inline void store_strided(__global real *p, const vec v, const int M, const int n) {
  vec_lanes r;
  r.v = v;
  UNROLL for (int i = 0; i < VEC; i++)
    if (i < n) STORE(p, i * M, r.s[i]);
}

/* Rows oh0 .. oh1-1 of the outputs of the channels from c0 on of image n. */
ITEM void item(__global const real *restrict x, __global const acc_t *restrict packed, __global const real *restrict bias,
               __global const real *restrict residual, __global real *restrict y, __local acc_t *restrict ring, const int oh0,
               const int oh1, const int c0, const int n, const int C, const int IH, const int IW, const int OH, const int OW,
               const int M, const int PT, const int PL, const int XC, const int YC, const int WIDTH, const acc_t act_a, const acc_t act_b) {
  __global const real *image = x + (long)n * IH * IW * XC + c0;
  ring_t in = {ring, image, C - c0, XC, IH, IW, PT, PL, WIDTH, 0, 0, 0, image, ring};

  for (int oh = oh0; oh < oh1; oh++) {
    fill_ring(&in, oh);
    for (int j = 0; j < NV; j++)
      for (int m = 0; m < M; m++) {
        const int c = c0 + j * VEC; /* may be C and more */
        const int lanes = C - c;
        const int oc = c * M + m;
        if (lanes <= 0) continue;
        __local const acc_t *row[KH];
        UNROLL for (int kh = 0; kh < KH; kh++)
          row[kh] = ring_row(&in, oh * SH + kh * DH) + j * VEC;
        __global const acc_t *w = packed + ((long)c * M + (long)m * VEC) * KH * KW;
        vec b = VEC_OF(0);
        if (HAS_BIAS) b = load_strided(bias, oc, M, lanes);
        for (int ows = 0; ows < OW; ows += TILE_OW) {
          const int ow = LESSER(ows, OW - TILE_OW); /* the last tile overlaps the one before */
          const long at = (((long)n * OH + oh) * OW + ow) * YC + oc;
          vec acc[TILE_OW];
          UNROLL for (int i = 0; i < TILE_OW; i++) acc[i] = b;
          tile(acc, row, ow * SW * CHANNELS, w);
          if (M == 1 && lanes >= VEC) {
            UNROLL for (int i = 0; i < TILE_OW; i++) {
              if (HAS_RESIDUAL) acc[i] += LOAD_VEC(residual + at + (long)i * YC);
              STORE_VEC(y + at + (long)i * YC, activate_vec(acc[i], act_a, act_b));
            }
          } else {
            UNROLL for (int i = 0; i < TILE_OW; i++) {
              if (HAS_RESIDUAL) acc[i] += load_strided(residual, at + (long)i * YC, M, lanes);
              store_strided(y + at + (long)i * YC, activate_vec(acc[i], act_a, act_b), M, lanes);
            }
          }
        }
      }
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void depthwise_channel_simd(
    __global const real *restrict x, __global const acc_t *restrict packed, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, __local acc_t *restrict ring, const int C,
    const int IH, const int IW, const int OH, const int OW, const int M, const int PT, const int PL, const int XC, const int YC,
    const int BANDS, const int WIDTH, const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = (long)get_global_id(1) * OH / BANDS;       /* first row of the band */
  const int oh1 = (long)(get_global_id(1) + 1) * OH / BANDS; /* first row behind it */
  const int c0 = get_global_id(0) * CHANNELS;                /* 0 .. C-1 */
  const int n = get_global_id(2);                            /* 0 .. N-1 */
  item(x, packed, bias, residual, y, ring, oh0, oh1, c0, n, C, IH, IW, OH, OW, M, PT, PL, XC, YC, WIDTH, act_a, act_b);
}

/* packed[cb, m, kh, kw, i] = w[kh, kw, (cb*VEC + i)*M + m], 0 behind the last channel.
 *
 * Work-items: (cb*M + m). */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void pack_multiplied(
    __global const real *restrict w, __global acc_t *restrict packed, const int C, const int M BELL_PARAMETERS) {
  RING_BELL;
  const int c = get_global_id(0) / M * VEC, m = get_global_id(0) % M;
  __global acc_t *to = packed + get_global_id(0) * (KH * KW * VEC);
  ROLLED for (int tap = 0; tap < KH * KW; tap++)
    ROLLED for (int i = 0; i < VEC; i++)
      to[tap * VEC + i] = c + i < C ? LOAD(w, (long)tap * C * M + (c + i) * M + m) : 0;
}
