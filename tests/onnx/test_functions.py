"""Functions that kernels compute by their own formulas."""

from __future__ import annotations

import math

import numpy as np
from pyopencl import CommandQueue

import clconv.onnx
from tests.onnx.models import Array, model, node

ULPS = 8
"""Units in the last place that the error function may be off; OpenCL allows its own 16."""


def computed(op: str, x: Array, queue: CommandQueue) -> Array:
    proto = model([node(op, "x", "y")], {"x": [*x.shape]}, ["y"], opset=20)
    y = clconv.onnx.load(proto, queue=queue)(x)
    assert isinstance(y, np.ndarray)
    return y


def test_error_function_everywhere(queue: CommandQueue) -> None:
    near = np.concatenate([np.linspace(-4.5, 4.5, 60001), np.geomspace(1e-37, 5, 4001), -np.geomspace(1e-37, 5, 4001)])
    x = near.astype(np.float32)
    want = np.array([math.erf(v) for v in x])
    got = computed("Erf", x, queue)
    assert (np.abs(got - want) <= ULPS * np.spacing(np.abs(want).astype(np.float32))).all()
    assert (np.abs(got) <= 1).all()
    edges = np.array([0.0, -0.0, np.inf, -np.inf, 3e38, -3e38, np.nan], np.float32)
    np.testing.assert_array_equal(computed("Erf", edges, queue), [0, 0, 1, -1, 1, -1, np.nan])


def test_gelu_goes_to_zero_and_to_its_argument(queue: CommandQueue) -> None:
    x = np.linspace(-12, 12, 24001).astype(np.float32)
    want = np.array([0.5 * v * math.erfc(-v / math.sqrt(2)) for v in x.astype(np.float64)])
    got = computed("Gelu", x, queue)
    assert np.abs(got - want).max() < 2e-6
    far = np.abs(x) > 6
    np.testing.assert_array_equal(got[far], np.maximum(x, 0)[far])
