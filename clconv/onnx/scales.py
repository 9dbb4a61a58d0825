"""Passes that move a multiplication by a number, or the addition of one, into the function before it or the filters behind it.

PP-LCNet and PP-HGNet, of which PaddleOCR's models are made, have both behind each activation, and networks without
normalisation (https://arxiv.org/abs/2102.06171) a factor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np

from clconv.onnx.folding import channels_of, known_filter, scaled
from clconv.onnx.functions import function_of, with_axes
from clconv.onnx.graph import Array, Graph, Node, derived, without_dead


@dataclass(frozen=True)
class _Scale:
    """``factor * x + addend``, from a constant."""

    x: str
    factor: float
    addend: float
    constant: Array


def drop_units(graph: Graph) -> Graph:
    """Leave out what multiplies by one or adds zero, as Swish with a factor that was left at one."""
    axes = with_axes(graph)
    new: dict[str, str] = {}
    nodes: list[Node] = []
    for each in graph.nodes:
        node = replace(each, inputs=tuple(new.get(name, name) for name in each.inputs))
        scale = _scale(node, graph.constants, axes)
        if scale is not None and (scale.factor, scale.addend) == (1, 0) and node.output not in graph.outputs:
            new[node.output] = scale.x
        else:
            nodes.append(node)
    note = f"drop units: {len(new)} products with one or sums with zero left out" if new else ""
    return without_dead(graph.with_nodes(nodes, note)) if new else graph


def scale_functions(graph: Graph) -> Graph:
    """Let a hard swish scale its result, and a convolution what is clipped behind it.

    ``s * clip(v, a, b) + t = clip(s * v + t, s * a + t, s * b + t)``, with the limits exchanged where s is negative. ReLU is
    clipping, too.
    """
    return _Functions(graph).done()


class _Functions:
    """The nodes of a graph, in which functions take over what scales them."""

    def __init__(self, graph: Graph) -> None:
        self.uses = graph.uses()
        self.constants = dict(graph.constants)
        self.graph = replace(graph, constants=self.constants)  # with those that are made here
        self.axes = with_axes(graph)
        self.nodes: list[Node] = []
        self.place: dict[str, int] = {}  # of what computes a value

    def done(self) -> Graph:
        """Return the graph."""
        moved = 0
        for node in self.graph.nodes:
            scale = _scale(node, self.constants, self.axes)
            if scale is not None and (self._hard_swish(node, scale) or self._clip(node, scale)):
                moved += 1
            else:
                self.place[node.output] = len(self.nodes)
                self.nodes.append(node)
        note = f"scale functions: {moved} products with or sums of a number done by the function before them" if moved else ""
        return without_dead(self.graph.with_nodes(self.nodes, note))

    def _only(self, name: str) -> int | None:
        """Return the place of the node behind a value that nobody else reads."""
        return self.place.get(name) if self.uses[name] == 1 else None

    def _put(self, at: int, node: Node) -> None:
        self.nodes[at] = node
        self.place[node.output] = at

    def _hard_swish(self, node: Node, scale: _Scale) -> bool:
        at = self._only(scale.x)
        before = None if at is None else self.nodes[at]
        if at is None or before is None or before.op != "HardSwish":
            return False
        factor, addend = before.get("factor", 1.0), before.get("addend", 0.0)
        new = replace(before, outputs=node.outputs)
        self._put(at, new.having(factor=scale.factor * factor, addend=scale.factor * addend + scale.addend))
        return True

    def _clip(self, node: Node, scale: _Scale) -> bool:
        at = self._only(scale.x)
        conv_at = None if at is None else self._only(self.nodes[at].input(0))
        if at is None or conv_at is None or scale.factor == 0:
            return False
        conv, clip = self.nodes[conv_at], self.nodes[at]
        limits = _limits(clip, self.graph)
        if limits is None or not known_filter(conv, self.constants):
            return False
        w = self.constants[conv.inputs[1]]
        if scale.constant.dtype != w.dtype:
            return False
        inner, each = derived(node.output, "scaled"), np.ones(channels_of(conv, w))
        new = scaled(self.graph, conv, inner, self.constants, scale.factor * each, scale.addend * each)
        if new is None:
            return False
        self._put(conv_at, new)
        self.uses[inner] = 1
        inputs = [inner]
        for name, limit in zip(("low", "high"), sorted(scale.factor * v + scale.addend for v in limits), strict=True):
            inputs.append(derived(node.output, name) if math.isfinite(limit) else "")
            if inputs[-1]:
                self.constants[inputs[-1]] = np.asarray(limit, w.dtype)
        self._put(at, Node("Clip", tuple(inputs), node.outputs, {}, clip.name))
        return True


def _scale(node: Node, constants: Mapping[str, Array], axes: AbstractSet[str]) -> _Scale | None:
    """Return what a node multiplies by a number, or adds one to, with no axis more; None if it is no such node."""
    if node.op not in ("Mul", "Div", "Add", "Sub"):
        return None
    pairs = (node.inputs, node.inputs[::-1]) if node.op in ("Mul", "Add") else (node.inputs,)
    for x, other in pairs:
        constant = constants.get(other)
        if constant is None or constant.size != 1 or constant.dtype.kind != "f" or x in constants:
            continue
        if constant.ndim > int(x in axes):
            return None
        number = float(constant.reshape(-1)[0])
        if not math.isfinite(number) or (node.op == "Div" and number == 0):
            return None
        if node.op in ("Add", "Sub"):
            return _Scale(x, 1.0, number if node.op == "Add" else -number, constant)
        return _Scale(x, number if node.op == "Mul" else 1 / number, 0.0, constant)
    return None


def _limits(node: Node, graph: Graph) -> tuple[float, float] | None:
    """Return between which limits a node clips, None if it does not."""
    function = function_of(node, graph) if node.op in ("Relu", "Clip") else None
    if function is None:
        return None
    return {"relu": (0.0, math.inf), "relu6": (0.0, 6.0)}.get(function.kind, (function.a, function.b))


def scale_filters(graph: Graph) -> Graph:
    """Let the convolutions behind a multiplication by a number do it: ``conv(s * x, w) = conv(x, s * w)``."""
    constants, axes = dict(graph.constants), with_axes(graph)
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    multiples: dict[str, tuple[str, float]] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        scale = _scale(node, constants, axes)
        if scale is not None and scale.addend == 0 and node.output not in graph.outputs:
            behind = readers.get(node.output, [])
            if behind and all(_filters(reader, node.output, scale, graph, constants) for reader in behind):
                multiples[node.output] = scale.x, scale.factor
                continue
        if node.inputs and node.inputs[0] in multiples:
            x, factor = multiples[node.inputs[0]]
            name = derived(node.output, "scaled")
            product = graph.multiplied(constants[node.inputs[1]], factor)
            assert product is not None, "_filters has seen to that"
            constants[name] = product
            node = replace(node, inputs=(x, name, *node.inputs[2:]))
        nodes.append(node)
    note = f"scale filters: {len(multiples)} products with a number done by the convolutions behind them" if multiples else ""
    return without_dead(graph.with_nodes(nodes, note, constants=constants))


def _filters(node: Node, name: str, scale: _Scale, graph: Graph, constants: Mapping[str, Array]) -> bool:
    """Whether a node is a convolution whose filter can be multiplied, and reads a multiple as its image alone."""
    if not known_filter(node, constants) or name in node.inputs[1:]:
        return False
    w = constants[node.inputs[1]]
    return scale.constant.dtype == w.dtype and graph.multiplied(w, scale.factor) is not None
