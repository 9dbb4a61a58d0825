"""Nodes of older operator sets, which mean what they meant then, also where constants alone are read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

import clconv
import clconv.onnx
from tests.onnx.models import Array, model, node, numbers


def added(spec: onnx.NodeProto, constants: dict[str, Array], shape: tuple[int, ...], opset: int) -> Array:
    """Return what a node computes from constants: it is added to zeros."""
    proto = model([spec, node("Add", "x c", "y")], {"x": list(shape)}, ["y"], constants, opset=opset)
    y: Array = clconv.onnx.load(proto)(np.zeros(shape, np.float32))
    return y


@pytest.mark.parametrize("axis", [1, -2])
def test_softmax_of_constants_takes_the_axes_from_one_on_together(axis: int) -> None:
    k = numbers(2, 3, 4)
    want = np.exp(k) / np.exp(k).sum((1, 2), keepdims=True)
    np.testing.assert_allclose(added(node("Softmax", "k", "c", axis=axis), {"k": k}, (2, 3, 4), 11), want, atol=1e-6)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_softmax_takes_the_axes_from_one_on_together(op: str) -> None:
    x = numbers(2, 3, 4)
    y = clconv.onnx.load(model([node(op, "x", "y", axis=1)], {"x": [2, 3, 4]}, ["y"], opset=11))(x)
    want = np.exp(x) / np.exp(x).sum((1, 2), keepdims=True)
    np.testing.assert_allclose(y, want if op == "Softmax" else np.log(want), atol=1e-6)


@pytest.mark.parametrize(("op", "of"), [("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply)])
def test_constants_are_broadcast_from_an_axis_on(op: str, of: Callable[..., Array]) -> None:
    a, b = numbers(3, 3), numbers(3, seed=1)
    y = added(node(op, "a b", "c", broadcast=1, axis=0), {"a": a, "b": b}, (3, 3), 6)
    np.testing.assert_allclose(y, of(a, b[:, None]), atol=1e-6)


def test_a_slope_per_channel_of_constants() -> None:
    a, slope = numbers(3, 3, 3), np.array([1, 2, 3], np.float32)
    want = np.where(a < 0, a * slope[:, None], a)
    np.testing.assert_allclose(added(node("PRelu", "a b", "c"), {"a": a, "b": slope}, (3, 3, 3), 6), want, atol=1e-6)


@pytest.mark.parametrize(("op", "of"), [("ReduceSum", np.sum), ("ReduceMax", np.max), ("ReduceProd", np.prod)])
def test_reductions_of_constants_along_the_axes_of_an_attribute(op: str, of: Callable[..., Array]) -> None:
    k = numbers(3, 4)
    spec = node(op, "k", "c", axes=[1], keepdims=0)
    np.testing.assert_allclose(added(spec, {"k": k}, (3,), 11), of(k, axis=1), atol=1e-5)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_upsample_with_a_scale_of_its_own_for_each_axis(mode: str) -> None:
    proto = model(
        [node("Upsample", "x", "y", height_scale=1.0, width_scale=2.0, mode=mode)], {"x": [1, 1, 2, 2]}, ["y"], opset=6
    )
    y = clconv.onnx.load(proto)(np.array([[[[0, 2], [4, 6]]]], np.float32))
    want = {"nearest": [[0, 0, 2, 2], [4, 4, 6, 6]], "bilinear": [[0, 1, 2, 2], [4, 5, 6, 6]]}
    np.testing.assert_array_equal(y[0, 0], want[mode])


@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("constant", [False, True])
def test_numbers_that_were_attributes_are_of_the_type_of_what_they_meet(dtype: str, constant: bool) -> None:
    specs = [node("Clip", "k", "c", min=-0.5, max=0.75), node("Pad", "c", "p", pads=[0, 1, 0, 0], value=1.5)]
    k = numbers(2, 3).astype(dtype)
    element = onnx.helper.np_dtype_to_tensor_dtype(k.dtype)
    inputs: dict[str, list[int | str | None]] = {"x": [2, 4]} if constant else {"x": [2, 4], "k": [2, 3]}
    constants = {"k": k} if constant else {}
    proto = model([*specs, node("Add", "x p", "y")], inputs, ["y"], constants, dtype=element, opset=10)
    y = clconv.onnx.load(proto)({"x": np.zeros((2, 4), dtype), **({} if constant else {"k": k})})
    want = np.pad(np.clip(k, np.array(-0.5, dtype), np.array(0.75, dtype)), ((0, 0), (1, 0)), constant_values=1.5)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, want)


@pytest.mark.parametrize("opset", [11, 17, 18])
@pytest.mark.parametrize(
    ("op", "want"),
    [("L2", [5.0, 10.0]), ("L1", [7.0, 14.0]), ("SumSquare", [25.0, 100.0]), ("LogSum", np.log([7.0, 14.0]))],
)
def test_sums_of_constants_over_an_axis(op: str, want: list[float], opset: int) -> None:
    k = np.array([[3, 4], [6, 8]], np.float32)
    if opset < 18:
        y = added(node(f"Reduce{op}", "k", "c", axes=[1]), {"k": k}, (2, 1), opset)
    else:
        y = added(node(f"Reduce{op}", "k a", "c"), {"k": k, "a": np.array([1])}, (2, 1), opset)
    np.testing.assert_allclose(y[:, 0], want, rtol=1e-6)


def test_log_softmax_of_constants_takes_the_axes_from_one_on_together() -> None:
    k = numbers(2, 3, 4)
    want = k - np.log(np.exp(k).sum((1, 2), keepdims=True))
    np.testing.assert_allclose(added(node("LogSoftmax", "k", "c"), {"k": k}, (2, 3, 4), 11), want, atol=1e-6)


@pytest.mark.parametrize("opset", [7, 9, 13])
def test_statistics_that_come_out_are_those_of_training(opset: int) -> None:
    constants = {name: np.ones(3, np.float32) for name in "sbmv"}
    proto = model(
        [node("BatchNormalization", "x s b m v", "y m2 v2 m3 v3")], {"x": [2, 3, 4, 4]}, ["y"], constants, opset=opset
    )
    with pytest.raises(clconv.UnsupportedError, match="training mode"):
        clconv.onnx.load(proto)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("opset", [7, 11, 13, 17, 18])
def test_parts_of_one_size(opset: int, constant: bool) -> None:
    """The last part may be smaller from version 18 on alone, which has an attribute for that."""
    more = {"num_outputs": 3} if opset >= 18 else {}
    k = numbers(2, 7)
    specs = [node("Split", "k", "a b c", axis=1, **more), node("Concat", "x c", "y", axis=1)]
    inputs: dict[str, list[int | str | None]] = {"x": [2, 1]} if constant else {"x": [2, 1], "k": [2, 7]}
    proto = model(specs, inputs, ["y"], {"k": k} if constant else {}, opset=opset)
    x = numbers(2, 1, seed=1)
    feeds = {"x": x} if constant else {"x": x, "k": k}
    if opset < 18:
        with pytest.raises(clconv.ShapeError, match=r"the Split of a.* \(2, 7\) into 3 equal parts, which is not possible"):
            clconv.onnx.load(proto)(feeds)
    else:
        np.testing.assert_array_equal(clconv.onnx.load(proto)(feeds), np.concatenate([x, k[:, 6:]], 1))


LARGER = [0, 0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8, 8, 9]


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(
    ("opset", "scales", "want"),
    [
        (10, (1, 0.6), [[0, 2, 4, 5, 7, 9]]),
        (10, (1, 0.75), [[0, 2, 3, 4, 6, 7, 8]]),
        (10, (0.6, 1.5), [LARGER, [20 + n for n in LARGER]]),
        (9, (1, 1.5), [LARGER]),
    ],
)
def test_the_nearest_place_before_there_were_modes_for_it(
    opset: int, scales: tuple[float, float], want: list[list[int]], constant: bool
) -> None:
    """As ONNX Runtime has it, and the examples of that version: the one behind where an axis shrinks, else the one before."""
    rows = 4 if scales[0] < 1 else 1
    k = np.arange(10 * rows, dtype=np.float32).reshape(1, 1, rows, 10)
    constants = {"s": np.array([1, 1, *scales], np.float32)} | ({"k": k} if constant else {})
    specs = [node("Resize" if opset == 10 else "Upsample", "k s", "r", mode="nearest"), node("Add", "r x", "y")]
    inputs: dict[str, list[int | str | None]] = {"x": [1]} if constant else {"x": [1], "k": list(k.shape)}
    feeds = {"x": np.zeros(1, np.float32)} | ({} if constant else {"k": k})
    y = clconv.onnx.load(model(specs, inputs, ["y"], constants, opset=opset))(feeds)
    np.testing.assert_array_equal(y[0, 0], want)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("use", ["added", "filter"])
def test_what_was_resized_before_there_were_modes_for_it_stays_constant(use: str, dtype: str, mode: str) -> None:
    """Computed at load: in another type only constants are converted, and filters have to be constant."""
    k = numbers(2, 2, 2, 1)
    constants = {"k": k, "s": np.array([1, 1, 2, 3], np.float32)}
    specs = [node("Upsample", "k s", "u", mode=mode)]
    specs.append(node("Add", "x u", "y") if use == "added" else node("ConvTranspose", "x u", "y"))
    shape = [2, 2, 4, 3] if use == "added" else [1, 2, 1, 1]
    x = np.ones(shape, np.float32).astype(dtype)
    y = clconv.onnx.load(model(specs, {"x": list(shape)}, ["y"], constants, opset=9), dtype=dtype)(x).astype("d")
    if mode == "nearest":
        large = k.repeat(2, 2).repeat(3, 3)
        want = large + 1 if use == "added" else large.sum(0, keepdims=True)
        np.testing.assert_allclose(y, want, rtol=2e-3 if dtype == "float16" else 1e-6)
