/* Brings a 1x1 filter into the order of Strassen's product (include/strassen.clh), once per filter.
 *
 *   packed[part][b][step][ic][o]   of B11 B21 T2 T3 T4 T1 B22, one for each step
 *
 *   B11 = w[oc, ic]   B12 = w[oc + OCH, ic]   B21 = w[oc, ic + ICH]   B22 = w[oc + OCH, ic + ICH],   0 where there is no such channel
 *
 * with oc = b*OC_BLOCK + o, so that what a tile of OC_BLOCK output channels and their partners needs lies in one piece, and ic counted
 * from the part's first input channel on.
 *
 * w        OC IC, or IC OC                (macro NHWC), elements of real
 * packed   BLOCKS 7 ICH OC_BLOCK for each part, elements of acc_t; OCH = BLOCKS*OC_BLOCK. A part has PART input channels, the last one
 *          those that are left; ICH is half of them, rounded up
 *
 * Work-items: (ROWS input channels, b, part), or (b, ROWS input channels, part) where blocks follow each other in a row of w. Sizes
 * are arguments, so that all filters of an element type and layout share one program.
 *
 * Macros: vector.clh, transpose.clh; NHWC.
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "include/transpose.clh"

#ifndef NHWC
#error "NHWC must be set by the plan"
#endif

#define STEPS 7

/* An element of the filter, 0 where it has none. w: the first one of IC input channels; PITCH: from there to the next row's. */
static inline acc_t filter_at(__global const real *w, const int ic, const int oc, const int IC, const int OC, const int PITCH) {
  if (ic >= IC || oc >= OC) return 0;
  return LOAD(w, NHWC ? (long)ic * PITCH + oc : (long)oc * PITCH + ic);
}

/* One element of each quarter; to: where that of the first step goes. */
static inline void pack_element(__global const real *w, __global acc_t *to, const int ic, const int oc, const int partner,
                                const int ICH, const int OC_BLOCK, const int IC, const int OC, const int PITCH) {
  const acc_t b11 = filter_at(w, ic, oc, IC, OC, PITCH), b12 = filter_at(w, ic, partner, IC, OC, PITCH);
  const acc_t b21 = filter_at(w, ic + ICH, oc, IC, OC, PITCH), b22 = filter_at(w, ic + ICH, partner, IC, OC, PITCH);
  const acc_t t1 = b12 - b11, t2 = b22 - t1;
  const acc_t steps[STEPS] = {b11, b21, t2, b22 - b12, b21 - t2, t1, b22};
  UNROLL for (int step = 0; step < STEPS; step++) to[(long)step * ICH * OC_BLOCK] = steps[step];
}

/* One step's sums of VEC by VEC elements, rows of w, to VEC rows of packed. */
static __attribute__((noinline)) void put_rows(const vec *sums, __global acc_t *to, const int OC_BLOCK) {
  vec v[VEC];
  UNROLL for (int i = 0; i < VEC; i++) v[i] = sums[i];
  transpose(v);
  UNROLL for (int i = 0; i < VEC; i++) STORE_ACC(to + (long)i * OC_BLOCK, v[i]);
}

/* VEC elements of a row of each quarter, all of which are there: those of output channels side by side, or of input channels. */
static inline void sums_of(__global const real *w11, __global const real *w12, const long lower, vec sums[STEPS]) {
  const vec b11 = LOAD_VEC(w11), b12 = LOAD_VEC(w12), b21 = LOAD_VEC(w11 + lower), b22 = LOAD_VEC(w12 + lower);
  const vec t1 = b12 - b11, t2 = b22 - t1;
  sums[0] = b11, sums[1] = b21, sums[2] = t2, sums[3] = b22 - b12, sums[4] = b21 - t2, sums[5] = t1, sums[6] = b22;
}

/* Input channels ic0 .. ic1-1 of block b. */
ITEM void item(__global const real *w, __global acc_t *packed, const int b, const int ic0, const int ic1,
               const int ICH, const int BLOCKS, const int IC, const int OC, const int OC_BLOCK, const int PITCH) {
  const int oc = b * OC_BLOCK, partner = oc + BLOCKS * OC_BLOCK;
  const int there = OC - partner; /* output channels from the block's first partner on */
  __global acc_t *to = packed + (long)b * STEPS * ICH * OC_BLOCK;
  vec sums[STEPS];
#if NHWC
  for (int ic = ic0; ic < ic1; ic++) {
    __global acc_t *row = to + (long)ic * OC_BLOCK;
    int o = 0;
    if (ic + ICH < IC) ROLLED for (; o + VEC <= LESSER(there, OC_BLOCK); o += VEC) {
        sums_of(w + (long)ic * OC + oc + o, w + (long)ic * OC + partner + o, (long)ICH * OC, sums);
        UNROLL for (int step = 0; step < STEPS; step++) STORE_ACC(row + (long)step * ICH * OC_BLOCK + o, sums[step]);
      }
    ROLLED for (; o < OC_BLOCK; o++) pack_element(w, row + o, ic, oc + o, partner + o, ICH, OC_BLOCK, IC, OC, PITCH);
  }
#else
  const int last = LESSER(ic1, IC - ICH);
  int first = 0;
  ROLLED for (; first + VEC <= LESSER(there, OC_BLOCK); first += VEC) {
    int ic = ic0;
    ROLLED for (; ic + VEC <= last; ic += VEC) {
      vec all[STEPS][VEC];
      ROLLED for (int i = 0; i < VEC; i++) {
        sums_of(w + (long)(oc + first + i) * PITCH + ic, w + (long)(partner + first + i) * PITCH + ic, ICH, sums);
        UNROLL for (int step = 0; step < STEPS; step++) all[step][i] = sums[step];
      }
      ROLLED for (int step = 0; step < STEPS; step++)
        put_rows(all[step], to + ((long)step * ICH + ic) * OC_BLOCK + first, OC_BLOCK);
    }
    ROLLED for (; ic < ic1; ic++)
      ROLLED for (int o = first; o < first + VEC; o++)
        pack_element(w, to + (long)ic * OC_BLOCK + o, ic, oc + o, partner + o, ICH, OC_BLOCK, IC, OC, PITCH);
  }
  for (int o = first; o < OC_BLOCK; o++)
    ROLLED for (int ic = ic0; ic < ic1; ic++)
      pack_element(w, to + (long)ic * OC_BLOCK + o, ic, oc + o, partner + o, ICH, OC_BLOCK, IC, OC, PITCH);
#endif
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void pack_strassen(
    __global const real *restrict w, __global acc_t *restrict packed, const int IC, const int OC, const int OC_BLOCK,
    const int ROWS, const int PART BELL_PARAMETERS) {
  RING_BELL;
  const int c0 = get_global_id(2) * PART, channels = PART < IC - c0 ? PART : IC - c0; /* of the part */
  const int ICH = (channels + 1) / 2, ic0 = get_global_id(NHWC) * ROWS, BLOCKS = get_global_size(!NHWC);
  packed += (long)get_global_id(2) * BLOCKS * STEPS * ((PART + 1) / 2) * OC_BLOCK;
  item(w + (NHWC ? (long)c0 * OC : c0), packed, get_global_id(!NHWC), ic0, LESSER(ic0 + ROWS, ICH), ICH, BLOCKS, channels, OC,
       OC_BLOCK, NHWC ? OC : IC);
}
