"""What the kernels share that pick sums apart, and not the image (kernels/include/spread.clh)."""

from __future__ import annotations

from clconv.algorithms.base import accumulator_bytes, ceil_div
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.problem import ConvProblem

LEAST_STRIDE, MOST_STRIDE = 3, 16
"""Of smaller ones, rows that are parted serve several outputs; of larger ones, each output has a vector or more to itself."""

MOST_TAPS = 132
"""Vectors that the taps of a channel fill, as 11 x 11 with stride 3; all are unrolled, and 176 take LLVM 3 s and more."""

PLANE = 1 << 17
"""Bytes of a group's channels, all rows of which stay near until the next strip; of larger ones half of it is read at a time.
Sixteen channels at 1024 x 1024 in groups of four, stride 3, on two Zen 5 cores: 4.6 ms with strips down the image, 2.4 so."""


def far_apart(problem: ConvProblem, device: DeviceInfo) -> str | None:
    """Refuse other strides, and taps that meet so many outputs that few sums are left, or that the program is long."""
    if not LEAST_STRIDE <= problem.SW <= MOST_STRIDE:
        return f"takes a horizontal stride of {LEAST_STRIDE} to {MOST_STRIDE}, this one is {problem.SW}"
    if across(problem) > vector(problem, device) // 2:
        return f"has vectors of {vector(problem, device)} columns, of which taps may meet half, not {across(problem)}"
    taps = multiplied(problem)
    return None if taps <= MOST_TAPS else f"unrolls {MOST_TAPS} vectors of taps at most, not {taps}"


def vector(problem: ConvProblem, device: DeviceInfo) -> int:
    """Return the elements of a vector."""
    return device.lanes(accumulator_bytes(problem)) * (2 if wide(problem, device) else 1)


def across(problem: ConvProblem) -> int:
    """Return the outputs side by side whose elements the taps of one output meet."""
    return (problem.KW - 1) * problem.DW // problem.SW + 1


def multiplied(problem: ConvProblem) -> int:
    """Return the vectors that the taps of a channel fill."""
    return problem.KH * across(problem) * problem.SW


def strips(problem: ConvProblem, device: DeviceInfo) -> int:
    """Return how many strips an image has."""
    return ceil_div(problem.OW, vector(problem, device) - across(problem) + 1)


def reads(problem: ConvProblem, device: DeviceInfo) -> int:
    """Return the vectors that are read of a channel; of the last strip only those with elements."""
    p, vec, before = problem, vector(problem, device), strips(problem, device) - 1
    rest = p.OW - before * (vec - across(p) + 1)
    return p.OH * p.KH * (before * p.SW + ceil_div(rest * p.SW, vec))


def rows(problem: ConvProblem) -> int:
    """Return the rows of outputs that a strip goes down until the next one begins."""
    p = problem
    line = p.ICG * p.IW * p.itemsize
    return p.OH if line * p.IH <= PLANE else min(p.OH, max(1, PLANE // 2 // (line * p.SH)))
