"""If, whose condition follows from sizes: PyTorch exports a squeeze so of an axis that may be longer than one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import onnx

from clconv.errors import ShapeError
from clconv.onnx.graph import Array, Node, derived

_BRANCHES = ("then_branch", "else_branch")


@dataclass(frozen=True)
class Branch:
    """What an If computes in one of the two cases.

    Parameters
    ----------
    nodes : tuple of Node
        They may read what is computed around the If.
    outputs : tuple of str
    """

    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]


def read_choice(node: Node, read: Callable[[onnx.GraphProto], list[Node]]) -> Node:
    """Return an If with its branches as nodes; what these read from around it are inputs, behind the condition.

    Parameters
    ----------
    node : Node
        With the branches as they stand in the file.
    read : callable
        Reads the nodes of a graph, and puts its constants among those of the model.
    """
    branches: dict[str, Branch] = {}
    captured: dict[str, None] = {}
    for key in _BRANCHES:
        inner = _renamed(node.attributes[key], f"{node.output} {key}", {})
        nodes = read(inner)
        outputs = tuple(value.name for value in inner.output)
        made = {name for each in nodes for name in each.outputs}
        captured.update((name, None) for each in nodes for name in each.inputs if name and name not in made)
        captured.update((name, None) for name in outputs if name not in made)
        branches[key] = Branch(tuple(nodes), outputs)
    return Node("If", (*node.inputs[:1], *captured), node.outputs, {**branches, "captured": tuple(captured)}, node.name)


def _renamed(graph: onnx.GraphProto, place: str, around: Mapping[str, str]) -> onnx.GraphProto:
    """Return a branch whose own values have names that nothing else in the model has."""
    inner = onnx.GraphProto()
    inner.CopyFrom(graph)
    own = [*(t.name for t in inner.initializer), *(name for raw in inner.node for name in raw.output if name)]
    names = {**around, **{name: derived(place, name) for name in own}}
    for tensor in inner.initializer:
        tensor.name = names[tensor.name]
    for raw in inner.node:
        for values in (raw.input, raw.output):
            values[:] = [names.get(name, name) for name in values]
        for attribute in raw.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                attribute.g.CopyFrom(_renamed(attribute.g, place, names))
    for output in inner.output:
        output.name = names.get(output.name, output.name)
    return inner


def opened(nodes: Iterable[Node], constants: Mapping[str, Array]) -> Iterator[Node]:
    """Iterate over nodes, and in place of an If whose condition is among the constants by then over those of its branch."""
    for node in nodes:
        branch = _chosen(node, constants)
        if branch is None:
            yield node
        else:
            yield from opened(branch, constants)


def kinds(node: Node) -> set[str]:
    """Return the kinds of the nodes that an If holds, in either branch and within others; that of another node alone."""
    if node.op != "If":
        return {node.op}
    return {kind for key in _BRANCHES for each in node.attributes[key].nodes for kind in kinds(each)}


def _chosen(node: Node, constants: Mapping[str, Array]) -> list[Node] | None:
    """Return the nodes that stand for an If whose condition is known, None for other nodes.

    Raises
    ------
    ShapeError
        If the condition is not one truth value.
    """
    condition = constants.get(node.inputs[0]) if node.op == "If" else None
    if condition is None:
        return None
    if condition.size != 1:
        raise ShapeError(f"the condition of the node {node.name!r} (If) has the shape {condition.shape}; it must be one value")
    branch: Branch = node.attributes[_BRANCHES[0] if condition.reshape(-1)[0] else _BRANCHES[1]]
    now = dict(zip(node.attributes["captured"], node.inputs[1:], strict=True))
    nodes = [replace(each, inputs=tuple(now.get(name, name) for name in each.inputs)) for each in branch.nodes]
    for source, target in zip(branch.outputs, node.outputs, strict=False):
        if target:
            nodes.append(Node("Identity", (now.get(source, source),), (target,), {}, node.name))
    return nodes
