/* Depthwise convolution in NHWC: vectors along the channels, which lie side by side.
 *
 *   y[n, oh, ow, c*M + m] = act( bias + residual + sum over kh, kw of
 *                                x[n, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL, c] * w[kh, kw, c*M + m] )
 *
 * x           N IH IW C
 * packed      ceil(C/VEC) M KH KW VEC, elements of acc_t, written by pack_depthwise from w (KH KW 1 C*M)
 * y, residual N OH OW C*M
 *
 * Work-items: (oh, chunk of CHUNK channels, n). Each walks along its row of outputs in tiles of TILE_OW pixels, and for each tile
 * through its channels, VEC at a time:
 *
 *      x, rows oh*SH + kh*DH           y, row oh
 *      [v][v][v][v][v][v]  KH rows     [acc][acc][acc][acc]        one box is VEC channels of one pixel
 *       SPAN_W pixels                   TILE_OW pixels
 *
 * Per tile and VEC channels: KH*SPAN_W vectors of x and KH*KW of the filter are read, TILE_OW are written; a column of x is read
 * once for the KW outputs that use it. Pixels outside the image are skipped, not multiplied.
 *
 * Macros: types.clh, vector.clh, epilogue.clh; KH KW SH SW DH DW; TILE_OW (outputs side by side; OW must not be smaller).
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "include/index.clh"
#include "include/epilogue.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#ifndef TILE_OW
#error "TILE_OW must be set by the plan"
#endif

#define SPAN_W ((TILE_OW - 1) * SW + (KW - 1) * DW + 1)

/* acc[i] += sum over kh, kw; x points at channel c of the first image of the batch entry, some < VEC channels are left. */
static inline void tile(vec *acc, __global const real *x, __global const acc_t *w, const int C, const int IH, const int IW,
                        const int ih0, const int iw0, const int some) {
  for (int kh = 0; kh < KH; kh++) {
    const int ih = ih0 + kh * DH; /* may lie outside 0 .. IH-1 */
    if (ih < 0 || ih >= IH) continue;
    vec tap[KW];
    UNROLL for (int kw = 0; kw < KW; kw++) tap[kw] = LOAD_ACC(w + (kh * KW + kw) * VEC);
    __global const real *row = x + ((long)ih * IW + iw0) * C;
    UNROLL for (int q = 0; q < SPAN_W; q++) {
      if ((uint)(iw0 + q) < (uint)IW) {
        const vec v = some ? LOAD_VEC_SOME(row + (long)q * C, some) : LOAD_VEC(row + (long)q * C);
        UNROLL for (int kw = 0; kw < KW; kw++) {
          const int i = q - kw * DW; /* q = i*SW + kw*DW for output i */
          if (i >= 0 && i % SW == 0 && i / SW < TILE_OW) acc[i / SW] += v * tap[kw];
        }
      }
    }
  }
}

/* The n elements of every M-th channel from p on. */
static inline vec strided(__global const real *p, const int M, const int n) {
  if (M == 1) return n >= VEC ? LOAD_VEC(p) : LOAD_VEC_SOME(p, n);
  vec_lanes r;
  r.v = VEC_OF(0);
  UNROLL for (int i = 0; i < VEC; i++)
    if (i < n) r.s[i] = LOAD(p, i * M);
  return r.v;
}

static inline void store_strided(__global real *p, const vec v, const int M, const int n) {
  if (M == 1) {
    if (n >= VEC)
      STORE_VEC(p, v);
    else
      STORE_VEC_SOME(p, v, n);
    return;
  }
  vec_lanes r;
  r.v = v;
  UNROLL for (int i = 0; i < VEC; i++)
    if (i < n) STORE(p, i * M, r.s[i]);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void depthwise_channel_simd(
    __global const real *restrict x, __global const acc_t *restrict packed, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, const int C, const int IH, const int IW,
    const int OH, const int OW, const int M, const int PT, const int PL, const int CHUNK, const acc_t act_a,
    const acc_t act_b) {
  const int oh = get_global_id(0);         /* 0 .. OH-1 */
  const int c0 = get_global_id(1) * CHUNK; /* 0 .. C-1 */
  const int n = get_global_id(2);          /* 0 .. N-1 */
  const int c1 = c0 + CHUNK < C ? c0 + CHUNK : C;
  const int ih0 = oh * SH - PT;
  __global const real *image = x + (long)n * IH * IW * C;

  for (int ows = 0; ows < OW; ows += TILE_OW) {
    const int ow = ows + TILE_OW <= OW ? ows : OW - TILE_OW; /* the last tile overlaps the one before */
    const long pixel = ((long)n * OH + oh) * OW + ow;
    for (int c = c0; c < c1; c += VEC) {
      const int lanes = c1 - c; /* VEC and more, or the tail */
      for (int m = 0; m < M; m++) {
        __global const acc_t *w = packed + ((long)c * M + (long)m * VEC) * KH * KW;
        vec acc[TILE_OW];
        UNROLL for (int i = 0; i < TILE_OW; i++) acc[i] = VEC_OF(0);
        if (lanes >= VEC)
          tile(acc, image + c, w, C, IH, IW, ih0, ow * SW - PL, 0);
        else
          tile(acc, image + c, w, C, IH, IW, ih0, ow * SW - PL, lanes);
        const int oc = c * M + m;
        vec b = VEC_OF(0);
        if (HAS_BIAS) b = strided(bias + oc, M, lanes);
        UNROLL for (int i = 0; i < TILE_OW; i++) {
          const long at = (pixel + i) * C * M + oc;
          vec v = acc[i] + b;
          if (HAS_RESIDUAL) v += strided(residual + at, M, lanes);
          store_strided(y + at, activate_vec(v, act_a, act_b), M, lanes);
        }
      }
    }
  }
}

/* packed[cb, m, kh, kw, i] = w[kh, kw, (cb*VEC + i)*M + m], 0 behind the last channel. Work-items: (i, kh*KW + kw, cb*M + m). */
__kernel void pack_depthwise(__global const real *restrict w, __global acc_t *restrict packed, const int C, const int M) {
  const int i = get_global_id(0);
  const int tap = get_global_id(1);
  const int c = get_global_id(2) / M * VEC + i;
  const int m = get_global_id(2) % M;
  acc_t v = 0;
  if (c < C) v = LOAD(w, (long)tap * C * M + c * M + m);
  packed[((long)get_global_id(2) * KH * KW + tap) * VEC + i] = v;
}
