"""Outputs, or taps, that lie far apart: what a kernel holds or unrolls must not grow with what lies between."""

from __future__ import annotations

import pyopencl as cl
import pytest

from clconv.algorithms import ALGORITHMS
from clconv.device import DeviceInfo
from clconv.problem import ConvProblem
from clconv.select import over_limit
from tests.harness import check_plan

BY_NAME = {a.name: a for a in ALGORITHMS}


def problem(groups: int, layout: str = "NCHW", *, stride: int = 1, dilation: int = 1, wide: bool = False) -> ConvProblem:
    """Three outputs and two taps along one axis."""
    long, channels, per_group = 2 * stride + dilation + 1, 4, 4 // groups
    image, window = ((2, long), (1, 2)) if wide else ((long, 2), (2, 1))
    stride_of, dilation_of = ((1, stride), (1, dilation)) if wide else ((stride, 1), (dilation, 1))
    nchw = layout == "NCHW"
    return ConvProblem(
        (1, channels, *image) if nchw else (1, *image, channels),
        (channels, per_group, *window) if nchw else (*window, per_group, channels),
        stride=stride_of,
        dilation=dilation_of,
        groups=groups,
        layout=layout,
    )


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", BY_NAME)
def test_a_large_stride(name: str, layout: str, wide: bool, queue: cl.CommandQueue) -> None:
    info, algorithm = DeviceInfo.of(queue.device), BY_NAME[name]
    for groups in (1, 2, 4):
        p = problem(groups, layout, stride=20000, wide=wide)
        if algorithm.supports(p, info) is None:
            plan = next(plan for plan in algorithm.plans(p, info) if over_limit(plan, info) is None)
            check_plan(plan, queue, integers=True)
