"""Passes that write nodes in a form that is faster, or that the layout of images needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

from clconv.onnx.graph import Change, Graph, Node, Shape, derived, without_dead
from clconv.onnx.lower.elementwise import BINARY, MOST_AXES, broadcast, joined
from clconv.onnx.problems import TO_LAST

TO_FIRST = (0, 3, 1, 2)
"""The inverse of :data:`TO_LAST`."""

_MEANS = ("AveragePool", "GlobalAveragePool")

_WORTH = 16
"""Multiply-adds of a convolution that take as long as pooling an element more."""

_POOLED = {"ReduceMean": "GlobalAveragePool", "ReduceMax": "GlobalMaxPool"}


def is_transpose(node: Node | None, perm: tuple[int, ...]) -> bool:
    """Whether a node permutes the axes in this way."""
    return node is not None and node.op == "Transpose" and tuple(int(a) for a in node.get("perm", ())) == perm


def drop_identities(graph: Graph) -> Graph:
    """Read what an Identity reads in place of its output, so that passes see which node stands behind which.

    Exports from PaddlePaddle have one behind every other node, and so have those of models with Dropout. Outputs keep theirs.
    """
    new: dict[str, str] = {}
    nodes: list[Node] = []
    for each in graph.nodes:
        node = replace(each, inputs=tuple(new.get(name, name) for name in each.inputs))
        if node.op == "Identity" and node.output not in graph.outputs:
            new[node.output] = node.inputs[0]
        else:
            nodes.append(node)
    note = f"drop identities: {len(new)} left out" if new else ""
    return without_dead(graph.with_nodes(nodes, note)) if new else graph


def drop_idle(graph: Graph) -> Graph:
    """Make Identity of nodes that give what they take: slices of all, expansions to the same shape, padding of nothing."""
    nodes: list[Node] = []
    idle = 0
    for node in graph.nodes:
        if _is_idle(node, graph):
            node = Node("Identity", node.inputs[:1], node.outputs, {}, node.name)
            idle += 1
        nodes.append(node)
    note = f"drop idle: {idle} nodes that give what they take" if idle else ""
    return graph.with_nodes(nodes, note) if idle else graph


def _is_idle(node: Node, graph: Graph) -> bool:
    if node.op not in ("Slice", "Expand", "Tile", "Pad", "Concat", "Split") or len(node.outputs) != 1:
        return False
    x, y = node.input(0), node.output
    if graph.shapes[x] != graph.shapes[y] or graph.dtypes[x] != graph.dtypes[y]:
        return False
    if node.op == "Slice" and node.input(4):
        steps = graph.constant(node.inputs[4])
        return steps is not None and bool((steps > 0).all())
    if node.op == "Pad":
        amounts, number = graph.constant(node.input(1)), not node.input(2) or math.prod(graph.shapes[node.inputs[2]]) == 1
        return amounts is not None and not amounts.any() and number
    return node.op != "Concat" or len(node.inputs) == 1


def read_unexpanded(graph: Graph) -> Graph:
    """Let sums and products read what an Expand repeats, as they do themselves where the other side has the whole shape."""
    made = graph.producers()
    nodes: list[Node] = []
    read = 0
    for node in graph.nodes:
        inputs = list(node.inputs)
        for index, name in enumerate(inputs if node.op in BINARY else ()):
            expand = made.get(name)
            if expand is not None and expand.op == "Expand":
                shapes = [graph.shapes[other] for other in (*inputs[:index], expand.inputs[0], *inputs[index + 1 :])]
                whole = graph.shapes[node.output]
                if reduce(broadcast, shapes) == whole and len(joined(whole, shapes)[0]) <= MOST_AXES:
                    inputs[index] = expand.inputs[0]
                    read += 1
        nodes.append(replace(node, inputs=tuple(inputs)))
    note = f"read unexpanded: {read} tensors repeated by the sums and products that read them" if read else ""
    return without_dead(graph.with_nodes(nodes, note)) if read else graph


def pool_means(graph: Graph) -> Graph:
    """Make global pooling, which works in either layout, of a mean or maximum over all pixels, as PyTorch exports it."""
    change, made = Change(graph), 0
    nodes = change.nodes
    for node in graph.nodes:
        axes = graph.constant(node.input(1)) if node.op in _POOLED and node.input(1) else None
        shape: Shape = graph.shapes[node.inputs[0]] if node.inputs else ()
        if axes is None or len(shape) != 4 or sorted(int(a) % 4 for a in axes.reshape(-1)) != [2, 3]:
            nodes.append(node)
            continue
        made += 1
        if node.get("keepdims", 1):
            nodes.append(Node(_POOLED[node.op], node.inputs[:1], node.outputs, {}, node.name))
            continue
        pooled = derived(node.output, "pooled")
        change.value(pooled, (*shape[:2], 1, 1), graph.dtypes[node.output])
        nodes.append(Node(_POOLED[node.op], node.inputs[:1], (pooled,), {}, node.name))
        nodes.append(Node("Reshape", (pooled,), node.outputs, {}, node.name))
    note = f"pool means: {made} means or maxima over all pixels made global pooling" if made else ""
    return change.done(note)


def pool_first(graph: Graph) -> Graph:
    """Take means of an image before the 1x1 convolution in front of them, which has fewer pixels to look at then.

    Both are linear, so ``mean(conv(x)) = conv(mean(x))``: a quarter of the multiply-adds between the blocks of DenseNet
    (https://arxiv.org/abs/1608.06993).
    """
    uses, order = graph.uses(), {node.output: i for i, node in enumerate(graph.nodes)}
    change, moved = Change(graph), 0
    shapes, nodes = change.shapes, change.nodes
    nodes += graph.nodes
    for at, pool in enumerate(graph.nodes):
        conv = nodes[order[pool.inputs[0]]] if pool.op in _MEANS and pool.inputs[0] in order else None
        if conv is None or uses[conv.output] != 1 or not _commutes(conv, pool, shapes):
            continue
        pooled = derived(pool.output, "pooled")
        change.value(pooled, (*shapes[conv.inputs[0]][:2], *shapes[pool.output][2:]), graph.dtypes[pool.output])
        nodes[order[conv.output]] = replace(pool, inputs=conv.inputs[:1], outputs=(pooled,))
        nodes[at] = replace(conv, inputs=(pooled, *conv.inputs[1:]), outputs=pool.outputs)
        moved += 1
    note = f"pool first: {moved} means taken before the 1x1 convolution in front of them" if moved else ""
    return change.done(note) if moved else graph


def _commutes(conv: Node, pool: Node, shapes: Mapping[str, Shape]) -> bool:
    """Whether a node is a 1x1 convolution that may as well, and had better, follow the means that are taken of its output."""
    if conv.op != "Conv" or any(size != 1 for size in shapes[conv.inputs[1]][2:]):
        return False
    if any(s != 1 for s in conv.get("strides", ())) or any(conv.get("pads", ())):
        return False
    # The mean of a constant is this constant, but where zeros of the padding count.
    padded = any(pool.get("pads", ())) or pool.get("ceil_mode", 0) or pool.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    if conv.input(2) and pool.get("count_include_pad", 0) and padded:
        return False
    x, y, small = (shapes[name] for name in (conv.inputs[0], conv.output, pool.output))
    saved = (math.prod(y[2:]) - math.prod(small[2:])) * y[1] * shapes[conv.inputs[1]][1]
    return saved > _WORTH * (x[1] - y[1]) * math.prod(y[2:]) and saved > 0


def plain_powers(graph: Graph) -> Graph:
    """Make a product of a square and a root of a power of one half: ``pow`` takes ten times as long."""
    nodes: list[Node] = []
    made = 0
    for node in graph.nodes:
        exponent = graph.constant(node.input(1)) if node.op == "Pow" else None
        one = exponent is not None and exponent.size == 1 and exponent.ndim <= len(graph.shapes[node.inputs[0]])
        number = float(exponent.reshape(-1)[0]) if exponent is not None and one else None
        if number == 2:
            node = Node("Mul", (node.inputs[0], node.inputs[0]), node.outputs, {}, node.name)
        elif number == 0.5:
            node = Node("Sqrt", node.inputs[:1], node.outputs, {}, node.name)
        made += number in (2, 0.5)
        nodes.append(node)
    note = f"plain powers: {made} squares and roots written as such" if made else ""
    return without_dead(graph.with_nodes(nodes, note))


def normalise_channels(graph: Graph) -> Graph:
    """Make one node of a layer normalisation between the Transpose to N H W C and the one back, as in ConvNeXt."""
    made, uses = graph.producers(), graph.uses()
    nodes: list[Node] = []
    count = 0
    for node in graph.nodes:
        norm = made.get(node.inputs[0]) if is_transpose(node, TO_FIRST) else None
        before = made.get(norm.inputs[0]) if norm is not None and norm.op == "LayerNormalization" else None
        if (
            norm is not None
            and before is not None
            and is_transpose(before, TO_LAST)
            and int(norm.get("axis", -1)) in (-1, 3)
            and uses[before.output] == uses[norm.output] == 1
            and not any(norm.outputs[1:])
        ):
            attributes = {"epsilon": norm.get("epsilon", 1e-5)}
            node = Node("ChannelNormalization", (before.inputs[0], *norm.inputs[1:]), node.outputs, attributes, norm.name)
            count += 1
        nodes.append(node)
    note = f"normalise channels: {count} layer normalisations between two transpositions made one node each" if count else ""
    return without_dead(graph.with_nodes(nodes, note))


def cancel_transposes(graph: Graph) -> Graph:
    """Leave out a Transpose that undoes the one before it, as where an image in N H W C is looked at with its channels last."""
    made = graph.producers()
    outputs = {graph.root(name) for name in graph.outputs}  # which need memory of their own
    new: dict[str, str] = {}
    nodes: list[Node] = []
    for each in graph.nodes:
        node = replace(each, inputs=tuple(new.get(name, name) for name in each.inputs))
        before = made.get(node.inputs[0]) if is_transpose(node, TO_LAST) or is_transpose(node, TO_FIRST) else None
        undone = TO_FIRST if is_transpose(node, TO_LAST) else TO_LAST
        if before is not None and is_transpose(before, undone) and node.output not in outputs:
            new[node.output] = new.get(before.inputs[0], before.inputs[0])
            continue
        nodes.append(node)
    aliases = {name: new.get(source, source) for name, source in graph.aliases.items()}
    note = f"cancel transpositions: {len(new)} that undo the one before them left out" if new else ""
    return without_dead(graph.with_nodes(nodes, note, aliases=aliases))
