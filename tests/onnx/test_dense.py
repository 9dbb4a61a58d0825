"""What stands behind products with constant matrices becomes a part of them: what is left, and that the result is the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import clconv.onnx
from clconv.onnx import layout, passes
from clconv.onnx.infer import specialise
from clconv.onnx.read import graph_of
from tests.onnx.models import Array, exact, model, node, numbers
from tests.onnx.nodes import BOUND, ELEMENT

W = numbers(6, 21, seed=1)
STATISTICS = {k: numbers(21, seed=i) for i, k in enumerate(("scale", "shift", "mean"), 2)}
STATISTICS["var"] = np.abs(numbers(21, seed=9)) + 0.5
NORM = "BatchNormalization"
ROWS = {"rows": np.array([-1, 21]), "back": np.array([2, 5, 21]), "k": numbers(21, seed=12), "c": numbers(21, seed=13)}


def left(
    nodes: list[onnx.NodeProto], shape: tuple[int, ...], constants: dict[str, Array], outputs: str = "y", dtype: str = "float32"
) -> list[str]:
    """Return what the passes make of the nodes, and see that it computes the same as they do."""
    every = {**ROWS, **STATISTICS, "w": W, **constants}
    read = {name for each in nodes for name in each.input}
    held = {n: a.astype(dtype) if a.dtype.kind == "f" else a for n, a in every.items() if n in read}
    proto = model(nodes, {"x": [*shape]}, outputs.split(), held, dtype=ELEMENT[dtype])
    x = numbers(*shape, seed=3).astype(dtype)
    got: Any = clconv.onnx.load(proto)(x)
    for y, want in zip(got if isinstance(got, tuple) else (got,), exact(proto, {"x": x}), strict=True):
        assert (y.shape, y.dtype.name) == (want.shape, dtype)
        assert np.abs(y.astype(np.float64) - want).max() < BOUND[dtype] * np.abs(want).max()
    known = specialise(passes.run(graph_of(proto), passes.BEFORE), {"x": shape})
    return [n.op for n in passes.run(known, passes.AFTER).nodes]


def norm(x: str, y: str = "y", **attributes: Any) -> onnx.NodeProto:
    return node(NORM, f"{x} scale shift mean var", y, epsilon=0.125, **attributes)


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("form", ["MatMul", "Gemm", "Gemm turned", "Gemm with a row", "Reshape", "Flatten", "back and on"])
def test_normalisation_of_columns(form: str, dtype: str) -> None:
    dense = node("MatMul", "x w", "p")
    turned = {"w": np.ascontiguousarray(W.T)}
    forms: dict[str, tuple[list[onnx.NodeProto], tuple[int, ...], dict[str, Array]]] = {
        "MatMul": ([dense, norm("p")], (5, 6), {}),
        "Gemm": ([node("Gemm", "x w", "p", alpha=0.5), norm("p")], (5, 6), {}),
        "Gemm turned": ([node("Gemm", "x w", "p", transB=1), norm("p")], (5, 6), turned),
        "Gemm with a row": ([node("Gemm", "x w c", "p", beta=2.0), norm("p")], (5, 6), {}),
        "Reshape": ([dense, node("Reshape", "p rows", "r"), norm("r")], (2, 5, 6), {}),
        "Flatten": ([dense, node("Flatten", "p", "r", axis=2), norm("r")], (2, 5, 6), {}),
        "back and on": (
            [dense, node("Reshape", "p rows", "r"), norm("r", "n"), node("Reshape", "n back", "b"), node("Relu", "b", "y")],
            (2, 5, 6),
            {},
        ),
    }
    nodes, shape, constants = forms[form]
    ops = left(nodes, shape, constants, dtype=dtype)
    assert NORM not in ops
    assert "Add" not in ops


def test_the_shape_of_a_product_may_be_asked_for() -> None:
    """As reshape_as does."""
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]), node("MatMul", "t w", "p"), node("Shape", "p", "s")]
    nodes += [node("Flatten", "p", "r", axis=2), norm("r", "n"), node("Reshape", "n s", "y")]
    assert left(nodes, (5, 2, 6), {}) == ["Transpose", "MatMul"]


@pytest.mark.parametrize(("shape", "axis"), [((2, 5, 6), -1), ((2, 3, 5, 6), 3), ((4, 1, 6), 1)])
def test_any_view_that_comes_to_rows_will_do(shape: tuple[int, ...], axis: int) -> None:
    """However many axes there are: these cannot be told without shapes."""
    parts = {"apart": np.array([3, -1, 7])}
    nodes = [node("MatMul", "x w", "p"), node("Reshape", "p apart", "a"), node("Reshape", "a rows", "b")]
    assert left([*nodes, norm("b")], shape, parts) == ["MatMul"]
    assert left([nodes[0], node("Flatten", "p", "r", axis=axis), norm("r")], shape, {}) == ["MatMul"]


def test_other_normalisations_stay() -> None:
    dense = node("MatMul", "x w", "p")
    assert left([dense, norm("p"), node("Relu", "p", "z")], (5, 6), {}, "y z")[:2] == ["MatMul", NORM]
    assert left([dense, norm("p")], (2, 21, 6), {}) == ["MatMul", NORM]  # its channels are rows
    apart = {"rows": np.array([21, 21])}
    assert left([dense, node("Reshape", "p rows", "r"), norm("r")], (3, 7, 6), apart) == ["MatMul"]
    turned = [dense, node("Transpose", "p", "t", perm=[1, 0]), norm("t")]
    assert left(turned, (21, 6), {}) == ["MatMul", "Transpose", NORM]
    assert left([dense, node("Reshape", "p shape", "r"), norm("r")], (2, 6), {"shape": np.array([1, 21, 2])})[-1] == NORM


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("shape", [(5, 6), (2, 5, 6), (6,)])
def test_rows_are_added_by_the_product(shape: tuple[int, ...], dtype: str) -> None:
    dense = node("MatMul", "x w", "p")
    assert left([dense, node("Add", "p k", "y")], shape, {}, dtype=dtype) == ["MatMul"]
    assert left([dense, node("Add", "k p", "a"), node("Add", "a c", "y")], shape, {}, dtype=dtype) == ["MatMul"]
    assert left([dense, node("Add", "p k", "y")], shape, {"k": np.array([3], np.float32)}, dtype=dtype) == ["MatMul"]


def test_rows_are_added_to_those_of_a_gemm() -> None:
    gemm = node("Gemm", "x w c", "p", beta=3.0, alpha=0.5)
    assert left([gemm, node("Add", "p k", "y")], (5, 6), {}) == ["Gemm"]
    viewed = [gemm, node("Reshape", "p back", "r"), node("Add", "r k", "a"), node("Relu", "a", "y")]
    assert left(viewed, (10, 6), {}) == ["Gemm"]


def test_other_additions_stay() -> None:
    dense = node("MatMul", "x w", "p")
    assert left([dense, node("Add", "p k", "y"), node("Relu", "p", "z")], (5, 6), {}, "y z")[:2] == ["MatMul", "Add"]
    assert left([dense, node("Add", "p k", "y")], (5, 6), {"k": numbers(5, 1)}) == ["MatMul", "Add"]
    assert left([dense, node("Add", "p k", "y")], (1, 6), {"k": numbers(5, 21)}) == ["MatMul", "Add"]
    assert left([dense, node("Add", "p k", "y")], (21, 6), {"k": numbers(21, 1)}) == ["MatMul", "Add"]
    assert left([dense, node("Add", "p k", "y")], (5, 6), {"k": numbers(1, 1, 21)}) == ["MatMul", "Add"]
    assert left([dense, node("Relu", "p", "r"), node("Add", "r k", "y")], (5, 6), {}) == ["MatMul", "Add"]


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("shape", [(5, 6), (2, 5, 6), (2, 1, 3, 6)])
def test_a_product_adds_what_went_around_it(shape: tuple[int, ...], dtype: str) -> None:
    """As a block of a transformer does."""
    v = {"v": numbers(21, 21, seed=7, scale=0.3)}
    first = [node("MatMul", "x w", "a"), node("Relu", "a", "r"), node("MatMul", "r v", "b")]
    assert left([*first, node("Add", "b k", "s"), node("Add", "r s", "y")], shape, v, dtype=dtype) == ["MatMul"] * 2
    assert left([*first, node("Add", "b r", "s"), node("Elu", "s", "y")], shape, v, dtype=dtype) == ["MatMul"] * 2
    assert left([*first, node("Add", "b r", "s"), node("Relu", "s", "y")], shape, v, "y b", dtype)[2:] == ["Add"]


def test_what_no_product_adds() -> None:
    """Less than its result, and where the matrix is one for each image."""
    more = {"v": numbers(21, 21, seed=7, scale=0.3), "each": numbers(2, 6, 21, seed=8)}
    first = [node("MatMul", "x w", "a"), node("MatMul", "a v", "b"), node("ReduceMean", "a", "mean_of_a", axes=[1])]
    assert left([*first, node("Add", "b mean_of_a", "y")], (2, 5, 6), more)[-1] == "Add"
    computed = [node("MatMul", "x each", "a"), node("Relu", "x", "r"), node("MatMul", "r each", "b"), node("Add", "a b", "y")]
    assert left(computed, (2, 5, 6), more)[-1] == "Add"


SCALES = {"g": numbers(21, seed=14), "two": np.array(2, np.float32), "u": numbers(21, 21, seed=15, scale=0.3)}


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("form", ["Mul", "Gemm", "sums", "twice", "a number", "Transpose", "Transpose of a sum"])
def test_scales_of_columns(form: str, dtype: str) -> None:
    first = node("MatMul", "x w", "p")
    turned = {"one": numbers(21, 1, 1, seed=16), "c4": numbers(1, 21, 1, 1, seed=17)}
    forms: dict[str, tuple[list[onnx.NodeProto], tuple[int, ...], str]] = {
        "Mul": ([first, node("Mul", "g p", "y")], (2, 5, 6), "MatMul"),
        "Gemm": ([node("Gemm", "x w k", "p", beta=0.5), node("Mul", "p g", "y")], (5, 6), "Gemm"),
        "sums": ([first, node("Add", "k p", "s"), node("Add", "s c", "t"), node("Mul", "t g", "y")], (5, 6), "MatMul"),
        "twice": ([first, node("Mul", "p g", "s"), node("Add", "s k", "t"), node("Mul", "t g", "y")], (5, 6), "MatMul"),
        "a number": ([first, node("Mul", "p two", "y")], (6,), "MatMul"),
        "Transpose": (
            [first, node("Transpose", "p", "t", perm=[0, 3, 1, 2]), node("Mul", "t one", "y")],
            (2, 3, 5, 6),
            "MatMul Transpose",
        ),
        "Transpose of a sum": (
            [first, node("Add", "p k", "s"), node("Transpose", "s", "t", perm=[0, 3, 1, 2]), node("Mul", "c4 t", "y")],
            (2, 3, 5, 6),
            "MatMul Transpose",
        ),
    }
    nodes, shape, want = forms[form]
    assert left(nodes, shape, {**SCALES, **turned}, dtype=dtype) == want.split()


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ([node("Mul", "p g", "y")], "y p"),
        ([node("Add", "p k", "s"), node("Mul", "s g", "y")], "y s"),
        ([node("Mul", "p five", "y")], "y"),
        ([node("Mul", "p row", "y")], "y"),
        ([node("Mul", "p p", "y")], "y"),
        ([node("Transpose", "p", "t", perm=[0, 2, 1]), node("Mul", "t five_last", "y")], "y"),
        ([node("Relu", "p", "r"), node("Mul", "r g", "y")], "y"),
    ],
    ids=["wanted", "a sum wanted", "each row", "an axis more", "squared", "each row, transposed", "a function"],
)
def test_other_scales_stay(nodes: list[onnx.NodeProto], outputs: str) -> None:
    more = {**SCALES, "five": numbers(5, 1, seed=18), "row": numbers(1, 1, 1, 21, seed=19), "five_last": numbers(5, seed=20)}
    assert "Mul" in left([node("MatMul", "x w", "p"), *nodes], (2, 5, 6), more, outputs)


@pytest.mark.parametrize("function", ["Relu", "Elu", ""])
def test_a_residual_between_transpositions(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the end of ConvNeXt's blocks; a function behind the sum is done by the product, if it can do it."""
    nodes = [
        node("Conv", "x v", "a", pads=[1] * 4),
        node("Transpose", "a", "t", perm=[0, 2, 3, 1]),
        node("MatMul", "t u", "p"),
        node("Transpose", "p", "b", perm=[0, 3, 1, 2]),
        node("Add", "b a", "s" if function else "z"),
        *([node(function, "s", "z")] if function else []),
        node("Conv", "z u4", "y"),
    ]
    constants = {"v": numbers(21, 4, 3, 3, seed=1, scale=0.3), "u": SCALES["u"], "u4": numbers(3, 21, 1, 1, seed=5)}
    proto = model(nodes, {"x": [2, 4, 5, 7]}, ["y"], constants)
    monkeypatch.setattr(layout, "_gain", lambda *_: 1.0)
    net, x = clconv.onnx.load(proto), numbers(2, 4, 5, 7, seed=6)
    (want,) = exact(proto, {"x": x})
    np.testing.assert_allclose(net(x), want, rtol=0, atol=1e-5 * np.abs(want).max())
    steps = [step.op for step in net.explain(x.shape).steps if step.op != "Transpose"]
    product = {"Relu": ["MatMul + residual + relu"], "": ["MatMul + residual"], "Elu": ["MatMul", "Add + elu"]}[function]
    assert steps[1:-1] == product
