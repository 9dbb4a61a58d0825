"""A pass that recognises layer normalisation where it is written out, as operator sets before 17 had to, and ConvNeXt's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clconv.onnx.graph import Array, Change, Graph, Node, derived


@dataclass(frozen=True)
class _Norm:
    """``scale * (x - mean) / sqrt(variance + epsilon) + shift`` along one axis, with float64 numbers for its elements."""

    x: str
    axis: int
    epsilon: float
    scale: Array
    shift: Array


def fuse_layer_norm(graph: Graph) -> Graph:
    """Make one node of ``(x - mean) / sqrt(variance + epsilon)`` along the last axis, or the channels of an image.

    That is ReduceMean, Sub, the square, ReduceMean, Add, Sqrt, Div, and products and sums behind it with a number for each
    element of the axis. Squares and roots must be written as such, see :func:`clconv.onnx.rewrite.plain_powers`.
    """
    uses, made = graph.uses(), graph.producers()
    change, count = Change(graph), 0
    norms: dict[str, _Norm] = {}
    for node in graph.nodes:
        norm = _normalised(node, graph, made, uses) if node.op == "Div" else _affine(node, norms, graph, uses)
        dtype = "" if norm is None else graph.dtypes[norm.x]
        scale = None if norm is None else graph.stored(norm.scale, dtype)
        shift = None if norm is None else graph.stored(norm.shift, dtype, added=True)
        if norm is not None and scale is not None and shift is not None:
            count += node.op == "Div"
            norms[node.output] = norm
            names = derived(node.output, "scale"), derived(node.output, "shift")
            for name, value in zip(names, (scale, shift), strict=True):
                change.constant(name, value)
            last = norm.axis == len(graph.shapes[norm.x]) - 1
            op = "LayerNormalization" if last else "ChannelNormalization"
            node = Node(op, (norm.x, *names), node.outputs, {"epsilon": norm.epsilon}, node.name)
        change.nodes.append(node)
    note = f"fuse layer norm: {count} written out as means and roots made one node each" if count else ""
    return change.done(note)


def _normalised(quotient: Node, graph: Graph, made: Mapping[str, Node], uses: Any) -> _Norm | None:
    """Return the normalisation that a quotient is the last node of, None if it is none."""
    root = _only(quotient.inputs[1], "Sqrt", made, uses)
    total = _only(root.inputs[0], "Add", made, uses) if root is not None else None
    if total is None:
        return None
    for name, other in (total.inputs, total.inputs[::-1]):
        epsilon, variance = graph.constant(other), _only(name, "ReduceMean", made, uses)
        if epsilon is not None and epsilon.size == 1 and variance is not None:
            break
    else:
        return None
    square = _only(variance.inputs[0], "Mul", made, uses)
    if square is None or square.inputs[0] != square.inputs[1]:
        return None
    centred = [_centred(name, graph, made) for name in (quotient.inputs[0], square.inputs[0])]
    if centred[0] is None or centred[0] != centred[1]:
        return None
    x, axis = centred[0]
    shape = graph.shapes[x]
    if _axis(variance, graph) != axis or axis not in ((len(shape) - 1, 1) if len(shape) == 4 else (len(shape) - 1,)):
        return None
    if graph.shapes[total.output] != graph.shapes[variance.output] or graph.dtypes[x] not in ("float32", "float16"):
        return None
    return _Norm(x, axis, float(epsilon.reshape(-1)[0]), np.ones(shape[axis]), np.zeros(shape[axis]))


def _only(name: str, op: str, made: Mapping[str, Node], uses: Any) -> Node | None:
    """Return the node of that kind behind a value which nobody else reads, None if there is none."""
    node = made.get(name) if uses[name] == 1 else None
    return node if node is not None and node.op == op else None


def _centred(name: str, graph: Graph, made: Mapping[str, Node]) -> tuple[str, int] | None:
    """Return what a value is, less its own mean along one axis, and that axis."""
    node = made.get(name)
    mean = made.get(node.inputs[1]) if node is not None and node.op == "Sub" else None
    if node is None or mean is None or mean.op != "ReduceMean" or mean.inputs[0] != node.inputs[0]:
        return None
    axis = _axis(mean, graph)
    return None if axis is None else (node.inputs[0], axis)


def _axis(mean: Node, graph: Graph) -> int | None:
    """Return the only axis of a mean that keeps it, None if there are others."""
    axes = graph.constant(mean.input(1))
    if axes is None or axes.size != 1 or not mean.get("keepdims", 1):
        return None
    return int(axes.reshape(-1)[0]) % len(graph.shapes[mean.inputs[0]])


def _affine(node: Node, norms: Mapping[str, _Norm], graph: Graph, uses: Any) -> _Norm | None:
    """Return the normalisation with another scale or shift, if a node gives it that."""
    for name, other in (node.inputs[:2], node.inputs[1::-1]) if node.op in ("Mul", "Add") else ():
        norm = norms.get(name)
        if norm is None or uses[name] != 1:
            continue
        numbers = _along(graph.constant(other), norm.axis, graph, norm.x)
        if numbers is None:
            continue
        if node.op == "Add":
            return replace(norm, shift=norm.shift + numbers)
        return replace(norm, scale=norm.scale * numbers, shift=norm.shift * numbers)
    return None


def _along(value: Array | None, axis: int, graph: Graph, x: str) -> Array | None:
    """Return a constant of ``x``'s type as one float64 for each element along an axis, None if it varies otherwise."""
    shape = graph.shapes[x]
    if value is None or value.dtype.name != graph.dtypes[x] or value.ndim > len(shape):
        return None
    whole = (1,) * (len(shape) - value.ndim) + value.shape
    if value.size != whole[axis] or whole[axis] not in (1, shape[axis]):
        return None
    return np.broadcast_to(value.astype(np.float64).reshape(-1), shape[axis])
