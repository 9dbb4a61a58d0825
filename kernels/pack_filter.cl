/* Brings a filter into the order in which the kernels with register tiles read it, once per filter.
 *
 *   packed[g][ob][ic][kh][kw][o] = w[g*OCG + ob*OC_BLOCK + o, ic, kh, kw],   0 where ob*OC_BLOCK + o >= OCG, or that is no channel
 *
 * so that the OC_BLOCK output channels of a tile lie side by side, and a kernel walks through memory from the first
 * element of its block to the last.
 *
 * w        OC ICG KH KW, or KH KW ICG OC        (macro NHWC), elements of real
 * packed   G BLOCKS ICG KH KW OC_BLOCK          elements of acc_t, BLOCKS = ceil(OCG / OC_BLOCK)
 *
 * A kernel whose vectors hold the channels of several groups has them packed as if a vector's were one group.
 *
 * Work-groups: (ic*TAPS + tap, g*BLOCKS + ob) of OC_BLOCK work-items, one element each; the first dimension has the rows, for the
 * other ones end at 65535 on some devices. Sizes are arguments, so that all filters of an element type and layout share one program.
 *
 * Macros: types.clh; NHWC.
 */
#include "include/types.clh"

#ifndef NHWC
#error "NHWC must be set by the plan"
#endif

__kernel void pack_filter(__global const real *restrict w, __global acc_t *restrict packed, const int OC,
                          const int ICG, const int OCG, const int TAPS, const int BLOCKS) {
  const int OC_BLOCK = get_local_size(0);
  const int o = get_local_id(0);            /* 0 .. OC_BLOCK-1 */
  const int row = get_group_id(0);          /* 0 .. ICG*TAPS-1, TAPS = KH*KW */
  const int g = get_global_id(1) / BLOCKS;  /* 0 .. G-1 */
  const int ob = get_global_id(1) % BLOCKS; /* 0 .. BLOCKS-1 */
  const int ocg = ob * OC_BLOCK + o;        /* 0 .. OCG-1, and the tail of the last block */
  const int oc = g * OCG + ocg;
  const int ic = row / TAPS;
  const int tap = row % TAPS; /* kh*KW + kw */
  acc_t v = 0;
  if (ocg < OCG && oc < OC) v = LOAD(w, NHWC ? ((long)tap * ICG + ic) * OC + oc : (long)oc * ICG * TAPS + row);
  packed[((long)get_global_id(1) * ICG * TAPS + row) * OC_BLOCK + o] = v;
}
