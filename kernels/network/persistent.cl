/* Several kernels in one: its threads take the work-groups of a step and, when all of them are done, those of the next.
 *
 *   thread 0   [step 1][step 1][step 1]  [step 2][step 2][step 3 ...
 *   thread 1   [step 1][step 1][step 1  ][step 2][step 2][step 3 ...
 *
 * As kernels of their own, each step costs the host a command and the driver's threads a lock, a signal and often a sleep between two
 * steps: 10 to 30 us, where many a layer takes 20. Here it is a counter: less than 1 us.
 *
 * OpenCL C has no pointers to functions, but a parameter that is declared as a function is one. PoCL compiles a kernel to code
 *
 *   void code(arguments, context, x, y, z)
 *
 * for work-group (x, y, z); argument i is at *arguments[i]; the context begins with 3 x 3 numbers: work-groups, offset, work-items of
 * a work-group. All that is given here as addresses.
 *
 * steps      STEPS x 8: address of the code; of its arguments, those of thread 0; bytes from there to the next thread's, 0 where all
 *            have the same; address of its context; work-groups, those along x, those along y; nothing
 * external   threads x EXTERNAL: where arguments read the addresses of what a call brings, external0 and so on, each thread its own
 * counters   16: threads that have left; then for each step (PARTS + 1) x 16: work-groups that were taken of each part, and those done.
 *            All are 0 before a call and after it
 *
 * The work-groups of a step lie in PARTS parts. A thread takes those of its own part first, so that it mostly finds in its cache what
 * it wrote a step before, then those of others.
 *
 * A thread waits for work-groups that others have taken, never for one to be taken: it does all alone if no other comes, and one that
 * comes late finds nothing to do.
 *
 * Work-items: one for each thread.
 *
 * Macros: none.
 */
#include "include/pause.clh"

#define EXTERNAL 8 /* places of a thread: a line of the cache */
#define LINE 16    /* numbers, of which one is used, so that two counters do not share a line */

/* The address becomes a pointer where it is passed. */
static void call(void code(ulong, ulong, ulong, ulong, ulong), const ulong arguments, const ulong context, const ulong x,
                 const ulong y, const ulong z) {
  code(arguments, context, x, y, z);
}

static void run_step(__global const ulong *step, __global volatile int *taken, const int me, const int part, const int PARTS) {
  __global volatile int *done = taken + PARTS * LINE;
  const ulong code = step[0], arguments = step[1] + me * step[2], context = step[3];
  const uint groups = step[4], gx = step[5], gy = step[6];
  for (int i = 0; i < PARTS; i++) {
    const int p = part + i < PARTS ? part + i : part + i - PARTS;
    const uint first = (ulong)groups * p / PARTS, count = (uint)((ulong)groups * (p + 1) / PARTS) - first;
    while (taken[p * LINE] < (int)count) {
      const uint mine = atomic_inc(taken + p * LINE);
      if (mine >= count) break;
      const uint group = first + mine;
      call(code, arguments, context, group % gx, group / gx % gy, group / gx / gy);
      atomic_inc(done);
    }
  }
  while (*done < (int)groups) PAUSE;
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void persistent(
    __global const ulong *steps, const int STEPS, __global ulong *external, __global volatile int *counters, const int PARTS,
    __global void *external0, __global void *external1, __global void *external2, __global void *external3,
    __global void *external4, __global void *external5, __global void *external6, __global void *external7) {
  const int me = get_global_id(0), threads = get_global_size(0), part = (long)me * PARTS / threads;
  const int length = (PARTS + 1) * LINE; /* of a step's counters */
  __global ulong *place = external + me * EXTERNAL;
  place[0] = (ulong)external0, place[1] = (ulong)external1, place[2] = (ulong)external2, place[3] = (ulong)external3;
  place[4] = (ulong)external4, place[5] = (ulong)external5, place[6] = (ulong)external6, place[7] = (ulong)external7;
  for (int s = 0; s < STEPS; s++) run_step(steps + 8 * s, counters + LINE + s * length, me, part, PARTS);
  if (atomic_inc(counters) == threads - 1)
    for (int i = 0; i < LINE + STEPS * length; i++) counters[i] = 0;
}

/* Where a buffer is. Work-items: one. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void address_of(__global const void *buffer, __global ulong *address,
                                                                        const int i) {
  address[i] = (ulong)buffer;
}
