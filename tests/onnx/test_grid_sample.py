"""Images at places that another tensor names."""

from __future__ import annotations

import math
from contextlib import nullcontext

import numpy as np
import pyopencl as cl
import pytest

import clconv.onnx
from clconv.errors import ShapeError, UnsupportedError
from tests.onnx.models import Array, model, node, numbers
from tests.onnx.test_on_gpus import taken_for_gpu

MODES = ("nearest", "linear", "cubic")
BEYOND = ("zeros", "border", "reflection")


def of(x: Array, grid: Array, queue: cl.CommandQueue | None = None, dtype: str | None = None, **attributes: str | int) -> Array:
    """What clconv makes of it; attributes of the newest operator set."""
    spec = node("GridSample", "x grid", "y", **attributes)
    proto = model([spec], {"x": list(x.shape), "grid": list(grid.shape)}, ["y"], opset=20)
    y: Array = clconv.onnx.load(proto, dtype=dtype, queue=queue)(x, grid)
    return y


def pixel(i: int, size: int, beyond: str, align: bool) -> int | None:
    """The pixel that stands for one that may be beyond the image, by going there step by step."""
    if beyond == "zeros":
        return i if 0 <= i < size else None
    if beyond == "border":
        return min(max(i, 0), size - 1)
    while size > 1 or not align:
        if i < 0:
            i = -i if align else -1 - i
        elif i >= size:
            i = 2 * (size - 1) - i if align else 2 * size - 1 - i
        else:
            return i
    return 0


def weight(distance: float, mode: str) -> float:
    """Of a pixel at a distance; Keys' function for cubic interpolation."""
    d, a = abs(distance), -0.75
    if mode == "linear":
        return max(0.0, 1 - d)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def expected(x: Array, grid: Array, mode: str, beyond: str, align: bool) -> Array:
    """The definition, pixel by pixel in double precision."""
    n, c, h, w = x.shape
    y = np.zeros((n, c, *grid.shape[1:3]))
    for b, i, j in np.ndindex(n, *grid.shape[1:3]):
        taps = []
        for place, size in zip(grid[b, i, j], (w, h), strict=True):
            at = (float(place) + 1) / 2 * (size - 1) if align else ((float(place) + 1) * size - 1) / 2
            if mode == "nearest":
                taps.append([(pixel(round(at), size, beyond, align), 1.0)])
            else:
                first = math.floor(at) - 1
                taps.append([(pixel(k, size, beyond, align), weight(at - k, mode)) for k in range(first, first + 4)])
        across, down = taps
        for row, u in down:
            for column, v in across:
                if row is not None and column is not None:
                    y[b, :, i, j] += u * v * x[b, :, row, column]
    return y


def places(seed: int = 0) -> Array:
    """Most within the image, some beyond it, and its corners."""
    grid = np.random.default_rng(seed).uniform(-1.6, 1.6, (2, 5, 7, 2)).astype(np.float32)
    grid[0, 0, :4] = [[-1, -1], [1, 1], [-1, 1], [0, 0]]
    return grid


def sampled(queue: cl.CommandQueue) -> None:
    """Compare a few with the definition; run on simulators as well."""
    x, grid = numbers(2, 3, 6, 5), places()
    for mode, beyond in zip(MODES, BEYOND, strict=True):
        y = of(x, grid, queue, mode=mode, padding_mode=beyond)
        np.testing.assert_allclose(y, expected(x, grid, mode, beyond, False), atol=1e-5)


@pytest.mark.parametrize("gpu", [False, True])
def test_on_every_device(gpu: bool, queue: cl.CommandQueue) -> None:
    with taken_for_gpu(queue) if gpu else nullcontext():
        sampled(queue)


@pytest.mark.parametrize("shape", [(2, 3, 6, 5), (2, 1, 1, 1), (2, 40, 1, 9)])
@pytest.mark.parametrize("align", [0, 1])
@pytest.mark.parametrize("beyond", BEYOND)
@pytest.mark.parametrize("mode", MODES)
def test_the_definition(mode: str, beyond: str, align: int, shape: tuple[int, ...]) -> None:
    x, grid = numbers(*shape), places(1)
    if mode == "nearest":  # half-way between two pixels, float32 and double may differ
        grid = np.where(np.abs(grid) == 1, grid, np.round(grid * 7) / 7 + 0.013).astype(np.float32)
    y = of(x, grid, mode=mode, padding_mode=beyond, align_corners=align)
    np.testing.assert_allclose(y, expected(x, grid, mode, beyond, bool(align)), atol=3e-5)


def test_half_precision() -> None:
    x, grid = numbers(2, 3, 6, 5).astype(np.float16), places().astype(np.float16)
    y = of(x.astype("e"), grid, dtype="float16")
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, expected(x.astype("f"), grid.astype("f"), "linear", "zeros", False), atol=4e-3)


@pytest.mark.parametrize("beyond", BEYOND)
@pytest.mark.parametrize("mode", MODES)
def test_places_that_are_none_or_far_away_read_nothing_else(mode: str, beyond: str) -> None:
    x = np.ones((1, 2, 3, 4), np.float32)
    far = [np.nan, np.inf, -np.inf, 1e30, -1e30, 1e9]
    grid = np.array([(a, b) for a in far for b in (0.0, *far)], np.float32).reshape(1, 6, 7, 2)
    y = of(x, grid, mode=mode, padding_mode=beyond)
    np.testing.assert_allclose(y, np.full_like(y, 0 if beyond == "zeros" else 1), atol=1e-6)


def test_zeros_beyond_an_image_of_infinities() -> None:
    """What is not there adds 0, not a product with something that is no number."""
    x = np.full((1, 1, 2, 2), np.inf, np.float32)
    grid = np.array([[-5.0, 0.0]], np.float32).reshape(1, 1, 1, 2)
    assert of(x, grid).item() == 0


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(ShapeError, match="pass one that holds pixels"):
        of(numbers(1, 3, 0, 5), numbers(1, 2, 2, 2), padding_mode="reflection")


def test_what_is_not_offered_is_said() -> None:
    with pytest.raises(UnsupportedError, match="four axes are supported"):
        of(numbers(1, 2, 3, 4, 5), numbers(1, 2, 2, 2, 3))
    with pytest.raises(UnsupportedError, match="has the padding_mode 'wrap'; use one of zeros"):
        of(numbers(1, 2, 3, 4), numbers(1, 2, 2, 2), padding_mode="wrap")
