/* The first kernel: a window slides over one channel, without padding.
 *
 *   y[oh, ow] = sum over kh, kw of x[oh + kh, ow + kw] * w[kh, kw]
 *
 * x (IH, IW)   w (KH, KW)   y (OH, OW) with OH = IH - KH + 1, OW = IW - KW + 1
 *
 * Work-items: (ow, oh), one output each; both may be rounded up to whole work-groups.
 * Macros: KH, KW.
 */
#if !defined(KH) || !defined(KW)
#error "KH and KW, the size of the filter, must be set"
#endif

__kernel void window(__global const float *restrict x, __global const float *restrict w, __global float *restrict y,
                     const int IW, const int OH, const int OW) {
  const int ow = get_global_id(0); /* 0 .. OW-1, and a few more */
  const int oh = get_global_id(1); /* 0 .. OH-1, and a few more */
  if (ow >= OW || oh >= OH) return;

  float sum = 0;
  for (int kh = 0; kh < KH; kh++)
    for (int kw = 0; kw < KW; kw++) sum += x[(oh + kh) * IW + ow + kw] * w[kh * KW + kw];
  y[oh * OW + ow] = sum;
}

/* Every work-item writes its own id where it would have written its output: 100 * ow + oh. */
__kernel void who(__global int *restrict y, const int OH, const int OW) {
  const int ow = get_global_id(0);
  const int oh = get_global_id(1);
  if (ow >= OW || oh >= OH) return;
  y[oh * OW + ow] = 100 * ow + oh;
}
