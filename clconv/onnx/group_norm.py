"""A pass that recognises group normalisation where it is written out, as PyTorch exports it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from clconv.onnx.graph import Array, Change, Graph, Node, derived


def fuse_group_norm(graph: Graph) -> Graph:
    """Make one node of an instance normalisation of some channels taken for one, and of the scale and shift of each behind it.

    That is Reshape to N, groups, rest; InstanceNormalization; Reshape back; Mul and Add of a number per channel.
    """
    uses, made = graph.uses(), graph.producers()
    change, count = Change(graph), 0
    for node in graph.nodes:
        found = _found(node, graph, made, uses)
        if found is not None:
            norm, x, *numbers = found
            names = derived(node.output, "scale"), derived(node.output, "shift")
            for name, value in zip(names, numbers, strict=True):
                change.constant(name, value)
            attributes = {"num_groups": graph.shapes[norm.inputs[0]][1], "epsilon": norm.get("epsilon", 1e-5)}
            node = Node("GroupNormalization", (x, *names), node.outputs, attributes, norm.name)
            count += 1
        change.nodes.append(node)
    note = f"fuse group norm: {count} written out as instance normalisations made one node each" if count else ""
    return change.done(note)


def _found(add: Node, graph: Graph, made: Mapping[str, Node], uses: Any) -> tuple[Node, str, Array, Array] | None:
    """Return the instance normalisation, the image, and scale and shift per channel, if a node is the last of all that."""
    if add.op != "Add" or len(shape := graph.shapes[add.output]) < 3:
        return None
    shift, before = _per_channel(add, graph, shape)
    product = made.get(before)
    scale, back = _per_channel(product, graph, shape) if product is not None and product.op == "Mul" else (None, "")
    chain = [product, made.get(back)]
    for op in ("InstanceNormalization", "Reshape"):
        inner = chain[-1]
        chain.append(made.get(inner.inputs[0]) if inner is not None else None)
        if chain[-1] is None or chain[-1].op != op:
            return None
    _, reshape, norm, flat = chain
    if shift is None or scale is None or reshape is None or norm is None or flat is None or reshape.op != "Reshape":
        return None
    x = flat.inputs[0]
    own = [graph.constant(name) for name in norm.inputs[1:3]]
    rows = graph.shapes[norm.inputs[0]]
    fits = graph.shapes[x] == graph.shapes[reshape.output] == shape and 0 not in shape and rows[:1] == shape[:1]
    if not fits or len(rows) < 3 or shape[1] % rows[1] or any(uses[n.output] != 1 for n in chain if n is not None):
        return None
    if own[0] is None or own[1] is None or not own[0].shape == own[1].shape == rows[1:2]:
        return None
    scales, shifts = (np.repeat(a.astype(np.float64), shape[1] // rows[1]) for a in (own[0], own[1]))
    dtype = graph.dtypes[x]
    both = graph.stored(scales * scale, dtype), graph.stored(shifts * scale + shift, dtype, added=True)
    return None if both[0] is None or both[1] is None else (norm, x, both[0], both[1])


def _per_channel(node: Node, graph: Graph, shape: tuple[int, ...]) -> tuple[Array | None, str]:
    """Return the constant of two inputs as one float64 per channel of an image, and the other input; None if it is not that."""
    for name, other in (node.inputs, node.inputs[::-1]):
        value = graph.constant(other)
        if value is None or graph.constant(name) is not None or graph.shapes[name] != shape or value.ndim > len(shape):
            continue
        whole = (1,) * (len(shape) - value.ndim) + value.shape
        if whole[1] in (1, shape[1]) and math.prod(whole) == whole[1]:
            return np.broadcast_to(value.astype(np.float64).reshape(-1), (shape[1],)), name
    return None, ""
