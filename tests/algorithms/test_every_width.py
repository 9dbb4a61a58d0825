"""Images of every width: where a row ends within its vectors, and which of them lie in padding, is another case for each."""

from __future__ import annotations

from typing import Any

import pyopencl as cl
import pytest

from clconv import ConvProblem, ShapeError
from clconv.device import DeviceInfo
from tests.algorithms.test_every_algorithm import BY_NAME, LAYOUTS, SLOW_TO_BUILD, covers, plans_of
from tests.harness import check_plan

WINDOWS: tuple[tuple[int, dict[str, Any]], ...] = (
    (3, {"padding": 1}),
    (3, {"padding": 1, "stride": 2}),
    (3, {"padding": 1, "stride": 3}),
    (5, {"padding": 2, "stride": 4}),
    (3, {"padding": ((1, 0), (2, 4)), "stride": 3, "dilation": 2}),
    (7, {"padding": 3}),
    (1, {}),
    (13, {"padding": 6}),
)
CHANNELS = ((3, 1, 1), (2, 4, 5), (1, 5, 18), (2, 17, 16))
"""Groups, and channels in and out of each."""

WIDEST = 80
"""The widest vectors have 16 elements, and five of them are more than any kernel takes of a row at once."""


def problem_of_width(width: int, number: int, channels: tuple[int, int, int], layout: str) -> ConvProblem | None:
    """Return a convolution with one of the windows, None if the image is too narrow for it."""
    size, options = WINDOWS[number]
    groups, icg, ocg = channels
    c, oc = groups * icg, groups * ocg
    x, w = ((2, c, 5, width), (oc, icg, size, size)) if layout == "NCHW" else ((2, 5, width, c), (size, size, icg, oc))
    try:
        return ConvProblem(x, w, groups=groups, layout=layout, **options)
    except ShapeError:
        return None


def channels_of(name: str, number: int, layout: str) -> tuple[int, int, int] | None:
    """Return channels with which an algorithm covers a window, on some device that is here."""
    for channels in CHANNELS:
        problem = problem_of_width(WIDEST // 2, number, channels, layout)
        if problem is not None and covers(name, problem):
            return channels
    return None


CASES = [
    (name, layout, number)
    for name in BY_NAME
    if not name.endswith(SLOW_TO_BUILD)
    for layout in LAYOUTS
    for number in range(len(WINDOWS))
    if channels_of(name, number, layout) is not None
]


def check(name: str, layout: str, number: int, queue: cl.CommandQueue, step: int) -> None:
    """Run an algorithm's first plan on every ``step``-th width."""
    info = DeviceInfo.of(queue.device)
    channels = channels_of(name, number, layout)
    assert channels is not None
    for width in range(1 + number % step, WIDEST + 1, step):
        problem = problem_of_width(width, number, channels, layout)
        if problem is not None and BY_NAME[name].supports(problem, info) is None:
            check_plan(plans_of(name, problem, info, 1)[0], queue, integers=True)


@pytest.mark.parametrize(("name", "layout", "number"), CASES)
def test_widths(name: str, layout: str, number: int, cpu_queue: cl.CommandQueue) -> None:
    check(name, layout, number, cpu_queue, 5 if number in (2, 3, 4) else 11)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layout", "number"), CASES)
def test_every_width(name: str, layout: str, number: int, cpu_queue: cl.CommandQueue) -> None:
    check(name, layout, number, cpu_queue, 1)
