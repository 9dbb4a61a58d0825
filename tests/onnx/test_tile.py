"""Repetition along several axes: by numbers that are constant, are given, or follow from a size, and of any elements."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import clconv
import clconv.onnx
from tests.onnx.models import model, node, numbers

TILE = node("Tile", "x n", "y")


@pytest.mark.parametrize(
    ("shape", "repeats"),
    [
        ((), ()),
        ((5,), (3,)),
        ((1,), (7,)),
        ((2, 3), (2, 2)),
        ((2, 3, 5), (3, 1, 2)),
        ((2, 1, 5), (2, 4, 3)),
        ((2, 3, 4, 5), (2, 3, 2, 2)),
        ((2, 1, 3, 1, 2, 3), (2, 2, 1, 3, 2, 2)),
        ((2, 3), (0, 2)),
        ((2, 0), (3, 2)),
    ],
)
def test_repeated(shape: tuple[int, ...], repeats: tuple[int, ...]) -> None:
    x = numbers(*shape)
    y = clconv.onnx.load(model([TILE], {"x": [*shape]}, ["y"], {"n": np.array(repeats, np.int64)}))(x)
    np.testing.assert_array_equal(y, np.tile(x, repeats) if shape else x)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", "int32", "uint8", "bool"])
def test_elements_of_any_type(dtype: str) -> None:
    x = (numbers(3, 4, 5) * 9).astype(dtype)
    element = onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    net = clconv.onnx.load(model([TILE], {"x": [3, 4, 5]}, ["y"], {"n": np.array([1, 2, 3])}, dtype=element))
    np.testing.assert_array_equal(net(x), np.tile(x, (1, 2, 3)))


def test_numbers_that_are_given_or_follow_from_a_size() -> None:
    given = model([TILE], {"x": ["N", 3]}, ["y"])
    given.graph.input.append(onnx.helper.make_tensor_value_info("n", onnx.TensorProto.INT64, [2]))
    net, x = clconv.onnx.load(given), numbers(2, 3)
    for repeats in ((2, 2), (1, 4)):
        np.testing.assert_array_equal(net(x, np.array(repeats)), np.tile(x, repeats))
    nodes = [node("Shape", "x", "n"), TILE]
    np.testing.assert_array_equal(clconv.onnx.load(model(nodes, {"x": ["N", "C"]}, ["y"]))(x), np.tile(x, (2, 3)))


def test_numbers_that_a_node_computes_are_refused() -> None:
    nodes = [node("Cast", "z", "n", to=onnx.TensorProto.INT64), TILE]
    with pytest.raises(clconv.UnsupportedError, match=r"the shape of 'y' depends on what the tensors of the node .* hold"):
        clconv.onnx.load(model(nodes, {"x": [2, 3], "z": [2]}, ["y"]))(numbers(2, 3), numbers(2))
