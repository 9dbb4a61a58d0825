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
 * external   PLACES: where arguments read the addresses of what a call brings
 * counters   16: threads that have left; then for each step (PARTS + 1) x 16: work-groups that were taken of each part, and those done.
 *            All are 0 before a call and after it
 *
 * The work-groups of a step lie in PARTS parts. A thread takes those of its own part first, so that it mostly finds in its cache what
 * it wrote a step before, then those of others: 4 to 8 % of a network's time.
 *
 * A thread waits for work-groups that others have taken, never for one to be taken: it does all alone if no other comes, and one that
 * comes late finds nothing to do. All is done when those that have come have left.
 *
 * Macros: none.
 */
#include "include/bell.clh"
#include "include/pause.clh"

#define LINE 16      /* numbers, of which one is used, so that two counters do not share a line */
#define PATIENCE 256 /* looks, 3 to 10 us, before a thread asks whether another one wants its core */

#define WAIT_WHILE(condition)                 \
  for (int looks = 1; condition; looks++) {   \
    PAUSE;                                    \
    if (looks % PATIENCE == 0) YIELD;         \
  }

/* The address becomes a pointer where it is passed; the compiler would say so each time. */
#pragma clang diagnostic ignored "-Wint-conversion"
static void call(void code(ulong, ulong, ulong, ulong, ulong), const ulong arguments, const ulong context, const ulong x,
                 const ulong y, const ulong z) {
  code(arguments, context, x, y, z);
}

/* Behind the last step nobody waits in here: a thread that leaves has done what it took. */
static void run_step(__global const ulong *step, __global volatile int *taken, const int me, const int part, const int PARTS,
                     const bool last) {
  __global volatile int *done = taken + PARTS * LINE;
  const ulong code = step[0], arguments = step[1] + me * step[2], context = step[3];
  const uint groups = step[4], gx = step[5], gy = step[6];
  int finished = 0;
  for (int i = 0; i < PARTS; i++) {
    const int p = part + i < PARTS ? part + i : part + i - PARTS;
    const uint first = (ulong)groups * p / PARTS, count = (uint)((ulong)groups * (p + 1) / PARTS) - first;
    while (taken[p * LINE] < (int)count) {
      const uint mine = atomic_inc(taken + p * LINE);
      if (mine >= count) break;
      const uint group = first + mine;
      call(code, arguments, context, group % gx, group / gx % gy, group / gx / gy);
      finished++;
    }
  }
  if (last) return;
  atomic_add(done, finished); /* at once: each time, where work-groups are brief, threads would wait for the line */
  WAIT_WHILE(*done < (int)groups);
}

static void run_steps(__global const ulong *steps, const int STEPS, __global volatile int *counters, const int PARTS, const int me,
                      const int THREADS) {
  const int part = (long)me * PARTS / THREADS, length = (PARTS + 1) * LINE; /* of a step's counters */
  for (int s = 0; s < STEPS; s++) run_step(steps + 8 * s, counters + LINE + s * length, me, part, PARTS, s == STEPS - 1);
}

static void clear(__global volatile int *counters, const int STEPS, const int PARTS) {
  const int count = LINE + STEPS * (PARTS + 1) * LINE;
  for (int i = 0; i < count; i++) counters[i] = 0;
}

/* Work-items: one for each thread. All write the same addresses. The last one to leave sets the counters to 0. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void persistent(
    __global const ulong *steps, const int STEPS, __global volatile int *counters, const int PARTS, __global ulong *external,
    __global void *external0, __global void *external1, __global void *external2, __global void *external3,
    __global void *external4, __global void *external5, __global void *external6, __global void *external7) {
  const int me = get_global_id(0), THREADS = get_global_size(0);
  external[0] = (ulong)external0, external[1] = (ulong)external1, external[2] = (ulong)external2, external[3] = (ulong)external3;
  external[4] = (ulong)external4, external[5] = (ulong)external5, external[6] = (ulong)external6, external[7] = (ulong)external7;
  run_steps(steps, STEPS, counters, PARTS, me, THREADS);
  if (atomic_inc(counters) == THREADS - 1) clear(counters, STEPS, PARTS);
}

/* The desk: where the thread that calls lays out its work for the driver's threads, which stay there for a while between two calls. What is
 * read and written together lies in one line of the cache.
 *
 *   OPEN      number of the call that a thread may take part in, 0 for none
 *   WORK      steps, STEPS, counters, PARTS of that call
 *   CALLS     how many there have been
 *   INSIDE    threads that take part, or look whether they may
 *   PRESENT   threads that are there
 *   QUIT      number of the last crew that is to leave
 */
#define OPEN 0
#define WORK 1
#define CALLS 5
#define INSIDE 8
#define PRESENT 16
#define QUIT 24

typedef __global volatile ulong *desk_t;

/* In the thread that calls, which the host calls by its address as well: does the steps with whoever is at the desk; the addresses of
 * arrays were written before. Nobody is woken, nor has to wake the caller. No thread is at the work any more when it ends. Work-items:
 * one. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void lead(__global const ulong *steps, const int STEPS,
                                                                  __global volatile int *counters, const int PARTS,
                                                                  const int THREADS, desk_t desk BELL_PARAMETERS) {
  RING_BELL;
  __global volatile int *inside = (__global volatile int *)&desk[INSIDE];
  const ulong call = desk[CALLS] + 1;
  desk[CALLS] = call;
  desk[WORK] = (ulong)steps, desk[WORK + 1] = STEPS, desk[WORK + 2] = (ulong)counters, desk[WORK + 3] = PARTS;
  desk[OPEN] = call;
  run_steps(steps, STEPS, counters, PARTS, 0, THREADS);
  desk[OPEN] = 0;
  atomic_add(inside, 0); /* whoever comes inside from now on sees that nothing is open */
  WAIT_WHILE(*inside);
  clear(counters, STEPS, PARTS);
}

/* A thread at the desk: takes part in each call, until there was none for LOOKS. Work-items: one for each thread but the caller's. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void crew(desk_t desk, const int number, const int LOOKS) {
  const int me = 1 + (int)get_global_id(0), THREADS = 1 + (int)get_global_size(0);
  __global volatile int *inside = (__global volatile int *)&desk[INSIDE], *present = (__global volatile int *)&desk[PRESENT];
  ulong last = 0;
  atomic_inc(present);
  for (int looks = 1; looks <= LOOKS && (int)desk[QUIT] < number; looks++) {
    const ulong open = desk[OPEN];
    if (open && open != last) {
      atomic_inc(inside); /* from here on, a call that is open does not end */
      last = desk[OPEN];
      if (last) {
        run_steps((__global const ulong *)desk[WORK], (int)desk[WORK + 1], (__global volatile int *)desk[WORK + 2],
                  (int)desk[WORK + 3], me, THREADS);
        looks = 0;
      }
      atomic_dec(inside);
    }
    PAUSE;
    if (looks % PATIENCE == 0) YIELD;
  }
  atomic_dec(present);
}

/* Where a buffer is. Work-items: one. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void address_of(__global const void *buffer, __global ulong *address,
                                                                        const int i) {
  address[i] = (ulong)buffer;
}
