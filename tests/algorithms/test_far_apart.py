"""Outputs, or taps, that lie far apart: what a kernel holds or unrolls must not grow with what lies between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyopencl as cl
import pytest

from clconv.algorithms import ALGORITHMS
from clconv.device import DeviceInfo
from clconv.problem import ConvProblem
from clconv.select import over_limit
from tests.harness import Array, check_plan, make_data, run_plan

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


FAR = 2**30


def one_tap(h: int, w: int) -> Callable[[Array, Array], Array]:
    """What comes out if one tap of each filter alone lies in the image, at whose first pixels."""
    return lambda x, filters: np.einsum("nihw,oi->nohw", x, filters[:, :, h, w])


EXTREMES: dict[str, tuple[ConvProblem, Callable[[Array, Array], Array]]] = {
    "strides whose product has more than 32 bits": (
        ConvProblem((5, 2, 2, 16), (1, 1, 16, 16), stride=2 * FAR - 1, layout="NHWC"),
        lambda x, w: np.einsum("nhwi,hwio->nhwo", x[:, :1, :1], w),
    ),
    "taps a half of all rows apart": (
        ConvProblem((2, 4, 2, 3), (4, 4, 3, 3), dilation=FAR // 2, padding=FAR // 2),
        one_tap(1, 1),
    ),
    "a column of padding and one of the image": (
        ConvProblem((1, 4, 1, 17), (8, 4, 1, 1), stride=(1, FAR), padding=((0, 0), (FAR, FAR // 2))),
        lambda x, w: one_tap(0, 0)(np.stack([0 * x[..., 0], x[..., 0]], 3), w),
    ),
    "one output of each channel": (
        ConvProblem((1, 8, 9, 9), (8, 1, 3, 3), stride=FAR // 4, padding=1, groups=8),
        lambda x, w: np.einsum("nchw,chw->nc", x[:, :, :2, :2], w[:, 0, 1:, 1:])[..., None, None],
    ),
}


@pytest.mark.parametrize("extreme", EXTREMES)
def test_steps_of_almost_32_bits(extreme: str, queue: cl.CommandQueue) -> None:
    info, (p, expected) = DeviceInfo.of(queue.device), EXTREMES[extreme]
    data = make_data(p, integers=True)
    want, tested = expected(data.x, data.w), 0
    for algorithm in ALGORITHMS:
        if algorithm.supports(p, info) is None:
            plan = next((plan for plan in algorithm.plans(p, info) if over_limit(plan, info) is None), None)
            if plan is not None:
                np.testing.assert_array_equal(run_plan(plan, queue, data), want, algorithm.name)
                tested += 1
    assert tested > 1
