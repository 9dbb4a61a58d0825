/* 1x1 convolution, N C H W, vectors along the pixels: a panel of pixels in local memory, then all output channels.
 *
 *   y[n, oc, p] = act( bias[oc] + residual[n, oc, p] + sum over ic of x[n, ic, at(p)] * w[oc, ic] )
 *
 * with p = oh*OW + ow counting the output's pixels, and at(p) the pixel (oh*SH - PT, ow*SW - PL) of x, 0 outside.
 *
 * x, y, residual   N C H W
 * packed           BLOCKS IC OCB        from pack_filter.cl, OCB output channels side by side, zero behind the last
 * bias             OC
 *
 * Work-items: (pixels, n, output channels), one in a work-group:
 *   gid 0   vectors gid0*VECTORS_ITEM ... of the pixels of an image, PXV vectors at a time
 *   gid 1   image n, 0 .. N-1
 *   gid 2   blocks gid2*BLOCKS_ITEM ... of output channels
 *
 *                        panel, in local memory                  tile, in registers
 *                      |<- PXV vectors of VEC pixels ->|       |<- PXV vectors ->|
 *                  --  +---------+---------+---------+       --+-----+-----+-----+
 *                  ^   |         |         |         |      OCB|     |     |     |   += w[oc, ic] * panel[ic]
 *         IC_BLOCK     |         |         |         |         |     |     |     |      for each ic in turn
 *                  v   |         |         |         |       --+-----+-----+-----+
 *                  --  +---------+---------+---------+          next block of OCB channels: the same panel
 *
 * In the image, the rows of a panel are far apart, each on a page of its own; copied together, they are read again and
 * again from the nearest cache while the packed filter streams by. Where IC > IC_BLOCK, the panel holds IC_BLOCK
 * channels at a time, and the sums of a panel wait in local memory. Per multiply-add, 1/OCB + 1/(PXV*VEC) elements are
 * read from local memory and the filter. x is read OC / (OCB*BLOCKS_ITEM) times, the filter once per panel.
 *
 * Macros: types.clh, vector.clh, epilogue.clh; SH SW; PADDED (1: PT, PL may differ from 0 or the last rows lie outside);
 * OCB (output channels of a tile), PXV (its vectors of pixels, 1 .. 3); OCB*PXV vector registers hold the tile.
 *
 * The panel is the packed B of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008).
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "include/epilogue.clh"
#include "include/prefetch.clh"

#if !defined(OCB) || !defined(PXV) || !defined(SH) || !defined(SW) || !defined(PADDED)
#error "OCB, PXV, SH, SW and PADDED must be set by the plan"
#endif

#define PXB (PXV * VEC) /* pixels of a panel */
#define GATHER (PADDED || SH != 1 || SW != 1)

/* The tile of OCB output channels from oc on, of which `pixels` pixels exist, over ics channels of input. */
static inline __attribute__((always_inline)) void tile(const int vectors, __local const acc_t *panel, __global const acc_t *w,
                                                       __local acc_t *sums, __global const real *bias,
                                                       __global const real *residual, __global real *y, const int ics,
                                                       const int oc, const int OC, const long P, const int pixels,
                                                       const bool first, const bool last, const acc_t act_a,
                                                       const acc_t act_b) {
  vec acc[OCB][PXV];
  UNROLL for (int i = 0; i < OCB; i++)
    UNROLL for (int j = 0; j < PXV; j++)
      if (j < vectors) acc[i][j] = first ? VEC_OF(0) : LOAD_ACC_LOCAL(sums + i * PXB + j * VEC);
  if (last && HAS_RESIDUAL) UNROLL for (int i = 0; i < OCB; i++) ask_outputs(residual + i * P, y + i * P, vectors * VEC);

  for (int ic = 0; ic < ics; ic++, panel += PXB, w += OCB) {
    vec xv[PXV];
    UNROLL for (int j = 0; j < PXV; j++)
      if (j < vectors) xv[j] = LOAD_ACC_LOCAL(panel + j * VEC);
    UNROLL for (int i = 0; i < OCB; i++)
      UNROLL for (int j = 0; j < PXV; j++)
        if (j < vectors) acc[i][j] += w[i] * xv[j];
  }

  UNROLL for (int i = 0; i < OCB; i++) {
    if (last && oc + i >= OC) continue;
    const acc_t b = last && HAS_BIAS ? LOAD(bias, oc + i) : 0;
    UNROLL for (int j = 0; j < PXV; j++) {
      if (j >= vectors) continue;
      if (!last) {
        STORE_ACC_LOCAL(sums + i * PXB + j * VEC, acc[i][j]);
        continue;
      }
      const long at = i * P + j * VEC;
      const int some = pixels - j * VEC; /* pixels of this vector that exist, VEC or more: all */
      vec v = acc[i][j] + b;
      if (some >= VEC) {
        if (HAS_RESIDUAL) v += LOAD_VEC(residual + at);
        STORE_VEC(y + at, activate_vec(v, act_a, act_b));
      } else {
        if (HAS_RESIDUAL) v += LOAD_VEC_SOME(residual + at, some);
        STORE_VEC_SOME(y + at, activate_vec(v, act_a, act_b), some);
      }
    }
  }
}

/* Vectors v0 .. v1-1 of the pixels of image n, blocks b0 .. b1-1 of output channels. */
ITEM void item(__global const real *x, __global const acc_t *packed, __global const real *bias, __global const real *residual,
               __global real *y, __local acc_t *panel, __local acc_t *sums, const int n, const int v0, const int v1,
               const int b0, const int b1, const int IC, const int IH, const int IW, const int OC, const int OH, const int OW,
               const int PT, const int PL, const int IC_BLOCK, const acc_t act_a, const acc_t act_b) {
  const int P = OH * OW;
  for (int v = v0; v < v1; v += PXV) {
    const int vectors = LESSER(PXV, v1 - v); /* 1 .. PXV */
    const int p0 = v * VEC;                  /* first pixel of the panel */
    const int pixels = LESSER(PXB, P - p0);
#if GATHER
    int from[PXB]; /* where each pixel lies in a channel of x; negative outside */
    for (int i = 0, oh = p0 / OW, ow = p0 % OW; i < PXB; i++) {
      const int ih = oh * SH - PT, iw = ow * SW - PL;
      from[i] = i < pixels && ih >= 0 && ih < IH && iw >= 0 && iw < IW ? ih * IW + iw : -1;
      if (++ow == OW) ow = 0, oh++;
    }
#endif
    for (int ic0 = 0; ic0 < IC; ic0 += IC_BLOCK) {
      const int ics = LESSER(IC_BLOCK, IC - ic0);
      for (int ic = 0; ic < ics; ic++) {
        __global const real *row = x + ((long)n * IC + ic0 + ic) * IH * IW;
        __local acc_t *to = panel + ic * PXB;
#if GATHER
        for (int i = 0; i < vectors * VEC; i++) to[i] = from[i] < 0 ? 0 : LOAD(row, from[i]);
#else
        if (pixels == PXB)
          UNROLL for (int j = 0; j < PXV; j++) STORE_ACC_LOCAL(to + j * VEC, LOAD_VEC(row + p0 + j * VEC));
        else
          for (int j = 0; j < vectors; j++)
            STORE_ACC_LOCAL(to + j * VEC, LOAD_VEC_SOME(row + p0 + j * VEC, pixels - j * VEC));
#endif
      }
      for (int b = b0; b < b1; b++) {
        const int oc = b * OCB; /* 0 .. OC-1 */
        const long at = ((long)n * OC + oc) * P + p0;
        __global const acc_t *w = packed + ((long)b * IC + ic0) * OCB;
        __local acc_t *s = sums + (b - b0) * OCB * PXB;
        const bool first = ic0 == 0, last = ic0 + ics == IC;
#define TILE(V) tile(V, panel, w, s, bias, residual + at, y + at, ics, oc, OC, P, pixels, first, last, act_a, act_b)
        if (vectors == PXV) TILE(PXV);
        else if (vectors == 2) TILE(2);
        else TILE(1);
      }
    }
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void pointwise_panel(__global const real *restrict x, __global const acc_t *restrict packed,
                     __global const real *restrict bias, __global const real *restrict residual,
                     __global real *restrict y, __local acc_t *panel, __local acc_t *sums, const int IC, const int IH,
                     const int IW, const int OC, const int OH, const int OW, const int PT, const int PL,
                     const int VECTORS_ITEM, const int BLOCKS_ITEM, const int IC_BLOCK, const acc_t act_a,
                     const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int n = get_global_id(1);                                      /* 0 .. N-1 */
  const int v0 = get_global_id(0) * VECTORS_ITEM;                      /* first vector of pixels */
  const int v1 = LESSER(v0 + VECTORS_ITEM, (OH * OW + VEC - 1) / VEC); /* and the one behind the last */
  const int b0 = get_global_id(2) * BLOCKS_ITEM;                       /* first block of output channels */
  const int b1 = LESSER(b0 + BLOCKS_ITEM, (OC + OCB - 1) / OCB);       /* and the one behind the last */
  item(x, packed, bias, residual, y, panel, sums, n, v0, v1, b0, b1, IC, IH, IW, OC, OH, OW, PT, PL, IC_BLOCK, act_a,
       act_b);
}
