"""Nodes that read constants alone give what they give of an input, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import clconv.onnx
from tests.onnx.models import Array, exact, model, node, numbers

RESIZE = {"mode": "linear", "axes": [-2, -1]}

CASES: dict[str, tuple[onnx.NodeProto, Array, dict[str, Any]]] = {
    "MaxPool same": (
        node("MaxPool", "x", "y", kernel_shape=[4, 4], strides=[1, 2], auto_pad="SAME_LOWER"),
        numbers(1, 1, 5, 6),
        {},
    ),
    "MaxPool large": (node("MaxPool", "x", "y", kernel_shape=[4, 4], pads=[3, 0, 2, 2]), numbers(1, 1, 2, 12), {}),
    "MaxPool 1-D": (node("GlobalMaxPool", "x", "y"), numbers(2, 3, 8), {}),
    "AveragePool ceil": (
        node("AveragePool", "x", "y", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER", ceil_mode=1),
        numbers(1, 1, 5, 5),
        {},
    ),
    "Conv": (node("Conv", "x w", "y", group=2), numbers(1, 4, 5, 5), {"w": numbers(6, 2, 3, 3)}),
    "ConvTranspose": (
        node("ConvTranspose", "x w", "y", group=2, strides=[2, 2], output_shape=[6, 7]),
        numbers(1, 4, 3, 4),
        {"w": numbers(4, 2, 2, 2)},
    ),
    "Gelu": (node("Gelu", "x", "y"), numbers(2, 3, 8), {}),
    "GroupNormalization": (
        node("GroupNormalization", "x s b", "y", num_groups=2),
        numbers(1, 4, 3, 3),
        {"s": numbers(4), "b": numbers(4, seed=1)},
    ),
    "Resize linear": (node("Resize", "x _ k", "y", **RESIZE), numbers(1, 1, 30, 5), {"k": np.array([2.6, 2.6], "f")}),
    "Resize nearest": (
        node("Resize", "x _ k", "y", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        numbers(1, 1, 63, 2),
        {"k": np.array([1, 1, 0.3, 1], "f")},
    ),
    "Pad negative": (node("Pad", "x p", "y"), numbers(1, 1, 6, 6), {"p": np.array([0, 0, -1, 0, 0, 0, 0, 1])}),
}


@pytest.mark.parametrize("name", CASES)
def test_of_a_constant_as_of_an_input(name: str) -> None:
    spec, x, constants = CASES[name]
    z = np.zeros(1, np.float32)
    fixed = model([spec, node("Add", "y z", "sum")], {"z": [1]}, ["sum"], {**constants, "x": x}, opset=21)
    want = clconv.onnx.load(model([spec], {"x": list(x.shape)}, ["y"], constants, opset=21))(x)
    got = clconv.onnx.load(fixed)(z)
    if name == "Resize linear":  # folded by NumPy, in float64
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
    else:
        np.testing.assert_array_equal(got, want)


def test_a_network_of_constants_alone() -> None:
    spec = node("MaxPool", "k", "y", kernel_shape=[2, 2])
    net = clconv.onnx.load(model([spec], {}, ["y"], {"k": np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)}))
    np.testing.assert_array_equal(net(), [[[[4, 5], [7, 8]]]])


@pytest.mark.parametrize("how", [{"antialias": 1}, {"coordinate_transformation_mode": "tf_crop_and_resize"}])
def test_a_resize_that_no_kernel_does(how: dict[str, Any]) -> None:
    """As of position codes of another image's size: of constants, it is computed all the same."""
    spec = node("Resize", "k roi _ s", "y", mode="linear", **how)
    roi = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32)
    constants = {"k": numbers(1, 1, 8, 8), "roi": roi, "s": np.array([1, 1, 4, 4])}
    proto = model([spec, node("Add", "x y", "z")], {"x": [1, 1, 4, 4]}, ["z"], constants, opset=19)
    x = np.zeros((1, 1, 4, 4), np.float32)
    np.testing.assert_allclose(clconv.onnx.load(proto)(x), exact(proto, {"x": x})[0], rtol=0, atol=1e-6)
