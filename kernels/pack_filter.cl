/* Brings a filter into the order in which the kernels with register tiles read it, once per filter.
 *
 *   packed[g][ob][ic][kh][kw][o] = w[g*OCG + ob*OC_BLOCK + o, ic, kh, kw],   0 where ob*OC_BLOCK + o >= OCG
 *
 * so that the OC_BLOCK output channels of a tile lie side by side, and a kernel walks through memory from the first
 * element of its block to the last.
 *
 * w        OC ICG KH KW, or KH KW ICG OC        (macro NHWC), elements of real
 * packed   G BLOCKS ICG KH KW OC_BLOCK          elements of acc_t, BLOCKS = ceil(OCG / OC_BLOCK)
 *
 * Work-items: (o, ic*KH*KW + kh*KW + kw, g*BLOCKS + ob), one element each.
 *
 * Macros: types.clh, index.clh; KH KW; OC_BLOCK (output channels of a tile).
 */
#include "include/types.clh"
#include "include/index.clh"

#ifndef OC_BLOCK
#error "OC_BLOCK must be set by the plan"
#endif

__kernel void pack_filter(__global const real *restrict w, __global acc_t *restrict packed, const int OC,
                          const int ICG, const int OCG, const int BLOCKS) {
  const int o = get_global_id(0);              /* 0 .. OC_BLOCK-1 */
  const int tap = get_global_id(1);            /* 0 .. ICG*KH*KW-1 */
  const int g = get_global_id(2) / BLOCKS;     /* 0 .. G-1 */
  const int ob = get_global_id(2) % BLOCKS;    /* 0 .. BLOCKS-1 */
  const int ocg = ob * OC_BLOCK + o;           /* 0 .. OCG-1, and the tail of the last block */
  const int ic = tap / (KH * KW);
  const int kh = tap / KW % KH;
  const int kw = tap % KW;
  const long at = ((long)get_global_id(2) * ICG * KH * KW + tap) * OC_BLOCK + o;
  acc_t v = 0;
  if (ocg < OCG) v = LOAD(w, filter_index(g * OCG + ocg, ic, kh, kw, OC, ICG));
  packed[at] = v;
}
