"""Tensors of no elements that others with elements are computed from."""

from __future__ import annotations

import numpy as np
import onnx
import pyopencl.array
import pytest

import clconv.onnx
from clconv.errors import ShapeError
from tests.onnx.models import model, node, numbers


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (node("GlobalAveragePool", "x", "y"), np.nan),
        (node("GlobalMaxPool", "x", "y"), -np.inf),
        (node("ReduceMean", "x", "y", axes=[2, 3]), np.nan),
        (node("ReduceMean", "x", "y", axes=[0, 2]), np.nan),
    ],
)
def test_the_mean_and_the_maximum_of_nothing(spec: onnx.NodeProto, value: float) -> None:
    proto = model([spec], {"x": ["N", 3, "H", "W"]}, ["y"])
    shape = (1, 3, 1, 5) if list(spec.attribute) and list(spec.attribute[0].ints) == [0, 2] else (1, 3, 1, 1)
    np.testing.assert_array_equal(clconv.onnx.load(proto)(numbers(1, 3, 0, 5)), np.full(shape, value))


@pytest.mark.parametrize("activation", ["Relu", "Gelu", "Elu"])
def test_products_over_no_elements_are_their_shift(activation: str) -> None:
    b, c = np.empty((0, 4), np.float32), numbers(4)
    x = np.empty((2, 0), np.float32)
    plain = model([node("MatMul", "x b", "y")], {"x": ["N", 0]}, ["y"], {"b": b})
    np.testing.assert_array_equal(clconv.onnx.load(plain)(x), np.zeros((2, 4)))
    nodes = [node("Gemm", "x b c", "g", beta=2.0), node(activation, "g", "y")]
    proto = model(nodes, {"x": ["N", 0]}, ["y"], {"b": b, "c": c}, opset=20)
    alone = model([node(activation, "x", "y")], {"x": [2, 4]}, ["y"], opset=20)
    want = clconv.onnx.load(alone)(np.tile(2 * c, (2, 1)))
    np.testing.assert_allclose(clconv.onnx.load(proto)(x), want, atol=1e-6)


@pytest.mark.parametrize(
    "spec",
    [
        node("MaxPool", "x", "y", kernel_shape=[1, 1], pads=[1, 1, 1, 1]),
        node("AveragePool", "x", "y", kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
        node("Resize", "x _ _ sizes", "y"),
    ],
)
def test_images_without_pixels_are_refused_where_others_with_some_come_of_them(spec: onnx.NodeProto) -> None:
    constants = {"sizes": np.array([1, 2, 4, 5])} if spec.op_type == "Resize" else {}
    proto = model([spec], {"x": ["N", 2, "H", 5]}, ["y"], constants)
    with pytest.raises(ShapeError, match=rf"the {spec.op_type} of y.*\(1, 2, 0, 5\); pass one that holds"):
        clconv.onnx.load(proto)(numbers(1, 2, 0, 5))


def test_device_arrays_without_elements() -> None:
    nodes = [node("Conv", "x w", "c"), node("GlobalAveragePool", "x", "m"), node("Concat", "x x", "t", axis=3)]
    net = clconv.onnx.load(model(nodes, {"x": ["N", 3, "H", "W"]}, ["c", "m", "t"], {"w": numbers(4, 3, 1, 1)}))
    for shape in ((0, 3, 4, 4), (1, 3, 0, 4)):
        x = np.empty(shape, np.float32)
        for y, want in zip(net(pyopencl.array.to_device(net.queue, x)), net(x), strict=True):
            np.testing.assert_array_equal(y.get(), want)
