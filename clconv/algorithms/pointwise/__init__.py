"""Pointwise convolution: one group, a 1x1 filter."""
