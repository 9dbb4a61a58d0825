"""A pass that recognises functions which are written out with sums and products: hard sigmoid, hard swish, GELU.

Models of operator sets that have no such node, and those whose authors wrote the formula, hold them as up to nine nodes.
"""

from __future__ import annotations

import math

from clconv.onnx.functions import function_of, with_axes
from clconv.onnx.graph import Graph, Node, without_dead

_CUBE = 0.044715
"""Of the approximation of GELU by a hyperbolic tangent: Hendrycks and Gimpel, https://arxiv.org/abs/1606.08415."""


def fuse_written_out(graph: Graph) -> Graph:
    """Make one node of ``clip(x + 3, 0, 6) / 6``, of that times x, and of ``x * (1 + erf(x / sqrt(2))) / 2``, in any order.

    GELU by a hyperbolic tangent, ``x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2``, as well.
    """
    terms = _Terms(graph)
    nodes, fused = [], 0
    for node in graph.nodes:
        found = _function(node, terms) if node.op in ("Mul", "Div") else None
        if found is not None:
            op, x, attributes = found
            node = Node(op, (x,), node.outputs, attributes, node.name)
            fused += 1
        nodes.append(node)
    note = f"fuse written out: {fused} functions of several nodes made one node each" if fused else ""
    return without_dead(graph.with_nodes(nodes, note))


def _function(node: Node, terms: _Terms) -> tuple[str, str, dict[str, object]] | None:
    """Return the node that a product is, what it reads and its attributes; None if it is no such function."""
    factors, number = terms.factors(node)
    if len(factors) == 1 and terms.close(number, 1 / 6):
        x = terms.hard_gate(factors[0])
        return ("HardSigmoid", x, {"alpha": 1 / 6, "beta": 0.5}) if x else None
    if len(factors) != 2:
        return None
    for x, gate in (factors, factors[::-1]):
        if terms.close(number, 1 / 6) and terms.hard_gate(gate) == x:
            return "HardSwish", x, {}
        if terms.close(number, 0.5) and (approximate := terms.gelu_gate(gate, x)):
            return "Gelu", x, {"approximate": approximate}
    return None


class _Terms:
    """Reads values of a graph as sums, products and functions."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.made = graph.producers()
        self.uses = graph.uses()
        self.axes = with_axes(graph)
        half = any(a.dtype.name == "float16" for a in graph.constants.values())
        self._within = 2e-3 if half else 2e-6  # some roundings

    def close(self, number: float, wanted: float) -> bool:
        """Whether a number, which is rounded to its type and may be a product of several, is another one."""
        return abs(number - wanted) <= self._within * abs(wanted)

    def inner(self, name: str, *ops: str) -> Node | None:
        """Return the node behind a value that nobody else reads, None if it is no such one."""
        node = self.made.get(name) if self.uses[name] == 1 else None
        return node if node is not None and node.op in ops else None

    def number(self, name: str, beside: str) -> float | None:
        """Return a constant that is one number and gives a result no axis more, None if it is none."""
        value = self.graph.constant(name)
        if value is None or value.size != 1 or value.dtype.kind != "f" or value.ndim > int(beside in self.axes):
            return None
        return float(value.reshape(-1)[0])

    def factors(self, node: Node) -> tuple[list[str], float]:
        """Return the values that a product multiplies, and the number that it multiplies them by.

        Products that nobody else reads are opened, and so are cubes; no values where something else is the divisor.
        """
        values: list[str] = []
        number = 1.0
        for index, name in enumerate(node.inputs):
            other = node.inputs[1 - index]
            constant = self.number(name, other)
            if constant is not None:
                if node.op == "Div" and (index == 0 or constant == 0):
                    return [], math.nan
                number *= constant if node.op == "Mul" else 1 / constant
            elif node.op == "Div" and index == 1:
                return [], math.nan
            else:
                below, factor = self.opened(name)
                values += below
                number *= factor
        return values, number

    def opened(self, name: str) -> tuple[list[str], float]:
        """Return the factors of a value, which is the only one where it is no product."""
        node = self.inner(name, "Mul", "Div", "Pow")
        if node is None:
            return [name], 1.0
        if node.op != "Pow":
            values, number = self.factors(node)
            return (values, number) if values else ([name], 1.0)
        power = self.number(node.inputs[1], node.inputs[0])
        return ([node.inputs[0]] * int(power), 1.0) if power in (2, 3) else ([name], 1.0)

    def plus(self, name: str, number: float) -> str:
        """Return what a sum adds a number to, "" if a value is no such sum."""
        node = self.inner(name, "Add")
        for value, other in (node.inputs, node.inputs[::-1]) if node is not None else ():
            if (known := self.number(other, value)) is not None and self.close(known, number):
                return value
        return ""

    def hard_gate(self, name: str) -> str:
        """Return ``x`` if a value is ``clip(x + 3, 0, 6)``, "" if it is not."""
        clip = self.inner(name, "Clip")
        function = function_of(clip, self.graph) if clip is not None else None
        return self.plus(clip.inputs[0], 3) if clip is not None and function is not None and function.kind == "relu6" else ""

    def gelu_gate(self, name: str, x: str) -> str:
        """Return how GELU is computed if a value is the gate of ``x`` in it: "none" or "tanh", "" if it is no gate."""
        function = self.inner(self.plus(name, 1), "Erf", "Tanh")
        if function is None:
            return ""
        values, number = self.opened(function.inputs[0])
        if function.op == "Erf":
            return "none" if values == [x] and self.close(number, math.sqrt(0.5)) else ""
        if not self.close(number, math.sqrt(2 / math.pi)):
            return ""
        if len(values) == 1:  # x + 0.044715 x**3
            return "tanh" if self._is_sum(values[0], x, [x] * 3) else ""
        inside = [v for v in values if v != x]
        if len(values) != 2 or len(inside) != 1:
            return ""
        square, factor = self.opened(self.plus(inside[0], 1))  # x * (1 + 0.044715 x**2)
        return "tanh" if square == [x, x] and self.close(factor, _CUBE) else ""

    def _is_sum(self, name: str, x: str, powers: list[str]) -> bool:
        """Whether a value is ``x`` and 0.044715 times a power of it."""
        node = self.inner(name, "Add")
        if node is None or x not in node.inputs:
            return False
        values, number = self.opened(node.inputs[1] if node.inputs[0] == x else node.inputs[0])
        return values == powers and self.close(number, _CUBE)
