"""The kernels between convolutions that GPUs get, on every device: it is taken for a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pyopencl import CommandQueue

import clconv.onnx
from clconv.onnx import layout
from clconv.onnx.step import Lowering
from clconv.plan import Launch
from clconv.runtime import runtime_of
from tests.onnx import test_shuffle
from tests.onnx.models import exact, model, node, numbers
from tests.onnx.nodes import BOUND, ELEMENT, cases, channels_last_cases, deviation

EXTENTS = {"rows": (2, 700), "a long row": (1, 5000), "short rows": (70, 3), "columns": (3, 90, 40), "few columns": (2, 200, 3)}
"""Shapes whose second axis is reduced."""

AXES = 6
"""Axes of a permutation that leaves none for rows of single elements."""


@contextmanager
def taken_for_gpu(queue: CommandQueue) -> Iterator[None]:
    """Let networks that are planned meanwhile take a device for a GPU."""
    runtime = runtime_of(queue)
    usual, runtime.info = runtime.info, replace(runtime.info, is_cpu=False, vector_bytes=16, compute_units=20)
    try:
        yield
    finally:
        runtime.info = usual


def algorithms(net: clconv.onnx.Network) -> set[str]:
    """What runs."""
    return {step.algorithm for step in net.explain().steps}


NODES = [name for name, (spec, _, _) in cases().items() if "Conv" not in spec.op_type]
IN_TURN = [(name, dtype) for i, name in enumerate(NODES) for dtype in ("float32", *[("float16",), (), ("float64",), ()][i % 4])]
"""Every node in float32, every fourth in each of the other types."""


@pytest.mark.parametrize(("name", "dtype"), IN_TURN)
def test_node(name: str, dtype: str, queue: CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work-groups lie along one dimension: some devices end the others at 65535 of them."""
    emit = Lowering.emit

    def checked(self: Lowering, algorithm: str, launch: Launch | tuple[Launch, ...], *args: Any, **kwargs: Any) -> None:
        for one in launch if isinstance(launch, tuple) else (launch,):
            assert one.global_size[1:] == one.local_size[1:]
        emit(self, algorithm, launch, *args, **kwargs)

    monkeypatch.setattr(Lowering, "emit", checked)
    check_node(name, dtype, queue)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("name", NODES)
def test_node_of_every_type(name: str, dtype: str, queue: CommandQueue) -> None:
    check_node(name, dtype, queue)


def check_node(name: str, dtype: str, queue: CommandQueue) -> None:
    """Assert that a device that is taken for a GPU computes a case."""
    single = name.startswith(("Resize", "Gelu", "GroupNorm", "Erf", "HardSwish"))  # the reference computes in float32
    with taken_for_gpu(queue):
        assert deviation(name, dtype, queue) < max(BOUND[dtype], BOUND["float32"] if single else 0)


@pytest.mark.parametrize("name", channels_last_cases())
def test_node_in_channels_last(name: str, queue: CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_gain", lambda *_: 1.0)
    with taken_for_gpu(queue):
        assert deviation(name, "float32", queue) < BOUND["float32"]


@pytest.mark.parametrize("always", [False, True])
@pytest.mark.parametrize("dtype", ELEMENT)
@pytest.mark.parametrize("shape", test_shuffle.SHAPES.values(), ids=test_shuffle.SHAPES)
def test_shuffle_of_channels(
    shape: tuple[int, ...], dtype: str, always: bool, queue: CommandQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    if always:
        monkeypatch.setattr(layout, "_gain", lambda *_: 1.0)
    with taken_for_gpu(queue):
        test_shuffle.check(shape, dtype, queue)


def shared_deviation(op: str, extent: str, queue: CommandQueue, dtype: str = "float32") -> float:
    """Reduce an axis that work-items share; the largest deviation as a share of the largest output."""
    shape = EXTENTS[extent]
    spec = node(op, "a", "y", **({"axis": 1} if op.endswith("Softmax") else {"axes": [1], "keepdims": 0}))
    proto = model([spec], {"a": [*shape]}, ["y"], dtype=ELEMENT[dtype])
    a = numbers(*shape, seed=1).astype(dtype)
    with taken_for_gpu(queue):
        net = clconv.onnx.load(proto, queue=queue)
        assert algorithms(net) == {"network/reduce_simt" if op == "ReduceMean" else "network/softmax_simt"}
        y = net(a)
    want = exact(proto, {"a": a})[0]
    return float(np.abs(y.astype(np.float64) - want).max() / np.abs(want).max())


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "ReduceLogSumExp", "ReduceMean"])
@pytest.mark.parametrize("extent", EXTENTS)
def test_work_items_share_an_axis(extent: str, op: str, dtype: str, queue: CommandQueue) -> None:
    assert shared_deviation(op, extent, queue, dtype) < BOUND[dtype]


@pytest.mark.parametrize("axes", [3, AXES])
def test_transpose(axes: int, queue: CommandQueue) -> None:
    """With a row for each element, and where the axes are too many for that."""
    shape = (2, 3, 4, 5, 2, 3)[:axes]
    order = [*range(axes)][::-1]
    proto = model([node("Transpose", "a", "y", perm=order)], {"a": [*shape]}, ["y"])
    a = numbers(*shape)
    with taken_for_gpu(queue):
        np.testing.assert_array_equal(clconv.onnx.load(proto, queue=queue)(a), a.transpose(order))


def test_images_are_pooled_where_they_lie(queue: CommandQueue) -> None:
    proto = model(
        [node("MaxPool", "a", "y", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])], {"a": [1, 5, 9, 9]}, ["y"]
    )
    with taken_for_gpu(queue):
        assert algorithms(clconv.onnx.load(proto, queue=queue)) == {"network/pool_simt"}
