"""Weights of channels before a 1x1 convolution, which its filter takes over where it is smaller than the image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pyopencl as cl
import pytest

import clconv.onnx
from clconv.device import DeviceInfo
from clconv.onnx import passes
from clconv.onnx.gates import gate_filters
from clconv.onnx.infer import specialise
from clconv.onnx.layout import choose_layout
from clconv.onnx.read import graph_of
from clconv.problem import ConvProblem
from tests.onnx.models import Array, exact, model, node, numbers

INFO = DeviceInfo("made up", "Portable Computing Language", unaligned_vectors=True, avx512=True)
CONSTANTS: dict[str, Array] = {
    "d": numbers(24, 1, 3, 3, seed=1, scale=0.4),
    "r": numbers(4, 24, 1, 1, seed=2, scale=0.3),
    "e": numbers(24, 4, 1, 1, seed=3, scale=0.5),
    "w": numbers(17, 24, 1, 1, seed=4, scale=0.3),
    "v": numbers(17, 24, 3, 3, seed=5, scale=0.1),
    "half": numbers(18, 12, 1, 1, seed=6, scale=0.3),
    "wide": numbers(400, 24, 1, 1, seed=7, scale=0.3),
    "b": numbers(17, seed=8),
}


def block(last: onnx.NodeProto, *more: onnx.NodeProto, batch: int = 1, outputs: str = "y", gate: str = "s") -> onnx.ModelProto:
    """A depthwise convolution, weights of its channels, and what reads the weighed image ``m``."""
    nodes = [
        node("Conv", "x d", "c", group=24, pads=[1] * 4),
        node("HardSwish", "c", "a"),
        node("GlobalAveragePool", "a", "p"),
        node("Conv", "p r", "q"),
        node("Relu", "q", "u"),
        node("Conv", "u e", "t"),
        node("Sigmoid", "t", "s"),
        node("Mul", f"a {gate}", "m"),
        last,
        *more,
    ]
    return model(nodes, {"x": [batch, 24, 41, 43]}, outputs.split(), CONSTANTS)


def taken(proto: onnx.ModelProto, layout: str, device: DeviceInfo = INFO) -> bool:
    """Whether the pass moves the product to the filter, where images are stored in a layout."""
    x = tuple(d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim)
    known = passes.run(specialise(passes.run(graph_of(proto), passes.BEFORE), {"x": x}), passes.AFTER)

    def seconds(problem: ConvProblem) -> float:
        return 0.0 if problem.layout == layout else 1.0

    graph = gate_filters(choose_layout(known, seconds, 1e9), device)
    (product,) = (n for n in graph.nodes if n.op == "Mul")
    moved = any(note.startswith("gate filters: 1 ") for note in graph.notes)
    assert moved == any(name in graph.constants for name in product.inputs)
    return moved


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("gate", ["a s", "s a"])
@pytest.mark.parametrize(
    ("last", "options"),
    [("m w", {}), ("m w b", {"strides": [2, 2]}), ("m w b", {"pads": [1, 0, 2, 1]})],
)
def test_a_small_filter_is_multiplied(
    last: str, options: dict[str, Any], gate: str, layout: str, queue: cl.CommandQueue
) -> None:
    proto = block(node("Conv", last, "y", **options))
    proto.graph.node[7].input[:] = gate.split()
    assert taken(proto, layout)
    x = numbers(1, 24, 41, 43, seed=9)
    net = clconv.onnx.load(proto, queue=queue)
    want = exact(proto, {"x": x})[0]
    y = net(x)
    assert y.shape == want.shape
    assert np.abs(y - want).max() < 1e-5 * np.abs(want).max()
    if DeviceInfo.of(queue.device).is_cpu:
        assert any(note.startswith("gate filters: 1 ") for note in net.explain(x.shape).passes)
    np.testing.assert_array_equal(net(x), y)


def test_each_layout_runs(cpu_queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever is chosen: the filter is stored otherwise."""
    from clconv.onnx import network

    proto = block(node("Conv", "m w b", "c2"), node("Relu", "c2", "y"))
    x = numbers(1, 24, 41, 43, seed=9)
    want = exact(proto, {"x": x})[0]
    for layout in ("NCHW", "NHWC"):

        def chosen(graph: Any, seconds: Any, bandwidth: float, layout: str = layout) -> Any:
            return choose_layout(graph, lambda problem: 0.0 if problem.layout == layout else 1.0, bandwidth)

        monkeypatch.setattr(network, "choose_layout", chosen)
        net = clconv.onnx.load(proto, queue=cpu_queue)
        assert np.abs(net(x) - want).max() < 1e-5 * np.abs(want).max()
        assert [s.plan.problem.layout for s in net.explain(x.shape).steps if s.plan is not None][-1] == layout


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    "proto",
    [
        block(node("Conv", "m w", "y"), batch=2),
        block(node("Conv", "m v", "y")),
        block(node("Conv", "m half", "y", group=2)),
        block(node("Conv", "m wide", "y")),
        block(node("Conv", "m w", "y"), node("Relu", "m", "z"), outputs="y z"),
        block(node("Conv", "m w", "y"), outputs="y m"),
        block(node("Conv", "m w", "y"), gate="x"),
    ],
    ids=["two images", "3x3", "groups", "a large filter", "read twice", "an output", "an image for the weights"],
)
def test_what_stays(proto: onnx.ModelProto, layout: str) -> None:
    assert not taken(proto, layout)


def test_gpus_multiply_the_image() -> None:
    proto = block(node("Conv", "m w", "y"))
    assert taken(proto, "NHWC")
    assert not taken(proto, "NHWC", replace(INFO, is_cpu=False))
