/* Brings a filter into tiles for standard/run_matrix, whose steps take several taps of a row, its elements split into bfloat16 parts.
 *
 *   packed[bunch][b][kh][step][part][i][o][h] = part of w[oc, ic, kh, kw],   0 where there is no such element
 *
 * with kw = k / RUN and c = k % RUN for number k = 32*step + 2*i + h of a row, oc = 16*bunch + 16*b + o, and ic the place of channel c
 * in its group, if that is the group of oc: c / ICG = (16*b + o) / OCG.
 *
 * For taps that are folded, the filter is one row of KH*KW taps: KH is 1.
 *
 * w        OC ICG KH KW, or KH KW ICG OC          (macro NHWC), elements of real
 * packed   BUNCHES BLOCKS KH STEPS PARTS 16 16 2  bfloat16 numbers; BLOCKS in a bunch, STEPS = ceil(KW*RUN/32)
 *
 * Work-items: (kh*STEPS + step, bunch*BLOCKS + b): a tile for each part. Its elements go through local memory, of each of the 32 numbers
 * those output channels that are of its group. Sizes are arguments, so that all filters of an element type and layout share one program.
 *
 * Macros: wide.clh, types.clh, vector.clh, split.clh, pack_tiles.clh; NHWC.
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/split.clh"
#include "include/pack_tiles.clh"

#ifndef NHWC
#error "NHWC must be set by the plan"
#endif

/* The tile of numbers k0 .. k0+31 and output channels o0 .. o0+15 of a bunch, which begins with channel oc0; w: row kh of the filter. */
ITEM void item(__global const real *w, __global uint *to, __local acc_t *gathered, const int k0, const int o0, const int oc0,
               const int OC, const int ICG, const int OCG, const int KH, const int KW, const int RUN) {
  ROLLED for (int i = 0; i < GATHERED; i++) gathered[i] = 0;
  const int end = LESSER(o0 + SIDE, OC - oc0);
  int kw = k0 / RUN, c = k0 % RUN;
  for (int k = 0; k < 2 * SIDE && kw < KW; k++) {
    const int group = c / ICG, ic = c % ICG; /* of the bunch; there may be no such group */
    const int first = GREATER(o0, group * OCG), last = LESSER(end, (group + 1) * OCG);
    __local acc_t *row = gathered + k * SIDE - o0; /* k = 2*i + h */
    __global const real *from = w + (NHWC ? ((long)kw * ICG + ic) * OC + oc0 : ((long)oc0 * ICG + ic) * KH * KW + kw);
    ROLLED for (int o = first; o < last; o++) row[o] = LOAD(from, o * (NHWC ? 1 : (long)ICG * KH * KW));
    if (++c == RUN) c = 0, kw++;
  }
  put_tile(to, gathered);
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void pack_run(
    __global const real *restrict w, __global uint *restrict packed, __local acc_t *gathered, const int OC, const int ICG,
    const int OCG, const int KH, const int KW, const int RUN, const int STEPS, const int BLOCKS BELL_PARAMETERS) {
  RING_BELL;
  const int kh = get_global_id(0) / STEPS, step = get_global_id(0) % STEPS;
  const int bunch = get_global_id(1) / BLOCKS, b = get_global_id(1) % BLOCKS;
  __global uint *to = packed + (get_global_id(1) * get_global_size(0) + get_global_id(0)) * (PARTS * TILE_PAIRS);
  item(w + (long)kh * KW * (NHWC ? (long)ICG * OC : 1), to, gathered, 2 * SIDE * step, SIDE * b, SIDE * bunch, OC, ICG, OCG, KH, KW, RUN);
}
