"""What the depthwise kernels share that take tiles of pixels in NHWC, straight from the tensor: problems, tiles, work-items."""

from __future__ import annotations

from collections.abc import Iterable

from clconv.algorithms.base import ceil_div, items_wanted
from clconv.algorithms.reasons import converted_often, not_nhwc, other_kind, too_many_taps
from clconv.algorithms.unrolled import few_enough, span
from clconv.device import DeviceInfo
from clconv.problem import ConvProblem


def refused(problem: ConvProblem, most: int) -> str | None:
    """Refuse all but depthwise problems in NHWC, of as many channels out as in, whose filters span ``most`` pixels at most."""
    if reason := other_kind(problem, "depthwise") or not_nhwc(problem):
        return reason
    if problem.OCG > 1:
        return f"has input and output channels in the same lanes, this problem makes {problem.OCG} of each"
    if (pixels := _pixels(problem, 1, 1)) > most:
        return f"unrolls the {pixels} pixels that a filter spans, at most {most}"
    return converted_often(problem) or too_many_taps(problem)


def fitting(problem: ConvProblem, tiles: Iterable[tuple[int, int]], most: int, *, few_registers: bool) -> list[tuple[int, int]]:
    """Return the tiles (rows, columns of outputs) that the image is large enough for and that may be unrolled."""
    return [
        (height, width)
        for height, width in tiles
        if height <= problem.OH and width <= problem.OW and _pixels(problem, height, width) <= most
        if not few_registers or few_enough(height * width, problem)
    ]


def bands(problem: ConvProblem, device: DeviceInfo, height: int, seconds: float) -> int:
    """Work-items of an image: bands of as equal a number of whole tile rows as can be; the last has what is left, too."""
    rows = problem.OH // height
    return ceil_div(rows, ceil_div(rows, items_wanted(problem, device, seconds)))


def _pixels(p: ConvProblem, height: int, width: int) -> int:
    return span(height, p.SH, p.KH, p.DH) * span(width, p.SW, p.KW, p.DW)
