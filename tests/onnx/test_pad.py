"""Pad that cuts on one side and adds on another: the border is one of what is left, as in ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import clconv.onnx
from tests.onnx.models import model, node, numbers

MODES: list[Any] = ["reflect", "edge", "wrap"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pads", [[-1, 2], [2, -1], [-2, 1], [1, -2], [-1, 3], [-2, -1]])
def test_the_border_is_taken_of_what_is_left(pads: list[int], mode: Any) -> None:
    x = numbers(5)
    spec = node("Pad", "x p", "y", mode=mode)
    y = clconv.onnx.load(model([spec], {"x": [5]}, ["y"], {"p": np.array(pads)}, opset=19))(x)
    left = x[max(0, -pads[0]) : 5 + min(0, pads[1])]
    np.testing.assert_array_equal(y, np.pad(left, [(max(0, pads[0]), max(0, pads[1]))], mode))


@pytest.mark.parametrize("mode", MODES)
def test_along_several_axes(mode: Any) -> None:
    x = numbers(2, 5, 6, 7)
    spec = node("Pad", "x p _ axes", "y", mode=mode)
    constants = {"p": np.array([-2, 1, 1, 2]), "axes": np.array([-1, 1])}
    y = clconv.onnx.load(model([spec], {"x": [2, 5, 6, 7]}, ["y"], constants, opset=19))(x)
    np.testing.assert_array_equal(y, np.pad(x[..., 2:], [(0, 0), (1, 2), (0, 0), (0, 1)], mode))


def test_wrapped_by_hand() -> None:
    """Of 0 1 2 3 4 without the first, 1 2 come again behind 4."""
    spec = node("Pad", "x p", "y", mode="wrap")
    proto = model([spec], {"x": [5]}, ["y"], {"p": np.array([-1, 2])}, opset=19)
    assert clconv.onnx.load(proto)(np.arange(5, dtype=np.float32)).tolist() == [1, 2, 3, 4, 1, 2]


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "uint8"])
@pytest.mark.parametrize("mode", ["constant", *MODES])
@pytest.mark.parametrize(
    ("shape", "before", "after"),
    [
        ((67,), (5,), (0,)),
        ((3,), (9,), (11,)),
        ((3, 41), (1, 0), (0, 3)),
        ((2, 3, 35, 45), (0, 0, 3, 2), (0, 0, 1, 4)),
        ((2, 3, 5, 33), (1, 2, 0, 1), (1, 0, 2, 0)),
        ((2, 200, 4, 5), (0, 0, 1, 1), (0, 0, 1, 1)),
        ((3, 5, 129), (0, 2, 0), (0, 1, 0)),
    ],
)
def test_long_and_short_rows(
    shape: tuple[int, ...], before: tuple[int, ...], after: tuple[int, ...], mode: Any, dtype: str
) -> None:
    """The middle of a row is copied in vectors, and work-items have several rows."""
    x = (numbers(*shape) * 40).astype(dtype)
    element = onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    constants = {"p": np.array([*before, *after]), "v": np.array(7, dtype)}
    proto = model([node("Pad", "x p v", "y", mode=mode)], {"x": [*shape]}, ["y"], constants, dtype=element, opset=19)
    more = {"constant_values": 7} if mode == "constant" else {}
    want = np.pad(x, list(zip(before, after, strict=True)), mode, **more)
    np.testing.assert_array_equal(clconv.onnx.load(proto)(x), want)


@pytest.mark.parametrize("width", [3, 40])
@pytest.mark.parametrize("pads", [(-1, 2), (4, -2), (-3, 5), (-1, -1), (5, -3), (-9, 12), (12, -9)])
def test_a_row_that_is_cut_and_filled(pads: tuple[int, int], width: int) -> None:
    """Also where nothing is left of it."""
    x = numbers(2, width)
    proto = model(
        [node("Pad", "x p v", "y")],
        {"x": [2, width]},
        ["y"],
        {"p": np.array([0, pads[0], 1, pads[1]]), "v": np.array(7, np.float32)},
    )
    filled = np.pad(x, ((0, 1), (max(pads[0], 0), max(pads[1], 0))), constant_values=7)
    want = filled[:, max(-pads[0], 0) : filled.shape[1] - max(-pads[1], 0)]
    np.testing.assert_array_equal(clconv.onnx.load(proto)(x), want)
