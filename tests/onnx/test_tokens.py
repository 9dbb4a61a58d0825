"""Images that are taken for sequences and back, as in SegFormer and PVT."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import clconv.onnx
from clconv.onnx import layout, passes
from clconv.onnx.infer import specialise
from clconv.onnx.read import graph_of
from tests.onnx.models import Array, model, node, numbers
from tests.onnx.test_passes import check_same, ops

SHAPE = (2, 35, 6)  # N, pixels, C
CONSTANTS: dict[str, Array] = {
    "w": numbers(6, 6, 3, 3, seed=1, scale=0.3),
    "m": numbers(6, 6, seed=2, scale=0.4),
    "image": np.array([2, 6, 5, 7]),
    "wrong": np.array([2, 6, 7, 5, 1]),
    "halves": np.array([2, 3, 10, 7]),
    "rows": np.array([2, 6, 35]),
    "two": np.array([2]),
}
BLOCK = (
    *("MatMul x m a", "Transpose a t", "Reshape t image i", "Conv i w c", "Flatten2 c rows f", "Transpose f g", "Gelu g h"),
    "MatMul h m y",
)


def built(*lines: str, outputs: str = "y", **inputs: list[Any]) -> onnx.ModelProto:
    """Build a model from lines: kind, what it reads, what it writes; ``Flatten2`` is a Reshape to N, C, pixels."""
    nodes = []
    for op, *read, written in map(str.split, lines):
        attributes: dict[str, Any] = {"Transpose": {"perm": [0, 2, 1]}, "Conv": {"pads": [1] * 4}}.get(op, {})
        nodes.append(node(op.replace("Flatten2", "Reshape"), " ".join(read), written, **attributes))
    return model(nodes, {**({"x": [*SHAPE]} if not inputs else {}), **inputs}, outputs.split(), CONSTANTS, opset=20)


def left(proto: onnx.ModelProto, **shapes: tuple[int, ...]) -> list[str]:
    known = specialise(passes.run(graph_of(proto), passes.BEFORE), shapes or {"x": SHAPE})
    return ops(passes.run(known, passes.AFTER))


def test_a_block_has_no_moves_left_in_n_h_w_c(monkeypatch: pytest.MonkeyPatch) -> None:
    proto, x = built(*BLOCK), numbers(*SHAPE, seed=3)
    assert left(proto) == ["MatMul", "Transpose", "Conv", "Transpose", "MatMul"]
    check_same(proto, x=x)
    monkeypatch.setattr(layout, "_gain", lambda *_: 1.0)
    report = str(clconv.onnx.load(proto).explain(SHAPE))
    assert [s.op for s in clconv.onnx.load(proto).explain(SHAPE).steps] == ["MatMul", "Conv + gelu", "MatMul"]
    assert "images of tokens: 2 sequences" in report
    assert "functions first: 1 computed" in report
    check_same(proto, x=x)


@pytest.mark.parametrize(
    ("lines", "outputs", "want"),
    [
        (("Conv i w c", "Flatten2 c rows f", "Relu f y"), "y", "Conv"),
        (("Conv i w c", "Flatten2 c rows f", "Elu f y"), "y", "Conv Elu"),
        (("Conv i w c", "Flatten2 c rows f", "Relu f y"), "y f", "Conv Relu"),
        (("Conv i w c", "Flatten2 c rows f", "Transpose f g", "Relu g h", "Neg h y"), "y c", "Conv Transpose Relu Neg"),
        (("Sigmoid i c", "Flatten2 c rows f", "Relu f y"), "y", "Sigmoid Relu"),
    ],
    ids=["a view", "a function that no convolution does", "wanted", "wanted before", "no convolution"],
)
def test_functions_before_moves(lines: tuple[str, ...], outputs: str, want: str) -> None:
    proto, x = built(*lines, outputs=outputs, i=[2, 6, 5, 7]), numbers(2, 6, 5, 7, seed=3)
    assert left(proto, i=x.shape) == want.split()
    check_same(proto, i=x)


@pytest.mark.parametrize(
    ("lines", "outputs"),
    [
        (("Transpose x t", "Reshape t halves i", "Relu i y"), "y"),
        (("Transpose x t", "Reshape t wrong i", "Relu i y"), "y"),
        (("Transpose x t", "Reshape t image i", "Relu i y"), "y t"),
        (("Relu x a", "Unsqueeze a two i", "Squeeze i two s", "Transpose s y"), "y"),
    ],
    ids=["other channels", "other axes", "wanted", "no image"],
)
def test_what_is_left_alone(lines: tuple[str, ...], outputs: str) -> None:
    proto, x = built(*lines, outputs=outputs), numbers(*SHAPE, seed=3)
    known = specialise(passes.run(graph_of(proto), passes.BEFORE), {"x": SHAPE})
    assert not any("images of tokens" in note for note in passes.run(known, passes.AFTER).notes)
    check_same(proto, x=x)
