/* Convolution in N C H W straight from the image: pieces of a row of outputs, vectors along the output channels (of a group).
 *
 *   y[n, oc, oh, ow] = act( bias + residual + sum over ic, kh, kw of
 *                           x[n, g*ICG + ic, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL] * w[oc, ic, kh, kw] )     with g = oc / OCG
 *
 * x, y, residual   N C H W
 * packed           G BLOCKS ICG KH KW OCB, from pack_filter.cl, OCB = OCV*VEC, zero behind a group's last channel
 *
 * Work-items: (band of output rows, share of a group's blocks of output channels, n), one in a work-group. Each computes, block by
 * block, tiles of PX outputs side by side; the elements of the image are broadcast, the filter is read in vectors:
 *
 *      x, row ih of channel ic                           packed, tap kw
 *      . | o o o o o o o o o |                           +-----+-----+
 *        ^       ^       ^         tile                  |  w  |     |       OCV vectors
 *      pixel 0   1 ...   PX-1      +-----+-----+         +-----+-----+
 *      SW apart, where tap kw      | sum |     | PX
 *      reads them                  +-----+-----+
 *
 * From the first pixel of a tile to the others it is a constant way, part of the instruction: nothing but that pixel's address is
 * kept in a register, as opposed to channel_tile.clh, whose tiles go over the ends of rows and have an address for each pixel.
 * Nothing is copied either. Rows above and below the image are skipped, and so are columns left and right of it, by a branch
 * at the few pixels and taps that can meet one.
 *
 * Per tile, input channel and row of the filter: KW*(PX + OCV) loads and KW*PX*OCV multiply-adds. The sums pass through local
 * memory and are transposed on their way out.
 *
 * Macros: wide.clh, types.clh, vector.clh, epilogue.clh; KH KW SH SW DH DW; PX (outputs side by side, at most OW), OCV (vectors of
 * output channels); OUTSIDE (columns of padding, of the side that has more).
 */
#include "include/wide.clh"

#include "include/types.clh"
#include "include/vector.clh"
#include "include/epilogue.clh"

#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(DH) || !defined(DW)
#error "KH, KW, SH, SW, DH and DW must be set by the plan"
#endif
#if !defined(PX) || !defined(OCV) || !defined(OUTSIDE)
#error "PX, OCV and OUTSIDE must be set by the plan"
#endif

#define OCB (OCV * VEC)
#define SPAN_W ((PX - 1) * SW + (KW - 1) * DW + 1) /* columns of the image under a tile */

#include "include/write_channels.clh"

/* acc += all input channels, rows kh0 .. kh1-1 of the filter. p: where the window of the tile's first pixel begins in the first row
 * of the first channel; `left` columns of the tile's windows lie left of the image, `right` right of it. */
INLINE void add_channels(vec acc[PX][OCV], const int left, const int right, __global const real *p, __global const acc_t *w,
                         const int kh0, const int kh1, const int ICG, const int IW, const long plane) {
  p += (long)kh0 * DH * IW;
  w += kh0 * KW * OCB;
  for (int ic = 0; ic < ICG; ic++, p += plane, w += KH * KW * OCB) {
    __global const real *row = p;
    __global const acc_t *wr = w;
    for (int kh = kh0; kh < kh1; kh++, row += DH * IW, wr += KW * OCB)
      UNROLL for (int kw = 0; kw < KW; kw++) {
        vec wv[OCV];
        READ_ANEW(row); /* taps share columns */
        UNROLL for (int j = 0; j < OCV; j++) wv[j] = LOAD_ACC(wr + kw * OCB + j * VEC);
        UNROLL for (int i = 0; i < PX; i++) {
          const int column = i * SW + kw * DW;
          /* Most columns lie inside whatever the padding; which do is known when the loops are unrolled. */
          if ((column >= OUTSIDE || column >= left) && (column < SPAN_W - OUTSIDE || column < SPAN_W - right)) {
            const vec xv = VEC_OF(row[column]);
            UNROLL for (int j = 0; j < OCV; j++) acc[i][j] += xv * wv[j];
            UNROLL for (int j = 0; j < OCV; j++) KEEP_ORDER(acc[i][j]);
          }
        }
      }
  }
}

/* Rows oh0 .. oh1-1 of blocks b0 .. b1-1 of a group's output channels. x: the group's first channel; residual, y: channel 0 of the
 * image. */
ITEM void item(__global const real *x, __global const acc_t *packed, __global const real *bias, __global const real *residual,
               __global real *y, __local acc_t *sums, const int oh0, const int oh1, const int g, const int b0, const int b1,
               const int BLOCKS, const int IH, const int IW, const int OH, const int OW, const int ICG, const int OCG,
               const int PT, const int PL, const acc_t act_a, const acc_t act_b) {
  for (int b = b0; b < b1; b++) {
    __global const acc_t *w = packed + (long)(g * BLOCKS + b) * ICG * KH * KW * OCB;
    for (int oh = oh0; oh < oh1; oh++) {
      const int ih0 = oh * SH - PT; /* may lie above the image */
      int kh0 = 0, kh1 = KH;        /* the filter's rows inside the image */
      while (kh0 < KH && ih0 + kh0 * DH < 0) kh0++;
      while (kh1 > kh0 && ih0 + (kh1 - 1) * DH >= IH) kh1--;
      for (int next = 0; next < OW; next += PX) {
        const int ow = next < OW - PX ? next : OW - PX;    /* the last tile overlaps the one before */
        const int iw0 = ow * SW - PL;                      /* may lie left of the image */
        __global const real *p = x + (long)ih0 * IW + iw0; /* may lie outside the tensor */
        vec acc[PX][OCV];
        UNROLL for (int i = 0; i < PX; i++)
          UNROLL for (int j = 0; j < OCV; j++) acc[i][j] = VEC_OF(0);
        add_channels(acc, -iw0, iw0 + SPAN_W - IW, p, w, kh0, kh1, ICG, IW, (long)IH * IW);
        __local acc_t *to = sums + ((oh - oh0) * OW + ow) * OCB;
        UNROLL for (int i = 0; i < PX; i++)
          UNROLL for (int j = 0; j < OCV; j++) STORE_ACC_LOCAL(to + i * OCB + j * VEC, acc[i][j]);
      }
    }
    const long at = (long)oh0 * OW;
    write_channels(sums, bias, residual + at, y + at, (oh1 - oh0) * OW, g * OCG + b * OCB, (g + 1) * OCG, (long)OH * OW, act_a,
                   act_b);
  }
}
WIDE_END

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void conv_row(
    __global const real *restrict x, __global const acc_t *restrict packed, __global const real *restrict bias,
    __global const real *restrict residual, __global real *restrict y, __local acc_t *restrict sums, const int IC, const int IH,
    const int IW, const int OC, const int OH, const int OW, const int ICG, const int OCG, const int PT, const int PL,
    const int ROWS, const int BLOCKS_ITEM, const acc_t act_a, const acc_t act_b BELL_PARAMETERS) {
  RING_BELL;
  const int oh0 = (int)get_global_id(0) * ROWS; /* 0 .. OH-1 */
  const int oh1 = LESSER(oh0 + ROWS, OH);
  const int BLOCKS = (OCG + OCB - 1) / OCB, SHARES = (BLOCKS + BLOCKS_ITEM - 1) / BLOCKS_ITEM;
  const int g = (int)get_global_id(1) / SHARES;                /* 0 .. G-1 */
  const int b0 = (int)get_global_id(1) % SHARES * BLOCKS_ITEM; /* 0 .. BLOCKS-1 */
  const int b1 = LESSER(b0 + BLOCKS_ITEM, BLOCKS);
  const long n = get_global_id(2); /* 0 .. N-1 */
  item(x + (n * IC + (long)g * ICG) * IH * IW, packed, bias, residual + n * OC * OH * OW, y + n * OC * OH * OW, sums, oh0, oh1, g,
       b0, b1, BLOCKS, IH, IW, OH, OW, ICG, OCG, PT, PL, act_a, act_b);
}
