"""Functions that are written out as a product with another one."""

from __future__ import annotations

import pytest

from clconv.onnx.products import fuse_products
from clconv.onnx.read import graph_of
from tests.onnx.models import model, node
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
