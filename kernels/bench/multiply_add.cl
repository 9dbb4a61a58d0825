/* The peak of the multiply-add units: as many independent chains as hide the latency of one.
 *
 *   a[i] = a[i] * m + c      STEPS times, for i = 0 .. CHAINS-1
 *
 * y                one vector a work-item: the sum of its chains, so that no compiler removes them
 *
 * Work-items: any number, at least one per compute unit; (id).
 *
 *        a[0]  ==m,c==> a[0]  ==m,c==> a[0]  ...  STEPS times
 *        a[1]  ==m,c==> a[1]  ==m,c==> a[1]       the rows do not wait for each other
 *        ...
 *
 * Per work-item: 2 * VEC * CHAINS * STEPS operations, one vector written, nothing read.
 *
 * Macros: wide.clh, vector.clh; CHAINS (independent accumulators; 8 .. 12 fit a register file of 16).
 */
#include "include/wide.clh"

#include "include/vector.clh"

#ifndef CHAINS
#error "CHAINS must be set by the benchmark"
#endif

/* y: of this work-item. */
ITEM void item(__global float *y, const float m, const float c, const int STEPS) {
  const vec vm = VEC_OF(m), vc = VEC_OF(c);
  vec a[CHAINS];
  UNROLL for (int i = 0; i < CHAINS; i++) a[i] = VEC_OF(c * (i + 1));
  for (int step = 0; step < STEPS; step++) {
    UNROLL for (int i = 0; i < CHAINS; i++) a[i] = a[i] * vm + vc;
  }
  vec sum = a[0];
  UNROLL for (int i = 1; i < CHAINS; i++) sum += a[i];
  STORE_ACC(y, sum);
}
WIDE_END

__kernel void multiply_add(__global float *restrict y, const float m, const float c, const int STEPS) {
  const long id = get_global_id(0); /* 0 .. work-items - 1 */
  item(y + id * VEC, m, c, STEPS);
}
