/* Pixels of an image at places that another tensor names, between its own ones:
 *
 *   y[n, c, p] = sum over ty, tx of weight(ty) * weight(tx) * x[n, c, row(ty), column(tx)]     near (grid[n, p, 1], grid[n, p, 0])
 *
 * x       N x C x H x W
 * grid    N x P x 2: column and row, each -1 .. 1 from one border of the image to the other, or beyond
 * y       N x C x P
 *
 * With ALIGN the borders are the middles of the outermost pixels, else their outer edges. Of TAPS pixels along each axis, the nearest
 * one counts, two by their distance, or four by Keys' cubic function (a = -0.75). What lies beyond the image is 0, its outermost
 * pixel, or the image in a mirror. Numbers that are none, or far beyond, name a place 2**23 pixels away.
 *
 * Work-items: (block of ROWS of N * P places), rounded up to work-groups; a place is that of all channels.
 *
 *        column
 *       +--+--+
 *   row |  |  |   .  the place, TAPS = 2
 *       +--+.-+
 *       |  |  |
 *       +--+--+
 *
 * Per output TAPS * TAPS elements are read and one is written; two numbers of the grid for all channels.
 *
 * Macros: types.clh; TAPS (1, 2, 4); BEYOND (0: zeros, 1: the outermost pixel, 2: mirrored); ALIGN (0, 1);
 * ITEMS (work-items of a work-group).
 */
#include "include/types.clh"

#if !defined(TAPS) || !defined(BEYOND) || !defined(ALIGN) || !defined(ITEMS)
#error "TAPS, BEYOND, ALIGN and ITEMS must be set by the plan"
#endif

#define FAR_AWAY ((acc_t)8388608)

/* Pixel i of SIZE, which may lie beyond them; -1 for none. */
static inline int pixel_of(const int i, const int SIZE) {
#if BEYOND == 0
  return i < 0 || i >= SIZE ? -1 : i;
#elif BEYOND == 1
  return i < 0 ? 0 : i >= SIZE ? SIZE - 1 : i;
#else
#if ALIGN
  const int period = SIZE > 1 ? 2 * (SIZE - 1) : 1, turned = period; /* the outermost pixel is there once */
#else
  const int period = 2 * SIZE, turned = period - 1;
#endif
  const int m = i % period, forth = m < 0 ? m + period : m; /* 0 .. period-1 */
  return forth < SIZE ? forth : turned - forth;
#endif
}

/* The pixels near a place along one axis, and their weights. */
static inline void taps_of(const acc_t place, const int SIZE, int *pixels, acc_t *weights) {
#if ALIGN
  const acc_t exact = (place + 1) / 2 * (SIZE - 1);
#else
  const acc_t exact = ((place + 1) * SIZE - 1) / 2;
#endif
  const acc_t near = exact > -FAR_AWAY ? LESSER(exact, FAR_AWAY) : -FAR_AWAY;
#if TAPS == 1
  pixels[0] = pixel_of((int)rint(near), SIZE);
  weights[0] = 1;
#else
  const acc_t below = floor(near), t = near - below;
  for (int k = 0; k < TAPS; k++) pixels[k] = pixel_of((int)below + k - (TAPS / 2 - 1), SIZE);
#if TAPS == 2
  weights[0] = 1 - t;
  weights[1] = t;
#else
  const acc_t a = -0.75f, u = 1 - t;
  weights[0] = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a;
  weights[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
  weights[2] = ((a + 2) * u - (a + 3)) * u * u + 1;
  weights[3] = ((a * (u + 1) - 5 * a) * (u + 1) + 8 * a) * (u + 1) - 4 * a;
#endif
#endif
}

/* One place, of all channels; P elements from one to the next. */
ITEM void sample(__global const real *x, const acc_t row, const acc_t column, __global real *y, const int C, const int H, const int W,
                 const int P) {
  int rows[TAPS], columns[TAPS];
  acc_t down[TAPS], across[TAPS];
  taps_of(row, H, rows, down);
  taps_of(column, W, columns, across);
  for (int c = 0; c < C; c++) {
    __global const real *plane = x + (long)c * H * W;
    acc_t sum = 0;
    for (int i = 0; i < TAPS; i++) {
      acc_t line = 0;
      for (int j = 0; j < TAPS; j++)
        if (rows[i] >= 0 && columns[j] >= 0) line += across[j] * LOAD(plane, (long)rows[i] * W + columns[j]);
      sum += down[i] * line;
    }
    STORE(y, (long)c * P, sum);
  }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void grid_sample(
    __global const real *restrict x, __global const real *restrict grid, __global real *restrict y, const int PLACES, const int C,
    const int H, const int W, const int P, const int ROWS BELL_PARAMETERS) {
  RING_BELL;
  const long first = (long)get_global_id(0) * ROWS;
  const int end = PLACES - first < ROWS ? (int)(PLACES - first) : ROWS; /* below 1 behind the last block */
  for (int i = 0; i < end; i++) {
    const long place = first + i; /* 0 .. N*P-1 */
    const long n = place / P, p = place - n * P;
    sample(x + n * C * H * W, LOAD(grid, 2 * place + 1), LOAD(grid, 2 * place), y + n * C * P + p, C, H, W, P);
  }
}
