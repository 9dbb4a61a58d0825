/* Elements of another type, which is one of integers or truth values:  y[i] = x[i], without what is behind the point.
 *
 * x   of any type of numbers, as one row of COUNT elements
 * y   of a type of integers; of truth values 0 and 1
 *
 * Work-items: (piece), rounded up to work-groups; each takes CHUNK elements in a row.
 *
 * Per output one element is read and one written. What is too large for the type, or no number, becomes any number.
 *
 * Macros: types.clh, number.clh; TO (3 .. 10, as FROM; 11 truth values); ITEMS (work-items of a work-group).
 */
#include "include/types.clh"
#include "number.clh"

#if !defined(TO) || !defined(ITEMS)
#error "TO and ITEMS must be set by the plan"
#endif

#if TO < 3 || TO > 11
#error "TO must be one of 3 .. 11"
#endif
#if TO == 11
typedef uchar to_t;
#define GIVE(v) ((v) != 0)
#else
typedef STORED(TO) to_t;
#define GIVE(v) ((to_t)(v))
#endif

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void cast_integer(__global const STORED(FROM) *restrict x,
                                                                              __global to_t *restrict y, const int COUNT,
                                                                              const int CHUNK BELL_PARAMETERS) {
  RING_BELL;
  const long at = (long)get_global_id(0) * CHUNK;
  const int begin = at < COUNT ? at : COUNT; /* 0 .. COUNT, which is behind the last element */
  const int end = COUNT - begin < CHUNK ? COUNT : begin + CHUNK;
  for (int i = begin; i < end; i++) y[i] = GIVE(TAKE(x, i));
}
