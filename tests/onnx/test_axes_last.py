"""Nodes that name axes, on images in N H W C: between two convolutions each, and at the edges of a region."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from pyopencl import CommandQueue

import clconv.onnx
from clconv.onnx import layout, passes
from clconv.onnx.infer import specialise
from clconv.onnx.layout import choose_layout
from clconv.onnx.read import graph_of
from tests.onnx.models import Array, exact, model, node, numbers
from tests.onnx.nodes import BOUND

SHAPE = (2, 4, 7, 9)
CONSTANTS: dict[str, Array] = {
    "pads": np.array([0, 0, 1, 2, 0, 0, 0, 1]),
    "channel": np.array([0, 1, 0, 0, 0, 2, 0, 0]),
    "amounts": np.array([2, 1, 1, 0]),
    "rows": np.array([-2, -1]),
    "fill": np.array(0.5, np.float32),
    "first": np.array([0, 1]),
    "last": np.array([2, 4]),
    "starts": np.array([1, 6]),
    "ends": np.array([5, -10]),
    "one_two": np.array([1, 3]),
    "steps": np.array([1, -2]),
    "twice": np.array([1, 1, 2, 2], np.float32),
    "two_three": np.array([2, 3], np.float32),
    "odd": np.array([2, 6, 11, 5]),
    "along": np.array([1]),
    "axes": np.array([2, 1]),
}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "Pad": ("Pad", "pads", {"mode": "edge"}),
    "Pad channels": ("Pad", "channel fill", {}),
    "Pad of axes": ("Pad", "amounts _ rows", {"mode": "reflect"}),
    "Slice": ("Slice", "first last", {}),
    "Slice of axes": ("Slice", "starts ends one_two steps", {}),
    "Resize nearest": ("Resize", "_ twice", {"mode": "nearest"}),
    "Resize of axes": ("Resize", "_ two_three", {"mode": "nearest", "axes": [3, 2]}),
    "Resize linear": ("Resize", "_ _ odd", {"mode": "linear"}),
    "Softmax": ("Softmax", "", {"axis": 1}),
    "Softmax of columns": ("Softmax", "", {}),
    "LogSoftmax": ("LogSoftmax", "", {"axis": -2}),
    "ReduceMean": ("ReduceMean", "along", {}),
    "ReduceMax": ("ReduceMax", "axes", {}),
}


def between(name: str) -> onnx.ModelProto:
    """Build a model with the node between two convolutions."""
    op, read, attributes = CASES[name]
    first = [node("Conv", "x w", "c", pads=[1] * 4), node(op, f"c {read}", "d", **attributes)]
    made = model(first, {"x": [*SHAPE]}, ["d"], {**CONSTANTS, "w": numbers(6, 4, 3, 3, seed=1, scale=0.3)}, opset=18)
    channels = made.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    constants = {**CONSTANTS, "w": numbers(6, 4, 3, 3, seed=1, scale=0.3), "v": numbers(5, channels, 1, 1, seed=2)}
    return model([*first, node("Conv", "d v", "y")], {"x": [*SHAPE]}, ["y"], constants, opset=18)


def deviation(name: str, queue: CommandQueue | None = None) -> float:
    """Return the deviation of such a model, all of which is in N H W C."""
    proto, x = between(name), numbers(*SHAPE, seed=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "_gain", lambda *_: 1.0)
        net = clconv.onnx.load(proto, queue=queue)
        assert any("3 nodes in N H W C, 2 reorders" in note for note in net.explain(SHAPE).passes)
    y, want = net(x), exact(proto, {"x": x})[0]
    assert y.shape == want.shape
    return float(np.abs(y - want).max() / np.abs(want).max())


@pytest.mark.parametrize("name", CASES)
def test_it_computes_the_same(name: str, queue: CommandQueue) -> None:
    assert deviation(name, queue) < 2 * BOUND["float32"]


def chosen(*lines: str, **attributes: Any) -> str:
    """Return the operations of a model, those in N H W C in capitals, where convolutions gain from it."""
    nodes = []
    for op, *read, written in map(str.split, lines):
        own = dict(attributes.get(op, {}), **({"pads": [1] * 4} if op == "Conv" else {}))
        nodes.append(node(op, " ".join(read), written, **own))
    constants = {**CONSTANTS, "w": numbers(4, 4, 3, 3, seed=1, scale=0.3)}
    proto = model(nodes, {"x": [*SHAPE]}, ["y"], constants, opset=18)
    known = specialise(passes.run(graph_of(proto), passes.BEFORE), {"x": SHAPE})
    graph = choose_layout(passes.run(known, passes.AFTER), lambda p: float(p.layout == "NCHW"), 1e9)
    return " ".join(n.op.upper() if n.get("layout") == "NHWC" else n.op for n in graph.nodes)


def test_reorders_stand_where_images_are_small() -> None:
    """What enlarges the last image is behind the reorder, what enlarges the first one not; a first layer may read planes."""
    assert chosen("Conv x w c", "Resize c _ twice y") == "Transpose CONV Transpose Resize"
    assert chosen("Resize x _ twice c", "Conv c w y") == "Transpose RESIZE CONV Transpose"
    assert chosen("Slice x first last rows c", "Conv c w y") == "Slice Transpose CONV Transpose"
    assert chosen("Conv x w c", "Slice c first last y") == "Transpose CONV SLICE Transpose"
    assert chosen("Pad x pads c", "Conv c w y", Pad={"mode": "edge"}) == "Pad Transpose CONV Transpose"
    assert chosen("Conv x w c", "Softmax c s", "Resize s _ twice y") == "Transpose CONV Transpose Softmax Resize"


def test_what_is_left_alone() -> None:
    assert chosen("Conv x w c", "ReduceMean c along d", "Unsqueeze d along e", "Mul c e y", ReduceMean={"keepdims": 0}) == (
        "Transpose CONV Transpose ReduceMean Transpose MUL Transpose"
    )
