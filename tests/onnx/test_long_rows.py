"""Pooling of rows that the local memory has no room for: signals, and images as wide as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pyopencl import CommandQueue

import clconv.onnx
from clconv.runtime import runtime_of
from tests.onnx.models import exact, model, node, numbers
from tests.onnx.nodes import BOUND, ELEMENT

LOCAL = 1024  # bytes
CASES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "signal": ((2, 3, 300), {"kernel_shape": [5], "strides": [2], "pads": [2, 1]}),
    "signal of one window": ((2, 2, 270), {"kernel_shape": [270]}),
    "signal with one row of padding": ((1, 2, 1, 300), {"kernel_shape": [2, 3], "pads": [1, 0, 0, 2]}),
    "image": ((2, 2, 5, 290), {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 1, 1, 0]}),
}
OPERATIONS: dict[str, dict[str, Any]] = {
    "MaxPool": {"dilations": 2},
    "AveragePool": {},
    "AveragePool counted": {"count_include_pad": 1},
}


def deviation(case: str, operation: str, dtype: str, queue: CommandQueue) -> float:
    """Pool on a device of little local memory; the largest deviation as a share of the largest output."""
    shape, window = CASES[case]
    options = dict(OPERATIONS[operation])
    if "dilations" in options:
        taps = window["kernel_shape"]
        options["dilations"] = [2 if taps[-1] < 9 and axis == len(taps) - 1 else 1 for axis in range(len(taps))]
    spec = node(operation.split()[0], "a", "y", **window, **options)
    proto = model([spec], {"a": [*shape]}, ["y"], dtype=ELEMENT[dtype])
    a = numbers(*shape, seed=3).astype(dtype)
    runtime = runtime_of(queue)
    usual, runtime.info = runtime.info, replace(runtime.info, local_mem_bytes=LOCAL)
    try:
        net = clconv.onnx.load(proto, queue=queue)
        kernel = "network/pool_channels" if runtime.info.is_cpu else "network/pool_simt"
        assert [s.algorithm for s in net.explain().steps] == [kernel]
        y = net(a)
    finally:
        runtime.info = usual
    want = exact(proto, {"a": a})[0]
    assert (y.shape, y.dtype.name) == (want.shape, dtype)
    return float(np.abs(y.astype(np.float64) - want).max() / np.abs(want).max())


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("case", CASES)
def test_the_same_without_local_memory(case: str, operation: str, dtype: str, queue: CommandQueue) -> None:
    assert deviation(case, operation, dtype, queue) < BOUND[dtype]


def test_work_items_share_a_signal(queue: CommandQueue) -> None:
    """A row has one work-item, and a signal has many."""
    proto = model([node("MaxPool", "a", "y", kernel_shape=[3])], {"a": [1, 1, 1 << 20]}, ["y"])
    runtime = runtime_of(queue)
    usual, runtime.info = runtime.info, replace(runtime.info, local_mem_bytes=16384, compute_units=4, is_cpu=True)
    try:
        net = clconv.onnx.load(proto, queue=queue)
        (step,) = net._program(((1, 1, 1 << 20),)).steps
        a = numbers(1, 1, 1 << 20)
        np.testing.assert_array_equal(net(a)[0, 0], np.lib.stride_tricks.sliding_window_view(a[0, 0], 3).max(axis=-1))
    finally:
        runtime.info = usual
    assert step.launches[0].global_size[0] == 64
