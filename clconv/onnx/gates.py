"""A pass that weighs filters in place of images: the gates of SENet before a 1x1 convolution."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from clconv.device import DeviceInfo
from clconv.onnx.graph import Change, Graph, Node, derived
from clconv.onnx.problems import LAST_FILTER

TIMES = 4
"""How many times the filter is written and read where it is multiplied: by the product, to be packed, to be used."""

STEP = 20_000
"""Elements of an image that are multiplied in the time that one step more takes."""


def gate_filters(graph: Graph, device: DeviceInfo) -> Graph:
    """Multiply the filter of a 1x1 convolution by a number for each channel in place of the image, if that is much larger.

    ``conv(g * x, w) = conv(x, g * w)``, for one image; several have gates of their own. The filter is packed in each call then.
    (https://arxiv.org/abs/1709.01507; MobileNet V3, EfficientNet and RegNet have them there.)

    Parameters
    ----------
    graph : Graph
        With every shape and layout known.
    device : DeviceInfo
        That of a CPU; for others, where a step more costs more, nothing is changed.
    """
    if not device.is_cpu:
        return graph
    uses, made = graph.uses(), graph.producers()
    change, aliases, count = Change(graph), dict(graph.aliases), 0
    for node in graph.nodes:
        product = made.get(node.inputs[0]) if node.op == "Conv" and uses[node.inputs[0]] == 1 else None
        gated = None if product is None else _gated(node, product, graph)
        if gated is None:
            change.nodes.append(node)
            continue
        x, gate = gated
        w, name = graph.constants[node.inputs[1]], derived(node.output, "gated")
        if node.get("layout") == "NHWC":
            last, column = derived(node.output, "last"), derived(node.output, "gates")
            change.constant(last, w.transpose(LAST_FILTER))
            change.value(column, (w.shape[1], 1), w.dtype.name)
            aliases[column] = gate
            factors = last, column
            node = node.having(filter_last=1)
        else:
            factors = node.inputs[1], gate
        change.nodes.append(Node("Mul", factors, (name,), {}, f"{node.name} filter"))
        change.value(name, change.shapes[factors[0]], w.dtype.name)
        change.nodes.append(replace(node, inputs=(x, name, *node.inputs[2:])))
        count += 1
    note = f"gate filters: {count} products with a number for each channel done by the filters behind them" if count else ""
    return change.done(note, aliases=aliases)


def _gated(conv: Node, product: Node, graph: Graph) -> tuple[str, str] | None:
    """Return the image that a product weighs for a convolution, and the weights; None if there is less to do that way."""
    w = graph.constant(conv.inputs[1])
    if w is None or w.ndim != 4 or w.shape[2:] != (1, 1) or int(conv.get("group", 1)) != 1 or w.dtype != np.float32:
        return None
    if product.op != "Mul" or len(product.inputs) != 2 or "activation" in product.attributes:
        return None
    axis = 3 if conv.get("layout") == "NHWC" else 1
    whole = graph.shapes[product.output]
    weights = tuple(size if i == axis else 1 for i, size in enumerate(whole))
    if len(whole) != 4 or whole[0] != 1 or math.prod(whole) < TIMES * w.size + STEP:
        return None
    for x, gate in (product.inputs, product.inputs[::-1]):
        if graph.shapes[x] == whole and graph.shapes[gate] == weights and gate not in graph.constants:
            return x, gate
    return None
