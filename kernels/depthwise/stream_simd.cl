/* Depthwise convolution in NHWC, straight from the tensor, for sixteen registers: all channels of a tile of pixels, then the next tile.
 *
 *   y[n, oh, ow, c] = act( bias + residual + sum over kh, kw of
 *                          x[n, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL, c] * w[kh, kw, c] )
 *
 * x, y, residual N H W C
 * packed         BLOCKS KH KW VEC elements of acc_t, then C zeros, written by pack_blocks from w (KH KW 1 C), BLOCKS = ceil(C/VEC)
 *
 * Work-items: (band of output rows, n). Each pixel of a tile is a stream of channels, of which VEC are taken at a time:
 *
 *     x, SPAN_H x SPAN_W streams        y, TILE_OH x TILE_OW streams
 *     [v..... [v..... [v..... [v.....
 *     [v..... [v..... [v..... [v.....   [acc... [acc...
 *     [v..... [v..... [v..... [v.....
 *
 * Per tile and vector: SPAN_H*SPAN_W vectors of x at most are read, each once, and those of the filter once in each row of x that they
 * meet: sixteen registers hold the sums and what one row needs, no more. The last vector of a stream overlaps the one before.
 *
 * Where a tile lies inside the image, its pixels are a constant way apart, and two numbers make any address. Elsewhere there is a
 * table of them, in which pixels of the padding are the row of zeros; that costs a load each, a branch each would cost more.
 *
 * Macros: wide.clh, types.clh, vector.clh, epilogue.clh; KH KW SH SW DH DW; TILE_OH, TILE_OW (at most OH of a band, OW).
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/epilogue.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#if !defined(TILE_OH) || !defined(TILE_OW)
#error "TILE_OH and TILE_OW must be set by the plan"
#endif

#define SPAN_H ((TILE_OH - 1) * SH + (KH - 1) * DH + 1)
#define SPAN_W ((TILE_OW - 1) * SW + (KW - 1) * DW + 1)

/* The sums of a vector of channels, to begin with. */
INLINE void begin(vec acc[TILE_OH][TILE_OW], __global const real *bias, const int c) {
  const vec b = HAS_BIAS ? LOAD_VEC(bias + c) : VEC_OF(0);
  UNROLL for (int i = 0; i < TILE_OH; i++)
    UNROLL for (int j = 0; j < TILE_OW; j++) acc[i][j] = b;
}

/* acc += v * taps, for the outputs that use v, of row r and column q of the tile's pixels. */
INLINE void add_pixel(vec acc[TILE_OH][TILE_OW], const int r, const int q, const vec v, __global const acc_t *w) {
  UNROLL for (int kh = 0; kh < KH; kh++)
    UNROLL for (int kw = 0; kw < KW; kw++) {
      const int i = r - kh * DH, j = q - kw * DW; /* i*SH and j*SW for output row i and column j */
      if (i >= 0 && i % SH == 0 && i / SH < TILE_OH && j >= 0 && j % SW == 0 && j / SW < TILE_OW)
        acc[i / SH][j / SW] += v * LOAD_ACC(w + (kh * KW + kw) * VEC);
    }
}

/* residual and y: channel 0 of the tile's first output. */
INLINE void finish(vec acc[TILE_OH][TILE_OW], __global const real *residual, __global real *y, const long YC, const long ROW,
                   const acc_t act_a, const acc_t act_b) {
  UNROLL for (int i = 0; i < TILE_OH; i++, y += ROW, residual += ROW) {
    READ_ANEW(y);
    UNROLL for (int j = 0; j < TILE_OW; j++) {
      if (HAS_RESIDUAL) acc[i][j] += LOAD_VEC(residual + j * YC);
      STORE_VEC(y + j * YC, activate_vec(acc[i][j], act_a, act_b));
    }
  }
}

/* A tile inside the image; x: its first pixel. */
ITEM void tile_inside(__global const real *x, __global const acc_t *w, __global const real *bias,
                      __global const real *residual, __global real *y, const int C, const int XC, const int YC, const int IW,
                      const int OW, const acc_t act_a, const acc_t act_b) {
  for (int from = 0; from < C; from += VEC, w += KH * KW * VEC) {
    const int c = LESSER(from, C - VEC);
    __global const real *row = x + c;
    vec acc[TILE_OH][TILE_OW];
    begin(acc, bias, c);
    UNROLL for (int r = 0; r < SPAN_H; r++, row += (long)IW * XC) {
      READ_ANEW(row);
      READ_ANEW(w);
      UNROLL for (int q = 0; q < SPAN_W; q++) add_pixel(acc, r, q, LOAD_VEC(row + (long)q * XC), w);
    }
    finish(acc, residual + c, y + c, YC, (long)OW * YC, act_a, act_b);
  }
}

/* A tile that reaches over the border of the image x; its first pixel would be in row ih0 and column iw0. */
ITEM void tile_at_border(__global const real *x, __global const acc_t *w, __global const real *zeros, __global const real *bias,
                         __global const real *residual, __global real *y, const int ih0, const int iw0, const int C, const int XC,
                         const int YC, const int IH, const int IW, const int OW, const acc_t act_a, const acc_t act_b) {
  __global const real *pixel[SPAN_H][SPAN_W];
  UNROLL for (int r = 0; r < SPAN_H; r++)
    UNROLL for (int q = 0; q < SPAN_W; q++) {
      const int ih = ih0 + r, iw = iw0 + q;
      const bool inside = ih >= 0 && ih < IH && iw >= 0 && iw < IW;
      pixel[r][q] = inside ? x + ((long)ih * IW + iw) * XC : zeros;
    }
  for (int from = 0; from < C; from += VEC, w += KH * KW * VEC) {
    const int c = LESSER(from, C - VEC);
    vec acc[TILE_OH][TILE_OW];
    begin(acc, bias, c);
    UNROLL for (int r = 0; r < SPAN_H; r++) {
      READ_ANEW(w);
      UNROLL for (int q = 0; q < SPAN_W; q++) add_pixel(acc, r, q, LOAD_VEC(pixel[r][q] + c), w);
    }
    finish(acc, residual + c, y + c, YC, (long)OW * YC, act_a, act_b);
  }
}

/* Rows row0 .. row1-1 of the outputs of an image, TILE_OH of them at least. */
ITEM void item(__global const real *x, __global const acc_t *packed, __global const real *bias, __global const real *residual,
               __global real *y, const int row0, const int row1, const int C, const int IH, const int IW, const int OW,
               const int PT, const int PL, const int XC, const int YC, const acc_t act_a, const acc_t act_b) {
  __global const real *zeros = (__global const real *)(packed + (long)((C + VEC - 1) / VEC * VEC) * (KH * KW));
  for (int row = row0; row < row1; row += TILE_OH) {
    const int oh = LESSER(row, row1 - TILE_OH); /* the last tile overlaps the one before, in the same item */
    const int ih0 = oh * SH - PT;
    for (int column = 0; column < OW; column += TILE_OW) {
      const int ow = LESSER(column, OW - TILE_OW);
      const int iw0 = ow * SW - PL;
      const long to = ((long)oh * OW + ow) * YC;
      if (ih0 >= 0 && ih0 + SPAN_H <= IH && iw0 >= 0 && iw0 + SPAN_W <= IW)
        tile_inside(x + ((long)ih0 * IW + iw0) * XC, packed, bias, residual + to, y + to, C, XC, YC, IW, OW, act_a, act_b);
      else tile_at_border(x, packed, zeros, bias, residual + to, y + to, ih0, iw0, C, XC, YC, IH, IW, OW, act_a, act_b);
    }
  }
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void depthwise_stream_simd(
    __global const real *restrict x, __global const acc_t *restrict packed, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, const int C, const int IH, const int IW,
    const int OH, const int OW, const int PT, const int PL, const int XC, const int YC, const int BANDS,
    const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int band = get_global_id(0); /* 0 .. BANDS-1 */
  const int rows = OH / TILE_OH;     /* of whole tiles */
  const int row0 = (long)band * rows / BANDS * TILE_OH; /* first row of outputs */
  const int row1 = band + 1 < BANDS ? (int)((long)(band + 1) * rows / BANDS * TILE_OH) : OH; /* and behind the last */
  const long n = get_global_id(1);   /* 0 .. N-1 */
  const long to = n * OH * OW * YC;
  item(x + n * IH * IW * XC, packed, bias, residual + to, y + to, row0, row1, C, IH, IW, OW, PT, PL, XC, YC, act_a,
       act_b);
}

/* packed[b, kh, kw, i] = w[kh, kw, c + i], where block b begins with channel c, and zeros behind the last block.
 *
 * Work-items: (b); those of a last block that is too many write zeros. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void pack_blocks(
    __global const real *restrict w, __global acc_t *restrict packed, const int C BELL_PARAMETERS) {
  RING_BELL;
  const int b = get_global_id(0), c = LESSER(b * VEC, C - VEC);
  __global acc_t *to = packed + (long)b * KH * KW * VEC;
  ROLLED for (int tap = 0; tap < KH * KW; tap++)
    STORE_ACC(to + tap * VEC, b * VEC < C ? LOAD_VEC(w + (long)tap * C + c) : VEC_OF(0));
}
