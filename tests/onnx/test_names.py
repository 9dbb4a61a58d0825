"""Values that passes make never take a name that the model has."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import clconv
import clconv.onnx
from tests.onnx.models import model, node, numbers

X = numbers(1, 4, 6, 6)


def test_a_filter_that_is_called_like_a_scaled_one() -> None:
    """It is read by another convolution as well."""
    w, statistics = numbers(4, 4, 1, 1), {name: np.abs(numbers(4, seed=i)) + 1 for i, name in enumerate("sbmv")}
    nodes = [node("Conv", "x y:w", "c"), node("BatchNormalization", "c s b m v", "y"), node("Conv", "x y:w", "z")]
    y, z = clconv.onnx.load(model(nodes, {"x": list(X.shape)}, ["y", "z"], {"y:w": w, **statistics}))(X)
    plain = np.tensordot(w[:, :, 0, 0], X, (1, 1)).transpose(1, 0, 2, 3)
    s, b, m, v = (statistics[name].reshape(-1, 1, 1) for name in "sbmv")
    np.testing.assert_allclose(z, plain, rtol=0, atol=1e-5)
    np.testing.assert_allclose(y, (plain - m) / np.sqrt(v + 1e-5) * s + b, rtol=0, atol=1e-5)


def test_a_matrix_that_is_called_like_a_scaled_one() -> None:
    x, w = numbers(3, 4), numbers(4, 4, seed=1)
    nodes = [node("Gemm", "x y:w", "y", alpha=0.5), node("MatMul", "x y:w", "z")]
    y, z = clconv.onnx.load(model(nodes, {"x": [3, 4]}, ["y", "z"], {"y:w": w}))(x)
    np.testing.assert_allclose(z, x @ w, rtol=0, atol=1e-5)
    np.testing.assert_allclose(y, x @ w / 2, rtol=0, atol=1e-5)


def test_values_that_are_called_like_copies_and_axes() -> None:
    x = numbers(3, 4)
    copied = model([node("Relu", "x", "x:output0"), node("Neg", "x:output0", "z")], {"x": [3, 4]}, ["x", "z"])
    own, z = clconv.onnx.load(copied)(x)
    np.testing.assert_array_equal(own, x)
    np.testing.assert_array_equal(z, -np.maximum(x, 0))
    nodes = [node("ReduceMean", "x", "y", axes=[1]), node("Neg", "y:axes", "z")]
    reduced = model(nodes, {"x": [3, 4], "y:axes": [3, 4]}, ["y", "z"], opset=13)
    y, z = clconv.onnx.load(reduced)({"x": x, "y:axes": x})
    np.testing.assert_allclose(y, x.mean(1, keepdims=True), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(z, -x)


def test_a_value_that_is_called_like_a_constant_of_another_type() -> None:
    """Of arithmetic of sizes, whose numbers stay float32."""
    nodes = [
        *(node("Shape", "x", "s"), node("Cast", "s", "f", to=1), node("Mul", "f k", "g"), node("Cast", "g", "t", to=7)),
        *(node("Relu", "x", "k:float32"), node("Reshape", "k:float32 t", "y")),
    ]
    x = numbers(3, 4)
    net = clconv.onnx.load(model(nodes, {"x": [3, 4]}, ["y"], {"k": np.ones(1, np.float32)}), dtype="float16")
    np.testing.assert_array_equal(net(x.astype(np.float16)), np.maximum(x.astype(np.float16), 0))


def test_the_mark_of_names_is_refused() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y\x1fw"]), helper.make_node("Neg", ["y\x1fw"], ["y"])]
    with pytest.raises(clconv.UnsupportedError, match=r"called 'y.x1fw'; rename it"):
        clconv.onnx.load(model(nodes, {"x": [3]}, ["y"]))


def test_a_value_that_is_called_like_a_step_s_memory() -> None:
    """It is needed while the step packs a filter that the call brings."""
    feeds = {"x": numbers(1, 16, 14, 14), "w": numbers(16, 16, 3, 3, seed=1, scale=0.1)}

    def network(name: str) -> clconv.onnx.Network:
        nodes = [
            *(helper.make_node("Relu", ["x"], [name]), helper.make_node("Conv", [name, "w"], ["c"], pads=[1] * 4)),
            *(helper.make_node("Add", ["c", name], ["d"]), helper.make_node("Relu", ["d"], ["y"])),
        ]
        return clconv.onnx.load(model(nodes, {name: list(x.shape) for name, x in feeds.items()}, ["y"]))

    net = network("r")
    want = net(feeds)
    steps = net._program_for([*feeds.values()]).steps
    names = [f"step {index} {argument}" for index, step in enumerate(steps) for argument in step.scratch]
    assert names
    for name in names:
        np.testing.assert_array_equal(network(name)(feeds), want)
