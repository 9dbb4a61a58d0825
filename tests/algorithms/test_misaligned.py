"""Arrays may begin anywhere in a line of the cache, and anywhere relative to each other; kernels that look there are right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import clconv
from clconv.notation import parse
from clconv.reference import convolve
from clconv.runtime import runtime_of
from clconv.select import Limits, select
from tests.harness import Array

LINE = 64


def at(array: Array, offset: int) -> tuple[Array, Array]:
    """A copy that begins so many bytes behind a page's second line, and the memory around it, which holds no numbers."""
    number = array.itemsize
    memory = np.full(array.size + (8192 + 2 * LINE) // number, np.nan, array.dtype)
    start = (-memory.ctypes.data % 4096 + offset) // number + LINE // number
    there = memory[start : start + array.size].reshape(array.shape)
    there[...] = array
    assert (there.ctypes.data - LINE) % 4096 == offset
    return there, memory


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "text",
    [
        "3x3 512->512 @5 groups 512 padding 1",
        "3x3 256->256 @7 groups 256 padding 1 stride 2",
        "3x3 40->40 @6 groups 40 padding 1",
        "3x3 33->33 @5x9 groups 33 padding 1 stride 2",
        "2x3 48->48 @4x5 groups 48 padding 5",
    ],
)
def test_depthwise_in_place(text: str, dtype: str) -> None:
    problem = replace(parse(f"{text} nhwc"), dtype=dtype)
    rng = np.random.default_rng(7)
    x, w = (rng.integers(-4, 5, shape).astype(dtype) for shape in (problem.x_shape, problem.w_shape))
    info = runtime_of(clconv.default_queue()).info
    limits = Limits("depthwise/pixel_simd")
    if dtype == "float64" and not info.fp64:
        pytest.skip("the device has no float64")
    assert select(problem, info, limits).plan.algorithm == limits.algorithm
    conv = clconv.Convolution(
        w, padding=problem.padding, stride=problem.stride, groups=problem.G, layout="NHWC", algorithm=limits.algorithm
    )
    want = convolve(problem, x, w)
    for of_x, of_y in ((0, 0), (16, 16), (0, 16), (16, 0), (48, 80), (8, 4088), (0, 2048), (24, 1032)):
        y, around = at(np.full(problem.output_shape, np.nan, dtype), of_y)
        conv(at(x, of_x)[0], out=y)
        np.testing.assert_array_equal(y, want)
        assert np.isnan(around).sum() == around.size - y.size
