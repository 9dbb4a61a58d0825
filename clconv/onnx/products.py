"""A pass that recognises a function which is written out as a product with another one: SiLU, hard swish, Mish.

Those that take numbers as well are in :mod:`clconv.onnx.written_out`.
"""

from __future__ import annotations

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
