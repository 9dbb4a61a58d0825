"""Elements of a tensor that others replace."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import onnx
import pyopencl as cl
import pytest

import clconv.onnx
from clconv.errors import ClconvError, ShapeError, UnsupportedError
from tests.onnx.models import Array, model, node, numbers
from tests.onnx.test_on_gpus import taken_for_gpu

RNG = np.random.default_rng(0)


def scattered(spec: onnx.NodeProto, x: Array, at: Array, u: Array, queue: cl.CommandQueue | None = None) -> Array:
    """The result where the places are constants; x and u are what a call brings."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    made = model([spec], {"x": list(x.shape), "u": list(u.shape)}, ["y"], {"i": at}, dtype=kind, opset=18)
    y: Array = clconv.onnx.load(made, queue=queue)(x, u)
    return y


def replaced(queue: cl.CommandQueue) -> None:
    """Compare a few with NumPy; run on simulators as well."""
    x, at, u = numbers(4, 5, 3), np.array([[3], [-4], [1]]), numbers(3, 5, 3, seed=1)
    want = x.copy()
    want[[3, 0, 1]] = u
    np.testing.assert_array_equal(scattered(node("ScatterND", "x i u", "y"), x, at, u, queue), want)


@pytest.mark.parametrize("gpu", [False, True])
def test_on_every_device(gpu: bool, queue: cl.CommandQueue) -> None:
    with taken_for_gpu(queue) if gpu else nullcontext():
        replaced(queue)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool"])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("places", [(1,), (23,), (3, 5)])
def test_scatter_nd(places: tuple[int, ...], axes: int, dtype: str) -> None:
    x = (10 * numbers(7, 9, 17)).astype(dtype)
    at = np.stack([RNG.integers(-n, n, places) for n in x.shape[:axes]], -1)
    u = (10 * numbers(*places, *x.shape[axes:], seed=1)).astype(dtype)
    want = x.copy()
    for place in np.ndindex(places):  # of several for one place the last one counts
        want[tuple(at[place])] = u[place]
    np.testing.assert_array_equal(scattered(node("ScatterND", "x i u", "y"), x, at, u), want)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(7, 9, 17), (2, 3, 4), (1, 1, 1)])
def test_scatter_elements(shape: tuple[int, ...], axis: int) -> None:
    x, u = numbers(7, 9, 17), numbers(*shape, seed=1)
    at = np.argsort(RNG.random(shape), axis)  # each place once
    at[..., 0] -= x.shape[axis] * (at[..., 0] > 0)
    want = x.copy()
    part = want[tuple(slice(n) for n in np.insert(np.delete(shape, axis), axis % 3, x.shape[axis]))]
    np.put_along_axis(part, at % x.shape[axis], u, axis)
    np.testing.assert_array_equal(scattered(node("ScatterElements", "x i u", "y", axis=axis), x, at, u), want)


def test_a_yolo_head_that_is_decoded_in_place() -> None:
    """``y[..., :2] = (y[..., :2] + grid) * 8`` behind a convolution, the batch open."""
    w, grid = numbers(6, 3, 1, 1), numbers(1, 5, 7, 2)
    nodes = [
        node("Conv", "x w", "c"),
        node("Transpose", "c", "t", perm=[0, 2, 3, 1]),
        node("Slice", "t zero two last", "p"),
        node("Add", "p grid", "s"),
        node("Mul", "s eight", "m"),
        node("ScatterND", "t places m", "y"),
    ]
    places = np.stack(np.meshgrid(*map(np.arange, (2, 5, 7, 2)), indexing="ij"), -1)
    constants = {"w": w, "grid": grid, "eight": np.array(8, np.float32), "places": places}
    constants |= {"zero": np.array([0]), "two": np.array([2]), "last": np.array([-1])}
    x = numbers(2, 3, 5, 7, seed=3)
    want = clconv.conv2d(x, w).transpose(0, 2, 3, 1).copy()
    want[..., :2] = (want[..., :2] + grid) * 8
    got = clconv.onnx.load(model(nodes, {"x": [2, 3, 5, 7]}, ["y"], constants))(x)
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "at", "shape", "error", "words"),
    [
        (node("ScatterND", "x i u", "y"), np.array([[7]]), (1, 6), ShapeError, "names the elements 7 to 7 of an axis of 4"),
        (
            node("ScatterElements", "x i u", "y", axis=1),
            np.array([[-7, 0]]),
            *((1, 2), ShapeError, "names the elements -7 to 0 of an axis of 6"),
        ),
        (
            node("ScatterND", "x i u", "y", reduction="add"),
            np.array([[1]]),
            (1, 6),
            UnsupportedError,
            "joins elements by 'add'",
        ),
    ],
)
def test_what_does_not_fit_is_said(
    spec: onnx.NodeProto, at: Array, shape: tuple[int, ...], error: type[ClconvError], words: str
) -> None:
    with pytest.raises(error, match=words):
        scattered(spec, numbers(4, 6), at, numbers(*shape))


@pytest.mark.parametrize(
    ("op", "at", "updates", "words"),
    [
        ("ScatterND", (3, 1), (2, 6), r"'u' must have the shape \(3, 6\)"),
        ("ScatterND", (3, 1), (3, 5), r"'u' must have the shape \(3, 6\)"),
        ("ScatterND", (2, 2), (3,), r"'u' must have the shape \(2,\)"),
        ("ScatterND", (3, 3), (3,), "'i' must lie within 'x'"),
        ("ScatterND", (), (4, 6), "'i' must lie within 'x'"),
        ("ScatterElements", (2, 3), (1, 3), r"'u' must have the shape \(2, 3\)"),
        ("ScatterElements", (2,), (2,), "'i' must lie within 'x'"),
        ("ScatterElements", (2, 7), (2, 7), "'i' must lie within 'x'"),
    ],
)
def test_shapes_that_onnx_lets_pass_are_refused(op: str, at: tuple[int, ...], updates: tuple[int, ...], words: str) -> None:
    """Of too few new elements those behind them would be read."""
    with pytest.raises(ShapeError, match=words):
        scattered(node(op, "x i u", "y"), numbers(4, 6), np.zeros(at, np.int64), numbers(*updates))


def test_nothing_is_replaced() -> None:
    x = numbers(4, 6)
    empty = np.zeros((0, 1), np.int64)
    np.testing.assert_array_equal(scattered(node("ScatterND", "x i u", "y"), x, empty, numbers(0, 6)), x)


def test_places_must_be_known() -> None:
    nodes = [node("ArgMax", "x", "a", axis=1), node("ScatterND", "x a u", "y")]
    net = clconv.onnx.load(model(nodes, {"x": [4, 6], "u": [4, 6]}, ["y"], opset=18))
    with pytest.raises(UnsupportedError, match=r"indices of the node 'the ScatterND of y' .* must be constant"):
        net(numbers(4, 6), numbers(4, 6))
