"""Functions that kernels compute by their own formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import onnx
import pytest
from pyopencl import CommandQueue

import clconv.onnx
from tests.onnx.models import Array, model, node, numbers
from tests.onnx.test_on_gpus import taken_for_gpu

ULPS = 8
"""Units in the last place that the error function may be off; OpenCL allows its own 16."""


def computed(op: str, x: Array, queue: CommandQueue) -> Array:
    element = onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    proto = model([node(op, "x", "y")], {"x": [*x.shape]}, ["y"], dtype=element, opset=20)
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


EDGES = np.array([0.0, -0.0, np.inf, -np.inf, 3e38, -3e38, np.nan], np.float32)


def ulps(got: Array, want: Array) -> float:
    """The largest deviation in units in the last place, of numbers that float32 has all digits of."""
    got, want = got[np.abs(want) > 1e-37].astype(np.float64), want[np.abs(want) > 1e-37]
    return float((np.abs(got - want) / np.spacing(np.abs(want).astype(np.float32))).max())


def test_softplus_neither_overflows_nor_loses_small_numbers(queue: CommandQueue) -> None:
    x = np.concatenate([np.linspace(-85, 100, 60001), np.geomspace(1e-30, 3e38, 999)]).astype(np.float32)
    assert ulps(computed("Softplus", x, queue), np.logaddexp(0, x.astype(np.float64))) <= ULPS
    np.testing.assert_array_equal(computed("Softplus", EDGES[2:], queue), [np.inf, 0, EDGES[4], 0, np.nan])
    np.testing.assert_allclose(
        computed("Softplus", np.array([-700.0, -40, -1, 0, 40]), queue), np.logaddexp(0, [-700, -40, -1, 0, 40]), rtol=1e-15
    )


def test_mish_keeps_its_digits(queue: CommandQueue) -> None:
    """On both sides of 0, and where it is next to 0 or its argument."""
    near = np.concatenate([np.linspace(-80, 60, 60001), np.geomspace(1e-30, 1e30, 999), -np.geomspace(1e-30, 80, 999)])
    x = near.astype(np.float32)
    wide = x.astype(np.float64)
    with np.errstate(over="ignore"):
        n = np.exp(np.minimum(wide, 300)) * (np.exp(np.minimum(wide, 300)) + 2)
    assert ulps(computed("Mish", x, queue), wide * (n / (n + 2))) <= ULPS
    np.testing.assert_allclose(wide * np.tanh(np.logaddexp(0, wide)), wide * (n / (n + 2)), rtol=1e-12)  # by its definition
    np.testing.assert_array_equal(computed("Mish", EDGES[[0, 2, 4, 5, 6]], queue), [0, np.inf, EDGES[4], 0, np.nan])
    few = np.array([-30.0, -2, -1e-9, 0.7, 19, 21, 1e300])
    np.testing.assert_allclose(computed("Mish", few, queue), few * np.tanh(np.logaddexp(0, few)), rtol=1e-14)


@pytest.mark.parametrize(("op", "of"), [("Log", np.log), ("Sin", np.sin), ("Cos", np.cos)])
def test_functions_of_the_driver(op: str, of: Callable[[Array], Array], queue: CommandQueue) -> None:
    x = np.concatenate([np.geomspace(1e-30, 1e4, 30001), [1.0, 1.0001, 0.9999]]).astype(np.float32)
    want = of(x.astype(np.float64))
    away = np.abs(want) > 1e-3  # of a zero, where their own error is not relative
    assert ulps(computed(op, x, queue)[away], want[away]) <= ULPS
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(computed(op, EDGES[[2, 3, 6]], queue), of(EDGES[[2, 3, 6]]))


def test_a_zero_keeps_its_sign(queue: CommandQueue) -> None:
    y = computed("Tanh", np.array([-0.0, 0.0, *[-0.0] * 40], np.float32), queue)
    np.testing.assert_array_equal(np.signbit(y), [True, False, *[True] * 40])


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize(("op", "of"), [("Floor", np.floor), ("Ceil", np.ceil), ("Round", np.rint), ("Sign", np.sign)])
def test_whole_numbers(op: str, of: Callable[[Array], Array], dtype: str, queue: CommandQueue) -> None:
    """With halves, which go to the even number, and numbers so large that they are whole."""
    x = np.concatenate([np.arange(-40, 41) / 8, [2047.5, 2048.5, 8388607.5, -4194303.5, 1e9, 1e30, 0.49999997], EDGES])
    with np.errstate(over="ignore"):
        x = x.astype(dtype)
    np.testing.assert_array_equal(computed(op, x, queue), of(x))


@pytest.mark.parametrize("op", ["Selu", "Celu", "Softsign", "ThresholdedRelu"])
def test_other_functions_of_what_is_hardly_a_number(op: str, queue: CommandQueue) -> None:
    x = EDGES[[0, 2, 3, 6]] if op != "Softsign" else EDGES[[0, 6]]
    scale = 1.0507009873554805 if op == "Selu" else 1
    want = {
        "Selu": [0, np.inf, -scale * 1.6732632423543772, np.nan],
        "Celu": [0, np.inf, -1, np.nan],
        "Softsign": [0, np.nan],
        "ThresholdedRelu": [0, np.inf, 0, 0],
    }
    np.testing.assert_allclose(computed(op, x, queue), want[op], rtol=1e-6)


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_logarithm_of_a_sum_of_exponentials(axis: int, gpu: bool, queue: CommandQueue) -> None:
    """Of numbers whose exponentials are no numbers, of infinities, and of masked ones alone."""
    x = (numbers(37, 41) * 300).astype(np.float32)
    x[0, :], x[3, 5], x[7, 9] = -np.inf, np.inf, np.nan
    x = x if axis == 1 else x.T.copy()
    with np.errstate(invalid="ignore"):
        want = np.logaddexp.reduce(x.astype(np.float64), axis)
    proto = model([node("ReduceLogSumExp", "x", "y", axes=[axis], keepdims=0)], {"x": [*x.shape]}, ["y"])
    with taken_for_gpu(queue) if gpu else nullcontext():
        y = clconv.onnx.load(proto, queue=queue)(x)
    assert (y[0], y[3]) == (-np.inf, np.inf)
    assert np.isnan(y[7])
    np.testing.assert_allclose(y, want, rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_the_logarithm_of_a_softmax_neither_overflows_nor_loses_small_shares(axis: int, queue: CommandQueue) -> None:
    x = (numbers(37, 41) * 300).astype(np.float32)
    wide = x.astype(np.float64)
    want = wide - wide.max(axis, keepdims=True)
    want -= np.log(np.exp(want).sum(axis, keepdims=True))
    y = clconv.onnx.load(model([node("LogSoftmax", "x", "y", axis=axis)], {"x": [37, 41]}, ["y"]), queue=queue)(x)
    assert want.min() < -800
    np.testing.assert_allclose(y, want, rtol=1e-6, atol=1e-6)
    masked = np.array([[0, -np.inf], [-np.inf, 0]], np.float32)
    np.testing.assert_array_equal(computed("LogSoftmax", masked, queue), masked)
