"""Numbers of 16 bits in memory: each of them comes back as it was, and sums are rounded as NumPy rounds them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import clconv
from clconv.algorithms import ALGORITHMS
from clconv.device import DeviceInfo
from clconv.problem import ConvProblem

DEPTHWISE = [a for a in ALGORITHMS if a.name.startswith("depthwise/")]
CHANNELS, HEIGHT, WIDTH = 61, 29, 38
"""Vectors of 4, 8 and 16 lanes end behind rows and behind channels; all numbers have a place."""


def type_of(name: str) -> np.dtype[np.generic]:
    """Return the NumPy type of a name, or skip the test where the package that brings it is missing."""
    return np.dtype(pytest.importorskip("ml_dtypes").bfloat16 if name == "bfloat16" else name)


def all_numbers(dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """Return an image in NHWC with every pattern of 16 bits."""
    assert CHANNELS * HEIGHT * WIDTH >= 1 << 16
    return np.resize(np.arange(1 << 16, dtype=np.uint16), (1, HEIGHT, WIDTH, CHANNELS)).view(dtype)


def convolutions(bias: float, dtype: np.dtype[np.generic], layout: str) -> list[clconv.Convolution]:
    """Return y = x + bias by each depthwise algorithm that serves it on the default device, one or more."""
    nhwc = layout == "NHWC"
    shape = (1, HEIGHT, WIDTH, CHANNELS) if nhwc else (1, CHANNELS, HEIGHT, WIDTH)
    w = np.ones((1, 1, 1, CHANNELS) if nhwc else (CHANNELS, 1, 1, 1), dtype)
    problem = ConvProblem(shape, w.shape, groups=CHANNELS, layout=layout, dtype=str(dtype), bias=True)
    info = DeviceInfo.of(clconv.default_queue().device)
    serving = [a.name for a in DEPTHWISE if a.supports(problem, info) is None]
    assert serving
    b = np.full(CHANNELS, bias, dtype)
    return [clconv.Convolution(w, b, groups=CHANNELS, layout=layout, algorithm=name) for name in serving]


def in_layout(image: NDArray[np.generic], layout: str) -> NDArray[np.generic]:
    """Bring an image in NHWC into a layout."""
    return image if layout == "NHWC" else np.ascontiguousarray(image.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_every_number_comes_back_as_it_was(name: str, layout: str) -> None:
    dtype = type_of(name)
    x = in_layout(all_numbers(dtype), layout)
    # Parts below the least normal float32 number may be taken for 0; float16 has none that small.
    with np.errstate(invalid="ignore"):
        size = np.abs(x.astype(np.float32))
        kept = (size == 0) | (size >= np.finfo(np.float32).tiny)
    for convolution in convolutions(0.0, dtype, layout):
        y = np.asarray(convolution(x))
        assert np.array_equal(y[kept], x[kept])
        assert np.all(np.isnan(y[np.isnan(size)].astype(np.float32)))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@pytest.mark.parametrize("bias", [0.75, -1.0, 3e4])
def test_sums_are_rounded_to_the_nearest_number_ties_to_even(name: str, layout: str, bias: float) -> None:
    dtype = type_of(name)
    x = in_layout(all_numbers(dtype), layout)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = (x.astype(np.float32) + np.float32(dtype.type(bias))).astype(dtype)
    for convolution in convolutions(bias, dtype, layout):
        y = np.asarray(convolution(x))
        numbers = ~np.isnan(expected.astype(np.float32))
        assert np.array_equal(y[numbers], expected[numbers])
        assert np.all(np.isnan(y[~numbers].astype(np.float32)))
