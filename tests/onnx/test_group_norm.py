"""Group normalisation that is written out, and that of one group in either layout."""

from __future__ import annotations

import numpy as np
import onnx
import pyopencl as cl
import pytest

import clconv.onnx
from clconv.onnx import layout
from clconv.onnx.graph import Graph
from clconv.onnx.group_norm import fuse_group_norm
from clconv.onnx.infer import specialise
from clconv.onnx.read import graph_of
from tests.onnx.models import Array, exact, model, node, numbers
from tests.onnx.test_passes import ops

SHAPE = (2, 6, 5, 7)


def written_out(groups: int, changes: dict[str, Array], *, swapped: bool = False, outputs: str = "y") -> onnx.ModelProto:
    """Build a model, some of whose constants are others."""
    constants = {
        "rows": np.array([0, groups, -1]),
        "one": np.ones(groups, np.float32),
        "none": np.zeros(groups, np.float32),
        "shape": np.array([2, 6, 5, 7]),
        "s": numbers(6, 1, 1, seed=1),
        "b": numbers(1, 6, 1, 1, seed=2),
        **changes,
    }
    nodes = [
        node("Relu", "x", "a"),
        node("Reshape", "a rows", "f"),
        node("InstanceNormalization", "f one none", "n", epsilon=1e-3),
        node("Reshape", "n shape", "r"),
        node("Mul", "s r" if swapped else "r s", "m"),
        node("Add", "b m" if swapped else "m b", "y"),
    ]
    return model(nodes, {"x": [*SHAPE]}, outputs.split(), constants)


def graph(proto: onnx.ModelProto) -> Graph:
    return fuse_group_norm(specialise(graph_of(proto), {"x": SHAPE}))


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_it_is_one_node(groups: int, swapped: bool) -> None:
    own = {"one": numbers(groups, seed=3), "none": numbers(groups, seed=4)}
    proto = written_out(groups, own, swapped=swapped)
    assert ops(graph(proto)) == ["Relu", "GroupNormalization"]
    x = numbers(*SHAPE, seed=5)
    (want,) = exact(proto, {"x": x})
    np.testing.assert_allclose(clconv.onnx.load(proto)(x), want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize(
    ("outputs", "changes"),
    [
        ("y r", {}),
        ("y m", {}),
        ("y f", {}),
        ("y", {"s": numbers(5, 7)}),
        ("y", {"b": numbers(1, 6, 5, 1)}),
        ("y", {"rows": np.array([1, 4, -1]), "one": numbers(4), "none": numbers(4)}),
        ("y", {"s": numbers(7)}),
    ],
)
def test_what_is_not_quite_that_stays(outputs: str, changes: dict[str, Array]) -> None:
    proto = written_out(2, changes, outputs=outputs)
    assert "GroupNormalization" not in ops(graph(proto))
    x = numbers(*SHAPE, seed=5)
    got = clconv.onnx.load(proto)(x)
    for y, want in zip(got if isinstance(got, tuple) else (got,), exact(proto, {"x": x}), strict=True):
        np.testing.assert_allclose(y, want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("channels", [1, 5, 24, 67])
@pytest.mark.parametrize("groups", [1, 2])
def test_one_group_in_either_layout(
    groups: int, channels: int, queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two groups, each has every second half of a pixel's channels: that is left as it is."""
    channels *= groups
    nodes = [
        node("Conv", "x w", "c"),
        node("GroupNormalization", "c s b", "n", num_groups=groups),
        node("Conv", "n v", "y"),
    ]
    weights = {"w": numbers(channels, 3, 1, 1), "v": numbers(4, channels, 1, 1, seed=1)}
    constants = {**weights, "s": numbers(channels, seed=2), "b": numbers(channels, seed=3)}
    x = numbers(2, 3, 5, 7, seed=4)
    proto = model(nodes, {"x": ["N", 3, "H", "W"]}, ["y"], constants, opset=21)
    (want,) = exact(proto, {"x": x})
    for gain in (-1.0, 1.0):
        monkeypatch.setattr(layout, "_gain", lambda *_, gain=gain: gain)
        net = clconv.onnx.load(proto, queue=queue)
        changed = any("3 nodes in N H W C" in note for note in net.explain(x.shape).passes)
        assert changed == (gain > 0 and groups == 1)
        np.testing.assert_allclose(net(x), want, rtol=0, atol=2e-5 * np.abs(want).max())
