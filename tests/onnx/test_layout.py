"""Which images are stored in N H W C, and where they are reordered."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import clconv.onnx
from clconv.onnx import layout, passes
from clconv.onnx.graph import Graph, derived
from clconv.onnx.infer import specialise
from clconv.onnx.layout import choose_layout
from clconv.onnx.read import graph_of
from clconv.onnx.step import Plans
from clconv.problem import ConvProblem
from tests.onnx.models import exact, model, node, numbers

W = numbers(6, 4, 3, 3, seed=1, scale=0.2)
W2 = numbers(4, 6, 1, 1, seed=2, scale=0.3)
BANDWIDTH = 1e9
SHAPE = (2, 4, 7, 9)


def two_convolutions(*between: onnx.NodeProto, **constants: np.ndarray) -> onnx.ModelProto:
    nodes = [node("Conv", "x w", "c", pads=[1, 1, 1, 1]), *between, node("Conv", f"{'d' if between else 'c'} w2", "y")]
    return model(nodes, {"x": list(SHAPE)}, ["y"], {"w": W, "w2": W2, **constants})


def chosen(proto: onnx.ModelProto, first: float = 1.0, last: float = 0.0) -> Graph:
    """Return the graph when a convolution takes so many seconds with channels first and last."""

    def seconds(problem: ConvProblem) -> float:
        return last if problem.layout == "NHWC" else first

    known = specialise(passes.run(graph_of(proto), passes.BEFORE), {"x": SHAPE})
    return choose_layout(passes.run(known, passes.AFTER), seconds, BANDWIDTH)


def ops(graph: Graph) -> list[str]:
    return [f"{n.op} {n.get('layout', '')}".strip() for n in graph.nodes]


def test_reorders_stand_at_the_edges_only() -> None:
    graph = chosen(two_convolutions(node("MaxPool", "c", "d", kernel_shape=[3, 3], pads=[1, 1, 1, 1])))
    assert ops(graph) == ["Transpose", "Conv NHWC", "MaxPool NHWC", "Conv NHWC", "Transpose"]
    assert graph.notes[-1] == "choose layout: 3 nodes in N H W C, 2 reorders"
    assert graph.shapes[derived("c", "nhwc")] == (2, 7, 9, 6)


def test_absent_outputs_are_none() -> None:
    proto = two_convolutions(node("MaxPool", "c", "d _", kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
    assert ops(chosen(proto)) == ["Transpose", "Conv NHWC", "MaxPool NHWC", "Conv NHWC", "Transpose"]
    x = numbers(*SHAPE)
    want = exact(two_convolutions(node("MaxPool", "c", "d", kernel_shape=[3, 3], pads=[1, 1, 1, 1])), {"x": x})[0]
    np.testing.assert_allclose(clconv.onnx.load(proto)(x), want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_a_gain_smaller_than_the_reorders_changes_nothing() -> None:
    moved = 2 * 4 * (2 * 4 * 7 * 9 + 2 * 4 * 7 * 9) / BANDWIDTH  # input and output, read and written
    assert ops(chosen(two_convolutions(), 0.45 * moved)) == ["Conv", "Conv"]
    assert ops(chosen(two_convolutions(), 0.55 * moved)) == ["Transpose", "Conv NHWC", "Conv NHWC", "Transpose"]
    assert ops(chosen(two_convolutions(), 0.0, 1.0)) == ["Conv", "Conv"]


def test_first_layers_stay_where_they_gain_nothing() -> None:
    """The first convolution gains nothing in N H W C, and the image behind the second is small."""
    nodes = [
        node("Conv", "x w", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r"),
        node("Conv", "r w2", "d", strides=[3, 3]),
        node("Conv", "d w", "e", pads=[1, 1, 1, 1]),
        node("Conv", "e w2", "y"),
    ]
    proto = model(nodes, {"x": list(SHAPE)}, ["y"], {"w": W, "w2": W2})
    known = passes.run(specialise(passes.run(graph_of(proto), passes.BEFORE), {"x": SHAPE}), passes.AFTER)

    def graph(first: float) -> Graph:
        """``first`` is what a convolution with an image of the first size takes in N H W C; in N C H W 1, others 0 and 1."""
        return choose_layout(known, lambda p: 1.0 if p.layout == "NCHW" else first if p.IH == 7 else 0.0, BANDWIDTH)

    assert ops(graph(0.0)) == ["Transpose", *["Conv NHWC"] * 4, "Transpose"]
    assert ops(graph(2.0)) == ["Conv", "Conv", "Transpose", "Conv NHWC", "Conv NHWC", "Transpose"]
    assert ops(graph(1.0)) == ["Conv", "Conv", "Transpose", "Conv NHWC", "Conv NHWC", "Transpose"]


def test_nodes_of_one_layout_divide_regions() -> None:
    graph = chosen(two_convolutions(node("LRN", "c", "d", size=3)))
    assert ops(graph) == ["Transpose", "Conv NHWC", "Transpose", "LRN", "Transpose", "Conv NHWC", "Transpose"]


def test_images_of_one_pixel_are_not_reordered() -> None:
    proto = model(
        [node("Conv", "x w", "c"), node("GlobalAveragePool", "c", "g"), node("Flatten", "g", "y")],
        {"x": list(SHAPE)},
        ["y"],
        {"w": W},
    )
    graph = chosen(proto)
    assert ops(graph) == ["Transpose", "Conv NHWC", "GlobalAveragePool NHWC"]
    assert graph.root("y") == derived("g", "nhwc")


def test_an_image_that_is_looked_at_in_another_shape_comes_back() -> None:
    proto = model(
        [node("Conv", "x w", "c"), node("Flatten", "c", "y"), node("Relu", "c", "z")], {"x": list(SHAPE)}, ["y", "z"], {"w": W}
    )
    assert ops(chosen(proto)) == ["Transpose", "Conv NHWC", "Transpose", "Relu NHWC", "Transpose"]


def test_a_filter_that_changes_keeps_its_layout() -> None:
    proto = model([node("Conv", "x w", "y")], {"x": list(SHAPE), "w": [6, 4, 3, 3]}, ["y"])
    known = specialise(graph_of(proto), {"x": SHAPE, "w": (6, 4, 3, 3)})
    assert ops(choose_layout(known, lambda p: float(p.layout == "NCHW"), BANDWIDTH)) == ["Conv"]


MIXED = [
    node("Conv", "x w", "c", pads=[1, 1, 1, 1]),
    node("Mul", "c scale", "m"),
    node("GlobalAveragePool", "m", "g"),
    node("Sigmoid", "g", "gate"),
    node("Mul", "m gate", "e"),
    node("Split", "e", "left right", axis=1),
    node("Concat", "right left", "r", axis=1),
    node("Add", "r c", "s"),
    node("AveragePool", "s", "p", kernel_shape=[2, 2], strides=[2, 2]),
    node("Concat", "p p", "y", axis=-1),
]


@pytest.mark.parametrize("gain", [-1.0, 1.0])
def test_every_kind_of_node_gives_the_same_in_both_layouts(gain: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_gain", lambda *_: gain)
    proto = model(MIXED, {"x": ["N", 4, 7, 9]}, ["y", "r"], {"w": W, "scale": numbers(6, 1, 1)}, opset=13)
    net, x = clconv.onnx.load(proto), numbers(*SHAPE)
    assert any("10 nodes in N H W C, 3 reorders" in note for note in net.explain(SHAPE).passes) == (gain > 0)
    for y, ref in zip(net(x), exact(proto, {"x": x}), strict=True):
        np.testing.assert_allclose(y, ref, rtol=0, atol=2e-5 * np.abs(ref).max())


@pytest.mark.parametrize("batch", [1, 2])  # 2: added by the convolution
def test_a_constant_as_large_as_an_image_is_turned_once(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_gain", lambda *_: 1.0)
    nodes = [node("Conv", "x w", "c", pads=[1, 1, 1, 1]), node("Add", "c r", "y")]
    proto = model(nodes, {"x": list(SHAPE)}, ["y"], {"w": W, "r": numbers(batch, 6, 7, 9)})
    net, x = clconv.onnx.load(proto), numbers(*SHAPE)
    np.testing.assert_allclose(net(x), exact(proto, {"x": x})[0], atol=1e-4)
    assert any("2 reorders" in note for note in net.explain(SHAPE).passes)  # of x and of y


@pytest.mark.parametrize(
    "made",
    [
        node("MaxPool", "k", "d", kernel_shape=[2, 2], strides=[2, 2]),
        node("AveragePool", "k", "d", kernel_shape=[8, 10]),
        node("GlobalAveragePool", "k", "d"),
        node("Conv", "k one", "d", strides=[2, 2]),
        node("InstanceNormalization", "small s s", "d"),
    ],
    ids=["maximum", "mean", "global", "convolution", "normalisation"],
)
def test_images_that_are_constant(made: onnx.NodeProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are stored in the other layout when the network is built."""
    constants = {"k": numbers(1, 6, 14, 18, seed=3), "small": numbers(1, 6, 7, 9, seed=4), "one": numbers(6, 6, 1, 1, seed=5)}
    proto = two_convolutions(made, node("Add", "c d", "e"), s=numbers(6, seed=6), **constants)
    proto.graph.node[-1].input[0] = "e"
    monkeypatch.setattr(Plans, "seconds", lambda _, problem: float(problem.layout == "NCHW"))
    net, x = clconv.onnx.load(proto), numbers(*SHAPE)
    assert any("nodes in N H W C" in note for note in net.explain(x).passes)
    want = exact(proto, {"x": x})[0]
    np.testing.assert_allclose(net(x), want, rtol=0, atol=1e-5 * np.abs(want).max())
