"""A pass that leaves layer normalisations scales and shifts of the axes that they normalise, as their kernels take them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from clconv.onnx.graph import MARK, Change, Graph, Node, Shape, derived, fits


def scale_behind_norms(graph: Graph) -> Graph:
    """Leave axes of size 1 before those that are normalised out of scales and shifts; multiply and add others behind the node.

    ONNX lets both be whatever is repeated to the shape of the tensor. What is not stays, and is refused when it is lowered.
    """
    change = _Norms(graph)
    for node in graph.nodes:
        whole = graph.shapes.get(node.input(0), ())
        if node.op == "LayerNormalization" and all(fits(graph.shapes[name], whole) for name in node.inputs[1:3] if name):
            change.norm(node)
        else:
            change.nodes.append(node)
    note = (
        f"scale behind norms: {change.count} that scale or shift along other axes than they normalise" if change.count else ""
    )
    return change.done(note)


class _Norms(Change):
    """A graph while scales and shifts are put behind its normalisations."""

    count = 0

    def norm(self, node: Node) -> None:
        """Add a layer normalisation, and the products and sums behind it."""
        x, scale, shift = (node.input(i) for i in range(3))
        axis, whole = int(node.get("axis", -1)), self.shapes[x]
        inner = whole[axis:]
        behind = [("Mul", scale), ("Add", shift)] if shift else [("Mul", scale)]
        while behind and not self._apart(behind[0][1], inner):
            del behind[0]
        if ("Mul", scale) in behind:
            own = derived(node.output, "ones")
            self.constant(own, np.ones(inner, self.dtypes[scale]))
        else:
            own = self._short(derived(node.output, "scale"), scale, inner)
        inputs = (x, own) if behind or not shift else (x, own, self._short(derived(node.output, "shift"), shift, inner))
        results = [*(derived(node.output, f"before {op}") for op, _ in behind), node.output]
        self.nodes.append(replace(node, inputs=inputs, outputs=(results[0], *node.outputs[1:])))
        for (op, name), source, result in zip(behind, results, results[1:], strict=False):
            self.nodes.append(Node(op, (source, name), (result,), {}, node.name))
            self.shapes[source], self.dtypes[source] = whole, self.dtypes[x]
        self.count += bool(behind)

    def _apart(self, name: str, inner: Shape) -> bool:
        """Whether no kernel takes a scale or a shift: it is along other axes than the inner ones, or to be repeated."""
        shape = self.shapes[name]
        before = shape[: max(len(shape) - len(inner), 0)]
        return math.prod(before) != 1 or (name not in self.constants and math.prod(shape) != math.prod(inner))

    def _short(self, short: str, name: str, inner: Shape) -> str:
        """Return a scale or a shift without the axes before the inner ones, which are 1; ``short``: a name for that."""
        shape = self.shapes[name]
        if len(shape) <= len(inner):
            return name
        self.shapes[short], self.dtypes[short] = shape[len(shape) - len(inner) :], self.dtypes[name]
        if name in self.constants:
            self.constants[short] = self.constants[name].reshape(self.shapes[short])
        else:
            self.nodes.append(Node("Reshape", (name,), (short,), {}, short.replace(MARK, " ")))
        return short
