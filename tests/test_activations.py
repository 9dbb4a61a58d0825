"""What follows the sums: numbers that are none, and slopes of any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyopencl as cl
import pytest
from numpy.typing import NDArray

import clconv
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from tests.algorithms.test_every_algorithm import BY_NAME, LAYOUTS
from tests.harness import check_plan
from tests.shapes import problem_of

Array = NDArray[Any]

ACTIVATIONS = (
    "relu", "relu6", ("clip", -1, 1), "hardswish", "hardsigmoid", "sigmoid", "tanh", "silu", ("leaky_relu", 0.1),
    "gelu", "gelu_tanh", ("scaled_hardswish", 1.7, -0.4),
)  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_nan_stays_nan_in_every_activation(layout: str, activation: Any, queue: cl.CommandQueue) -> None:
    """Alone in its vector or not, and nowhere else."""
    channels = 20
    x = np.zeros((1, 20, 20, 20), np.float32)
    x[:, 3:5, 3:5, 3:5] = np.nan
    eye = np.eye(channels, dtype=np.float32)
    w = eye.reshape(channels, channels, 1, 1) if layout == "NCHW" else eye.reshape(1, 1, channels, channels)
    y = clconv.conv2d(x, w, activation=activation, layout=layout, algorithm="direct", queue=queue)
    hit = np.zeros(y.shape, bool)
    if layout == "NCHW":
        hit[:, :, 3:5, 3:5] = True  # of all channels: NaN times 0 is NaN
    else:
        hit[:, 3:5, 3:5] = True
    np.testing.assert_array_equal(np.isnan(y), hit)


def test_nan_and_infinity_are_kept(queue: cl.CommandQueue) -> None:
    x = np.zeros((1, 1, 3, 3), np.float32)
    x[0, 0, 0, 0], x[0, 0, 2, 2] = np.nan, np.inf
    y = clconv.conv2d(x, np.ones((1, 1, 1, 1), "f"), activation="relu", queue=queue)
    assert np.isnan(y[0, 0, 0, 0])
    assert np.isposinf(y[0, 0, 2, 2])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("activation", "of", "units"),
    [("sigmoid", lambda v: 1 / (1 + np.exp(-v)), 6), ("tanh", np.tanh, 4), ("silu", lambda v: v / (1 + np.exp(-v)), 6)],
    ids=["sigmoid", "tanh", "silu"],
)
def test_curves(activation: str, of: Callable[[Array], Array], units: int, layout: str, queue: cl.CommandQueue) -> None:
    """To units in the last place, in whole vectors and behind them; what is infinite or hardly a number as in float32."""
    edges = [np.inf, -np.inf, np.nan, 0, -0.0, 1e30, -1e30, 1e-30, -1e-30, 88.5, -100, 200, 0.625, -0.625]
    values = np.concatenate([np.linspace(-86, 100, 4001), np.linspace(-2, 2, 4001), edges]).astype(np.float32)
    x: Array = np.resize(values, 19 * 443)
    x = x.reshape(1, 19, 1, 443) if layout == "NCHW" else x.reshape(1, 1, 443, 19)
    w = np.ones((19, 1, 1, 1) if layout == "NCHW" else (1, 1, 1, 19), np.float32)
    y = clconv.conv2d(x, w, groups=19, activation=activation, layout=layout, queue=queue)
    with np.errstate(all="ignore"):
        want = of(x.astype(np.float64))
    if activation == "silu":
        want[np.isneginf(x)] = 0  # the limit
    np.testing.assert_array_equal(np.isnan(y), np.isnan(want))
    there = np.isfinite(want) & (np.abs(want) > 1e-36)
    unit = np.spacing(np.abs(want[there]).astype(np.float32)).astype(np.float64)
    assert np.max(np.abs(y[there] - want[there]) / unit) <= units
    rest = ~there & ~np.isnan(want)
    np.testing.assert_allclose(y[rest], want[rest], rtol=0, atol=2e-36)


def test_curves_are_computed_in_the_widest_vectors() -> None:
    """But in double precision, where they are the driver's."""
    device = DeviceInfo("made up", "Portable Computing Language", avx512=True)
    cases = (("float32", "silu", True), ("float64", "silu", False), ("float64", "gelu", False), ("float64", "relu", True))
    for dtype, activation, as_wide in cases:
        assert wide(problem_of("odd_channels", dtype=dtype, activation=activation), device) == as_wide


@pytest.mark.parametrize("slope", [2.0, -0.5, 0.0])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["reference", "standard/direct_simd", "standard/implicit_gemm_simt"])
def test_slopes_of_any_size(name: str, layout: str, slope: float, queue: cl.CommandQueue) -> None:
    """The larger one of v and its multiple is the leaky one only for slopes from 0 to 1."""
    info = DeviceInfo.of(queue.device)
    problem = problem_of("odd_channels", layout=layout, activation=("leaky_relu", slope))
    reason = BY_NAME[name].supports(problem, info)
    if reason is not None:
        pytest.skip(reason)
    check_plan(next(iter(BY_NAME[name].plans(problem, info))), queue)
