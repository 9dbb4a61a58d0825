"""Passes over concatenations: what they take, and what is computed before them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import clconv.onnx
from clconv.onnx import passes
from clconv.onnx.concats import chain_concats, concat_last
from clconv.onnx.folding import fold_batchnorm
from clconv.onnx.infer import specialise
from clconv.onnx.read import graph_of
from tests.onnx.models import Array, exact, model, node, numbers
from tests.onnx.test_rewrite import SHAPE, left

CONSTANTS: dict[str, Array] = {
    "w": numbers(3, 5, 1, 1, seed=1),
    "d": numbers(5, 1, 3, 3, seed=2),
    "t": numbers(5, 4, 3, 3, seed=3, scale=0.3),
    **{f"{what}{c}": np.abs(numbers(c, seed=c)) + 0.5 for what in ("scale", "var") for c in (8, 12)},
    **{f"{what}{c}": numbers(c, seed=c + 1) for what in ("shift", "mean") for c in (8, 12)},
    "low": np.array(-0.5, np.float32),
    "high": np.array(0.5, np.float32),
}
PARTS = [node("Conv", "x w", "a"), node("Conv", "x d", "b", group=5, pads=[1] * 4)]
NORM = node("BatchNormalization", "c scale8 shift8 mean8 var8", "n")


def test_concats_that_begin_alike() -> None:
    """Each takes what the longest before it has made; another axis, order or beginning is another thing."""
    nodes = [
        node("Concat", "a b", "c", axis=1),
        node("Concat", "a b c", "d", axis=-3),
        node("Concat", "a b c d", "e", axis=1),
        node("Concat", "a b", "f", axis=2),
        node("Concat", "b a", "g", axis=1),
        node("Concat", "a b", "h", axis=1),
        node("Concat", "b a a", "i", axis=1),
    ]
    proto = model(nodes, {"a": [*SHAPE], "b": [*SHAPE]}, list("efghi"))
    feeds = {"a": numbers(*SHAPE), "b": numbers(*SHAPE, seed=1)}
    graph = chain_concats(specialise(graph_of(proto), dict.fromkeys(feeds, SHAPE)))
    read = ["".join(n.inputs) for n in graph.nodes]
    assert read == ["ab", "cc", "dd", "ab", "ba", "ab", "ga"]
    for y, want in zip(clconv.onnx.load(proto)(feeds), exact(proto, feeds), strict=True):
        np.testing.assert_array_equal(y, want.astype(np.float32))


def test_normalisations_and_functions_are_done_by_the_convolutions() -> None:
    nodes = [*PARTS, node("ConvTranspose", "x t", "u", pads=[1] * 4), node("Concat", "a b u", "c", axis=-3)]
    norm = node("BatchNormalization", "c scale12 shift12 mean12 var12", "n")
    assert left([*nodes, norm, node("Relu", "n", "y")], constants=CONSTANTS) == ["Conv", "Conv", "ConvTranspose", "Concat"]
    swish = [node("Sigmoid", "c", "s"), node("Mul", "c s", "y")]
    assert left([*PARTS, node("Concat", "b a", "c", axis=1), *swish], constants=CONSTANTS) == ["Conv", "Conv", "Concat"]
    clip = node("Clip", "c low high", "y")
    assert left([*PARTS, node("Concat", "b a", "c", axis=1), clip], constants=CONSTANTS) == ["Conv", "Conv", "Concat"]


def test_a_normalisation_that_others_read_twice() -> None:
    """As between the blocks of MixNet: the result is cut and added."""
    nodes = [*PARTS, node("Concat", "a b", "c", axis=1), NORM, node("Exp", "n", "e"), node("Add", "e n", "y")]
    assert left(nodes, constants=CONSTANTS) == ["Conv", "Conv", "Concat", "Exp", "Add"]


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ([*PARTS, node("Concat", "a b", "c", axis=1), NORM, node("Exp", "c", "z"), node("Add", "n z", "y")], "y"),
        ([*PARTS, node("Concat", "a b", "c", axis=1), NORM, node("Exp", "a", "z"), node("Exp", "n", "y")], "y z"),
        ([PARTS[0], node("Concat", "a x", "c", axis=1), NORM, node("Exp", "n", "y")], "y"),
        ([PARTS[0], node("Exp", "x", "b"), node("Concat", "a b", "c", axis=1), NORM, node("Exp", "n", "y")], "y"),
    ],
    ids=["the Concat is read by others", "a part is", "a part is an input", "a part is no convolution"],
)
def test_what_stays_behind_a_concat(nodes: list[onnx.NodeProto], outputs: str) -> None:
    assert "BatchNormalization" in left(nodes, outputs, CONSTANTS)


def test_functions_stay_behind_a_concat_of_other_axes() -> None:
    same = [node("Conv", "x w", "a"), node("Conv", "x w", "b"), node("Concat", "a b", "c", axis=2), node("Relu", "c", "y")]
    assert left(same, constants=CONSTANTS) == ["Conv", "Conv", "Concat", "Relu"]
    twice = [node("Conv", "x w", "a"), node("Concat", "a a", "c", axis=1), node("Relu", "c", "y")]
    assert left(twice, constants=CONSTANTS) == ["Conv", "Concat", "Relu"]
    unknown = [*PARTS, node("Concat", "a b", "c", axis=1), node("Erf", "c", "y")]
    assert left(unknown, constants=CONSTANTS) == ["Conv", "Conv", "Concat", "Erf"]


def test_parts_without_a_fold_compute_the_same() -> None:
    """The pass alone leaves a normalisation of each part's own numbers."""
    proto = model([*PARTS, node("Concat", "a b", "c", axis=1), NORM], {"x": [*SHAPE]}, ["n"], CONSTANTS)
    graph = concat_last(graph_of(proto))
    assert [n.op for n in graph.nodes] == ["Conv", "Conv", "BatchNormalization", "BatchNormalization", "Concat"]
    for norm, (first, last) in zip(graph.nodes[2:4], ((0, 3), (3, 8)), strict=True):
        for name, what in zip(norm.inputs[1:], ("scale8", "shift8", "mean8", "var8"), strict=True):
            np.testing.assert_array_equal(graph.constants[name], CONSTANTS[what][first:last])
    assert [n.op for n in fold_batchnorm(graph).nodes] == ["Conv", "Conv", "Concat"]
    assert concat_last(fold_batchnorm(graph)).notes[-1].startswith("fold batchnorm")


def test_a_split_that_is_put_together_again() -> None:
    split = node("Split", "r", "a b", axis=1, num_outputs=2)
    whole = [node("Relu", "x", "r"), split, node("Exp", "b", "e"), node("Concat", "a b e", "y", axis=-3)]
    assert left(whole) == ["Relu", "Split", "Exp", "Concat"]
    graph = passes.run(specialise(graph_of(model(whole, {"x": [*SHAPE]}, ["y"], opset=18)), {"x": SHAPE}), passes.AFTER)
    assert graph.nodes[-1].inputs == ("r", "e")
    alone = [node("Relu", "x", "r"), split, node("Concat", "a b a b", "y", axis=1)]
    assert left(alone) == ["Relu", "Concat"]


@pytest.mark.parametrize(("parts", "axis"), [("b a", 1), ("a a", 2), ("b", 1)])
def test_a_split_that_is_put_together_otherwise(parts: str, axis: int) -> None:
    split = node("Split", "r", "a b", axis=1, num_outputs=2)
    assert "Split" in left([node("Relu", "x", "r"), split, node("Concat", parts, "y", axis=axis)])
