"""Pad that cuts on one side and adds on another: the border is one of what is left, as in ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
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
