"""Models whose nodes do not stand in the order in which they are computed."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import pytest

import clconv.onnx
from clconv import networks
from clconv.errors import ClconvError
from tests.onnx.models import model, node, numbers


def shuffled(proto: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    nodes = list(proto.graph.node)
    random.Random(seed).shuffle(nodes)
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    with pytest.raises(onnx.checker.ValidationError, match="topologically sorted"):
        onnx.checker.check_model(made)
    return made


@pytest.mark.parametrize("how", ["proto", "bytes", "path"])
def test_a_network(how: str, tmp_path: Path) -> None:
    proto = networks.mobilenet_v1(size=32, width=0.25, classes=10)
    x = numbers(1, 3, 32, 32)
    want = clconv.onnx.load(proto)(x)
    mixed = shuffled(proto, 1)
    before = mixed.SerializeToString()
    source: onnx.ModelProto | bytes | Path = {"proto": mixed, "bytes": before, "path": tmp_path / "mixed.onnx"}[how]
    (tmp_path / "mixed.onnx").write_bytes(before)
    np.testing.assert_array_equal(clconv.onnx.load(source)(x), want)
    assert mixed.SerializeToString() == before


def test_a_node_that_a_branch_reads() -> None:
    taken, other = (
        onnx.helper.make_graph([node(op, "a", name)], name, [], [onnx.helper.make_tensor_value_info(name, 1, None)])
        for op, name in (("Relu", "t"), ("Neg", "o"))
    )
    choice = onnx.helper.make_node("If", ["c"], ["y"], name="choice", then_branch=taken, else_branch=other)
    proto = model([choice, node("Sigmoid", "x", "a")], {"x": [2, 3]}, ["y"], {"c": np.array(True)})
    x = numbers(2, 3)
    np.testing.assert_allclose(clconv.onnx.load(proto)(x), 1 / (1 + np.exp(-x)), atol=1e-6)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Add", "x b", "a"), node("Relu", "a", "b"), node("Neg", "b", "y")],
        [node("Add", "x a", "a"), node("Neg", "a", "y")],
        [node("Neg", "b", "y"), node("Add", "x nothing", "b")],
    ],
)
def test_nodes_that_read_from_each_other(nodes: list[onnx.NodeProto]) -> None:
    proto = model([node("Relu", "x", "y")], {"x": [2, 3]}, ["y"])
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    with pytest.raises(ClconvError, match="the model is not a valid ONNX model"):
        clconv.onnx.load(proto)
