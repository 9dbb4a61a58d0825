"""Strassen's product: how pixels are cut and paired, and a bound that holds where that of the direct method does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyopencl as cl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clconv.device import DeviceInfo
from clconv.notation import parse
from clconv.reference import error_bound, reference
from clconv.select import Limits, select
from clconv.strassen import cut, halves, magnitude
from tests.harness import Data, run_plan

HEIGHTS = st.sampled_from([(14, 11), (6, 5), (48, 32), (24, 16)])


@given(st.integers(1, 5000), HEIGHTS)
def test_every_pixel_is_in_one_half_and_few_are_added(pixels: int, heights: tuple[int, int]) -> None:
    upper, lower = halves(pixels, heights)
    assert sorted([*upper, *lower]) == list(range(2 * len(upper)))
    tiles, small = cut(pixels, heights)
    assert 0 <= small <= tiles
    spare = 2 * len(upper) - pixels
    assert spare >= 0
    # One tile less, or one more of the smaller ones, and there would be no room.
    assert spare < 2 * (heights[0] - heights[1]) or small == tiles


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("text", ["1x1 9->70 @5x7 batch 2", "1x1 8->64 @9 stride 2", "1x1 64->33 @3"])
def test_paths_without_signs_are_the_product_of_absolute_values_and_more(text: str, layout: str) -> None:
    problem = parse(f"{text} {layout}")
    plan = select(problem, DeviceInfo("made up", "somewhere"), Limits("strassen")).plan
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal(problem.x_shape), rng.standard_normal(problem.w_shape)
    assert plan.strassen is not None
    large, small, channels = plan.strassen
    size = magnitude(problem, (large, small), channels, x, w)
    direct = reference(problem, np.abs(x), np.abs(w))
    assert size.shape == direct.shape
    assert (size >= direct * (1 - 1e-12)).all()
    assert size.max() > direct.max()


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_bound_holds_where_that_of_the_direct_method_does_not(layout: str, queue: cl.CommandQueue) -> None:
    """Pixels of very different sizes meet in a tile: the small ones inherit the rounding of the large ones."""
    problem = parse(f"1x1 64->128 @8 {layout}")
    plan = select(problem, DeviceInfo.of(queue.device), Limits("strassen")).plan
    direct = select(problem, DeviceInfo.of(queue.device), Limits("direct")).plan
    rng = np.random.default_rng(5)
    x = rng.standard_normal(problem.x_shape).astype(np.float32)
    w = rng.standard_normal(problem.w_shape).astype(np.float32)
    assert plan.strassen is not None
    large, small, _ = plan.strassen
    factor = np.ones(64, np.float32)
    factor[halves(64, (large, small))[0][:8]] = 1e4
    x *= factor.reshape((8, 8) if layout == "nchw" else (8, 8, 1))
    data = Data(x, w, None, None)
    want = reference(problem, x, w)
    error = np.abs(run_plan(plan, queue, data) - want)
    assert (error <= error_bound(problem, plan, x, w)).all()
    assert (error > error_bound(problem, direct, x, w)).any()
    assert (np.abs(run_plan(direct, queue, data) - want) <= error_bound(problem, direct, x, w)).all()


def test_a_caller_can_rule_it_out() -> None:
    """By a family, a name, or a limit of the error."""
    problem = parse("1x1 512->512 @14 nhwc")
    info = DeviceInfo("made up", "Portable Computing Language", unaligned_vectors=True, avx512=True, local_mem_bytes=1 << 20)
    assert select(problem, info).plan.strassen
    assert not select(problem, info, Limits("direct")).plan.strassen
    assert not select(problem, info, Limits(error_factor=1000)).plan.strassen
    assert not select(replace(problem, dtype="float16"), info).plan.strassen
