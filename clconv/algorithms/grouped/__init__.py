"""Grouped convolution: several groups, more than one input channel each."""
