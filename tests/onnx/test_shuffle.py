"""ShuffleNet's channel shuffle as one step: what it moves where, and what the pass must leave alone."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from pyopencl import CommandQueue

import clconv.onnx
from clconv.onnx import layout, passes
from clconv.onnx.infer import specialise
from clconv.onnx.read import graph_of
from tests.onnx.models import Array, model, node, numbers
from tests.onnx.nodes import ELEMENT

SHAPES = {"halves": (2, 6, 3, 5), "vectors": (2, 40, 5, 7), "odd": (3, 5, 4, 3), "a pixel": (1, 34, 1, 1)}
PERM = (0, 2, 1, 3, 4)
KERNELS = ("network/channel_shuffle", "network/shuffle_simt")  # of CPUs and GPUs


def shuffled(
    shape: tuple[int, ...],
    *more: onnx.NodeProto,
    dtype: str = "float32",
    perm: tuple[int, ...] = PERM,
    at: tuple[int, int] = (0, 1),
    outputs: str = "y z",
) -> onnx.ModelProto:
    """Two images, shuffled and cut in halves; ``at`` says where the halves begin, in halves of the channels."""
    n, c, h, w = shape
    nodes = [
        node("Concat", "a b", "c", axis=1),
        node("Reshape", "c five", "d"),
        node("Transpose", "d", "t", perm=list(perm)),
        node("Reshape", "t four", "s"),
        node("Slice", "s first end1 axes", "y"),
        node("Slice", "s last end2 axes", "z"),
        *more,
    ]
    starts = [c * i for i in at]
    constants: dict[str, Array] = {"five": np.array([n, 2, c, h, w]), "four": np.array([n, 2 * c, h, w]), "axes": np.array([1])}
    constants |= {"first": np.array(starts[:1]), "end1": np.array([starts[0] + c])}
    constants |= {"last": np.array(starts[1:]), "end2": np.array([starts[1] + c])}
    inputs: dict[str, list[int | str | None]] = {"a": [*shape], "b": [*shape]}
    return model(nodes, inputs, outputs.split(), constants, dtype=ELEMENT[dtype])


def check(shape: tuple[int, ...], dtype: str, queue: CommandQueue) -> None:
    """A network that is one shuffle, and reorders around it, moves every element where NumPy does."""
    a, b = (numbers(*shape, seed=i).astype(dtype) for i in (1, 2))
    net = clconv.onnx.load(shuffled(shape, dtype=dtype), queue=queue)
    assert sum(s.algorithm in KERNELS for s in net.explain().steps) == 1
    want = np.stack((a, b), axis=2).reshape(shape[0], 2 * shape[1], *shape[2:])
    for y, half in zip(net(a, b), np.split(want, 2, axis=1), strict=True):
        np.testing.assert_array_equal(y, half)


@pytest.mark.parametrize("dtype", ELEMENT)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_channels_first(shape: tuple[int, ...], dtype: str, queue: CommandQueue) -> None:
    check(shape, dtype, queue)


@pytest.mark.parametrize("dtype", ELEMENT)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_channels_last(shape: tuple[int, ...], dtype: str, queue: CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_gain", lambda *_: 1.0)
    check(shape, dtype, queue)


def left(proto: onnx.ModelProto) -> list[str]:
    """The operations that remain after the passes."""
    shapes = {i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim) for i in proto.graph.input}
    known = specialise(passes.run(graph_of(proto), passes.BEFORE), shapes)
    return [n.op for n in passes.run(known, passes.AFTER).nodes]


def test_one_node_stays_of_six() -> None:
    assert left(shuffled(SHAPES["halves"])) == ["Shuffle"]


def test_halves_in_the_other_order() -> None:
    proto = shuffled(SHAPES["halves"], at=(1, 0))
    assert left(proto) == ["Shuffle"]
    a, b = (numbers(*SHAPES["halves"], seed=i) for i in (1, 2))
    y, z = clconv.onnx.load(proto)(a, b)
    np.testing.assert_array_equal(np.concatenate((z, y), axis=1)[:, 1::2], b)


def test_odd_channels_and_other_readers_take_it_whole() -> None:
    assert left(shuffled(SHAPES["odd"])) == ["Shuffle", "Slice", "Slice"]
    third = shuffled(SHAPES["halves"], node("Relu", "s", "r"), outputs="y z r")
    assert left(third) == ["Shuffle", "Slice", "Slice", "Relu"]
    assert left(shuffled(SHAPES["halves"], at=(0, 0))) == ["Shuffle", "Slice", "Slice"]


@pytest.mark.parametrize(
    "proto",
    [
        shuffled((2, 2, 3, 5), perm=(0, 1, 2, 3, 4)),
        shuffled((2, 6, 3, 5), perm=(0, 2, 1, 4, 3)),
        shuffled((2, 6, 3, 5), node("Relu", "c", "r"), outputs="y z r"),
        shuffled((2, 6, 3, 5), node("Relu", "d", "r"), outputs="y z r"),
        shuffled((2, 6, 3, 5), node("Relu", "t", "r"), outputs="y z r"),
        shuffled((2, 6, 3, 5), outputs="y z t"),
    ],
    ids=["another order", "turned images", "concatenation read", "pairs read", "transposed read", "an output"],
)
def test_what_somebody_else_reads_is_left_alone(proto: onnx.ModelProto) -> None:
    assert "Shuffle" not in left(proto)


def test_images_of_different_depth_are_left_alone() -> None:
    nodes = [node("Concat", "a b", "c", axis=1), node("Reshape", "c five", "d"), node("Transpose", "d", "t", perm=list(PERM))]
    nodes.append(node("Reshape", "t four", "y"))
    constants = {"five": np.array([1, 2, 4, 3, 3]), "four": np.array([1, 8, 3, 3])}
    assert "Shuffle" not in left(model(nodes, {"a": [1, 5, 3, 3], "b": [1, 3, 3, 3]}, ["y"], constants))
