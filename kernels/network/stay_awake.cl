/* Nothing, for as long as a step of a network is the latest that has begun:  while (bell[0] == step) wait.
 *
 * bell   bell[0] is the number of the latest step, written by its work-groups (include/bell.clh); to bell[1] 1 is added for
 *        each work-item that looked in vain
 * step   enqueued beside this, and ready when this is
 *
 * PoCL lets a thread sleep that finds no work-group, and it takes 15 to 60 us until it is awake again. The threads that are
 * done with a step while others have its last work-groups take this in between, and are there when the next one begins:
 *
 *   thread 0   [step 1 ..........................][step 2 ..................
 *   thread 1   [step 1 ................][ awake  ][step 2 ..................
 *
 * It ends after LOOKS in any case: a long last work-group, or a host that is late, cost no more than that. No result depends
 * on it, nothing waits for it, and a step that has not begun yet when a thread comes here does not hold it.
 *
 * Work-items: one for each thread that may come here; all of a device but one.
 *
 * Macros: LOOKS.
 */
#include "include/pause.clh"

#if !defined(LOOKS)
#error "LOOKS must be set by the plan"
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void stay_awake(__global volatile int *bell, const int step) {
  int i = 0;
  for (; i < LOOKS && *bell == step; i++) PAUSE;
  if (i == LOOKS) atomic_inc(bell + 1);
}
