/* Brings a 1x1 filter into the order of Strassen's product (include/strassen.clh), once per filter.
 *
 *   packed[b][step][ic][o]   of B11 B21 T2 T3 T4 T1 B22, one for each step
 *
 *   B11 = w[oc, ic]   B12 = w[oc + OCH, ic]   B21 = w[oc, ic + ICH]   B22 = w[oc + OCH, ic + ICH],   0 where there is no such channel
 *
 * with oc = b*OC_BLOCK + o, so that what a tile of OC_BLOCK output channels and their partners needs lies in one piece.
 *
 * w        OC IC, or IC OC                (macro NHWC), elements of real
 * packed   BLOCKS 7 ICH OC_BLOCK          elements of acc_t; OCH = BLOCKS*OC_BLOCK, ICH = ceil(IC/2)
 *
 * Work-items: (ROWS input channels, b). w is read along its rows, in either layout. Sizes are arguments, so that all filters of an
 * element type and layout share one program.
 *
 * Macros: types.clh; NHWC.
 */
#include "include/types.clh"

#ifndef NHWC
#error "NHWC must be set by the plan"
#endif

#define STEPS 7

/* An element of the filter, 0 where it has none. */
static inline acc_t filter_at(__global const real *w, const int ic, const int oc, const int IC, const int OC) {
  if (ic >= IC || oc >= OC) return 0;
  return LOAD(w, NHWC ? (long)ic * OC + oc : (long)oc * IC + ic);
}

/* One element of each quarter; to: where that of the first step goes. */
static inline void pack_element(__global const real *w, __global acc_t *to, const int ic, const int oc, const int partner,
                                const int ICH, const int OC_BLOCK, const int IC, const int OC) {
  const acc_t b11 = filter_at(w, ic, oc, IC, OC), b12 = filter_at(w, ic, partner, IC, OC);
  const acc_t b21 = filter_at(w, ic + ICH, oc, IC, OC), b22 = filter_at(w, ic + ICH, partner, IC, OC);
  const acc_t t1 = b12 - b11, t2 = b22 - t1;
  const acc_t steps[STEPS] = {b11, b21, t2, b22 - b12, b21 - t2, t1, b22};
  UNROLL for (int step = 0; step < STEPS; step++) to[(long)step * ICH * OC_BLOCK] = steps[step];
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void pack_strassen(
    __global const real *restrict w, __global acc_t *restrict packed, const int IC, const int OC, const int OC_BLOCK,
    const int ROWS) {
  const int ICH = (IC + 1) / 2, b = get_global_id(1); /* 0 .. BLOCKS-1 */
  const int ic0 = get_global_id(0) * ROWS, ic1 = LESSER(ic0 + ROWS, ICH);
  const int oc = b * OC_BLOCK, partner = oc + get_global_size(1) * OC_BLOCK;
  __global acc_t *to = packed + (long)b * STEPS * ICH * OC_BLOCK;
#if NHWC
  for (int ic = ic0; ic < ic1; ic++)
    ROLLED for (int o = 0; o < OC_BLOCK; o++)
      pack_element(w, to + (long)ic * OC_BLOCK + o, ic, oc + o, partner + o, ICH, OC_BLOCK, IC, OC);
#else
  for (int o = 0; o < OC_BLOCK; o++)
    ROLLED for (int ic = ic0; ic < ic1; ic++)
      pack_element(w, to + (long)ic * OC_BLOCK + o, ic, oc + o, partner + o, ICH, OC_BLOCK, IC, OC);
#endif
}
