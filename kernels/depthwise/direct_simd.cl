/* Depthwise convolution in NCHW, straight from the tensor: vectors along the width, several rows of outputs at once.
 *
 *   y[n, c*M + m, oh, ow] = act( bias + residual + sum over kh, kw of
 *                                x[n, c, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL] * w[c*M + m, 0, kh, kw] )
 *
 * x N C IH IW,  w C*M 1 KH KW,  y and residual N C*M OH OW,  zeros: a row of SPAN_W zeros.
 *
 * Work-items: (band of output rows, CHANNELS channels, n). Each computes tiles of TILE_OH rows x VEC columns:
 *
 *     x, SPAN_H rows               y, TILE_OH rows
 *     [. v v v v v v v             [acc          ]      rows above and below the image are read from `zeros`;
 *     [. v v v v v v v    --->     [acc          ]      columns beside it are cut off by a mask (border.clh)
 *     [. v v v v v v v             [acc          ]
 *
 * Per tile: KW * SPAN_H vectors of x are read (a row serves all outputs that use it), KH*KW elements of w, and TILE_OH vectors
 * are written. What does not depend on the channel is prepared once for TOGETHER channels, whose tiles at the same place follow each
 * other. Only tiles at the two ends of the tensor, where a vector would reach over the end, are read lane by lane.
 *
 * Macros: wide.clh, types.clh, vector.clh, border.clh, epilogue.clh; KH KW SH SW DH DW, SW is 1 or 2; TILE_OH (a band has
 * at least so many rows); BORDER_TAPS (bit kw: taps kw of an output may lie beside the image).
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/epilogue.clh"
#include "include/border.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#if !defined(TILE_OH) || !defined(BORDER_TAPS)
#error "TILE_OH and BORDER_TAPS must be set by the plan"
#endif
#if SW > 2
#error "SW must be 1 or 2; panel_simd.cl takes any stride"
#endif
#define SPAN_H ((TILE_OH - 1) * SH + (KH - 1) * DH + 1) /* rows of the image under a tile */
#define SPAN_W (SW * VEC + (KW - 1) * DW)               /* elements read from such a row, no more */
#define EDGE ((KH - 1) * DH) /* the first and the last so many rows under a tile may lie outside the image */

#define INSIDE(v, kw) ((BORDER_TAPS >> (kw)) & 1 ? KEEP(v, mask[kw]) : (v))

/* What a tile reads and writes. x, residual, y: where its first row begins, which in x may lie outside the image, in row ih0. */
typedef struct {
  __global const real *x, *zeros, *residual;
  __global real *y;
  mask_t mask[KW]; /* for each tap, of the columns inside the image */
  int ih0, IH, IW, OW;
  int left; /* elements that may be written */
} place;

/* Row r of the image under a tile, where the tile says it begins. */
INLINE __global const real *row_of(const place *t, __global const real *x, const int r) {
  if (r >= EDGE)
    if (r < SPAN_H - EDGE) return x;
  return (uint)(t->ih0 + r) < (uint)t->IH ? x : t->zeros;
}

/* Row i of the outputs of a tile; `whole`: what is stored behind it is written later, or a vector is what is left. */
INLINE void finish(vec v, const bool whole, const int i, const place *t, __global const real *residual, __global real *y,
                   const acc_t act_a, const acc_t act_b) {
  v = NATURAL(v);
  if (whole) {
    if (HAS_RESIDUAL) v += LOAD_VEC(residual);
    STORE_VEC(y, activate_vec(v, act_a, act_b));
  } else {
    if (HAS_RESIDUAL) v += LOAD_VEC_SOME(residual, t->left - i * t->OW);
    STORE_VEC_SOME(y, activate_vec(v, act_a, act_b), t->left - i * t->OW);
  }
}

#if SW == 2 || KH * KW <= 9

/* The vectors of a row that the taps of a row of the filter multiply. */
INLINE void read_taps(vec *v, __global const real *row, const mask_t *mask) {
  UNROLL for (int kw = 0; kw < KW; kw += SW) {
#if SW == 1
    v[kw] = INSIDE(LOAD_VEC(row + kw * DW), kw);
#else
    const vec a = LOAD_VEC(row + kw * DW), b = LOAD_VEC(row + kw * DW + VEC);
    v[kw] = INSIDE(EVEN_LANES(a, b), kw);
    if (kw + 1 < KW) {
#if DW == 1
      v[kw + 1] = INSIDE(ODD_LANES(a, b), kw + 1);
#else
      const vec d = LOAD_VEC(row + (kw + 1) * DW), e = LOAD_VEC(row + (kw + 1) * DW + VEC);
      v[kw + 1] = INSIDE(EVEN_LANES(d, e), kw + 1);
#endif
    }
#endif
  }
}

/* A tile, row by row of the image: sixteen registers hold nine taps, a row's vectors and the few sums that are in the making.
 *
 * With SW = 2, where more instructions lie between them, the products of a row are summed by themselves, so that no sum waits
 * for those of the rows before; with SW = 1 the addition would be one too many. Pointers go from row to row; LLVM would make
 * a table of them, which takes a fifth of the time. */
INLINE void tile(const bool whole, const place *t, __global const real *w, const acc_t b, const acc_t act_a, const acc_t act_b) {
  acc_t tap[KH * KW];
  UNROLL for (int i = 0; i < KH * KW; i++) tap[i] = LOAD(w, i);
  vec acc[TILE_OH];
  UNROLL for (int i = 0; i < TILE_OH; i++) acc[i] = VEC_OF(b);
  __global const real *x = t->x, *residual = t->residual;
  __global real *y = t->y;
  UNROLL for (int r = 0; r < SPAN_H; r++, x += t->IW) {
    READ_ANEW(x);
    vec v[KW];
    read_taps(v, row_of(t, x, r), t->mask);
    UNROLL for (int kh = KH - 1; kh >= 0; kh--) { /* the output that is done first */
      const int i = (r - kh * DH) / SH;
      if (r < kh * DH || (r - kh * DH) % SH || i >= TILE_OH) continue;
      vec sum = SW == 2 ? v[0] * tap[kh * KW] : acc[i] + v[0] * tap[kh * KW];
      UNROLL for (int kw = 1; kw < KW; kw++) sum += v[kw] * tap[kh * KW + kw];
      acc[i] = SW == 2 ? acc[i] + sum : sum;
      KEEP_ORDER(acc[i]);
      if (kh < KH - 1) continue;
      READ_ANEW(y);
      finish(acc[i], whole, i, t, residual, y, act_a, act_b);
      y += t->OW, residual += t->OW;
    }
  }
}

#else

/* A tile, column by column of the filter, for more taps than registers hold: TILE_OH sums and KH taps are at hand. */
INLINE void tile(const bool whole, const place *t, __global const real *w, const acc_t b, const acc_t act_a, const acc_t act_b) {
  vec acc[TILE_OH];
  UNROLL for (int i = 0; i < TILE_OH; i++) acc[i] = VEC_OF(b);
  const mask_t *mask = t->mask;
  __global const real *row[SPAN_H];
  UNROLL for (int r = 0; r < SPAN_H; r++) row[r] = row_of(t, t->x + (long)r * t->IW, r);
  UNROLL for (int kw = 0; kw < KW; kw++) {
    acc_t tap[KH];
    UNROLL for (int kh = 0; kh < KH; kh++) tap[kh] = LOAD(w, kh * KW + kw);
    UNROLL for (int r = 0; r < SPAN_H; r++) {
      const vec v = INSIDE(LOAD_VEC(row[r] + kw * DW), kw);
      UNROLL for (int kh = 0; kh < KH; kh++) {
        const int i = r - kh * DH; /* i*SH for output row i */
        if (i >= 0 && i % SH == 0 && i / SH < TILE_OH) acc[i / SH] += v * tap[kh];
      }
      KEEP_ORDER(acc[LESSER(r, TILE_OH - 1)]); /* else LLVM orders all rows anew, which takes it a second for 7x7 taps */
    }
  }
  UNROLL for (int i = 0; i < TILE_OH; i++)
    finish(acc[i], whole, i, t, t->residual + i * t->OW, t->y + i * t->OW, act_a, act_b);
}

#endif

/* A tile in whose last rows a whole vector would overwrite another work-item's outputs. */
OUTLINE void last_tile(const place *t, __global const real *w, const acc_t b, const acc_t act_a, const acc_t act_b) {
  tile(false, t, w, b, act_a, act_b);
}

/* A tile at the ends of the tensor, or far outside the image, lane by lane. channel: of x; iw0: column of the tile's first element. */
OUTLINE void tile_at_end(const place *t, __global const real *channel, const int iw0, __global const real *w, const acc_t b,
                         const acc_t act_a, const acc_t act_b) {
  ROLLED for (int i = 0; i < TILE_OH; i++) {
    vec sum = VEC_OF(b);
    for (int kh = 0; kh < KH; kh++) {
      const int ih = t->ih0 + i * SH + kh * DH;
      if (ih >= 0 && ih < t->IH)
        for (int kw = 0; kw < KW; kw++)
          sum += lanes_within(channel + (long)ih * t->IW, iw0 + kw * DW, t->IW) * LOAD(w, kh * KW + kw);
    }
    finish(sum, false, i, t, t->residual + i * t->OW, t->y + i * t->OW, act_a, act_b);
  }
}

/* Rows oh0 .. oh1-1 of the outputs of channels c0 .. c1-1 of image n. */
ITEM void item(__global const real *restrict x, __global const real *restrict w, __global const real *restrict zeros,
               __global const real *restrict bias, __global const real *restrict residual, __global real *restrict y,
               const int oh0, const int oh1, const int c0, const int c1, const int n, const int N, const int C, const int IH,
               const int IW, const int OH, const int OW, const int M, const int PT, const int PL, const int BANDS,
               const int TOGETHER, const acc_t act_a, const acc_t act_b) {
  const int last = GREATER(OW - VEC, 0); /* where the last tile of a row begins: it overlaps the one before */
  /* A vector may reach into the next output channel where this work-item writes that later; else each ends for itself. */
  const bool apart = BANDS > 1 || (M > 1 && oh1 - oh0 > TILE_OH);
  const long image = (long)IH * IW, total = image * N * C, plane = (long)OH * OW;

  for (int cs = c0; cs < c1; cs += TOGETHER) {
    const int ce = LESSER(cs + TOGETHER, c1);
    for (int ohs = oh0; ohs < oh1; ohs += TILE_OH)
      for (int ows = 0; ows < OW; ows += VEC) { /* along the rows, which the processor then asks for by itself */
        const int oh = LESSER(ohs, oh1 - TILE_OH), ow = LESSER(ows, last);
        const int ih0 = oh * SH - PT, iw0 = ow * SW - PL;
        place t = {.zeros = zeros, .ih0 = ih0, .IH = IH, .IW = IW, .OW = OW};
        UNROLL for (int kw = 0; kw < KW; kw++) t.mask[kw] = columns(iw0 + kw * DW, IW);
        /* What the tile reads of a channel begins and ends here, from the channel's first element on. */
        const long first = (long)GREATER(ih0, 0) * IW + iw0, behind = (long)(LESSER(ih0 + SPAN_H, IH) - 1) * IW + iw0 + SPAN_W;
        const bool far = ih0 + EDGE < 0 || ih0 + SPAN_H - EDGE > IH;
        long channel = ((long)n * C + cs) * image, at = ((long)n * C + cs) * M * plane + (long)oh * OW + ow;
        long left = (apart ? (long)oh1 * OW : (long)(c1 - cs) * M * plane) - ((long)oh * OW + ow);
        int m = 0;
        for (int oc = cs * M; oc < ce * M; oc++, at += plane, left -= apart ? 0 : plane) {
          __global const real *taps = w + (long)oc * (KH * KW);
          const acc_t b = HAS_BIAS ? LOAD(bias, oc) : 0;
          t.x = x + channel + (long)ih0 * IW + iw0;
          t.y = y + at;
          t.residual = residual + at;
          t.left = (int)LESSER(left, (long)(TILE_OH * OW + VEC));
          if (far || channel + first < 0 || channel + behind > total) tile_at_end(&t, x + channel, iw0, taps, b, act_a, act_b);
          else if (t.left >= (TILE_OH - 1) * OW + VEC) tile(true, &t, taps, b, act_a, act_b);
          else last_tile(&t, taps, b, act_a, act_b);
          if (++m == M) m = 0, channel += image;
        }
      }
  }
}

WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void depthwise_direct_simd(
    __global const real *restrict x, __global const real *restrict w, __global const real *restrict zeros,
    __global const real *restrict bias, __global const real *restrict residual, __global real *restrict y,
    const int N, const int C, const int IH, const int IW, const int OH, const int OW, const int M, const int PT,
    const int PL, const int BANDS, const int CHANNELS, const int TOGETHER, const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = (long)get_global_id(0) * OH / BANDS;       /* first row of the band */
  const int oh1 = (long)(get_global_id(0) + 1) * OH / BANDS; /* first row behind it */
  const int c0 = get_global_id(1) * CHANNELS;                /* 0 .. C-1 */
  const int c1 = LESSER(c0 + CHANNELS, C);
  const int n = get_global_id(2);                            /* 0 .. N-1 */
  item(x, w, zeros, bias, residual, y, oh0, oh1, c0, c1, n, N, C, IH, IW, OH, OW, M, PT, PL, BANDS, TOGETHER, act_a, act_b);
}

/* The row of zeros. One work-item. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void write_zeros(__global real *restrict zeros) {
  ROLLED for (int i = 0; i < SPAN_W; i++) STORE(zeros, i, 0);
}
