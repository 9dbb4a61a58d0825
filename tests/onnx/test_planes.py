"""A convolution that writes N H W C and reads an image as it was given: which one does, and what it computes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from pyopencl import CommandQueue

import clconv.onnx
from clconv.algorithms.standard.run_simd import RunSimd
from clconv.device import DeviceInfo
from clconv.onnx import layout, passes
from clconv.onnx.infer import specialise
from clconv.onnx.planes import read_planes
from clconv.onnx.read import graph_of
from clconv.onnx.step import Plans
from clconv.plan import Plan
from clconv.problem import ConvProblem
from tests.onnx.models import exact, model, node, numbers
from tests.onnx.nodes import BOUND, ELEMENT

KERNEL = RunSimd.name
INFO = DeviceInfo("made up", "Portable Computing Language", unaligned_vectors=True)

CASES = {
    "three channels": ((2, 3, 9, 37), (5, 3, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "one channel": ((1, 1, 7, 21), (4, 1, 5, 5), {"pads": [2, 2, 2, 2]}),
    "two channels, narrow": ((3, 2, 6, 5), (6, 2, 3, 2), {"pads": [1, 0, 0, 1]}),
    "five channels, dilated": ((1, 5, 9, 40), (33, 5, 2, 3), {"dilations": [2, 3], "strides": [1, 2]}),
    "columns that no window reads": ((1, 3, 5, 36), (4, 3, 2, 2), {"strides": [3, 5]}),
    "more padding than image": ((1, 3, 2, 2), (4, 3, 3, 3), {"pads": [2, 4, 3, 5]}),
}


def first_layer(name: str, dtype: str = "float32") -> onnx.ModelProto:
    """A convolution and its activation."""
    shape, filt, attributes = CASES[name]
    nodes = [node("Conv", "x w b", "c", **attributes), node("Relu", "c", "y")]
    constants = {"w": numbers(*filt, seed=1, scale=0.3), "b": numbers(filt[0], seed=2)}
    return model(nodes, {"x": [*shape]}, ["y"], {k: v.astype(dtype) for k, v in constants.items()}, dtype=ELEMENT[dtype])


def deviation(name: str, dtype: str, queue: CommandQueue | None = None) -> float:
    """Return the deviation of a model of which every step but the last, a reorder, must be the kernel."""
    proto = first_layer(name, dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "_gain", lambda *_: 1.0)
        patch.setattr(Plans, "of", lambda self, problem: next(iter(RunSimd().plans(problem, self.device))))
        net = clconv.onnx.load(proto, queue=queue)
        first, last = (s.algorithm for s in net.explain().steps)
        assert first == KERNEL
        assert last in ("network/reorder", "network/copy")  # of CPUs and GPUs
    x = numbers(*CASES[name][0], seed=3).astype(dtype)
    y, want = net(x), exact(proto, {"x": x})[0]
    assert y.shape == want.shape
    return float(np.abs(y - want).max() / np.abs(want).max())


@pytest.mark.parametrize("dtype", ELEMENT)
@pytest.mark.parametrize("name", CASES)
def test_it_computes_the_same(name: str, dtype: str, queue: CommandQueue) -> None:
    if dtype == "float64" and not DeviceInfo.of(queue.device).fp64:
        pytest.skip("the device has no float64")
    assert deviation(name, dtype, queue) < BOUND[dtype]


def left(proto: onnx.ModelProto, algorithm: str = KERNEL) -> list[str]:
    """Return the operations that the pass leaves when convolutions have plans of this algorithm."""
    known = specialise(passes.run(graph_of(proto), passes.BEFORE), {"x": tuple(CASES["three channels"][0])})

    def seconds(problem: ConvProblem) -> float:
        return 0.0 if problem.layout == "NHWC" else 1.0

    def plan_of(problem: ConvProblem) -> Plan:
        return replace(next(iter(RunSimd().plans(problem, INFO))), algorithm=algorithm)

    graph = layout.choose_layout(passes.run(known, passes.AFTER), seconds, 1e9)
    return [n.op for n in read_planes(graph, plan_of).nodes]


def test_the_reorder_goes() -> None:
    assert left(first_layer("three channels")) == ["Conv", "Transpose"]


def test_it_stays_before_another_kernel() -> None:
    assert left(first_layer("three channels"), "standard/run_matrix") == ["Transpose", "Conv", "Transpose"]


def test_it_stays_where_two_read_the_image() -> None:
    shape, filt, attributes = CASES["three channels"]
    nodes = [node("Conv", f"x w{i}", f"c{i}", **attributes) for i in "ab"]
    constants = {f"w{i}": numbers(*filt, seed=seed) for seed, i in enumerate("ab")}
    proto = model([*nodes, node("Relu", "ca", "r"), node("Add", "r cb", "y")], {"x": [*shape]}, ["y"], constants)
    assert left(proto) == ["Transpose", "Conv", "Conv", "Transpose"]
