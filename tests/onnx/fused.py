"""Models that become one fused step: run them, and look at what a pass makes of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from pyopencl import CommandQueue

import clconv.onnx
from clconv.device import DeviceInfo
from clconv.onnx import layout, passes, separable
from clconv.onnx.graph import Graph
from clconv.onnx.infer import specialise
from clconv.onnx.read import graph_of
from clconv.problem import ConvProblem
from tests.onnx.models import exact, numbers

INFO = DeviceInfo("made up", "Portable Computing Language", unaligned_vectors=True, avx512=True)
Pass = Callable[[Graph, DeviceInfo, Callable[[ConvProblem], float]], Graph]


def deviation(proto: onnx.ModelProto, algorithm: str, queue: CommandQueue | None = None, *, large: bool = True) -> float:
    """Return the deviation of a model in which one step must have this algorithm; its steps are fused wherever they can be.

    It may have none where the device's local memory is not ``large``; the deviation is 0 then.
    """
    usual, separable.launch_seconds = separable.launch_seconds, lambda device: 1.0
    try:
        net = clconv.onnx.load(proto, queue=queue)
        found = [s.algorithm for s in net.explain().steps].count(algorithm)
        if not found and not large:
            return 0.0
        assert found == 1
        x = numbers(*_shape(proto), seed=7)
        y, want = net(x), exact(proto, {"x": x})[0]
    finally:
        separable.launch_seconds = usual
    assert y.shape == want.shape
    return float(np.abs(y - want).max() / np.abs(want).max())


def left(proto: onnx.ModelProto, fuse: Pass, apart: float, last: float = 0.0) -> list[str]:
    """Return the operations that a pass leaves when a convolution by itself takes ``apart`` seconds.

    The layout is chosen for convolutions that take ``last`` seconds with channels last, and one second otherwise.
    """
    known = passes.run(specialise(passes.run(graph_of(proto), passes.BEFORE), {"x": _shape(proto)}), passes.AFTER)

    def seconds(problem: ConvProblem) -> float:
        return last if problem.layout == "NHWC" else 1.0

    graph = layout.choose_layout(known, seconds, 1e9)
    return [n.op for n in fuse(graph, INFO, lambda _: apart).nodes if n.op != "Transpose"]


def _shape(proto: onnx.ModelProto) -> tuple[int, ...]:
    return tuple(d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim)
