"""Predicted times of plans whose work-items are alike: clock cycles of one, and how many follow each other."""

from __future__ import annotations

import itertools

from clconv.algorithms.base import ceil_div
from clconv.device import DeviceInfo
from clconv.problem import ConvProblem

LATE = 0.15
"""Of a work-item: what a unit waits for the others at the end, on average, since they do not begin at the same time."""

START = 300
"""Clock cycles until a work-item is at work: it is handed out, and finds its rows and its first lines of memory."""


def busiest_unit(items: int, device: DeviceInfo) -> float:
    """Work-items that the busiest compute unit runs, one after the other."""
    return ceil_div(items, device.compute_units) + (LATE if device.compute_units > 1 else 0)


def few_items(items: int, device: DeviceInfo, cycles: float, most: float) -> float:
    """Clock cycles of the busiest compute unit where work-items are few and long: at the end it waits for ``most`` at most."""
    return ceil_div(items, device.compute_units) * cycles + min(LATE * cycles, most)


def tiles_each(tiles: int, most: int, size: tuple[int, int, int], device: DeviceInfo) -> float:
    """Tiles of a work-item of the busiest unit, at most so many, of ``size`` of which the first is of pixels.

    Items at the end have fewer. Where the units share the other two evenly, each unit has as many of those; where there is
    nothing else to share, each takes its items in a row, and the last one ends with those.
    """
    units, others = device.compute_units, size[1] * size[2]
    if others % units == 0:
        return tiles / size[0]
    if others > 1:
        return most
    starts = [size[0] * unit // units * most for unit in range(units)]
    busiest = max(end - start for start, end in itertools.pairwise((*starts, tiles)))
    return min(most, busiest / ceil_div(size[0], units))


def seconds(problem: ConvProblem, device: DeviceInfo, cycles: float) -> float:
    """Time of a plan whose busiest compute unit works for so many clock cycles; no less than the tensors' way takes.

    The shorter of the two counts a little, so that of plans that wait for memory the one with less work comes first.
    """
    work, way = cycles / (device.clock_mhz * 1e6), problem.bytes / device.bandwidth
    return max(work, way) + 0.02 * min(work, way)
