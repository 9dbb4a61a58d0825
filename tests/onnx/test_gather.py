"""Elements that numbers name: constants, what a call brings, and what the network computes."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import onnx
import pyopencl as cl
import pytest

import clconv.onnx
from clconv.errors import ClconvError, ShapeError, UnsupportedError
from clconv.onnx import Network
from tests.onnx.models import Array, model, node, numbers
from tests.onnx.test_on_gpus import taken_for_gpu

RNG = np.random.default_rng(0)


def loaded(spec: onnx.NodeProto, x: Array, at: Array, queue: cl.CommandQueue | None = None) -> Network:
    """A network of one node whose places a call brings."""
    kind = onnx.helper.np_dtype_to_tensor_dtype
    inputs = [("x", x), ("i", at)]
    ports = [onnx.helper.make_tensor_value_info(name, kind(a.dtype), a.shape) for name, a in inputs]
    y = onnx.helper.make_tensor_value_info("y", kind(x.dtype), None)
    made = onnx.helper.make_model(
        onnx.helper.make_graph([spec], "g", ports, [y]), opset_imports=[onnx.helper.make_opsetid("", 18)]
    )
    made.ir_version = 8
    return clconv.onnx.load(onnx.shape_inference.infer_shapes(made), queue=queue)


def fixed(spec: onnx.NodeProto, x: Array, at: Array) -> Array:
    """The result where the places are constants."""
    sizes: list[int | str | None] = list(x.shape)
    y: Array = clconv.onnx.load(model([spec], {"x": sizes}, ["y"], {"i": at}, opset=18))(x)
    return y


def gathered(queue: cl.CommandQueue) -> None:
    """Compare a few with NumPy; run on simulators as well."""
    x, at = numbers(2, 5, 3), np.array([4, 0, -1, -5, 2, 2], np.int64)
    np.testing.assert_array_equal(loaded(node("Gather", "x i", "y", axis=1), x, at, queue)(x, at), x[:, at])
    each = RNG.integers(-5, 5, (2, 7, 3))
    got = loaded(node("GatherElements", "x i", "y", axis=1), x, each, queue)(x, each)
    np.testing.assert_array_equal(got, np.take_along_axis(x, each % 5, 1))


@pytest.mark.parametrize("gpu", [False, True])
def test_on_every_device(gpu: bool, queue: cl.CommandQueue) -> None:
    with taken_for_gpu(queue) if gpu else nullcontext():
        gathered(queue)


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int64", "uint8", "bool"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("places", [(), (1,), (70,), (3, 5)])
def test_gather(places: tuple[int, ...], axis: int, dtype: str, kind: type) -> None:
    x = (10 * RNG.standard_normal((6, 19, 34))).astype(dtype)
    at: Array = np.asarray(RNG.integers(-x.shape[axis], x.shape[axis], places)).astype(kind)
    spec = node("Gather", "x i", "y", axis=axis)
    net, want = loaded(spec, x, at), np.take(x, at, axis)
    for shift in (0, 1):  # one program for all contents
        places_now: Array = np.asarray((at + shift) % x.shape[axis]).astype(kind)
        np.testing.assert_array_equal(net(x, places_now), np.take(x, places_now, axis))
    assert len(net._programs) == 1
    if dtype.startswith("float"):
        np.testing.assert_array_equal(fixed(spec, x, at) if dtype == "float32" else want, want)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("count", [1, 9, 40])
def test_gather_elements(count: int, axis: int) -> None:
    x = numbers(6, 19, 34)
    shape = list(x.shape)
    shape[axis] = count
    at = RNG.integers(-x.shape[axis], x.shape[axis], shape)
    spec, want = node("GatherElements", "x i", "y", axis=axis), np.take_along_axis(x, at % x.shape[axis], axis)
    np.testing.assert_array_equal(loaded(spec, x, at)(x, at), want)
    np.testing.assert_array_equal(fixed(spec, x, at), want)


@pytest.mark.parametrize("batch", [0, 1, 2])
@pytest.mark.parametrize("named", [1, 2])
def test_gather_nd_of_constant_places(named: int, batch: int) -> None:
    x = numbers(3, 4, 5, 6)
    ends = x.shape[batch : batch + named]
    at = np.stack([RNG.integers(-n, n, (*x.shape[:batch], 2, 11)) for n in ends], -1)
    from onnx.reference import ReferenceEvaluator

    spec = node("GatherND", "x i", "y", batch_dims=batch)
    positive = np.where(at < 0, at + np.array(ends), at)  # the reference takes no others
    made = model([spec], {"x": list(x.shape)}, ["y"], {"i": positive}, opset=18)
    (want,) = ReferenceEvaluator(made).run(None, {"x": x})
    np.testing.assert_array_equal(fixed(spec, x, at), want)


def test_gather_nd_along_one_axis_that_a_call_brings() -> None:
    x, at = numbers(7, 4, 3), RNG.integers(-7, 7, (2, 5, 1))
    np.testing.assert_array_equal(loaded(node("GatherND", "x i", "y"), x, at)(x, at), x[at[..., 0]])


@pytest.mark.parametrize("op", ["Gather", "GatherElements"])
def test_places_beyond_the_axis_give_zero(op: str) -> None:
    x, at = numbers(4, 3), np.array([[4, 0, -5], [1 << 40, -(1 << 40), 3]])
    at = at if op == "GatherElements" else at[0]
    y = loaded(node(op, "x i", "y", axis=0), x, at)(x, at)
    valid = (at >= -4) & (at < 4)
    whole = x[at % 4, np.arange(3)] if op == "GatherElements" else x[at % 4]
    np.testing.assert_array_equal(y, np.where(valid if op == "GatherElements" else valid[:, None], whole, 0))


def test_the_nearest_of_a_table() -> None:
    """As vector quantisation has it: the row of a table with the least distance for each pixel."""
    table, x = numbers(37, 8, seed=1), numbers(2, 8, 5, 6, seed=2)
    nodes = [
        node("Transpose", "x", "p", perm=[0, 2, 3, 1]),
        node("MatMul", "p turned", "m"),
        node("Add", "m half", "d"),
        node("ArgMin", "d", "i", axis=-1, keepdims=0),
        node("Gather", "table i", "q", axis=0),
        node("Transpose", "q", "y", perm=[0, 3, 1, 2]),
    ]
    half = (table**2).sum(1) / 2
    constants = {"turned": -table.T.copy(), "half": half, "table": table}
    net = clconv.onnx.load(model(nodes, {"x": ["N", 8, 5, 6]}, ["y"], constants, opset=18))
    nearest = (half - x.transpose(0, 2, 3, 1) @ table.T).argmin(-1)
    np.testing.assert_array_equal(net(x), table[nearest].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(net(x[:1]), table[nearest[:1]].transpose(0, 3, 1, 2))


def test_pixels_in_any_order() -> None:
    """Of an image in N H W C, between convolutions."""
    w, order = numbers(64, 64, 3, 3, scale=0.05), RNG.permutation(64)
    nodes = [
        node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        node("Gather", "a order", "b", axis=1),
        node("Conv", "b w", "y", pads=[1, 1, 1, 1]),
    ]
    x = numbers(1, 64, 20, 20)
    made = clconv.onnx.load(model(nodes, {"x": [1, 64, 20, 20]}, ["y"], {"w": w, "order": order}))
    first = clconv.conv2d(x, w, padding=1)
    np.testing.assert_allclose(made(x), clconv.conv2d(np.ascontiguousarray(first[:, order]), w, padding=1), atol=2e-4)


@pytest.mark.parametrize(
    ("spec", "at", "error", "words"),
    [
        (node("Gather", "x i", "y", axis=1), np.array([0, 6]), ShapeError, "names the elements 0 to 6 of an axis of 6"),
        (node("GatherElements", "x i", "y", axis=0), np.full((1, 6), 4), ShapeError, "elements 4 to 4 of an axis of 4"),
        (node("GatherElements", "x i", "y", axis=0), np.zeros((2, 5), int), UnsupportedError, "other axes must be as long"),
        (node("GatherND", "x i", "y"), np.array([[3, -7]]), ShapeError, "names the elements -7 to -7 of an axis of 6"),
    ],
)
def test_what_does_not_fit_is_said(spec: onnx.NodeProto, at: Array, error: type[ClconvError], words: str) -> None:
    with pytest.raises(error, match=words):
        fixed(spec, numbers(4, 6), at)


def test_batches_of_other_sizes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"'x' \(4, 6\) and 'i' \(3, 1\), whose first 1 sizes \(batch_dims\) must be the same"):
        fixed(node("GatherND", "x i", "y", batch_dims=1), numbers(4, 6), np.zeros((3, 1), np.int64))


def test_places_along_several_axes_must_be_constant() -> None:
    x, at = numbers(4, 6), np.zeros((3, 2), np.int64)
    with pytest.raises(UnsupportedError, match="along 2 axes that are no constants"):
        loaded(node("GatherND", "x i", "y"), x, at)(x, at)
