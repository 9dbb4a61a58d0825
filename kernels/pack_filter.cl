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
 * Work-groups: (ROWS rows ic*TAPS + tap, g*BLOCKS + ob) of ITEMS work-items, which share the output channels: one that does all of
 * them is right for a CPU, where w is read along its rows and packed is in the first cache meanwhile; a GPU has OC_BLOCK of them and
 * a row. The first dimension has the rows, for the other ones end at 65535 on some devices; or the blocks, where those follow each
 * other in a row of w, and ROWS makes them few. Sizes are arguments, so that all filters of an element type and layout share one
 * program.
 *
 * Macros: vector.clh, transpose.clh; NHWC; ITEMS.
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "include/transpose.clh"

#if !defined(NHWC) || !defined(ITEMS)
#error "NHWC and ITEMS must be set by the plan"
#endif

/* ROWS rows of a block; lane: which of the work-group's items this is. */
ITEM void item(__global const real *w, __global acc_t *packed, const int block, const int chunk,
               const int lane, const int OC, const int ICG, const int OCG, const int TAPS, const int BLOCKS,
               const int OC_BLOCK, const int ROWS) {
  const int g = block / BLOCKS, ob = block % BLOCKS; /* 0 .. G-1, 0 .. BLOCKS-1 */
  const int row0 = chunk * ROWS;                     /* 0 .. ICG*TAPS-1, TAPS = KH*KW */
  const int row1 = LESSER(row0 + ROWS, ICG * TAPS);
  const int oc = g * OCG + ob * OC_BLOCK;
  const int there = LESSER(OCG - ob * OC_BLOCK, OC - oc); /* output channels from the block's first one on */
  __global acc_t *to = packed + (long)block * ICG * TAPS * OC_BLOCK;
#if NHWC
  for (int row = row0; row < row1; row++) {
    const long from = ((long)(row % TAPS) * ICG + row / TAPS) * OC + oc;
    int o = lane;
#if ITEMS == 1
    ROLLED for (; o + VEC <= LESSER(there, OC_BLOCK); o += VEC) STORE_ACC(to + (long)row * OC_BLOCK + o, LOAD_VEC(w + from + o));
#endif
    ROLLED for (; o < OC_BLOCK; o += ITEMS) to[(long)row * OC_BLOCK + o] = o < there ? LOAD(w, from + o) : 0;
  }
#else
#if ITEMS == 1
  /* VEC output channels at a time, the last ones first, and VEC rows of them. Vectors that reach over the end of a block's row
   * spoil elements that are written later: those of the next row, or of channels before. */
  ROLLED for (int first = (OC_BLOCK - 1) / VEC * VEC; first >= 0; first -= VEC) {
    __global const real *from = w + (long)(oc + first) * ICG * TAPS;
    __global acc_t *column = to + first;
    int row = row0;
    ROLLED for (; (row1 - row - VEC + 1) * OC_BLOCK >= GREATER(first + VEC, OC_BLOCK); row += VEC) {
      vec v[VEC];
      UNROLL for (int i = 0; i < VEC; i++) v[i] = first + i < there ? LOAD_VEC(from + (long)i * ICG * TAPS + row) : VEC_OF(0);
      transpose(v);
      UNROLL for (int i = 0; i < VEC; i++) STORE_ACC(column + (long)(row + i) * OC_BLOCK, v[i]);
    }
    ROLLED for (; row < row1; row++)
      ROLLED for (int i = 0; i < LESSER(VEC, OC_BLOCK - first); i++)
        column[(long)row * OC_BLOCK + i] = first + i < there ? LOAD(from, (long)i * ICG * TAPS + row) : 0;
  }
#else
  for (int o = lane; o < OC_BLOCK; o += ITEMS) {
    const long from = (long)(oc + o) * ICG * TAPS;
    ROLLED for (int row = row0; row < row1; row++) to[(long)row * OC_BLOCK + o] = o < there ? LOAD(w, from + row) : 0;
  }
#endif
#endif
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void pack_filter(
    __global const real *restrict w, __global acc_t *restrict packed, const int OC, const int ICG, const int OCG,
    const int TAPS, const int BLOCKS, const int OC_BLOCK, const int ROWS BELL_PARAMETERS) {
  RING_BELL;
#if NHWC && ITEMS == 1
  const int block = get_global_id(0), chunk = get_global_id(1);
#else
  const int block = get_global_id(1), chunk = get_group_id(0);
#endif
  item(w, packed, block, chunk, get_local_id(0), OC, ICG, OCG, TAPS, BLOCKS, OC_BLOCK, ROWS);
}
