"""Functions that are written out with sums and products."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import clconv.onnx
from clconv.onnx.graph import Graph
from clconv.onnx.infer import specialise
from clconv.onnx.read import graph_of
from clconv.onnx.written_out import fuse_written_out
from tests.onnx.models import exact, model, node, numbers
from tests.onnx.test_passes import X, check_same, ops

NUMBERS = {
    "r": np.array(2**0.5, np.float32),
    "i": np.array([0.5**0.5], np.float32),
    "k": np.array(1, np.float32),
    "h": np.array(0.5, np.float32),
    "b": np.array([[[[[0.5]]]]], np.float32),
    "w": np.array(1.4, np.float32),
    "c": np.array(0.044715, np.float32),
    "t": np.array((2 / np.pi) ** 0.5, np.float32),
    "two": np.array(2, np.float32),
    "three": np.array(3, np.float32),
    "six": np.array(6, np.float32),
    "sixth": np.array(1 / 6, np.float32),
    "zero": np.array(0, np.float32),
}


def fused_graph(proto: onnx.ModelProto) -> Graph:
    return fuse_written_out(specialise(graph_of(proto), {"x": (2, 4, 7, 9)}))


def nodes_of(lines: tuple[str, ...]) -> list[onnx.NodeProto]:
    """Build nodes from lines: kind, what it reads, what it writes."""
    return [node(op, " ".join(read), written) for op, *read, written in map(str.split, lines)]


@pytest.mark.parametrize(
    ("nodes", "outputs", "fused"),
    [
        (("Div x r d", "Erf d e", "Add e k s", "Mul x s p", "Mul p h y"), "y", True),
        (("Div x r d", "Erf d e", "Add k e s", "Mul h s p", "Mul x p y"), "y", True),
        (("Mul i x d", "Erf d e", "Add e k s", "Mul x h p", "Mul s p y"), "y", True),
        (("Div x r d", "Erf d e", "Add e k s", "Mul x s p", "Mul p h y"), "y s", False),
        (("Div x r d", "Erf d e", "Add e k s", "Mul x s p", "Mul p h y"), "y d", False),
        (("Div x r d", "Erf d e", "Add e k s", "Mul x s p", "Mul p k y"), "y", False),
        (("Div x w d", "Erf d e", "Add e k s", "Mul x s p", "Mul p h y"), "y", False),
        (("Div r x d", "Erf d e", "Add e k s", "Mul x s p", "Mul p h y"), "y", False),
        (("Div x r d", "Erf d e", "Add e h s", "Mul x s p", "Mul p h y"), "y", False),
        (("Div x r d", "Tanh d e", "Add e k s", "Mul x s p", "Mul p h y"), "y", False),
        (("Relu x z", "Div x r d", "Erf d e", "Add e k s", "Mul z s p", "Mul p h y"), "y", False),
        (("Div x r d", "Erf d e", "Add e k s", "Mul x s p", "Mul p b y"), "y", False),
        (("Div x r d", "Erf d e", "Add e k s", "Mul x s y"), "y", False),
        (("Add x k s", "Mul x s p", "Mul p h y"), "y", False),
        (("Mul x x p", "Mul p x y"), "y", False),
    ],
)
def test_fuse_gelu(nodes: tuple[str, ...], outputs: str, fused: bool) -> None:
    """In any order, and only where nothing in between is wanted and every number is the right one."""
    specs = nodes_of(nodes)
    proto = model(specs, {"x": [2, 4, 7, 9]}, outputs.split(), NUMBERS)
    graph = fused_graph(proto)
    assert ops(graph) == (["Gelu"] if fused else [spec.op_type for spec in specs])
    check_same(proto, x=X)


def test_gelu_in_float16() -> None:
    """Where the root of 2 is 1.4140625."""
    lines = ("Div x r d", "Erf d e", "Add e k s", "Mul x s p", "Mul p h y")
    proto = model(nodes_of(lines), {"x": ["N", 33]}, ["y"], NUMBERS)
    net = clconv.onnx.load(proto, dtype="float16")
    assert "fuse written out: 1 " in str(net.explain((2, 33)))
    x = numbers(2, 33)
    (want,) = exact(proto, {"x": x})
    np.testing.assert_allclose(net(x.astype(np.float16)), want, rtol=0, atol=3e-3)


def test_gelu_of_a_product_that_is_read_twice() -> None:
    """The last product of one function is the argument of the next."""
    specs = []
    for a, b in (("x", "m"), ("m", "y")):
        lines = (f"Div {a} r d{b}", f"Erf d{b} e{b}", f"Add e{b} k s{b}", f"Mul {a} s{b} p{b}", f"Mul p{b} h {b}")
        specs += nodes_of(lines)
    proto = model(specs, {"x": ["N", 33]}, ["y"], NUMBERS)
    assert str(clconv.onnx.load(proto).explain((2, 33))).count("fuse written out: 2 ") == 1
    check_same(proto, x=numbers(3, 33))


PYTORCH = ("Mul x x q", "Mul x q p", "Mul c p s", "Add x s a", "Mul t a n", "Tanh n g", "Add k g u", "Mul x u v", "Mul h v y")
HUGGING_FACE = ("Pow x three p", "Mul c p s", "Add s x a", "Mul a t n", "Tanh n g", "Add g k u", "Mul x h v", "Mul v u y")
NESTED = ("Mul x t n", "Mul x c d", "Mul d x e", "Add e k f", "Mul n f o", "Tanh o g", "Add g k u", "Mul x h v", "Mul v u y")


def changed(lines: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    assert old in lines
    return tuple(new if line == old else line for line in lines)


@pytest.mark.parametrize(
    ("nodes", "outputs", "fused"),
    [
        (PYTORCH, "y", True),
        (HUGGING_FACE, "y", True),
        (NESTED, "y", True),
        (HUGGING_FACE, "y a", False),
        (changed(HUGGING_FACE, "Pow x three p", "Pow x two p"), "y", False),
        (changed(HUGGING_FACE, "Mul c p s", "Mul w p s"), "y", False),
        (changed(HUGGING_FACE, "Mul a t n", "Mul a w n"), "y", False),
        (changed(NESTED, "Add e k f", "Add e h f"), "y", False),
        (changed(NESTED, "Mul d x e", "Mul d d e"), "y", False),
    ],
)
def test_gelu_by_a_hyperbolic_tangent(nodes: tuple[str, ...], outputs: str, fused: bool) -> None:
    specs = nodes_of(nodes)
    proto = model(specs, {"x": [2, 4, 7, 9]}, outputs.split(), NUMBERS)
    graph = fused_graph(proto)
    assert ops(graph) == (["Gelu"] if fused else [spec.op_type for spec in specs])
    if fused:
        assert graph.nodes[0].get("approximate") == "tanh"
    check_same(proto, x=X)


@pytest.mark.parametrize(
    ("nodes", "outputs", "want"),
    [
        (("Add x three a", "Clip a zero six c6", "Mul x c6 m", "Div m six y"), "y", "HardSwish"),
        (("Add three x a", "Clip a zero six c6", "Div c6 six d", "Mul d x y"), "y", "HardSwish"),
        (("Add x three a", "Clip a zero six c6", "Mul c6 sixth d", "Mul x d y"), "y", "HardSwish"),
        (("Add x three a", "Clip a zero six c6", "Div c6 six y"), "y", "HardSigmoid"),
        (("Add x three a", "Clip a zero six c6", "Mul x c6 m", "Div m six y"), "y m", None),
        (("Add x three a", "Clip a zero six c6", "Mul x c6 m", "Div m six y"), "y a", None),
        (("Add x three a", "Clip a zero six c6", "Mul x c6 m", "Div six m y"), "y", None),
        (("Add x three a", "Clip a zero six c6", "Mul x c6 m", "Div m three y"), "y", None),
        (("Add x k a", "Clip a zero six c6", "Mul x c6 m", "Div m six y"), "y", None),
        (("Add x three a", "Clip a zero three c6", "Mul x c6 m", "Div m six y"), "y", None),
        (("Relu x z", "Add x three a", "Clip a zero six c6", "Mul z c6 m", "Div m six y"), "y", None),
        (("Add x three a", "Clip a zero six c6", "Div c6 zero y"), "y", None),
    ],
)
def test_hard_functions(nodes: tuple[str, ...], outputs: str, want: str | None) -> None:
    specs = nodes_of(nodes)
    proto = model(specs, {"x": [2, 4, 7, 9]}, outputs.split(), NUMBERS)
    assert ops(fused_graph(proto)) == ([want] if want else [spec.op_type for spec in specs])
    if want:
        check_same(proto, x=4 * X)


def test_numbers_are_taken_as_they_are() -> None:
    """Of float32 numbers none that is a little off; those of a model in float16 are."""
    lines = ("Add x three a", "Clip a zero six c6", "Mul x c6 m", "Div m six y")
    off = {**NUMBERS, "three": np.array(3.0001, np.float32)}
    assert len(fused_graph(model(nodes_of(lines), {"x": [2, 4, 7, 9]}, ["y"], off)).nodes) == 4
    half = {name: a.astype(np.float16) for name, a in NUMBERS.items()}
    gelu = ("Mul i x d", "Erf d e", "Add e k s", "Mul x h p", "Mul s p y")
    proto = model(nodes_of(gelu), {"x": [2, 4, 7, 9]}, ["y"], half, dtype=onnx.TensorProto.FLOAT16)
    assert ops(fused_graph(proto)) == ["Gelu"]


def test_what_is_broadcast_is_left_alone() -> None:
    """x is multiplied by a gate of its own in each row: of another shape than the product."""
    lines = ("Add g three a", "Clip a zero six c6", "Mul x c6 m", "Div m six y")
    proto = model(nodes_of(lines), {"x": [2, 4, 7, 9], "g": [2, 4, 1, 1]}, ["y"], NUMBERS)
    assert len(fuse_written_out(specialise(graph_of(proto), {"x": X.shape, "g": (2, 4, 1, 1)})).nodes) == 4
    check_same(proto, x=X, g=numbers(2, 4, 1, 1, seed=3, scale=4))


def test_a_hard_swish_becomes_part_of_the_convolution() -> None:
    lines = ("Conv x f z", "Add z three a", "Clip a zero six c6", "Mul z c6 m", "Div m six y")
    proto = model(nodes_of(lines), {"x": [2, 4, 7, 9]}, ["y"], {**NUMBERS, "f": numbers(6, 4, 3, 3, seed=1, scale=0.4)})
    assert len(clconv.onnx.load(proto).explain(X.shape).steps) == 1
    check_same(proto, x=X)
