"""The largest elements along an axis, and where they are."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import onnx
import pyopencl as cl
import pytest

import clconv.onnx
from clconv.errors import ShapeError
from tests.onnx.models import Array, model, node, numbers
from tests.onnx.test_on_gpus import taken_for_gpu

INT64 = onnx.TensorProto.INT64


def proto_of(x: Array, k: int, names: str = "vi", **attributes: int) -> onnx.ModelProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    sizes: list[int | str | None] = list(x.shape)
    made = model([node("TopK", "x k", "v i", **attributes)], {"x": sizes}, [*names], {"k": np.array([k])}, dtype=kind, opset=18)
    for output in made.graph.output:
        output.type.tensor_type.elem_type = INT64 if output.name == "i" else kind
    return made


def expected(x: Array, k: int, axis: int, *, largest: bool) -> tuple[Array, Array]:
    """By a stable sort, of which what is no number ends up last, or first."""
    keys = -x.astype(np.float64) if largest else x.astype(np.float64)
    keys = np.where(np.isnan(x), -np.inf if largest else np.inf, keys)
    order = np.lexsort((np.isnan(x) if not largest else ~np.isnan(x), keys), axis=axis)
    places = np.take(order, np.arange(k), axis)
    return np.take_along_axis(x, places, axis), places


def compared(x: Array, k: int, axis: int, largest: int, queue: cl.CommandQueue | None = None) -> None:
    values, places = clconv.onnx.load(proto_of(x, k, axis=axis, largest=largest), queue=queue)(x)
    want = expected(x, k, axis, largest=bool(largest))
    np.testing.assert_array_equal(places, want[1])
    np.testing.assert_array_equal(values, want[0])


@pytest.mark.parametrize("gpu", [False, True])
def test_on_every_device(gpu: bool, queue: cl.CommandQueue) -> None:
    with taken_for_gpu(queue) if gpu else nullcontext():
        compared(numbers(2, 9, 3), 4, 1, 1, queue)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("k", [1, 2, 7, 19])
def test_any_axis(k: int, axis: int, largest: int, dtype: str) -> None:
    compared(numbers(21, 19, 23).astype(dtype), k, axis, largest)


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("k", [1, 50, 999, 1000])
def test_of_equal_ones_the_first_comes_first(k: int, largest: int) -> None:
    x = np.random.default_rng(k).integers(0, 9, (3, 1000)).astype(np.float32)
    x[1] = 7
    compared(x, k, 1, largest)


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("k", [1, 3, 5, 8])
def test_what_is_no_number_is_larger_than_all_others(k: int, largest: int) -> None:
    x = np.array([1, np.nan, np.inf, -np.inf, np.nan, -3, 0, np.inf], np.float32)
    compared(x, k, 0, largest)


@pytest.mark.parametrize("name", ["v", "i"])
def test_one_of_the_outputs_alone(name: str) -> None:
    x = numbers(4, 30)
    want = dict(zip("vi", expected(x, 5, 1, largest=True), strict=True))
    np.testing.assert_array_equal(clconv.onnx.load(proto_of(x, 5, name))(x), want[name])


def test_the_boxes_with_the_best_scores() -> None:
    """As where a detection network ends: places of the best scores, by which boxes are taken."""
    nodes = [
        node("Conv", "x w", "c"),
        node("Reshape", "c flat", "f"),
        node("Split", "f sizes", "boxes scores", axis=1),
        node("Squeeze", "scores one", "s"),
        node("TopK", "s k", "best places"),
        node("Unsqueeze", "places one", "p"),
        node("Expand", "p whole", "e"),
        node("GatherElements", "boxes e", "y", axis=2),
    ]
    constants = {
        "w": numbers(5, 3, 1, 1),
        "flat": np.array([0, 5, -1]),
        "sizes": np.array([4, 1]),
        "one": np.array([1]),
        "k": np.array([6]),
        "whole": np.array([2, 4, 6]),
    }
    x = numbers(2, 3, 8, 9, seed=4)
    flat = clconv.conv2d(x, constants["w"]).reshape(2, 5, -1)
    places = np.argsort(-flat[:, 4], 1, kind="stable")[:, :6]
    want = np.take_along_axis(flat[:, :4], places[:, None], 2)
    proto = model(nodes, {"x": [2, 3, 8, 9]}, ["y", "best"], constants, opset=18)
    boxes, best = clconv.onnx.load(proto)(x)
    np.testing.assert_allclose(best, np.take_along_axis(flat[:, 4], places, 1), atol=1e-5)
    np.testing.assert_allclose(boxes, want, atol=1e-5)


def test_more_than_there_are_is_refused() -> None:
    proto = proto_of(numbers(2, 9), 7)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "n"
    del proto.graph.output[0].type.tensor_type.shape.dim[:]
    with pytest.raises(ShapeError, match=r"\(TopK\) does not take x \(2, 5\)"):
        clconv.onnx.load(proto)(numbers(2, 5))
