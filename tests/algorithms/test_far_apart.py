"""Outputs, or taps, that lie far apart: what a kernel holds or unrolls must not grow with what lies between."""

from __future__ import annotations

from typing import Any

import pyopencl as cl
import pytest

from clconv.algorithms import ALGORITHMS
from clconv.device import DeviceInfo
from clconv.problem import ConvProblem
from clconv.select import over_limit
from tests.harness import check_plan

BY_NAME = {a.name: a for a in ALGORITHMS}
CPU = DeviceInfo("processor", "Vendor", max_work_group_size=4096, local_mem_bytes=1 << 30)


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


PATCHES = ("grouped/direct_simt", "depthwise/direct_simt")
"""Those that hold in private memory what a tile of outputs reads."""


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", [n if n in PATCHES else pytest.param(n, marks=pytest.mark.slow) for n in BY_NAME])
def test_a_large_stride(name: str, layout: str, wide: bool, queue: cl.CommandQueue) -> None:
    info, algorithm = DeviceInfo.of(queue.device), BY_NAME[name]
    for groups in (1, 2, 4):
        p = problem(groups, layout, stride=20000, wide=wide)
        if algorithm.supports(p, info) is None:
            plan = next(plan for plan in algorithm.plans(p, info) if over_limit(plan, info) is None)
            check_plan(plan, queue, integers=True)


@pytest.mark.slow
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", BY_NAME)
def test_a_large_dilation(name: str, layout: str, wide: bool, queue: cl.CommandQueue) -> None:
    """With an unrolled loop over what lies between, a compiler would take minutes."""
    info, algorithm = DeviceInfo.of(queue.device), BY_NAME[name]
    for groups in (1, 2, 4):
        p = problem(groups, layout, dilation=20000, wide=wide)
        if algorithm.supports(p, info) is None:
            plan = next(plan for plan in algorithm.plans(p, info) if over_limit(plan, info) is None)
            check_plan(plan, queue, integers=True)


@pytest.mark.parametrize("options", [{"dilation": 100}, {"dilation": (1, 100)}, {"dilation": (100, 1)}, {"stride": 100}])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_few_rows_and_columns_are_unrolled(layout: str, options: dict[str, Any]) -> None:
    """By the kernels that unroll all that a tile spans, whose macros say how large the tile is."""
    for name in (
        *(f"depthwise/{n}_simd" for n in ("direct", "masked", "twin", "panel", "channel", "pixel")),
        "grouped/lane_simd",
    ):
        groups = 2 if name.startswith("grouped") else 8
        shapes = ((1, 8, 700, 700), (8, 8 // groups, 3, 3)) if layout == "NCHW" else ((1, 700, 700, 8), (3, 3, 8 // groups, 8))
        p = ConvProblem(*shapes, groups=groups, layout=layout, **options)
        if BY_NAME[name].supports(p, CPU) is None:
            for plan in BY_NAME[name].plans(p, CPU):
                m = dict(plan.launches[0].macros)
                rows = (int(m["TILE_OH"]) - 1) * p.SH + (p.KH - 1) * p.DH + 1 if "TILE_OH" in m else 1
                columns = (int(m["TILE_OW"]) - 1) * p.SW + (p.KW - 1) * p.DW + 1 if "TILE_OW" in m else 1
                assert 3 <= rows * columns <= (2048 if "pixel" in name else 128)
