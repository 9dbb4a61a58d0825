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
 * Work-items: (i*16 + o, kh*STEPS + step, bunch*BLOCKS + b), one pair of elements each. Sizes are arguments, so that all filters of
 * an element type and layout share one program.
 *
 * Macros: types.clh, vector.clh (VEC 2), split.clh; NHWC; PARTS (1, 2, 3).
 */
#include "include/types.clh"
#include "include/vector.clh"
#include "include/split.clh"

#if !defined(NHWC) || !defined(PARTS)
#error "NHWC and PARTS must be set by the plan"
#endif

__kernel __attribute__((reqd_work_group_size(256, 1, 1))) void pack_run(
    __global const real *restrict w, __global uint *restrict packed, const int OC, const int ICG, const int OCG,
    const int KH, const int KW, const int RUN, const int STEPS, const int BLOCKS BELL_PARAMETERS) {
  RING_BELL;
  const int i = get_global_id(0) / 16;
  const int kh = get_global_id(1) / STEPS, step = get_global_id(1) % STEPS;
  const int bunch = get_global_id(2) / BLOCKS, o = get_global_id(2) % BLOCKS * 16 + get_global_id(0) % 16;
  const int oc = 16 * bunch + o;
  vec pair[2];
  for (int h = 0; h < 2; h++) {
    const int k = 32 * step + 2 * i + h, kw = k / RUN, c = k % RUN, ic = c % ICG;
    const bool there = oc < OC && kw < KW && c / ICG == o / OCG;
    const long at = NHWC ? (((long)kh * KW + kw) * ICG + ic) * OC + oc : (((long)oc * ICG + ic) * KH + kh) * KW + kw;
    pair[h] = VEC_OF(there ? LOAD(w, at) : 0);
  }
  __global uint *to = packed + (get_global_id(2) * get_global_size(1) + get_global_id(1)) * (PARTS * 256) + get_global_id(0);
  for (int part = 0; part < PARTS; part++) to[part * 256] = take_pair(part, &pair[0], &pair[1]).s0;
}
