/* Phases of an image put together, as a transposed convolution and DepthToSpace need it:
 *
 *   y[n, c, oh, ow] = x[n, channel(c, rh, rw), vh, vw]        with oh + AH = vh*SH + rh and ow + AW = vw*SW + rw
 *
 * x    N, channels, VH VW: a, b, c and d, in which the phases are channels.
 *          a   the phases rh below RH and rw below RW       b   rh below RH and rw from RW on (if RW is less than SW)
 *          c   rh from RH on and rw below RW (if RH < SH)   d   both from there on
 * y    N OC OH OW
 * Less than SH rows and SW columns, AH and AW, are cut off in front, and behind what OH and OW leave.
 *
 * In an image of P by Q phases, channel(oc, rh, rw) is (oc*P + rh)*Q + rw; with PHASES_FIRST (rh*Q + rw)*OC + oc.
 *
 *       x  aaaa  bbbb      y  abababab      (SH and SW 2, nothing cut off)
 *          cccc  dddd         cdcdcdcd
 *
 * Elements are moved as bits, so every type of that size is served. Each is read and written once.
 *
 * Work-items: (block of ROWS rows of y); on a GPU, whose work-groups have several, one per element of y, in its order. Rounded up to
 * work-groups.
 *
 * Macros: element.clh; BYTES (1, 2, 4, 8: size of an element), SH, SW, RH, RW, PHASES_FIRST (0, 1), UNALIGNED_VECTORS, ITEMS
 * (work-items of a work-group).
 */
#if !defined(BYTES) || !defined(SH) || !defined(SW) || !defined(RH) || !defined(RW) || !defined(PHASES_FIRST) || \
    !defined(UNALIGNED_VECTORS) || !defined(ITEMS)
#error "BYTES, SH, SW, RH, RW, PHASES_FIRST, UNALIGNED_VECTORS and ITEMS must be set by the plan"
#endif

#include "include/element.clh"

/* The plane of an image of P by Q phases. */
static inline long plane_of(const int n, const int oc, const int OC, const int rh, const int rw, const int P, const int Q) {
#if PHASES_FIRST
  return ((long)(n * P + rh) * Q + rw) * OC + oc;
#else
  return ((long)(n * OC + oc) * P + rh) * Q + rw;
#endif
}

#if UNALIGNED_VECTORS
typedef element half_u __attribute__((ext_vector_type(LANES / 2), aligned(BYTES)));
#endif

/* Element of phase rw; the phases of an image lie `apart`. */
#define OF_PHASE(rw) ((rw) < RW ? from[(rw)*apart] : more[((rw)-RW) * apart])

/* to = the elements of SW phases in turn, without the first `cut` of the first turn. */
static inline void deal(__global element *to, __global const element *from, __global const element *more, const long apart,
                        const int cut, const int count) {
#if SW == 1
  move_row(to, from, count);
#else
  int done = 0; /* elements of y */
  if (cut > 0) {
    for (int rw = cut; rw < SW && done < count; rw++) to[done++] = OF_PHASE(rw);
    from++;
    more++;
  }
#if SW == 2
#if UNALIGNED_VECTORS
  __global const element *second = RW == 1 ? more : from + apart;
  for (; done + LANES <= count; done += LANES) {
    lanes_u both;
    both.even = *(__global const half_u *)from;
    both.odd = *(__global const half_u *)second;
    *(__global lanes_u *)(to + done) = both;
    from += LANES / 2;
    more += LANES / 2;
    second += LANES / 2;
  }
#endif
#endif
  for (; done + SW <= count; done += SW) {
    for (int rw = 0; rw < SW; rw++) to[done + rw] = OF_PHASE(rw);
    from++;
    more++;
  }
  for (int rw = 0; done < count; rw++) to[done++] = OF_PHASE(rw);
#endif
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void interleave(
    __global const element *restrict a, __global const element *restrict b, __global const element *restrict c,
    __global const element *restrict d, __global element *restrict y, const int N, const int OC, const int VH, const int VW,
    const int OH, const int OW, const int AH, const int AW, const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const long area = (long)VH * VW;
#if ITEMS == 1
  const int row0 = (int)get_global_id(0) * ROWS; /* 0 .. N*OC*OH-1 */
  for (int row = row0; row < row0 + ROWS && row < N * OC * OH; row++) {
    const int plane = row / OH;                  /* 0 .. N*OC-1 */
    const int vh = (row - plane * OH + AH) / SH; /* 0 .. VH-1 */
    const int rh = row - plane * OH + AH - vh * SH;
    const int n = plane / OC, oc = plane - n * OC;
    const int below = rh < RH; /* else the phase is one of c and d */
    const int p = below ? rh : rh - RH, P = below ? RH : SH - RH;
    __global const element *from = (below ? a : c) + plane_of(n, oc, OC, p, 0, P, RW) * area + (long)vh * VW;
#if RW < SW
    __global const element *more = (below ? b : d) + plane_of(n, oc, OC, p, 0, P, SW - RW) * area + (long)vh * VW;
#else
    __global const element *more = from;
#endif
    deal(y + (long)row * OW, from, more, (PHASES_FIRST ? OC : 1) * area, AW, OW);
  }
#else
  const uint item = get_global_id(0);
  const int ow = item % OW;
  const int oh = item / OW % OH;
  const int oc = item / OW / OH % OC;
  const int n = item / OW / OH / OC; /* 0 .. N-1, and more in the last work-group */
  if (n >= N) return;
  const int vh = (oh + AH) / SH, vw = (ow + AW) / SW;
  const int rh = oh + AH - vh * SH, rw = ow + AW - vw * SW;
  const int below = rh < RH, left = rw < RW;
  const int P = below ? RH : SH - RH, Q = left ? RW : SW - RW;
  __global const element *from = below ? (left ? a : b) : (left ? c : d);
  y[item] = from[plane_of(n, oc, OC, below ? rh : rh - RH, left ? rw : rw - RW, P, Q) * area + (long)vh * VW + vw];
#endif
}
