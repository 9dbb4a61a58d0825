"""The bound that ``explain`` prints, in its own words: also for outputs whose elements are all 0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyopencl as cl
import pytest

from clconv.device import DeviceInfo
from clconv.notation import parse
from clconv.reference import error_bound, reference
from clconv.select import Limits, named, select
from clconv.tensors import numpy_dtype
from tests.algorithms.test_every_algorithm import emulated
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


LARGEST, LARGEST_SUM, SMALLEST = 1e35, 1e34, 1e-33
"""Of the notes of :func:`clconv.conv2d`: of elements, of max |x| * sum |w|, and of elements that are not zero."""


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize(
    "text",
    [
        *(f"{k}x{k} 32->32 @17 padding 1" for k in range(2, 8)),
        "3x3 64->64 @24 stride 2 padding 1",
        "3x3 32->32 @17 dilation 2",
        "1x1 256->256 @14",
    ],
)
def test_elements_as_large_and_as_small_as_the_notes_say(text: str, layout: str, cpu_queue: cl.CommandQueue) -> None:
    """Every tile of every method that rounds more keeps its bound there, and its results are finite."""
    problem = parse(f"{text} {layout}")
    info = DeviceInfo.of(cpu_queue.device)
    rng = np.random.default_rng(5)
    signs = [rng.choice([-1.0, 1.0], shape) for shape in (problem.x_shape, problem.w_shape)]
    taps = problem.ICG * problem.KH * problem.KW
    families = {algorithm.name for word in ("winograd", "strassen", "split") for algorithm in named(word)}
    plans = [
        p for p in select(problem, info, Limits("auto")).candidates if p.algorithm in families and not emulated(p.algorithm)
    ]
    assert plans
    for plan in {(plan.algorithm, plan.winograd): plan for plan in plans}.values():
        for x_size, w_size in (
            (LARGEST, LARGEST_SUM / LARGEST / taps),
            (1.0, LARGEST_SUM / taps),
            (SMALLEST, 1.0),
            (1.0, SMALLEST),
        ):
            x, w = (np.asarray(s * size, np.float32) for s, size in zip(signs, (x_size, w_size), strict=True))
            y = run_plan(plan, cpu_queue, Data(x, w, None, None))
            assert np.isfinite(y).all(), (plan.algorithm, plan.tile, x_size)
            assert (np.abs(y - reference(problem, x, w)) <= error_bound(problem, plan, x, w)).all(), (plan.tile, x_size)
