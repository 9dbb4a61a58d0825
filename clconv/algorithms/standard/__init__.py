"""Standard convolution: one group, a filter larger than 1x1."""
