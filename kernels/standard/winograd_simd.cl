/* Winograd convolution F(TILE x TILE, TAPS x TAPS): output in tiles of TILE x TILE, each from SIDE x SIDE pixels. With stride 1, SIDE =
 * TILE + TAPS - 1 is 4, 6 or 8, of filters of 2 to 7 taps a side; with stride 2, filters have 3, and SIDE = 2*TILE + 1.
 *
 *   U[f][oc][ic] = (G w[oc][ic] G^T)[f]                         filter, once        f = 0 .. SIDE*SIDE-1
 *   V[f][ic][t]  = (B^T x[ic, tile t] B)[f]                     see winograd_transforms.clh, with stride 2 winograd_stride2.clh
 *   M[f][oc][t]  = sum over ic of U[f][oc][ic] * V[f][ic][t]    SIDE*SIDE products in place of (TAPS*TILE)**2
 *   y[oc, tile t] = act( (A^T M[oc][t] A) + bias[oc] + residual )
 *
 * A dilated filter, with stride 1, meets pixels DH rows and DW columns apart: the image is DH x DW ones, each with tiles of its own.
 *
 * Vectors run along channels everywhere. A work-item owns a run of tiles (numbered along rows, then images) and some blocks of OC_BLOCK
 * = OCV*VEC output channels of one group:
 *
 *    x  --gather-->  strip  --input-->  V  --multiply-->  M  --output-->  strip  --scatter-->  y
 *       (1 row of tiles, VEC channels)     PART x OC_BLOCK
 *                                          of accumulators,      for each block of output channels: all f, then
 *                                          U read in order       the tiles of that block while M is in the cache
 *
 * V and M stay in local memory, that is in the second-level cache of a CPU. Where V is too large or the tiles too few to share among
 * the compute units, FUSED is 0: winograd_input writes V of some runs to global memory first, and winograd_output does the rest of these.
 *
 * x, y, residual   N C H W, or N H W C        (macro NHWC)
 * w                OC ICG TAPS TAPS, or TAPS TAPS ICG OC
 * U                G Q SIDE*SIDE panels ICB*VEC OC_BLOCK    ICB = ceil(ICG / VEC), OCB = ceil(OCG / OC_BLOCK), tails 0; Q panels of
 *                                                           panel_blocks blocks a group, the last with the rest
 * V                SIDE*SIDE ICB tiles VEC               of one group and one run of tiles
 * M                panel_blocks SIDE*SIDE tiles OC_BLOCK
 *
 * Per tile and pair of channels SIDE*SIDE multiply-adds; per tile and input channel SIDE*SIDE elements of V are written, and as many of M
 * per output channel; U is read once per run of tiles.
 *
 * Macros: types.clh, index.clh, vector.clh, epilogue.clh, wide.clh; SH (1, 2; SW is the same); DH, DW (1 with stride 2); KH (TAPS); TILE;
 * FUSED (0, 1); OCV (vectors of a block of output channels: 2, 4); STRIP_TILES (tiles of a row that are transformed together).
 */
#include "include/types.clh"
#include "include/index.clh"
#include "include/vector.clh"
#include "include/epilogue.clh"

#if !defined(TILE) || !defined(FUSED) || !defined(STRIP_TILES) || !defined(OCV)
#error "TILE, FUSED, STRIP_TILES and OCV must be set by the plan"
#endif

#define COLS (STRIP_TILES * TILE_STEP + SIDE - TILE_STEP)
#define OC_BLOCK (OCV * VEC)
#if SH == 1
#include "winograd_transforms.clh"
#else
#include "winograd_stride2.clh"
#endif
#include "winograd_strip.clh"

#define FREQUENCIES (SIDE * SIDE)
#if FUSED
#define PANEL __local
#else
#define PANEL __global
#endif

#include "winograd_multiply.clh"

/* Sizes of the problem; TY x TX tiles cover an image. With dilation, an image is every DH-th row and DW-th column of one. */
typedef struct {
  int XC, IH, IW, YC, OH, OW, ICG, OCG, PT, PL, TY, TX;
} sizes;

/* A run of tiles within one row of one image, and where its outputs begin: of a row's, a column's, every DH-th, DW-th follows. */
typedef struct {
  int n, ty, tx, count, oh, ow;
} segment;

static inline segment segment_at(const long tile, const long end, const sizes s) {
  segment r;
  const long row = tile / s.TX;
  r.tx = tile % s.TX;
  r.ty = row % s.TY;
  const int image = row / s.TY;
  r.n = image / (DH * DW);
  r.oh = r.ty * TILE * DH + image % (DH * DW) / DW;
  r.ow = r.tx * TILE * DW + image % DW;
  r.count = s.TX - r.tx < STRIP_TILES ? s.TX - r.tx : STRIP_TILES;
  if (r.count > end - tile) r.count = end - tile;
  return r;
}

/* Panels of `panel_blocks` blocks of OC_BLOCK that hold OCG output channels. */
static inline int panels_of(const int OCG, const int panel_blocks) {
  return (OCG + panel_blocks * OC_BLOCK - 1) / (panel_blocks * OC_BLOCK);
}

/* Elements of `size`, which may be below 0, of which every `step`-th counts. */
static inline int left(const int size, const int step) { return size > 0 ? (size + step - 1) / step : 0; }

static inline int least(const int a, const int b) { return a < b ? a : b; }

/* Elements from one frequency to the next: an odd number of OC_BLOCK, for at a power of two all frequencies of a tile would fall
 * on the same few lines of a cache. */
static inline int slab_of(const int elements) { return ((elements + OC_BLOCK - 1) / OC_BLOCK | 1) * OC_BLOCK; }

/* V of one tile from its pixels in the strip; `slab` elements from frequency to frequency. */
static inline void input_tile(__local const acc_t *strip, PANEL acc_t *restrict v, const int slab) {
  vec mid[SIDE][SIDE];
  for (int j = 0; j < SIDE; j++) {
    vec d[SIDE], u[SIDE];
    UNROLL for (int i = 0; i < SIDE; i++) d[i] = LOAD_PIXEL(strip + (i * COLS + j) * VEC);
    input_1d(d, u);
    UNROLL for (int i = 0; i < SIDE; i++) mid[i][j] = u[i];
  }
  for (int i = 0; i < SIDE; i++) {
    vec u[SIDE];
    input_1d(mid[i], u);
    UNROLL for (int j = 0; j < SIDE; j++) *(PANEL vec *)(v + (i * SIDE + j) * slab) = u[j];
  }
}

/* TILE x TILE outputs of one tile into the strip. */
static inline void output_tile(__local const acc_t *m, const int slab, __local acc_t *restrict strip) {
  vec mid[TILE][SIDE];
  for (int j = 0; j < SIDE; j++) {
    vec d[SIDE], o[TILE];
    UNROLL for (int i = 0; i < SIDE; i++) d[i] = LOAD_PIXEL(m + (i * SIDE + j) * slab);
    output_1d(d, o);
    UNROLL for (int i = 0; i < TILE; i++) mid[i][j] = o[i];
  }
  for (int i = 0; i < TILE; i++) {
    vec o[TILE];
    output_1d(mid[i], o);
    UNROLL for (int j = 0; j < TILE; j++) STORE_PIXEL(strip + (i * COLS + j) * VEC, o[j]);
  }
}

/* V of the tiles first .. last-1 for the blocks ic0 .. ic1-1 of VEC input channels of group g. */
ITEM void input_run(__global const real *restrict x, __local acc_t *strip, PANEL acc_t *v, const sizes s, const int g,
                    const long first, const long last, const int ic0, const int ic1) {
  const int tiles = last - first, slab = slab_of((s.ICG + VEC - 1) / VEC * VEC * tiles);
  for (int b = ic0; b < ic1; b++)
    for (long t = first; t < last;) {
      const segment r = segment_at(t, last, s);
      gather(strip, x, r.n, g * s.ICG + b * VEC, least(VEC, s.ICG - b * VEC), r.oh * SH - s.PT, r.ow * SH - s.PL,
             SIDE, r.count * TILE_STEP + SIDE - TILE_STEP, s.XC, s.IH, s.IW);
      for (int k = 0; k < r.count; k++)
        input_tile(strip + k * TILE_STEP * VEC, v + ((long)b * tiles + (t - first) + k) * VEC, slab);
      t += r.count;
    }
}

/* The outputs of the tiles first .. last-1, group g, for the panels q0 .. q1-1 of panel_blocks blocks of output channels. */
ITEM void output_run(__global const acc_t *restrict u, PANEL const acc_t *v, __local acc_t *m, __local acc_t *strip,
                     __global const real *restrict bias, __global const real *restrict residual, __global real *restrict y,
                     const sizes s, const int g, const long first, const long last, const int q0, const int q1,
                     const int panel_blocks, const acc_t act_a, const acc_t act_b) {
  const int tiles = last - first, slab = slab_of(tiles * OC_BLOCK);
  const int ICB = (s.ICG + VEC - 1) / VEC, OCB = (s.OCG + OC_BLOCK - 1) / OC_BLOCK, v_slab = slab_of(ICB * VEC * tiles);
  const long u_block = (long)ICB * VEC * OC_BLOCK;
  for (int q = q0; q < q1; q++) {
    const int b0 = q * panel_blocks, count = least(panel_blocks, OCB - b0);
    __global const acc_t *uq = u + ((long)g * OCB + b0) * FREQUENCIES * u_block;
    __global const acc_t *end = uq + count * FREQUENCIES * u_block;
    for (int f = 0; f < FREQUENCIES; f++)
      for (int b = 0; b < count; b++, uq += u_block)
        multiply(uq, uq + u_block < end ? uq + u_block : uq, v + (long)f * v_slab, m + (b * FREQUENCIES + f) * slab, ICB, tiles);
    for (int b = 0; b < count; b++)
      for (int h = 0; h < OCV; h++) {
        const int oc = (b0 + b) * OC_BLOCK + h * VEC; /* 0 .. OCG-1, and the tail of the last block */
        if (oc >= s.OCG) break;
        for (long t = first; t < last;) {
          const segment r = segment_at(t, last, s);
          for (int k = 0; k < r.count; k++)
            output_tile(m + b * FREQUENCIES * slab + (int)(t - first + k) * OC_BLOCK + h * VEC, slab, strip + k * TILE * VEC);
          scatter(strip, bias, residual, y, r.n, g * s.OCG + oc, least(VEC, s.OCG - oc), r.oh, r.ow,
                  least(TILE, left(s.OH - r.oh, DH)), least(r.count * TILE, left(s.OW - r.ow, DW)), s.YC, s.OH, s.OW, act_a, act_b);
          t += r.count;
        }
      }
  }
}

/* The taps of input channel ic, all 0 behind the last one, for VEC output channels from oc on, of which n are there. */
static inline void load_taps(__global const real *w, vec taps[TAPS * TAPS], const int oc, const int n, const int ic, const int OC,
                             const int ICG) {
  vec_lanes t[TAPS * TAPS];
  ROLLED for (int tap = 0; tap < TAPS * TAPS; tap++) t[tap].v = VEC_OF(0);
#if NHWC
  if (ic < ICG) ROLLED for (int tap = 0; tap < TAPS * TAPS; tap++) {
      __global const real *from = w + ((long)tap * ICG + ic) * OC + oc;
      t[tap].v = n >= VEC ? LOAD_VEC(from) : LOAD_VEC_SOME(from, n);
    }
#else
  if (ic < ICG) ROLLED for (int i = 0; i < least(n, VEC); i++)
      UNROLL for (int tap = 0; tap < TAPS * TAPS; tap++) t[tap].s[i] = LOAD(w, ((long)(oc + i) * ICG + ic) * TAPS * TAPS + tap);
#endif
  ROLLED for (int tap = 0; tap < TAPS * TAPS; tap++) taps[tap] = t[tap].v;
}

/* U of one input channel and block of output channels, `pitch` elements from frequency to frequency. Whole lines are written. */
static inline void filter_block(vec taps[OCV][TAPS * TAPS], __global acc_t *u, const long pitch) {
  vec mid[OCV][TAPS][SIDE];
  ROLLED for (int h = 0; h < OCV; h++)
    ROLLED for (int k = 0; k < TAPS; k++) {
      vec column[TAPS];
      UNROLL for (int i = 0; i < TAPS; i++) column[i] = taps[h][i * TAPS + k];
      filter_1d(column, mid[h][k]);
    }
  ROLLED for (int i = 0; i < SIDE; i++, u += SIDE * pitch) {
    vec t[OCV][SIDE];
    UNROLL for (int h = 0; h < OCV; h++) {
      vec row[TAPS];
      UNROLL for (int k = 0; k < TAPS; k++) row[k] = mid[h][k][i];
      filter_1d(row, t[h]);
    }
    UNROLL for (int j = 0; j < SIDE; j++)
      UNROLL for (int h = 0; h < OCV; h++) STORE_ACC(u + j * pitch + h * VEC, t[h][j]);
  }
}

/* The same of VEC input channels from `first` on; oc, n: as for load_taps. */
ITEM void filter_channels(__global const real *w, __global acc_t *u, const long pitch, const int first, const int oc, const int n,
                          const int OC, const int ICG) {
  for (int ic = first; ic < first + VEC; ic++) {
    vec taps[OCV][TAPS * TAPS];
    ROLLED for (int h = 0; h < OCV; h++) load_taps(w, taps[h], oc + h * VEC, n - h * VEC, ic, OC, ICG);
    filter_block(taps, u + (long)ic * OC_BLOCK, pitch);
  }
}

/* U. Work-items: (VEC input channels, g*OCB + block of output channels), or the reverse, for blocks follow each other in N H W C. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void winograd_filter(
    __global const real *restrict w, __global acc_t *restrict u, const int OC, const int ICG, const int OCG, const int OCB,
    const int panel_blocks BELL_PARAMETERS) {
  RING_BELL;
  const int g = get_global_id(!NHWC) / OCB; /* 0 .. G-1 */
  const int b = get_global_id(!NHWC) % OCB; /* 0 .. OCB-1 */
  const int ICP = get_global_size(NHWC) * VEC, first = get_global_id(NHWC) * VEC, ocg = b * OC_BLOCK;
  const int b0 = b / panel_blocks * panel_blocks, count = least(panel_blocks, OCB - b0); /* the panel of b */
  __global acc_t *to = u + (((long)g * OCB + b0) * FREQUENCIES + (b - b0)) * ICP * OC_BLOCK;
  filter_channels(w, to, (long)count * ICP * OC_BLOCK, first, g * OCG + ocg, OCG - ocg, OC, ICG);
}

#if FUSED

/* Work-items: (run of tiles, share of the output channels, group). */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void winograd_fused(
    __global const real *restrict x, __global const acc_t *restrict u, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, __local acc_t *v, __local acc_t *m, __local acc_t *strip,
    const int XC, const int IH, const int IW, const int YC, const int OH, const int OW, const int ICG, const int OCG,
    const int PT, const int PL, const int TY, const int TX, const int IMAGES, const int panel_blocks, const acc_t act_a,
    const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const sizes s = {XC, IH, IW, YC, OH, OW, ICG, OCG, PT, PL, TY, TX};
  const int g = get_global_id(2), shares = get_global_size(1);
  const long tiles = (long)IMAGES * TY * TX, runs = get_global_size(0), run = get_global_id(0), share = get_global_id(1);
  const long first = run * tiles / runs, last = (run + 1) * tiles / runs;
  const int Q = panels_of(OCG, panel_blocks);
  input_run(x, strip, v, s, g, first, last, 0, (ICG + VEC - 1) / VEC);
  output_run(u, v, m, strip, bias, residual, y, s, g, first, last, share * Q / shares, (share + 1) * Q / shares, panel_blocks,
             act_a, act_b);
}

#else

/* V of a run, in elements. */
static inline long v_size(const long tiles, const int RUNS, const int ICG) {
  return (long)FREQUENCIES * slab_of((ICG + VEC - 1) / VEC * VEC * (int)((tiles + RUNS - 1) / RUNS));
}

/* Work-items: (run of tiles, from RUN0 on, block of VEC input channels, group). v: of these runs. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void winograd_input(
    __global const real *restrict x, __global acc_t *restrict v, __local acc_t *strip, const int XC, const int IH, const int IW,
    const int YC, const int OH, const int OW, const int ICG, const int OCG, const int PT, const int PL, const int TY,
    const int TX, const int IMAGES, const int RUN0, const int RUNS BELL_PARAMETERS) {
  RING_BELL;
  const sizes s = {XC, IH, IW, YC, OH, OW, ICG, OCG, PT, PL, TY, TX};
  const int b = get_global_id(1), g = get_global_id(2);
  const long tiles = (long)IMAGES * TY * TX, run = RUN0 + get_global_id(0), place = g * get_global_size(0) + get_global_id(0);
  const long first = run * tiles / RUNS, last = (run + 1) * tiles / RUNS;
  input_run(x, strip, v + place * v_size(tiles, RUNS, ICG), s, g, first, last, b, b + 1);
}

/* Work-items: (run of tiles, from RUN0 on, share of the output channels, group). v: of these runs. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void winograd_output(
    __global const acc_t *restrict v, __global const acc_t *restrict u, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, __local acc_t *m, __local acc_t *strip, const int XC,
    const int IH, const int IW, const int YC, const int OH, const int OW, const int ICG, const int OCG, const int PT,
    const int PL, const int TY, const int TX, const int IMAGES, const int RUN0, const int RUNS, const int panel_blocks,
    const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const sizes s = {XC, IH, IW, YC, OH, OW, ICG, OCG, PT, PL, TY, TX};
  const int g = get_global_id(2), shares = get_global_size(1);
  const long tiles = (long)IMAGES * TY * TX, run = RUN0 + get_global_id(0), place = g * get_global_size(0) + get_global_id(0);
  const long first = run * tiles / RUNS, last = (run + 1) * tiles / RUNS, share = get_global_id(1);
  const int Q = panels_of(OCG, panel_blocks);
  output_run(u, v + place * v_size(tiles, RUNS, ICG), m, strip, bias, residual, y, s, g, first, last, share * Q / shares,
             (share + 1) * Q / shares, panel_blocks, act_a, act_b);
}

#endif
