"""Depthwise convolution: one input channel a group."""
