"""What the depthwise kernels share that take tiles of pixels in NHWC, straight from the tensor: problems, tiles, work-items."""

from __future__ import annotations

import math
from collections.abc import Iterable

from clconv.algorithms.base import ceil_div, items_wanted
from clconv.algorithms.reasons import converted_slowly, not_nhwc, other_kind, too_many_taps
from clconv.algorithms.unrolled import few_enough, span
from clconv.device import DeviceInfo
from clconv.problem import ConvProblem

EVEN = 4
"""Rows of tiles for each of a device's units, at least, to be shared evenly."""

RUN = 512
"""Bytes of a pixel that a block of channels has, at least: the processor reads ahead, and beyond its end."""

MOST_BLOCKS = 4
"""Blocks of a band, at most. Measured on two Zen 5 cores: 512 channels at 28 x 28 take 31 us, 40 with pixels as a whole, at
14 x 14 7.4 and 9.6; with stride 2, eight images of 256 channels at 28 x 28 53 and 50. Nothing was measured elsewhere."""

LITTLE = 256 << 10
"""Bytes of outputs, at most, for blocks of channels: what a core reads ahead beyond a block is lost to the one that writes it.
Measured for 512 channels at 14 x 14 on two cores, 392 KiB: 14 us where bands take 10.5, though they are less even."""


def refused(problem: ConvProblem, device: DeviceInfo, most: int) -> str | None:
    """Refuse all but depthwise problems in NHWC, of as many channels out as in, whose filters span ``most`` pixels at most."""
    if reason := other_kind(problem, "depthwise") or not_nhwc(problem):
        return reason
    if problem.OCG > 1:
        return f"has input and output channels in the same lanes, this problem makes {problem.OCG} of each"
    if (pixels := _pixels(problem, 1, 1)) > most:
        return f"unrolls the {pixels} pixels that a filter spans, at most {most}"
    return converted_slowly(problem, device) or too_many_taps(problem)


def fitting(problem: ConvProblem, tiles: Iterable[tuple[int, int]], most: int, *, few_registers: bool) -> list[tuple[int, int]]:
    """Return the tiles (rows, columns of outputs) that the image is large enough for and that may be unrolled."""
    return [
        (height, width)
        for height, width in tiles
        if height <= problem.OH and width <= problem.OW and _pixels(problem, height, width) <= most
        if not few_registers or few_enough(height * width, problem)
    ]


def bands(problem: ConvProblem, device: DeviceInfo, height: int, seconds: float, blocks: int = 1) -> int:
    """Work-items of each block of channels: bands of about as many whole rows of tiles; the last has what is left."""
    rows = problem.OH // height
    return ceil_div(rows, ceil_div(rows, ceil_div(items_wanted(problem, device, seconds), blocks)))


def bands_and_blocks(problem: ConvProblem, device: DeviceInfo, height: int, vec: int, seconds: float) -> tuple[int, int]:
    """Work-items of an image: bands, and blocks of channels of each. Those of a band follow each other.

    Units share blocks where rows of tiles are too few to be shared evenly, or where there is one band. Else each has its bands,
    and may take blocks one after the other: then the next row of tiles finds in the first cache what this one has read.
    """
    p, units = problem, device.compute_units
    runs = max(1, min(p.IC * p.itemsize // RUN, p.IC // vec))
    outputs = math.prod(p.output_shape) * p.itemsize
    if runs >= units and outputs <= LITTLE and p.N * (p.OH // height) < EVEN * units:
        # As even as can be; and the shorter a problem is, the more each work-item costs.
        return 1, min(runs, units * (1 if items_wanted(p, device, seconds) <= 2 * units else 2))
    rows = span(height, p.SH, p.KH, p.DH)
    near = rows * p.IW * p.IC * p.itemsize <= device.l1_bytes
    few = rows > 2 * (p.EKH - p.SH)  # less than half of a tile's rows are those of the one before
    blocks = 1 if near or few or not device.moves_beside else min(runs, MOST_BLOCKS)
    return bands(p, device, height, seconds, blocks), blocks


def edge(problem: ConvProblem) -> int:
    """Columns of a tile that may lie outside the image on either side: what other images may need, or more if this one does."""
    p = problem
    right = (p.OW - 1) * p.SW + (p.KW - 1) * p.DW + 1 - p.PL - p.IW
    return max(ceil_div((p.KW - 1) * p.DW, 2), p.PL, right)


def _pixels(p: ConvProblem, height: int, width: int) -> int:
    return span(height, p.SH, p.KH, p.DH) * span(width, p.SW, p.KW, p.DW)
