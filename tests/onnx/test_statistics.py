"""Batch normalisation by the batch's own statistics: of constants, as weights are standardised, and refused elsewhere."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import clconv
import clconv.onnx
from tests.onnx.models import Array, model, node, numbers

EPSILON = float(np.float32(1e-4))  # as files have it


def standardised(w: Array, gain: Array) -> Array:
    """Filters with a mean of 0 and a variance of 1 each, times a gain."""
    rows = w.reshape(len(w), -1).astype(np.float64)
    rows = (
        (rows - rows.mean(1, keepdims=True)) / np.sqrt(rows.var(1, keepdims=True) + EPSILON) * gain.astype(np.float64)[:, None]
    )
    result: Array = rows.reshape(w.shape)
    return result


def constants_of(w: Array) -> dict[str, Array]:
    """What the normalisation of a filter reads, as PyTorch exports it; the statistics must make no difference."""
    oc = len(w)
    gain = np.abs(numbers(oc, seed=2)).astype(w.dtype) + w.dtype.type(0.5)
    return {
        "w": w.reshape(1, oc, -1),
        "gain": gain,
        "zero": np.zeros(oc, w.dtype),
        "mean": numbers(oc, seed=3).astype(w.dtype),
        "variance": np.full(oc, 7, w.dtype),
        "size": np.array(w.shape),
    }


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-6), ("float16", 2e-3), ("float64", 1e-12)])
@pytest.mark.parametrize("opset", [7, 9, 13, 14, 17])
def test_standardised_weights(opset: int, dtype: str, bound: float) -> None:
    """Which are far from 0 and small, where float16 has no variance."""
    w = (numbers(5, 3, 3, 1) * 2e-3 + 0.02).astype(dtype)
    constants = constants_of(w)
    spec = node(
        "BatchNormalization",
        "w gain zero mean variance",
        "n m v" if opset >= 14 else "n m v m2 v2",
        epsilon=EPSILON,
        **({"training_mode": 1} if opset >= 14 else {}),
    )
    nodes = [spec, node("Reshape", "n size", "filter"), node("Add", "x filter", "y")]
    element = onnx.helper.np_dtype_to_tensor_dtype(w.dtype)
    net = clconv.onnx.load(model(nodes, {"x": [5, 3, 3, 1]}, ["y"], constants, dtype=element, opset=opset))
    y = net(np.zeros(w.shape, dtype))
    want = standardised(w, constants["gain"])
    assert np.abs(want).max() > 0.3
    np.testing.assert_allclose(y, want, atol=bound * np.abs(want).max(), rtol=0)


def test_a_convolution_with_standardised_weights_is_one_step() -> None:
    w = numbers(8, 4, 3, 3)
    constants = constants_of(w)
    norm = node("BatchNormalization", "w gain zero mean variance", "n", epsilon=EPSILON, training_mode=1)
    nodes = [norm, node("Reshape", "n size", "filter"), node("Conv", "x filter", "c"), node("Relu", "c", "y")]
    net = clconv.onnx.load(model(nodes, {"x": ["N", 4, "H", "W"]}, ["y"], constants))
    x = numbers(2, 4, 5, 6, seed=1)
    assert len(net.explain(x.shape).steps) == 1
    k = standardised(w, constants["gain"])
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    np.testing.assert_allclose(net(x), np.maximum(np.einsum("nchwij,ocij->nohw", windows, k), 0), atol=1e-4)


@pytest.mark.parametrize("momentum", [0.0, 0.25, None])
@pytest.mark.parametrize("shape", [(3, 2), (2, 3, 5), (2, 3, 4, 5)])
def test_the_statistics_that_come_out(shape: tuple[int, ...], momentum: float | None) -> None:
    x, oc = numbers(*shape), shape[1]
    given = {name: numbers(oc, seed=i) for i, name in enumerate(("s", "b", "m", "v"), 1)}
    attributes = {} if momentum is None else {"momentum": momentum}
    spec = node("BatchNormalization", "x s b m v", "n mean variance", training_mode=1, **attributes)
    nodes = [spec, node("Add", "z mean", "y"), node("Add", "z variance", "w")]
    net = clconv.onnx.load(model(nodes, {"z": [oc]}, ["y", "w"], {"x": x, **given}))
    mean, variance = net(np.zeros(oc, np.float32))
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    old = 0.9 if momentum is None else momentum
    np.testing.assert_allclose(mean, given["m"] * old + x.mean(axes) * (1 - old), atol=1e-6)
    np.testing.assert_allclose(variance, given["v"] * old + x.var(axes) * (1 - old), atol=1e-6)


def test_sizes_are_known_when_the_network_runs() -> None:
    """A position that follows from the image's size is normalised like a constant."""
    given = {name: np.ones(2, np.float32) for name in ("s", "b", "m", "v")}
    nodes = [
        node("Shape", "x", "size"),
        node("ConstantOfShape", "size", "zeros"),
        node("Add", "zeros k", "n"),
        node("BatchNormalization", "n s b m v", "p", training_mode=1, epsilon=0.0),
        node("Add", "x p", "y"),
    ]
    k = np.array([[[1, 3]], [[5, 1]]], np.float32)
    net = clconv.onnx.load(model(nodes, {"x": ["N", 2, "H", 2]}, ["y"], {"k": k, **given}))
    np.testing.assert_allclose(net(np.zeros((1, 2, 3, 2), np.float32))[0], [[[0, 2]] * 3, [[2, 0]] * 3], atol=1e-6)


@pytest.mark.parametrize("opset", [9, 17])
def test_training_on_images_is_refused(opset: int) -> None:
    given = {name: np.ones(3, np.float32) for name in ("s", "b", "m", "v")}
    outputs, mode = ("y m2 v2", {"training_mode": 1}) if opset >= 14 else ("y m2 v2 m3 v3", {})
    spec = node("BatchNormalization", "x s b m v", outputs, **mode)
    nodes = [node("Conv", "z w", "x"), spec]
    proto = model(nodes, {"z": ["N", 3, 4, 4]}, ["y"], {"w": numbers(3, 3, 1, 1), **given}, opset=opset)
    with pytest.raises(clconv.UnsupportedError, match=r"^1 node .*\(BatchNormalization in training mode, which only works on"):
        clconv.onnx.load(proto)


def test_constants_that_do_not_fit_get_a_sentence() -> None:
    given = {name: np.ones(2, np.float32) for name in ("s", "b", "m", "v")}
    nodes = [node("BatchNormalization", "k s b m v", "n", training_mode=1), node("Add", "x n", "y")]
    with pytest.raises(clconv.ClconvError, match=r"cannot be computed from its constants \(x has the shape \(3,\)"):
        clconv.onnx.load(model(nodes, {"x": [3]}, ["y"], {"k": numbers(3), **given}))
