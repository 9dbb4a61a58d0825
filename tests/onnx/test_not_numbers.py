"""What is not a number stays that, and what is multiplied by 0 in a Gemm is not looked at."""

from __future__ import annotations

import numpy as np
import pytest

import clconv.onnx
from tests.onnx.models import model, node, numbers


@pytest.mark.parametrize("op", ["Max", "Min"])
@pytest.mark.parametrize("size", [3, 40])
def test_of_two_tensors(op: str, size: int) -> None:
    a, b = numbers(2, size), numbers(2, size, seed=1)
    a[0, 1], b[1, 2] = np.nan, np.nan
    y = clconv.onnx.load(model([node(op, "a b", "y")], {"a": [2, size], "b": [2, size]}, ["y"]))(a, b)
    np.testing.assert_array_equal(y, {"Max": np.maximum, "Min": np.minimum}[op](a, b))


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize(("shape", "axis"), [((3, 70), 1), ((5, 3, 37), 1), ((3, 2), 1)])
@pytest.mark.parametrize("place", [0, 1, -1])
def test_along_an_axis(op: str, shape: tuple[int, ...], axis: int, place: int) -> None:
    x = numbers(*shape)
    x[0, place] = np.nan
    proto = model([node(op, "x axes", "y")], {"x": list(shape)}, ["y"], {"axes": np.array([axis])}, opset=18)
    want = {"ReduceMax": np.max, "ReduceMin": np.min}[op](x, axis, keepdims=True)
    np.testing.assert_array_equal(clconv.onnx.load(proto)(x), want)


@pytest.mark.parametrize("constant", [True, False])
def test_a_gemm_that_adds_nothing(constant: bool) -> None:
    x, w, c = numbers(2, 3), numbers(3, 3, seed=1), np.full(3, np.nan, np.float32)
    inputs: dict[str, list[int | str | None]] = {"x": [2, 3], **({} if constant else {"c": [3]})}
    proto = model([node("Gemm", "x w c", "y", beta=0.0)], inputs, ["y"], {"w": w, **({"c": c} if constant else {})})
    y = clconv.onnx.load(proto)(x, *(() if constant else (c,)))
    np.testing.assert_allclose(y, x @ w, rtol=0, atol=1e-5)
