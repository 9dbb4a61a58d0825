/* Brings a filter into tiles for the matrix unit (include/matrix.clh), its elements split into bfloat16 parts, once per filter.
 *
 *   packed[g][b][tap][step][part][row][col][h] = part of w[g*OCG + 16*b + o, 32*step + i + 16*h, tap],   0 where there is no such channel
 *
 * with i = row, o = col where positions are left operands and the filter right ones, and o = row, i = col where it is the reverse.
 *
 * w        OC ICG KH KW, or KH KW ICG OC        (macro NHWC), elements of real
 * packed   G BLOCKS TAPS STEPS PARTS 16 16 2    bfloat16 numbers; BLOCKS = ceil(OCG/16), STEPS = ceil(ICG/32)
 *
 * Work-items: (STEPS_ITEM steps, g*BLOCKS + b), or the reverse in N H W C, for what follows there in memory: all taps of 16 output
 * channels by 32 input channels and more. Where w has 16 of a row side by side, they are a vector; else elements go through local
 * memory, one by one and in the order of w: 9 taps of one output channel's 32 input channels are read in one go, and lie 2 KB apart
 * in `packed`.
 *
 * Sizes are arguments, so that all filters of an element type and layout share one program.
 *
 * Macros: wide.clh, types.clh, vector.clh, split.clh, pack_tiles.clh; NHWC; LEFT (0, 1).
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/split.clh"
#include "include/pack_tiles.clh"

#if !defined(NHWC) || !defined(LEFT)
#error "NHWC and LEFT must be set by the plan"
#endif

#define MOST 16                 /* taps at a time: TAPS of algorithms/packing.py */
#define PLANE (GATHERED + SIDE) /* numbers from one tap to the next, not a power of two */
#if LEFT
#define AT(ic, o) ((ic) % SIDE * (2 * SIDE) + (ic) / SIDE * SIDE + (o))
#else
#define AT(ic, o) ((o) * (2 * SIDE) + (ic))
#endif

/* `steps` tiles of which 16 of a row lie side by side in w, and the next row `next` further; those of h = 1 are `second` further. */
INLINE void put_rows(__global uint *to, __global const real *w, const int steps, const long next, const long second) {
  for (int row = 0; row < SIDE; row++, to += SIDE, w += next)
    for (int step = 0; step < steps; step++)
      UNROLL for (int v = 0; v < SIDE; v += VEC) {
        __global const real *from = w + step * 2 * SIDE + v;
        put_row_of_pairs(to + step * (PARTS * TILE_PAIRS) + v, LOAD_VEC(from), LOAD_VEC(from + second));
      }
}

/* `taps` taps of the first `outputs` and `inputs` channels from w on. */
INLINE void gather(__local acc_t *to, __global const real *w, const int taps, const int outputs, const int inputs, const int OC,
                   const int ICG, const int TAPS) {
  if (outputs < SIDE || inputs < 2 * SIDE) {
    ROLLED for (int i = 0; i < taps * PLANE; i++) to[i] = 0;
  }
#if NHWC
  for (int tap = 0; tap < taps; tap++, to += PLANE, w += (long)ICG * OC)
    for (int ic = 0; ic < inputs; ic++)
      ROLLED for (int o = 0; o < outputs; o++) to[AT(ic, o)] = LOAD(w, (long)ic * OC + o);
#else
  for (int o = 0; o < outputs; o++, w += (long)ICG * TAPS)
    for (int tap = 0; tap < taps; tap++) {
      __global const real *from = w + tap;
      __local acc_t *row = to + tap * PLANE + AT(0, o);
      if (inputs == 2 * SIDE) {
        UNROLL for (int ic = 0; ic < 2 * SIDE; ic++, from += TAPS) row[AT(ic, 0)] = LOAD(from, 0);
      } else {
        ROLLED for (int ic = 0; ic < inputs; ic++, from += TAPS) row[AT(ic, 0)] = LOAD(from, 0);
      }
    }
#endif
}

/* All taps of a step. w: the first tap of the first of these channels; to: the tile of the first part that it goes to. */
INLINE void pack_step(__global const real *w, __global uint *to, __local acc_t *gathered, const int outputs, const int inputs,
                      const int OC, const int ICG, const int TAPS, const long NEXT) {
#if NHWC && LEFT
  if (outputs == SIDE && inputs == 2 * SIDE) {
    for (int tap = 0; tap < TAPS; tap++, to += NEXT, w += (long)ICG * OC) put_rows(to, w, 1, OC, (long)SIDE * OC);
    return;
  }
#endif
  for (int tap = 0; tap < TAPS; tap += MOST, w += MOST * (NHWC ? (long)ICG * OC : 1)) {
    const int taps = LESSER(MOST, TAPS - tap);
    gather(gathered, w, taps, outputs, inputs, OC, ICG, TAPS);
    for (int t = 0; t < taps; t++, to += NEXT) put_tile(to, gathered + t * PLANE);
  }
}

/* Several steps, of `inputs` channels. */
ITEM void item(__global const real *w, __global uint *to, __local acc_t *gathered, const int outputs, const int inputs, const int OC,
               const int ICG, const int TAPS, const long NEXT) {
  int ic = 0;
#if !NHWC && !LEFT
  if (outputs == SIDE && TAPS == 1) {
    ic = inputs / (2 * SIDE) * (2 * SIDE);
    put_rows(to, w, ic / (2 * SIDE), ICG, SIDE);
  }
#endif
  for (; ic < inputs; ic += 2 * SIDE)
    pack_step(w + ic * (NHWC ? OC : (long)TAPS), to + ic / (2 * SIDE) * (PARTS * TILE_PAIRS), gathered, outputs,
              LESSER(2 * SIDE, inputs - ic), OC, ICG, TAPS, NEXT);
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void pack_split(
    __global const real *restrict w, __global uint *restrict packed, __local acc_t *gathered, const int OC, const int ICG,
    const int OCG, const int TAPS, const int STEPS, const int STEPS_ITEM, const int BLOCKS BELL_PARAMETERS) {
  RING_BELL;
  const int step = get_global_id(NHWC) * STEPS_ITEM; /* 0 .. STEPS-1 */
  const int block = get_global_id(!NHWC);            /* 0 .. G*BLOCKS-1 */
  const int g = block / BLOCKS, ocg = block % BLOCKS * SIDE, ic = step * 2 * SIDE;
  const long oc = g * OCG + ocg;
  __global uint *to = packed + ((long)block * TAPS * STEPS + step) * (PARTS * TILE_PAIRS);
  item(w + (NHWC ? (long)ic * OC + oc : (oc * ICG + ic) * TAPS), to, gathered, LESSER(SIDE, OCG - ocg),
       LESSER(2 * SIDE * STEPS_ITEM, ICG - ic), OC, ICG, TAPS, (long)STEPS * PARTS * TILE_PAIRS);
}
