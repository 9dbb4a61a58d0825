"""Local response normalisation by its definition; onnx.reference takes as many channels as there are images."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from pyopencl import CommandQueue

import clconv
import clconv.onnx
from tests.onnx.models import Array, model, node, numbers
from tests.onnx.nodes import BOUND, ELEMENT, guarded
from tests.onnx.test_on_gpus import taken_for_gpu

CASES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "usual": ((2, 9, 5, 7), {"size": 5, "alpha": 0.9, "bias": 2.0}),
    "even": ((1, 6, 3, 3), {"size": 4, "alpha": 0.5, "beta": 0.75}),
    "another power": ((3, 5, 4, 4), {"size": 3, "alpha": 0.7, "beta": 0.6, "bias": 0.5}),
    "more than all channels": ((2, 3, 1, 19), {"size": 9, "alpha": 2.0}),
    "one channel": ((1, 1, 7, 3), {"size": 1}),
    "signal": ((2, 5, 33), {"size": 3, "alpha": 1.5}),
    "no image": ((4, 6), {"size": 3, "alpha": 1.5}),
}


def normalised(x: Array, size: int, alpha: float = float(np.float32(1e-4)), beta: float = 0.75, bias: float = 1.0) -> Array:
    """Take each channel by itself, with as many before it as behind, or one more behind."""
    x = x.astype(np.float64)
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        window = x[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1]
        y[:, c] = x[:, c] / (bias + alpha / size * (window**2).sum(1)) ** beta
    return y


def deviation(name: str, dtype: str, queue: CommandQueue) -> float:
    """Run a case and return its largest deviation as a share of the largest output."""
    shape, attributes = CASES[name]
    proto = model([node("LRN", "x", "y", **attributes)], {"x": [*shape]}, ["y"], dtype=ELEMENT[dtype])
    x = numbers(*shape, scale=2).astype(dtype)
    single: dict[str, Any] = {key: v if key == "size" else float(np.float32(v)) for key, v in attributes.items()}
    want = normalised(x, **single)
    y = guarded(clconv.onnx.load(proto, queue=queue), {"x": x}, np.empty(shape, dtype))
    return float(np.abs(y.astype(np.float64) - want).max() / np.abs(want).max())


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("name", CASES)
def test_every_case(name: str, dtype: str, queue: CommandQueue) -> None:
    assert deviation(name, dtype, queue) < BOUND[dtype]


@pytest.mark.parametrize("name", CASES)
def test_on_a_gpu(name: str, queue: CommandQueue) -> None:
    with taken_for_gpu(queue):
        assert deviation(name, "float32", queue) < BOUND["float32"]


def test_of_constants() -> None:
    k = numbers(1, 4, 3, 3)
    nodes = [node("LRN", "k", "n", size=3, alpha=1.0), node("Add", "x n", "y")]
    y = clconv.onnx.load(model(nodes, {"x": [1, 4, 3, 3]}, ["y"], {"k": k}))(np.zeros((1, 4, 3, 3), np.float32))
    np.testing.assert_allclose(y, normalised(k, 3, 1.0), rtol=1e-5)


def test_squares_that_float16_does_not_hold() -> None:
    x = np.full((1, 3, 2, 2), 300, np.float16)
    proto = model([node("LRN", "x", "y", size=3, alpha=3e-4)], {"x": [1, 3, 2, 2]}, ["y"], dtype=onnx.TensorProto.FLOAT16)
    np.testing.assert_allclose(clconv.onnx.load(proto)(x), normalised(x, 3, 3e-4), rtol=2e-3)


def test_a_size_that_holds_no_channel_is_refused() -> None:
    net = clconv.onnx.load(model([node("LRN", "x", "y", size=0)], {"x": [1, 3, 2, 2]}, ["y"]))
    with pytest.raises(clconv.ShapeError, match=r"the LRN of y.* takes 0 channels"):
        net(numbers(1, 3, 2, 2))
