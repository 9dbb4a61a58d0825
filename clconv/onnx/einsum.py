"""A pass that makes a product of matrices of an Einsum of two tensors, as attention is often written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clconv.errors import ShapeError
from clconv.onnx.graph import MARK, Change, Graph, Node, Shape, derived


@dataclass(frozen=True)
class _Equation:
    """The letters of axes: of both tensors and the result, and by what they are to the product."""

    first: str
    second: str
    result: str

    @classmethod
    def of(cls, node: Node) -> _Equation | None:
        """Read it, None if it is no product of two tensors, each axis of which is there once, and kept or summed in both."""
        text = "".join(node.text("equation", "").split())
        inputs, arrow, result = text.partition("->")
        if not arrow:  # the axes of one tensor alone, capitals first
            result = "".join(sorted(c for c in inputs if c != "," and inputs.count(c) == 1))
        first, comma, second = inputs.partition(",")
        if not comma or not all(part.isalpha() or not part for part in (first, second, result)):
            return None
        if any(len(set(part)) < len(part) for part in (first, second, result)) or not set(result) <= set(first + second):
            return None
        alone = set(first) ^ set(second)
        return cls(first, second, result) if alone <= set(result) else None

    @property
    def batch(self) -> str:
        """Axes of all three."""
        return "".join(c for c in self.result if c in self.first and c in self.second)

    @property
    def rows(self) -> str:
        """Axes of the first tensor and the result."""
        return "".join(c for c in self.result if c not in self.second)

    @property
    def columns(self) -> str:
        """Axes of the second tensor and the result."""
        return "".join(c for c in self.result if c not in self.first)

    @property
    def summed(self) -> str:
        """Axes of both tensors, which the result has not."""
        return "".join(c for c in self.first if c not in self.result)

    def sizes(self, node: Node, shapes: Mapping[str, Shape]) -> dict[str, int]:
        """Return the size of each axis; a tensor of size 1 along one that the other has, too, is repeated along it."""
        a, b = node.inputs
        first, second = dict(zip(self.first, shapes[a], strict=True)), dict(zip(self.second, shapes[b], strict=True))
        for c in first:
            if c in second and first[c] != second[c] and 1 not in (first[c], second[c]):
                raise ShapeError(
                    f"the node {node.name!r} (Einsum) takes {a!r} {shapes[a]} and {b!r} {shapes[b]}, whose sizes along "
                    f"{c!r} of {node.text('equation', '')!r} are {first[c]} and {second[c]}; they must be the same or 1"
                )
        return second | {c: size for c, size in first.items() if c not in second or size != 1}


def is_product(node: Node) -> bool:
    """Whether a node is an Einsum that is such a product."""
    return node.op == "Einsum" and _Equation.of(node) is not None


def product_shape(node: Node, shapes: Mapping[str, Shape]) -> Shape | None:
    """Return the shape of the result of such a product, None for other nodes.

    Parameters
    ----------
    node : Node
    shapes : mapping of str to shape
        With those of its inputs, which must have the axes that the equation says.

    Raises
    ------
    ShapeError
        If the inputs have other sizes along the same letter, and neither is 1.
    """
    equation = _Equation.of(node) if node.op == "Einsum" else None
    if equation is None:
        return None
    sizes = equation.sizes(node, shapes)
    return tuple(sizes[c] for c in equation.result)


def multiply_einsums(graph: Graph) -> Graph:
    """Make a MatMul of each Einsum of two tensors, with their axes in its order before it and those of the result behind it."""
    change = _Products(graph)
    count = 0
    for node in graph.nodes:
        equation = _Equation.of(node) if node.op == "Einsum" else None
        if equation is None:
            change.nodes.append(node)
        else:
            change.product(node, equation)
            count += 1
    if not count:
        return graph
    note = f"multiply einsums: {count} made products of matrices"
    return change.done(note)


class _Products(Change):
    """A graph while Einsums are made products."""

    def product(self, node: Node, equation: _Equation) -> None:
        """Add the nodes of one."""
        sizes = equation.sizes(node, self.shapes)
        batch, rows, columns, summed = equation.batch, equation.rows, equation.columns, equation.summed
        left = self._matrices(node, 0, equation.first, (batch, rows, summed), sizes)
        right = self._matrices(node, 1, equation.second, (batch, summed, columns), sizes)
        product, apart = derived(node.output, "product"), derived(node.output, "axes")
        self._add("MatMul", (left, right), product, _joined((batch, rows, columns), sizes))
        order = batch + rows + columns
        last = apart if order != equation.result else node.output
        self._add("Reshape", (product,), last, [sizes[c] for c in order])
        if order != equation.result:
            self._add(
                "Transpose", (apart,), node.output, [sizes[c] for c in equation.result], perm=_perm(order, equation.result)
            )

    def _matrices(self, node: Node, index: int, own: str, parts: tuple[str, str, str], sizes: dict[str, int]) -> str:
        """Return a tensor as matrices, one for each element of the batch; a constant is one again."""
        x, order = node.inputs[index], "".join(parts)
        turned, matrices = derived(node.output, f"turned{index}"), derived(node.output, f"matrices{index}")
        whole = tuple(sizes[c] for c in own)
        if x in self.constants:
            value = np.broadcast_to(self.constants[x], whole).transpose(_perm(own, order)).reshape(_joined(parts, sizes))
            self.constant(matrices, value)
            return matrices
        if self.shapes[x] != whole:
            repeated, shape = derived(node.output, f"repeated{index}"), derived(node.output, f"shape{index}")
            self.constant(shape, np.array(whole))
            self._add("Expand", (x, shape), repeated, whole)
            x = repeated
        if own != order:
            self._add("Transpose", (x,), turned, [sizes[c] for c in order], perm=_perm(own, order))
            x = turned
        self._add("Reshape", (x,), matrices, _joined(parts, sizes))
        return matrices

    def _add(self, op: str, inputs: tuple[str, ...], output: str, shape: Sequence[int], **attributes: list[int]) -> None:
        self.nodes.append(Node(op, inputs, (output,), attributes, output.replace(MARK, " ")))
        self.shapes[output], self.dtypes[output] = tuple(shape), self.dtypes[inputs[0]]


def _joined(parts: tuple[str, str, str], sizes: dict[str, int]) -> list[int]:
    """Return the sizes of parts as one axis each; without a batch there is no axis for it."""
    whole = [math.prod(sizes[c] for c in part) for part in parts]
    return whole if parts[0] else whole[1:]


def _perm(old: str, new: str) -> list[int]:
    """Return where each axis of a new order was."""
    return [old.index(c) for c in new]
