"""Kernels whose work-items take blocks of rows and columns: however these end, and the same whatever their number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from pyopencl import CommandQueue

import clconv.onnx
from clconv.onnx.step import Step
from clconv.runtime import runtime_of
from tests.onnx.models import Array, model, node, numbers
from tests.onnx.nodes import BOUND, ELEMENT, guarded

Case = tuple[onnx.NodeProto, tuple[int, ...], dict[str, Array], Callable[[Array], Array]]

Shapes = tuple[tuple[int, ...], ...]

COLUMNS: Shapes = ((1, 2, 4099), (2, 3, 2085), (3, 50, 131), (500, 3, 21), (90, 40, 7), (1, 200, 64), (1, 4, 9))
ROWS: Shapes = ((300, 37), (9, 1000), (400, 5), (70, 64), (1, 4099))
"""Shapes whose second axis is reduced."""

ENLARGED = (((2, 3, 19, 37), (2, 3)), ((1, 90, 5, 3), (4, 1)), ((1, 2, 70, 64), (1, 2)), ((1, 60, 7, 7), (3, 3)))
NORMALISED: Shapes = ((70, 37), (5, 1200), (900, 6), (1, 40), (60, 17, 1, 1), (64, 7, 11), (3, 5, 900))
EPSILON = 2**-7
UNITS = (1, 3, 64)
"""Compute units that a device is said to have."""


def cases() -> dict[str, Case]:
    """Return node, shape of the input, constants and the result of float64 numbers, by name."""
    made: dict[str, Case] = {}

    def add(op: str, shape: tuple[int, ...], of: Callable[[Array], Array]) -> None:
        reduced = op.startswith("Reduce")
        spec = node(op, "a axes", "y", keepdims=0) if reduced else node(op, "a", "y", axis=1)
        made[f"{op} of {shape}"] = (spec, shape, {"axes": np.array([1])} if reduced else {}, of)

    for shape in COLUMNS + ROWS:
        add("ReduceSum", shape, lambda a: a.sum(1))
        add("ReduceMax", shape, lambda a: a.max(1))
        add("ReduceMean", shape, lambda a: a.mean(1))
        add("Softmax", shape, lambda a: np.exp(a) / np.exp(a).sum(1, keepdims=True))
        add("LogSoftmax", shape, lambda a: a - np.log(np.exp(a).sum(1, keepdims=True)))
        add("ReduceLogSumExp", shape, lambda a: np.log(np.exp(a).sum(1)))
    for shape, factors in ENLARGED:
        scales = {"scales": np.array([1, 1, *factors], np.float32)}
        made[f"Resize of {shape} by {factors}"] = (
            node("Resize", "a _ scales", "y", mode="linear"),
            shape,
            scales,
            _enlarging(factors),
        )
    for shape in NORMALISED:
        statistics = {k: numbers(shape[1], seed=i) for i, k in enumerate(("scale", "shift", "mean"))}
        statistics["var"] = np.abs(numbers(shape[1], seed=7)) + 0.5
        spec = node("BatchNormalization", "a scale shift mean var", "y", epsilon=EPSILON)
        made[f"BatchNormalization of {shape}"] = (spec, shape, statistics, _normalising(statistics))
    return made


def _enlarging(factors: tuple[int, int]) -> Callable[[Array], Array]:
    """Return linear interpolation between the middles of pixels, by whole factors."""

    def enlarge(a: Array) -> Array:
        for axis, factor in zip((2, 3), factors, strict=True):
            places = (np.arange(a.shape[axis] * factor) + 0.5) / factor - 0.5
            own = np.arange(a.shape[axis])
            a = np.apply_along_axis(lambda line: np.interp(places, own, line), axis, a)  # noqa: B023  # called in this turn
        return a

    return enlarge


def _normalising(statistics: dict[str, Array]) -> Callable[[Array], Array]:
    """Return batch normalisation."""

    def normalise(a: Array) -> Array:
        whole = (1, -1, *(1,) * (a.ndim - 2))
        scale, shift, mean, var = (statistics[k].astype(np.float64).reshape(whole) for k in ("scale", "shift", "mean", "var"))
        return (a - mean) / np.sqrt(var + EPSILON) * scale + shift

    return normalise


def run(name: str, dtype: str, queue: CommandQueue, units: int) -> tuple[Array, list[Step]]:
    """Compute a case on a device that is said to have so many compute units; return the result and the steps."""
    spec, shape, constants, want = cases()[name]
    held = {n: a.astype(dtype) if n in ("scale", "shift", "mean", "var") else a for n, a in constants.items()}
    a = numbers(*shape, seed=1).astype(dtype)
    proto = model([spec], {"a": [*shape]}, ["y"], held, dtype=ELEMENT[dtype], opset=18)
    runtime = runtime_of(queue)
    usual, runtime.info = runtime.info, replace(runtime.info, compute_units=units)
    try:
        net = clconv.onnx.load(proto, queue=queue)
        steps = list(net.explain().steps)
        return guarded(net, {"a": a}, np.empty(want(a.astype(np.float64)).shape, dtype)), steps
    finally:
        runtime.info = usual


def deviation(name: str, dtype: str, queue: CommandQueue, units: int = 2) -> float:
    """Return a case's largest deviation from float64 as a share of the largest output."""
    _, shape, _, of = cases()[name]
    want = of(numbers(*shape, seed=1).astype(dtype).astype(np.float64))
    y, _ = run(name, dtype, queue, units)
    return float(np.abs(y.astype(np.float64) - want).max() / np.abs(want).max())


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("name", cases())
def test_blocks(name: str, dtype: str, queue: CommandQueue) -> None:
    assert deviation(name, dtype, queue) < BOUND[dtype]


@pytest.mark.parametrize(("shape", "entry"), [((70, 37), "batch_norm_vectors"), ((64, 7, 11), "batch_norm")])
def test_vectors_lie_along_channels_of_one_pixel(shape: tuple[int, ...], entry: str, cpu_queue: CommandQueue) -> None:
    _, (step,) = run(f"BatchNormalization of {shape}", "float32", cpu_queue, 2)
    assert [launch.entry for launch in step.launches] == [entry]


@pytest.mark.parametrize("name", cases())
def test_the_number_of_work_groups_changes_no_bit(name: str, queue: CommandQueue) -> None:
    first, *others = (run(name, "float32", queue, units)[0] for units in UNITS)
    for other in others:
        np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize(
    "name",
    ["ReduceSum of (1, 2, 4099)", "Softmax of (500, 3, 21)", "Softmax of (300, 37)", "Resize of (1, 2, 70, 64) by (1, 2)"],
)
def test_work_groups_are_neither_too_many_nor_too_few(name: str, cpu_queue: CommandQueue) -> None:
    """Some for each unit, if there is enough for each to do."""
    for units in UNITS:
        for step in run(name, "float32", cpu_queue, units)[1]:
            (launch,) = step.launches
            count = int(np.prod(launch.global_size))
            assert 1 < count <= 32 * units
