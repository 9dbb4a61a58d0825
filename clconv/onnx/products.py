"""Passes that recognise a function which is written out as a product: SiLU, hard swish, Mish and GELU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from clconv.onnx.functions import function_of
from clconv.onnx.graph import Graph, Node, without_dead

_PRODUCTS = {("Sigmoid",): "Silu", ("HardSigmoid",): "HardSwish", ("Tanh", "Softplus"): "Mish"}
"""By the nodes from a product back to its ``x``, the outermost first: what ``x`` times that is."""


def fuse_products(graph: Graph) -> Graph:
    """Recognise ``x * sigmoid(x)``, ``x * hardsigmoid(x)`` and ``x * tanh(softplus(x))``: SiLU, hard swish, Mish."""
    uses, made = graph.uses(), graph.producers()
    nodes, fused = [], 0
    for node in graph.nodes:
        if node.op == "Mul":
            for x, gate in (node.inputs, node.inputs[::-1]):
                if (name := _product(x, gate, graph, made, uses)) is not None:
                    node = Node(name, (x,), node.outputs, {}, node.name)
                    fused += 1
                    break
        nodes.append(node)
    note = f"fuse products: {fused} products of x and a function of it made one function" if fused else ""
    return without_dead(graph.with_nodes(nodes, note))


def _product(x: str, gate: str, graph: Graph, made: Mapping[str, Node], uses: Any) -> str | None:
    """Return the function that ``x * gate`` is, None if it is none."""
    ops: list[str] = []
    while gate != x:
        inner = made.get(gate)
        if inner is None or uses[gate] != 1 or len(ops) == 2:
            return None
        if inner.op == "HardSigmoid" and getattr(function_of(inner, graph), "kind", "") != "hardsigmoid":
            return None
        ops.append(inner.op)
        gate = inner.input(0)
    return _PRODUCTS.get(tuple(ops))


def fuse_gelu(graph: Graph) -> Graph:
    """Recognise ``x * 0.5 * (1 + erf(x / sqrt(2)))``, in any order, as PyTorch exports GELU before operator set 20."""
    uses, made = graph.uses(), graph.producers()
    nodes, fused = [], 0
    for node in graph.nodes:
        x = _gelu_of(node, graph, made, uses) if node.op == "Mul" else None
        if x is not None:
            node = Node("Gelu", (x,), node.outputs, {}, node.name)
            fused += 1
        nodes.append(node)
    note = f"fuse gelu: {fused} written out as products made one function" if fused else ""
    return without_dead(graph.with_nodes(nodes, note))


def _gelu_of(product: Node, graph: Graph, made: Mapping[str, Node], uses: Any) -> str | None:
    """Return ``x`` if a product is its GELU."""
    factors = list(product.inputs)
    for name in product.inputs:
        inner = made.get(name)
        if inner is not None and inner.op == "Mul" and uses[name] == 1:
            factors.remove(name)
            factors += inner.inputs
    gates = [name for name in factors if uses[name] == 1 and _is(made.get(name), "Add")]
    if len(factors) != 3 or len(gates) != 1:
        return None
    erf, one = _split(made[gates[0]], graph)
    root, half = _split(Node("Mul", tuple(name for name in factors if name != gates[0]), ("",), {}, ""), graph)
    inside = made.get(erf) if uses[erf] == 1 else None
    if inside is None or inside.op != "Erf" or (one, half) != (1, 0.5) or uses[inside.input(0)] != 1:
        return None
    scaled = made.get(inside.input(0))
    if scaled is None or scaled.op not in ("Mul", "Div") or (scaled.op == "Div" and scaled.inputs[0] != root):
        return None
    x, number = _split(scaled, graph)
    factor = number if scaled.op == "Mul" else 1 / number if number else math.nan
    close = 1e-3 if graph.dtypes.get(x) == "float16" else 1e-6  # as the number is rounded
    return x if x == root and abs(factor - math.sqrt(0.5)) < close else None


def _is(node: Node | None, op: str) -> bool:
    return node is not None and node.op == op


def _split(node: Node, graph: Graph) -> tuple[str, float]:
    """Return the one of two inputs that is no number, and the number; "" and NaN where that is not so."""
    for name, other in (node.inputs, node.inputs[::-1]):
        value = graph.constant(other)
        if value is not None and value.size == 1 and graph.constant(name) is None and value.ndim <= len(graph.shapes[name]):
            return name, float(value.reshape(-1)[0])
    return "", math.nan
