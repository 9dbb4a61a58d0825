"""Passes over concatenations: what they take, and what is computed before them in place of behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate, pairwise

from clconv.activation import ACTIVATIONS
from clconv.onnx.folding import channels_of, known_filter
from clconv.onnx.functions import UNARY, function_of
from clconv.onnx.graph import Graph, Node, derived, without_dead
from clconv.onnx.statistics import trains

_NORM = "BatchNormalization"


def concat_last(graph: Graph) -> Graph:
    """Normalise and apply a function before convolutions are put together, so that they do it, as in MixNet's blocks."""
    uses, made, constants = graph.uses(), graph.producers(), dict(graph.constants)
    nodes: list[Node] = []
    gone: set[str] = set()
    for node in graph.nodes:
        concat = made.get(node.input(0))
        channels = None if concat is None or uses[node.inputs[0]] != 1 else _channels(concat, graph, made, uses)
        if concat is None or channels is None or not _goes_before(node, sum(channels), graph):
            nodes.append(node)
            continue
        ends = list(accumulate(channels, initial=0))
        parts = []
        for name, (first, last) in zip(concat.inputs, pairwise(ends), strict=True):
            parts.append(derived(node.output, f"{first}:{last}"))
            numbers = list(node.inputs[1:])
            for index, number in enumerate(numbers if node.op == _NORM else ()):
                numbers[index] = derived(number, f"{first}:{last}")
                constants[numbers[index]] = constants[number][first:last]
            nodes.append(replace(node, inputs=(name, *numbers), outputs=(parts[-1],)))
        nodes.append(replace(concat, inputs=tuple(parts), outputs=node.outputs))
        gone.add(concat.output)
    note = f"concat last: {len(gone)} normalisations and functions done before a Concat" if gone else ""
    kept = [node for node in nodes if node.output not in gone]
    return without_dead(graph.with_nodes(kept, note, constants=constants)) if gone else graph


def _channels(concat: Node, graph: Graph, made: Mapping[str, Node], uses: Mapping[str, int]) -> list[int] | None:
    """Return the channels of each part, None unless these are all convolutions' with known filters, read by nobody else."""
    if concat.op != "Concat":
        return None
    channels = []
    for name in concat.inputs:
        conv = made.get(name)
        if conv is None or uses[name] != 1 or not known_filter(conv, graph.constants):
            return None
        w = graph.constants[conv.inputs[1]]
        if int(concat.attributes["axis"]) % w.ndim != 1:
            return None
        channels.append(channels_of(conv, w))
    return channels


def _goes_before(node: Node, channels: int, graph: Graph) -> bool:
    """Whether a node can be done by the convolutions before a Concat of so many channels."""
    if node.op == _NORM:
        values = [graph.constant(name) for name in node.inputs[1:5]]
        return not trains(node) and all(value is not None and value.shape == (channels,) for value in values)
    function = function_of(node, graph) if node.op in UNARY else None
    return function is not None and function.kind in ACTIVATIONS


def chain_concats(graph: Graph) -> Graph:
    """Let a Concat begin with what an earlier one has put together, as each layer of a DenseNet takes all before it."""
    made: dict[tuple[int, tuple[str, ...]], str] = {}
    nodes: list[Node] = []
    fewer = 0
    for node in graph.nodes:
        if node.op == "Concat":
            axis, parts = int(node.attributes["axis"]) % len(graph.shapes[node.output]), node.inputs
            longest = next((n for n in range(len(parts) - 1, 1, -1) if (axis, parts[:n]) in made), 0)
            made.setdefault((axis, parts), node.output)
            if longest:
                node = replace(node, inputs=(made[axis, parts[:longest]], *parts[longest:]))
                fewer += longest - 1
        nodes.append(node)
    note = f"chain concats: {fewer} parts that an earlier one has put together" if fewer else ""
    return graph.with_nodes(nodes, note)


def join_splits(graph: Graph) -> Graph:
    """Let a Concat take what a Split has cut in place of all the parts in their order, as stages of YOLO's networks do."""
    made = graph.producers()
    nodes: list[Node] = []
    joined = 0
    for node in graph.nodes:
        if node.op == "Concat":
            rank = len(graph.shapes[node.output])
            inputs, parts = [], list(node.inputs)
            while parts:
                split = made.get(parts[0])
                count = len(split.outputs) if split is not None and split.op == "Split" else 0
                whole = split is not None and tuple(parts[:count]) == split.outputs
                if split is not None and whole and (int(split.get("axis", 0)) - int(node.attributes["axis"])) % rank == 0:
                    inputs.append(split.inputs[0])
                    del parts[:count]
                    joined += 1
                else:
                    inputs.append(parts.pop(0))
            node = replace(node, inputs=tuple(inputs))
        nodes.append(node)
    note = f"join splits: {joined} tensors put together whole that had been cut" if joined else ""
    return without_dead(graph.with_nodes(nodes, note))
