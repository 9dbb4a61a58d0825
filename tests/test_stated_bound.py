"""The bound that ``explain`` prints, in its own words: also for outputs whose elements are all 0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyopencl as cl
import pytest

from clconv.device import DeviceInfo
from clconv.notation import parse
from clconv.reference import reference
from clconv.select import Limits, select
from clconv.tensors import numpy_dtype
from tests.harness import Data, run_plan

EPS = float(np.finfo(np.float32).eps)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize(
    ("text", "algorithm", "words"),
    [
        ("3x3 64->64 @24 padding 1", "winograd", "max |x| of the pixels under a tile * sum |w| of the output channel"),
        ("1x1 256->256 @14", "strassen", "max |x| of two pixels * the larger sum |w| of two output channels"),
        ("3x3 64->64 @24 padding 1", "direct", "conv(|x|, |w|)"),
    ],
)
def test_one_pixel_alone(text: str, algorithm: str, words: str, layout: str, cpu_queue: cl.CommandQueue) -> None:
    problem = parse(f"{text} {layout}")
    plan = select(problem, DeviceInfo.of(cpu_queue.device), Limits(algorithm)).plan
    assert plan.bound == f"{plan.error_factor:g} eps(float32) * {words}"
    more = replace(plan, problem=replace(problem, bias=True, residual=True))
    assert more.bound == f"{plan.error_factor:g} eps(float32) * ({words} + |bias| + |residual|)"
    rng = np.random.default_rng(3)
    x = np.zeros(problem.x_shape, np.float32)
    first = (0, slice(None), 0, 0) if layout == "nchw" else (0, 0, 0)
    x[first] = rng.standard_normal(problem.IC)
    w = rng.standard_normal(problem.w_shape).astype(np.float32)
    error = np.abs(run_plan(plan, cpu_queue, Data(x, w, None, None)) - reference(problem, x, w))
    products = reference(problem, np.abs(x), np.abs(w))
    if algorithm == "direct":
        assert (error <= plan.error_factor * EPS * products).all()
    else:
        assert (error > plan.error_factor * EPS * products).any()  # the bound of plain sums does not hold
        sums = np.abs(w).sum(axis=(1, 2, 3) if layout == "nchw" else (0, 1, 2))
        assert error.max() <= plan.error_factor * EPS * np.abs(x).max() * sums.max()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits_by_winograd_lose_no_more_than_their_storage(dtype: str, cpu_queue: cl.CommandQueue) -> None:
    """The largest tiles add less than a hundredth to the error that storing the result makes, in the mean square."""
    problem = parse(f"3x3 128->64 @28 padding 1 {dtype}")
    info = DeviceInfo.of(cpu_queue.device)
    rng = np.random.default_rng(4)
    kind = numpy_dtype(dtype)
    x, w = (rng.standard_normal(shape).astype(kind) for shape in (problem.x_shape, problem.w_shape))
    exact = reference(problem, x, w)
    stored = np.sqrt(np.mean((exact.astype(kind).astype(np.float64) - exact) ** 2))
    plan = next(plan for plan in select(problem, info, Limits("winograd")).candidates if plan.winograd == 6)
    error = run_plan(plan, cpu_queue, Data(x, w, None, None)).astype(np.float64) - exact
    assert np.sqrt(np.mean(error**2)) < 1.01 * stored
