"""Layer normalisation that is written out: along the last axis, and along the channels."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest

import clconv.onnx
from clconv.errors import ShapeError
from clconv.onnx import passes
from clconv.onnx.graph import Graph
from clconv.onnx.infer import specialise
from clconv.onnx.layer_norm import fuse_layer_norm
from clconv.onnx.read import graph_of
from clconv.onnx.rewrite import plain_powers
from tests.onnx.models import Array, exact, model, node, numbers
from tests.onnx.test_passes import ops

SHAPE = (2, 6, 5, 7)
STEPS = (
    *("ReduceMean x axis m", "Sub x m d", "Pow d two q", "ReduceMean q axis v", "Add v eps e", "Sqrt e r"),
    *("Div d r n", "Mul n s a", "Add a b y"),
)


def written_out(*changes: tuple[str, str], axis: int = -1, outputs: str = "y", **constants: Array) -> onnx.ModelProto:
    """Build a model, some of whose steps are others; an empty one is left out."""
    lines = list(STEPS)
    for old, new in changes:
        lines[lines.index(old)] = new
    values = {
        "axis": np.array([axis]),
        "two": np.array(2, np.float32),
        "half": np.array(0.5, np.float32),
        "eps": np.array(1e-3, np.float32),
        "s": numbers(*((6, 1, 1) if axis == 1 else (7,)), seed=1),
        "b": numbers(*((1, 6, 1, 1) if axis == 1 else (1, 7)), seed=2),
        **constants,
    }
    nodes = [node(op, " ".join(read), written) for op, *read, written in map(str.split, filter(None, lines))]
    return model(nodes, {"x": [*SHAPE]}, outputs.split(), values, opset=18)


def graph(proto: onnx.ModelProto) -> Graph:
    return fuse_layer_norm(plain_powers(specialise(graph_of(proto), {"x": SHAPE})))


def check(proto: onnx.ModelProto, dtype: str | None = None, within: float = 1e-5) -> None:
    x = 3 + numbers(*SHAPE, seed=5)
    got = clconv.onnx.load(proto, dtype=dtype)(x.astype(dtype or "float32"))
    for y, want in zip(got if isinstance(got, tuple) else (got,), exact(proto, {"x": x}), strict=True):
        assert y.shape == want.shape
        np.testing.assert_allclose(y, want, rtol=0, atol=within * np.abs(want).max())


@pytest.mark.parametrize(
    "changes",
    [
        (),
        (("Pow d two q", "Mul d d q"),),
        (("Sqrt e r", "Pow e half r"),),
        (("Add v eps e", "Add eps v e"), ("Mul n s a", "Mul s n a"), ("Add a b y", "Add b a y")),
        (("Mul n s a", "Add n b a"), ("Add a b y", "Mul a s y")),
        (("Div d r n", "Div d r y"), ("Mul n s a", ""), ("Add a b y", "")),
        (("Pow d two q", "Sub x m c"), ("ReduceMean q axis v", "Pow c two q"), ("Add v eps e", "ReduceMean q axis v"))
        + (("Sqrt e r", "Add v eps e"), ("Div d r n", "Sqrt e r"), ("Mul n s a", "Div d r n"), ("Add a b y", "Mul n s y")),
    ],
    ids=["as exported", "square", "power", "swapped", "shift first", "no scale", "centred twice"],
)
@pytest.mark.parametrize("axis", [-1, 3, 1, -3])
def test_it_is_one_node(changes: tuple[tuple[str, str], ...], axis: int) -> None:
    channels = axis in (1, -3)
    each = (6, 1, 1) if channels else (7,)
    proto = written_out(*changes, axis=axis, s=numbers(*each), b=numbers(*each, seed=3))
    assert ops(graph(proto)) == ["ChannelNormalization" if channels else "LayerNormalization"]
    check(proto)


def test_one_number_for_all() -> None:
    proto = written_out(s=np.array([2], np.float32), b=np.array(3, np.float32))
    assert ops(graph(proto)) == ["LayerNormalization"]
    check(proto)


@pytest.mark.parametrize("axis", [-1, 1])
def test_in_float16(axis: int) -> None:
    proto = written_out(axis=axis)
    assert "fuse layer norm: 1 " in str(clconv.onnx.load(proto, dtype="float16").explain(SHAPE))
    check(proto, "float16", 1e-2)


@pytest.mark.parametrize(
    ("proto", "kinds"),
    [
        (written_out(axis=2, s=numbers(5, 1), b=numbers(5, 1)), "Div"),
        (written_out(("ReduceMean q axis v", "ReduceMean q other v"), other=np.array([1])), "Div"),
        (written_out(("Pow d two q", "Mul d x q")), "Div"),
        (written_out(("Div d r n", "Div x r n")), "Div"),
        (written_out(outputs="y v"), "Div"),
        (written_out(outputs="y r"), "Div"),
        (written_out(("Add v eps e", "Add v many e"), many=numbers(7) ** 2), "Div"),
        (written_out(("Sub x m d", "Sub m x d")), "Div"),
        (written_out(axis=1, s=numbers(7), b=numbers(6, 1, 1)), "ChannelNormalization Mul Add"),
        (written_out(outputs="y n"), "LayerNormalization Mul Add"),
        (written_out(s=numbers(1, 1, 1, 1, 1)), "LayerNormalization Mul Add"),
    ],
    ids=[
        *("along rows", "two axes", "no square", "not centred", "variance wanted", "deviation wanted", "many epsilons"),
        *("negated", "scale of columns", "wanted without scale", "another axis"),
    ],
)
def test_what_is_left_alone(proto: onnx.ModelProto, kinds: str) -> None:
    got = ops(graph(proto))
    assert [op for op in got if op in kinds.split()] == kinds.split()
    check(proto, within=1e-4)


@pytest.mark.parametrize(
    ("scale", "shift", "behind"),
    [
        ((1, 1, 1, 7), (1, 1, 1, 7), []),
        ((1, 1, 7), (7,), []),
        ((1, 1, 1, 1), None, []),
        ((7,), (6, 1, 1), ["Add"]),
        ((2, 1, 1, 7), (1, 7), ["Mul", "Add"]),
        ((2, 6, 5, 7), None, ["Mul"]),
        ((6, 1, 1), (2, 1, 5, 1), ["Mul", "Add"]),
    ],
)
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("axis", [-1, 2, 0])
def test_scales_of_other_axes_than_are_normalised(
    scale: tuple[int, ...], shift: tuple[int, ...] | None, behind: list[str], constant: bool, axis: int
) -> None:
    parts = {"s": numbers(*scale, seed=1), **({"b": numbers(*shift, seed=2)} if shift else {})}
    feeds = {"x": 3 + numbers(*SHAPE, seed=5), **({} if constant else parts)}
    spec = node("LayerNormalization", " ".join(["x", *parts]), "y m d", axis=axis)
    inputs: dict[str, list[int | str | None]] = {name: [*value.shape] for name, value in feeds.items()}
    proto = model([spec], inputs, ["y", "m", "d"], parts if constant else {})
    if axis == -1 and constant:
        known = passes.run(specialise(graph_of(proto), {"x": SHAPE}), passes.AFTER)
        assert ops(known) == ["LayerNormalization", *behind]
    for y, want in zip(clconv.onnx.load(proto)(feeds), exact(proto, feeds), strict=True):
        assert y.shape == want.shape
        np.testing.assert_allclose(y, want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 7), (2, 2, 1, 7), (1, 1, 1, 6)])
def test_scales_that_are_not_repeated_to_the_tensor_are_refused(shape: tuple[int, ...]) -> None:
    proto = model([node("LayerNormalization", "x s", "y")], {"x": [*SHAPE]}, ["y"], {"s": numbers(*shape)})
    with pytest.raises(ShapeError, match=rf"^'s' has the shape {re.escape(str(shape))}; for .* it must be \(7,\)$"):
        clconv.onnx.load(proto)(numbers(*SHAPE))
