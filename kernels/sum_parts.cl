/* Adds up the parts of a convolution whose taps were dealt out to several work-groups, and ends it (GPUs).
 *
 *   y[e] = act( bias + residual[e] + sum over part of parts[part][e] )        e: element of y, 0 .. SIZE-1
 *
 * parts            [PARTS][SIZE], elements of acc_t, in the layout of y
 * y, residual      N C H W, or N H W C        (macro NHWC)
 * bias             OC
 *
 * Work-items: one per element, along dimension 0, rounded up to work-groups. The parts are added in their order, so that the
 * same inputs give the same bits.
 *
 * Macros: types.clh, epilogue.clh; NHWC.
 */
#include "include/types.clh"
#include "include/epilogue.clh"

#ifndef NHWC
#error "NHWC must be set by the plan"
#endif

__kernel void sum_parts(__global const acc_t *restrict parts, __global const real *restrict bias,
                        __global const real *restrict residual, __global real *restrict y, const int PARTS, const int SIZE,
                        const int OC, const int AREA, const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int e = get_global_id(0);
  if (e >= SIZE) return;
  const int oc = (NHWC ? e : e / AREA) % OC; /* 0 .. OC-1, AREA = OH*OW */
  acc_t v = 0;
  for (int part = 0; part < PARTS; part++) v += parts[(long)part * SIZE + e];
  if (HAS_BIAS) v += LOAD(bias, oc);
  if (HAS_RESIDUAL) v += LOAD(residual, e);
  STORE(y, e, activate(v, act_a, act_b));
}
