/* Brings a filter into tiles for the matrix unit (include/matrix.clh), its elements split into bfloat16 parts, once per filter.
 *
 *   packed[g][b][tap][step][part][row][col][h] = part of w[g*OCG + 16*b + o, 32*step + i + 16*h, tap],   0 where there is no such channel
 *
 * with i = row, o = col where positions are left operands and the filter right ones, and o = row, i = col where it is the reverse.
 *
 * w        OC ICG KH KW, or KH KW ICG OC        (macro NHWC), elements of real
 * packed   G BLOCKS TAPS STEPS PARTS 16 16 2    bfloat16 numbers; BLOCKS = ceil(OCG/16), STEPS = ceil(ICG/32)
 *
 * Work-items: (row*16 + col, tap*STEPS + step, g*BLOCKS + b), one pair of elements each. Sizes are arguments, so that all filters of
 * an element type and layout share one program.
 *
 * Macros: types.clh, vector.clh (VEC 2, of which a vector has no more than the pair needs), split.clh; NHWC; LEFT (0, 1); PARTS (1, 2, 3).
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "include/split.clh"

#if !defined(NHWC) || !defined(LEFT) || !defined(PARTS)
#error "NHWC, LEFT and PARTS must be set by the plan"
#endif

__kernel __attribute__((reqd_work_group_size(256, 1, 1))) void pack_split(
    __global const real *restrict w, __global uint *restrict packed, const int OC, const int ICG, const int OCG,
    const int TAPS, const int STEPS, const int BLOCKS BELL_PARAMETERS) {
  RING_BELL;
  const int row = get_global_id(0) / 16, col = get_global_id(0) % 16;
  const int i = LEFT ? row : col, o = LEFT ? col : row;
  const int tap = get_global_id(1) / STEPS, step = get_global_id(1) % STEPS;
  const int g = get_global_id(2) / BLOCKS, ocg = get_global_id(2) % BLOCKS * 16 + o;
  const int oc = g * OCG + ocg;
  vec pair[2];
  for (int h = 0; h < 2; h++) {
    const int ic = step * 32 + i + 16 * h;
    const bool there = ocg < OCG && ic < ICG;
    pair[h] = VEC_OF(there ? LOAD(w, NHWC ? ((long)tap * ICG + ic) * OC + oc : ((long)oc * ICG + ic) * TAPS + tap) : 0);
  }
  __global uint *to = packed + (get_global_id(2) * get_global_size(1) + get_global_id(1)) * (PARTS * 256) + get_global_id(0);
  for (int part = 0; part < PARTS; part++) to[part * 256] = take_pair(part, &pair[0], &pair[1]).s0;
}
