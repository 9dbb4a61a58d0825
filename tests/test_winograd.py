"""Winograd's transforms: their coefficients, and the numbers that their bound is made of."""

from __future__ import annotations

import pyopencl as cl
import pytest

from clconv import winograd
from clconv.device import DeviceInfo
from clconv.notation import parse
from tests.algorithms.test_every_algorithm import BY_NAME
from tests.harness import check_plan
from tests.shapes import problem_of


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", ["standard/winograd_simd", "standard/winograd_simt"])
def test_coefficients_of_every_tile_are_exact_to_double_precision(name: str, layout: str, queue: cl.CommandQueue) -> None:
    """Within float32's wide bound, a coefficient of the largest tile may be off by 1e-5 unseen."""
    info = DeviceInfo.of(queue.device)
    problem = problem_of("odd_channels", layout=layout, dtype="float64")
    reason = BY_NAME[name].supports(problem, info)
    if reason is not None:
        pytest.skip(reason)
    tiles = {plan.winograd: plan for plan in BY_NAME[name].plans(problem, info)}
    assert sorted(tile for tile in tiles if tile) == [2, 4, 6]
    for plan in tiles.values():
        check_plan(plan, queue)


def test_paths_of_the_smallest_tile_by_hand() -> None:
    """Three products of sums of two pixels, with a tap once whole and twice by half: 2 (1 + 1/2 + 1/2)."""
    assert winograd.amplification(2) == 4
    assert winograd.amplification(2) < winograd.amplification(4) < winograd.amplification(6) < 40


def test_roundings_by_hand() -> None:
    """Six transforms along an axis of four roundings, 64 products in a sum, the bias, the residual and the last one."""
    assert winograd.roundings(parse("3x3 64->64 @14 padding 1")) == 24 + 64 + 3
