"""Passes that fold what multiplies channels, or adds to them, into the filters before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from clconv.onnx.graph import Array, Graph, Node, derived, without_dead
from clconv.onnx.statistics import affine_of, trains

CONVOLUTIONS = ("Conv", "ConvTranspose")


def fold_batchnorm(graph: Graph) -> Graph:
    """Fold BatchNormalization, and additions or multiplications of one number per channel, into the convolution before.

    ``scale * (conv(x, w) + b) + shift = conv(x, scale * w) + (scale * b + shift)``, also of a transposed one.
    """
    uses = graph.uses()
    constants = dict(graph.constants)
    nodes: list[Node] = []
    producer: dict[str, int] = {}  # output of a Conv -> its place in nodes
    folded = 0
    for node in graph.nodes:
        source = _folds_into(node, producer, uses)
        affine = None if source is None else _affine(node, source, graph, nodes[producer[source]], constants)
        conv = None
        if source is not None and affine is not None:
            conv = scaled(graph, nodes[producer[source]], node.output, constants, *affine)
        if source is None or conv is None:
            if known_filter(node, constants):
                producer[node.output] = len(nodes)
            nodes.append(node)
            continue
        place = producer.pop(source)
        nodes[place] = conv
        producer[conv.output] = place
        folded += 1
    note = f"fold batchnorm: {folded} nodes folded into the filters before them" if folded else ""
    return without_dead(graph.with_nodes(nodes, note, constants=constants))


def known_filter(node: Node, constants: Mapping[str, Array]) -> bool:
    """Whether a node is a convolution whose filter and bias are known, and fit each other: else the node says what does not."""
    if node.op not in CONVOLUTIONS or node.inputs[1] not in constants:
        return False
    w, bias = constants[node.inputs[1]], constants.get(node.input(2))
    groups = int(node.get("group", 1))
    if w.ndim < 3 or (node.op == "ConvTranspose" and (groups < 1 or len(w) % groups)):
        return False
    return not node.input(2) or (bias is not None and (bias.shape, bias.dtype) == ((channels_of(node, w),), w.dtype))


def channels_of(conv: Node, w: Array) -> int:
    """Return the output channels of a convolution."""
    return len(w) if conv.op == "Conv" else w.shape[1] * int(conv.get("group", 1))


def _folds_into(node: Node, producer: dict[str, int], uses: Any) -> str | None:
    """Return the convolution's output that a node rescales, None if it rescales none."""
    if node.op not in ("BatchNormalization", "Add", "Sub", "Mul", "Div") or trains(node):
        return None
    candidates = node.inputs[:1] if node.op in ("BatchNormalization", "Sub", "Div") else node.inputs[:2]
    return next((name for name in candidates if name in producer and uses[name] == 1), None)


def _affine(node: Node, source: str, graph: Graph, conv: Node, constants: Mapping[str, Array]) -> tuple[Array, Array] | None:
    """Return scale and shift per output channel of a convolution in float64, None if a node is not that simple."""
    w = constants[conv.inputs[1]]
    channels = channels_of(conv, w)
    if node.op == "BatchNormalization":
        return affine_of(node, channels, graph.constants)
    other = graph.constant(node.inputs[1] if node.inputs[0] == source else node.inputs[0])
    numbers = None if other is None or other.dtype != w.dtype else _per_channel(other, channels, w.ndim)
    if numbers is None or (node.op == "Div" and not numbers.all()):
        return None
    one, zero = np.ones(channels), np.zeros(channels)
    if node.op in ("Add", "Sub"):
        return one, numbers if node.op == "Add" else -numbers
    return numbers if node.op == "Mul" else 1 / numbers, zero


def _per_channel(value: Array, channels: int, axes: int) -> Array | None:
    """Return a constant as one float64 per channel of a tensor with that many axes, None if it varies otherwise."""
    if value.ndim > axes:
        return None
    if value.size == 1:
        return np.full(channels, float(value.reshape(-1)[0]))
    shape = (1,) * (axes - value.ndim) + value.shape
    if shape == (1, channels) + (1,) * (axes - 2):
        return value.astype(np.float64).reshape(channels)
    return None


def scaled(graph: Graph, conv: Node, output: str, constants: dict[str, Array], scale: Array, shift: Array) -> Node | None:
    """Return a convolution with new weights that gives ``scale * y + shift`` under another name, None if no weights do."""
    old = constants[conv.inputs[1]]
    bias = constants[conv.inputs[2]].astype(np.float64) if conv.input(2) else np.zeros(len(scale))
    if conv.op == "Conv":
        factors = scale.reshape(-1, 1)
    else:  # IC, OC/G: the filters of a group share its scales
        groups = int(conv.get("group", 1))
        factors = np.repeat(scale.reshape(groups, -1), len(old) // groups, axis=0)
    w = graph.multiplied(old, factors.reshape(*factors.shape, *(1,) * (old.ndim - 2)))
    added = graph.stored(bias * scale + shift, old.dtype.name, added=True)
    if w is None or added is None:
        return None
    names = (derived(output, "w"), derived(output, "bias"))
    constants.update(zip(names, (w, added), strict=True))
    return replace(conv, inputs=(conv.inputs[0], *names), outputs=(output,))
