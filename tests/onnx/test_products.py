"""Functions that are written out as products."""

from __future__ import annotations

import numpy as np
import pytest

import clconv.onnx
from clconv.onnx.infer import specialise
from clconv.onnx.products import fuse_gelu, fuse_products
from clconv.onnx.read import graph_of
from tests.onnx.models import exact, model, node, numbers
from tests.onnx.test_passes import X, check_same, ops


@pytest.mark.parametrize(
    ("gate", "name", "attributes"), [("Sigmoid", "Silu", {}), ("HardSigmoid", "HardSwish", {"alpha": 1 / 6, "beta": 0.5})]
)
def test_fuse_products(gate: str, name: str, attributes: dict[str, float]) -> None:
    proto = model([node(gate, "x", "g", **attributes), node("Mul", "x g", "y")], {"x": [2, 4, 7, 9]}, ["y"])
    assert ops(fuse_products(graph_of(proto))) == [name]
    check_same(proto, x=X)
    other = model([node("HardSigmoid", "x", "g"), node("Mul", "x g", "y")], {"x": [2, 4, 7, 9]}, ["y"])
    assert ops(fuse_products(graph_of(other))) == ["HardSigmoid", "Mul"]
    check_same(other, x=X)


@pytest.mark.parametrize(
    ("nodes", "outputs", "want"),
    [
        (("Softplus x s", "Tanh s t", "Mul x t y"), "y", ["Mish"]),
        (("Softplus x s", "Tanh s t", "Mul t x y"), "y", ["Mish"]),
        (("Softplus x s", "Tanh s t", "Mul x t y"), "y s", None),
        (("Softplus x s", "Tanh s t", "Mul x t y"), "y t", None),
        (("Softplus x s", "Tanh s t", "Mul s t y"), "y", None),
        (("Sigmoid x s", "Tanh s t", "Mul x t y"), "y", None),
        (("Tanh x t", "Mul x t y"), "y", None),
        (("Tanh x s", "Softplus s t", "Mul x t y"), "y", None),
        (("Relu x z", "Softplus z s", "Tanh s t", "Mul x t y"), "y", None),
        (("Mul x x y",), "y", None),
    ],
)
def test_fuse_products_of_two_functions(nodes: tuple[str, ...], outputs: str, want: list[str] | None) -> None:
    specs = [node(op, " ".join(read), written) for op, *read, written in map(str.split, nodes)]
    proto = model(specs, {"x": [2, 4, 7, 9]}, outputs.split())
    assert ops(fuse_products(graph_of(proto))) == (want or [spec.op_type for spec in specs])
    check_same(proto, x=X)


NUMBERS = {
    "r": np.array(2**0.5, np.float32),
    "i": np.array([0.5**0.5], np.float32),
    "k": np.array(1, np.float32),
    "h": np.array(0.5, np.float32),
    "b": np.array([[[[[0.5]]]]], np.float32),
    "w": np.array(1.4, np.float32),
}


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
    specs = [node(op, " ".join(read), written) for op, *read, written in map(str.split, nodes)]
    proto = model(specs, {"x": [2, 4, 7, 9]}, outputs.split(), NUMBERS)
    graph = fuse_gelu(specialise(graph_of(proto), {"x": (2, 4, 7, 9)}))
    assert ops(graph) == (["Gelu"] if fused else [spec.op_type for spec in specs])
    check_same(proto, x=X)


def test_gelu_in_float16() -> None:
    """Where the root of 2 is 1.4140625."""
    lines = ("Div x r d", "Erf d e", "Add e k s", "Mul x s p", "Mul p h y")
    specs = [node(op, " ".join(read), written) for op, *read, written in map(str.split, lines)]
    proto = model(specs, {"x": ["N", 33]}, ["y"], NUMBERS)
    net = clconv.onnx.load(proto, dtype="float16")
    assert "fuse gelu: 1 " in str(net.explain((2, 33)))
    x = numbers(2, 33)
    (want,) = exact(proto, {"x": x})
    np.testing.assert_allclose(net(x.astype(np.float16)), want, rtol=0, atol=3e-3)


def test_gelu_of_a_product_that_is_read_twice() -> None:
    """The last product of one function is the argument of the next."""
    specs = []
    for a, b in (("x", "m"), ("m", "y")):
        lines = (f"Div {a} r d{b}", f"Erf d{b} e{b}", f"Add e{b} k s{b}", f"Mul {a} s{b} p{b}", f"Mul p{b} h {b}")
        specs += [node(op, " ".join(read), written) for op, *read, written in map(str.split, lines)]
    proto = model(specs, {"x": ["N", 33]}, ["y"], NUMBERS)
    assert str(clconv.onnx.load(proto).explain((2, 33))).count("fuse gelu: 2 ") == 1
    check_same(proto, x=numbers(3, 33))
