"""Comparisons, truth values, choices by them, and places of extremes, where the network runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from pyopencl import CommandQueue

import clconv
import clconv.onnx
from clconv.onnx import layout
from clconv.onnx.lower import logic
from tests.onnx.models import Array, model, node, numbers
from tests.onnx.test_cast import proto_of, values
from tests.onnx.test_on_gpus import taken_for_gpu

SHAPES: dict[str, list[tuple[int, ...]]] = {
    "same": [(2, 3, 5, 7), (2, 3, 5, 7)],
    "channel": [(2, 3, 5, 7), (3, 1, 1)],
    "number": [(67,), ()],
    "both": [(2, 1, 5, 1), (3, 1, 7)],
}
OPERATIONS: dict[str, Any] = {
    "Equal": np.equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
}


def some(dtype: str, shape: tuple[int, ...], seed: int) -> Array:
    """Draw few different numbers, and one that is none."""
    if dtype == "bool":
        return numbers(*shape, seed=seed) > 0
    x = np.abs(np.round(numbers(*shape, seed=seed))) * (100 if dtype == "uint8" else 1)
    x = np.array(x.astype(dtype))
    if dtype[0] == "f" and x.size > 1:
        x.reshape(-1)[1] = np.nan
    return x


def check(op: str, dtype: str, case: str, queue: CommandQueue) -> None:
    """Compare tensors."""
    a, b = (some(dtype, shape, seed) for seed, shape in enumerate(SHAPES[case]))
    ports = {"a": (dtype, [*a.shape]), "b": (dtype, [*b.shape])}
    y = clconv.onnx.load(proto_of([node(op, "a b", "y")], ports, {"y": "bool"}), queue=queue)(a, b)
    assert y.dtype == np.bool_
    np.testing.assert_array_equal(y, OPERATIONS[op](a, b))


@pytest.mark.parametrize("case", SHAPES)
@pytest.mark.parametrize("op", OPERATIONS)
def test_comparisons(op: str, case: str, queue: CommandQueue) -> None:
    for dtype in ("bool",) if op in ("And", "Or", "Xor") else ("float32", "float16", "float64", "uint8", "int32", "int64"):
        check(op, dtype, case, queue)


def test_not_and_equal_truth_values(queue: CommandQueue) -> None:
    a, b = some("bool", (3, 45), 1), some("bool", (3, 45), 2)
    nodes = [node("Equal", "a b", "e"), node("Not", "e", "y")]
    ports: dict[str, tuple[str, list[Any]]] = {"a": ("bool", [3, 45]), "b": ("bool", [3, 45])}
    np.testing.assert_array_equal(clconv.onnx.load(proto_of(nodes, ports, {"y": "bool"}), queue=queue)(a, b), a ^ b)


def check_where(dtype: str, shapes: list[tuple[int, ...]], queue: CommandQueue) -> None:
    """Choose from two tensors."""
    c = some("bool", shapes[0], 5)
    a, b = (np.resize(values(dtype, 67), shape) for shape in shapes[1:])
    ports = {"c": ("bool", [*c.shape]), "a": (dtype, [*a.shape]), "b": (dtype, [*b.shape])}
    y = clconv.onnx.load(proto_of([node("Where", "c a b", "y")], ports, {"y": dtype}), queue=queue)(c, a, b)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, np.where(c, a, b))


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "uint8", "int64", "bool"])
@pytest.mark.parametrize(
    "shapes",
    [[(2, 3, 67)] * 3, [(2, 1, 7), (3, 1), (2, 3, 7)], [(5, 7), (7,), (5, 1)], [(3, 1, 1), (2, 3, 5, 7), (2, 3, 5, 7)]],
    ids=str,
)
def test_where(dtype: str, shapes: list[tuple[int, ...]], queue: CommandQueue) -> None:
    check_where(dtype, shapes, queue)


EXTENTS = {
    "rows": ((67, 21), 1),
    "columns": ((2, 21, 70), 1),
    "few columns": ((3, 5, 3), 1),
    "first": ((19, 300), 0),
    "one": ((2, 1, 9), 1),
}


def check_extreme(op: str, extent: str, dtype: str, queue: CommandQueue, *, last: int = 0, keepdims: int = 0) -> None:
    """Look for extremes, equal ones among them."""
    shape, axis = EXTENTS[extent]
    x = np.round(2 * numbers(*shape, seed=3)).astype(dtype)
    spec = node(op, "x", "y", axis=axis, keepdims=keepdims, select_last_index=last)
    y = clconv.onnx.load(proto_of([spec], {"x": (dtype, [*shape])}, {"y": "int64"}), queue=queue)(x)
    find = np.argmax if op == "ArgMax" else np.argmin
    want = shape[axis] - 1 - find(np.flip(x, axis), axis) if last else find(x, axis)
    assert y.dtype == np.int64
    np.testing.assert_array_equal(y, np.expand_dims(want, axis) if keepdims else want)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("extent", EXTENTS)
@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_extremes(op: str, extent: str, dtype: str, queue: CommandQueue) -> None:
    check_extreme(op, extent, dtype, queue)
    check_extreme(op, extent, dtype, queue, last=1, keepdims=1)


@pytest.mark.parametrize("axis", [0, 1])
def test_the_first_that_is_no_number_is_the_extreme(axis: int, queue: CommandQueue) -> None:
    x = numbers(37, 37)
    x[5, 7] = x[9, 7] = x[0, 3] = x[8, 2] = x[8, 30] = np.nan
    spec = node("ArgMax", "x", "y", axis=axis, keepdims=0)
    y = clconv.onnx.load(proto_of([spec], {"x": ("float32", [37, 37])}, {"y": "int64"}), queue=queue)(x)
    np.testing.assert_array_equal(y, np.argmax(x, axis))


@pytest.mark.parametrize("extent", EXTENTS)
def test_on_a_gpu(extent: str, queue: CommandQueue) -> None:
    with taken_for_gpu(queue):
        check_extreme("ArgMax", extent, "float32", queue)
        check("Less", "float32", "both", queue)
        check_where("float16", [(2, 1, 7), (3, 1), (2, 3, 7)], queue)


@pytest.mark.parametrize("keepdims", [0, 1])
def test_a_segmentation(keepdims: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest channel of each pixel, of an image in N H W C if it is one; a mask, and a choice by it."""
    monkeypatch.setattr(layout, "_gain", lambda *_: 1.0)
    nodes = [
        node("Conv", "x w", "c", pads=[1] * 4),
        node("ArgMax", "c", "y", axis=-3 if keepdims else 1, keepdims=keepdims),
        node("ReduceMax", "c axis", "m", keepdims=keepdims),
        node("Greater", "m half", "g"),
        node("Where", "g m zero", "z"),
    ]
    constants = {"w": numbers(5, 3, 3, 3, seed=1), "axis": np.array([1]), "half": np.float32(0.5), "zero": np.float32(0)}
    proto = model(nodes, {"x": [2, 3, 9, 11]}, ["y", "z"], {k: np.asarray(v) for k, v in constants.items()}, opset=18)
    proto.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    x = numbers(2, 3, 9, 11, seed=2)
    net = clconv.onnx.load(proto)
    y, z = net(x)
    c = clconv.conv2d(x, constants["w"], padding=1, algorithm="direct")
    top = c.max(1, keepdims=bool(keepdims))
    np.testing.assert_array_equal(y, c.argmax(1).reshape(y.shape))
    np.testing.assert_allclose(z, np.where(top > 0.5, top, 0), atol=1e-5)
    assert ("2 nodes in N H W C, 2 reorders" in str(net.explain(x.shape))) == (not keepdims)


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = proto_of([node("ArgMax", "x", "y", axis=1)], {"x": ("float32", [2, None, 3])}, {"y": "int64"})
    with pytest.raises(clconv.ShapeError, match=r"looks along the axis 1 of \(2, 0, 3\), which holds no elements"):
        clconv.onnx.load(empty)(np.zeros((2, 0, 3), "f"))
    whole = proto_of([node("ArgMax", "x", "y", axis=1)], {"x": ("int32", [2, 3])}, {"y": "int64"})
    with pytest.raises(clconv.UnsupportedError, match="computes with int32 elements"):
        clconv.onnx.load(whole)(np.zeros((2, 3), np.int32))
    monkeypatch.setattr(logic, "_PLACES", 8)
    with pytest.raises(clconv.UnsupportedError, match="of 9 elements; at most 8 are supported"):
        clconv.onnx.load(empty)(np.zeros((2, 9, 3), "f"))


def test_not_of_a_single_truth_value() -> None:
    proto = model([node("Not", "x", "y")], {"x": []}, ["y"], dtype=onnx.TensorProto.BOOL)
    for value in (True, False):
        y = clconv.onnx.load(proto)(np.array(value))
        assert (y.shape, y.dtype, bool(y)) == ((), np.bool_, not value)
