"""The layout of each edge: whether an image is stored N C H W, as ONNX has it, or N H W C."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clconv.onnx.functions import UNARY
from clconv.onnx.graph import Array, Graph, Node, Shape, derived
from clconv.onnx.lower.elementwise import BINARY
from clconv.onnx.lower.pooling import REDUCE
from clconv.onnx.problems import TO_LAST, conv_problem
from clconv.onnx.rewrite import TO_FIRST, is_transpose
from clconv.onnx.step import itemsize
from clconv.problem import ConvProblem

_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
_KEPT = {
    **dict.fromkeys(("ChannelNormalization", "Conv", "GroupNormalization"), (1, 2)),
    "BatchNormalization": (1, 2, 3, 4),
}
"""Inputs that are no images."""

_FIRST_LAYERS = 8
"""Convolutions at the beginning of a region that may stay N C H W."""

_MIDST = 1.0
"""By how much reorders in the midst of a network take longer than memory's speed tells."""

_AXIS = {0: 0, 1: 3, 2: 1, 3: 2}
"""Of an image in N H W C, by those of N C H W."""

_WITH_AXIS = ("ArgMax", "ArgMin", "Concat", "LogSoftmax", "Softmax", "Split")
_WITH_AXES = {"Pad": 3, "Slice": 3, **dict.fromkeys(REDUCE, 1)}
"""Nodes that work along axes which an input names."""


def choose_layout(graph: Graph, seconds: Callable[[ConvProblem], float], bandwidth: float) -> Graph:
    """Store images in N H W C where the convolutions gain more from it than the reorders at the edges cost.

    Nodes that work in either layout and share images form a region, which changes as a whole: reorders stand at its edges
    only, and none at images of one pixel, which are the same in both.

    Parameters
    ----------
    graph : Graph
        With every shape known.
    seconds : callable
        Predicted time of a convolution.
    bandwidth : float
        Of the device's memory, in bytes per second.
    """
    changed = []
    for whole in _regions(graph):
        gain, best = _gain(graph, whole, seconds, bandwidth), whole
        for part in _parts(graph, whole):
            # Reorders in the midst of a network take longer than at its beginning, whose first layer may do them.
            less = _gain(graph, part, seconds, bandwidth) - _MIDST * 2 * _moved(graph, part) / bandwidth
            if less > gain:
                gain, best = less, part
        if gain > 0:
            changed.append(best)
    return _Change(graph, changed).graph() if changed else graph


@dataclass(frozen=True)
class _Region:
    """Nodes, by their places, with the images that they read and write, that enter from outside and that are read outside."""

    nodes: Mapping[int, tuple[list[str], list[str]]]
    enter: tuple[str, ...]
    leave: tuple[str, ...]


def _images(node: Node, graph: Graph) -> tuple[list[str], list[str]] | None:
    """Return the images that a node reads and writes, None if it works in one layout only."""
    shapes = graph.shapes
    if node.op == "Conv":
        if node.inputs[1] not in graph.constants or len(shapes[node.inputs[1]]) != 4:
            return None
        reads = [node.inputs[0]]
        if node.input(3) and node.input(3) not in graph.constants:
            reads.append(node.input(3))
    elif node.op in _POOLS or node.op in UNARY or node.op in ("BatchNormalization", "ChannelNormalization"):
        reads = [node.inputs[0]]
        if node.op == "MaxPool" and any(node.outputs[1:]):
            return None
    elif node.op == "GroupNormalization" and int(node.get("num_groups", 0)) == 1:
        reads = [node.inputs[0]]  # in either layout all of an image, side by side
    elif node.op in ("Resize", *_WITH_AXES, *_WITH_AXIS) and node.op != "Concat":
        if not all(name in graph.constants for name in node.inputs[1:] if name) or node.get("from_axis_on"):
            return None
        if node.op in REDUCE and (not node.get("keepdims", 1) or not len(_axes(node, graph.constants))):
            return None
        reads = [node.inputs[0]]
        if node.op in ("ArgMax", "ArgMin"):
            plain = not node.get("keepdims", 1) and int(node.get("axis", 0)) % 4 == 1
            return (reads, []) if plain and len(shapes[reads[0]]) == 4 else None
    elif node.op in BINARY or node.op in ("Concat", "Shuffle"):
        reads = [name for name in node.inputs if name not in graph.constants]
        if node.op == "Concat" and len(reads) < len(node.inputs):
            return None
    else:
        return None
    images = [*reads, *node.outputs]
    if any(len(shapes[name]) != 4 or graph.dtypes[name][:5] != "float" for name in images):
        return None
    return reads, list(node.outputs)


def _axes(node: Node, constants: Mapping[str, Array]) -> list[int]:
    """Return the axes of an image in N C H W along which a node works that names them, or might."""
    if node.op == "Resize":
        axes = node.get("axes", range(4))
    else:
        named = constants.get(node.input(_WITH_AXES[node.op]))
        count = len(constants[node.inputs[1]].reshape(-1)) if node.op == "Slice" else 4
        axes = named.reshape(-1) if named is not None else [] if node.op in REDUCE else range(count)
    return [int(axis) % 4 for axis in axes]


def _regions(graph: Graph) -> list[_Region]:
    images = _within(graph, {i: found for i, node in enumerate(graph.nodes) if (found := _images(node, graph)) is not None})
    maker = {name: index for index, (_, writes) in images.items() for name in writes}
    leader = {index: index for index in images}

    def find(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    for index, (reads, _) in images.items():
        for name in reads:
            if name in maker:
                leader[find(index)] = find(maker[name])
    members: dict[int, dict[int, tuple[list[str], list[str]]]] = {}
    for index, found in images.items():
        members.setdefault(find(index), {})[index] = found
    return [_region(graph, of_one) for of_one in members.values()]


def _region(graph: Graph, images: dict[int, tuple[list[str], list[str]]]) -> _Region:
    """Return the region of nodes, by their places, with the images that they read and write."""
    written = {name for _, writes in images.values() for name in writes}
    outside = {*graph.outputs, *graph.aliases.values()}
    outside |= {name for index, node in enumerate(graph.nodes) if index not in images for name in node.inputs}
    enter = dict.fromkeys(name for reads, _ in images.values() for name in reads if name not in written)
    leave = [name for _, writes in images.values() for name in writes if name in outside]
    return _Region(images, tuple(enter), tuple(leave))


def _parts(graph: Graph, region: _Region) -> Iterator[_Region]:
    """Yield what is left of a region without its first nodes: layers of few channels gain nothing, of images that are large."""
    convolutions = [index for index in region.nodes if graph.nodes[index].op == "Conv"]
    for first in convolutions[1 : _FIRST_LAYERS + 1]:
        yield _region(graph, {index: found for index, found in region.nodes.items() if index >= first})


def _within(graph: Graph, images: dict[int, tuple[list[str], list[str]]]) -> dict[int, tuple[list[str], list[str]]]:
    """Leave nodes that no convolution gains from out at the edges of regions, where that makes what is reordered no larger."""
    images = dict(images)
    while True:
        made = {name for _, writes in images.values() for name in writes}
        read = {name for reads, _ in images.values() for name in reads}
        edge = []
        for index, (reads, writes) in images.items():
            node = graph.nodes[index]
            if node.op not in ("Resize", "LogSoftmax", "Softmax", *_WITH_AXES):
                continue
            before, behind = (math.prod(graph.shapes[names[0]]) for names in (reads, writes))
            first = reads[0] not in made and (behind <= before or node.op == "Pad")  # a first layer may read planes
            if first or (writes[0] not in read and before <= behind):
                edge.append(index)
        if not edge:
            return images
        for index in edge:
            del images[index]


def _gain(graph: Graph, region: _Region, seconds: Callable[[ConvProblem], float], bandwidth: float) -> float:
    """Return the seconds that a region saves in N H W C."""
    gain = -2 * _moved(graph, region) / bandwidth
    for index in region.nodes:
        node = graph.nodes[index]
        if node.op == "Conv":
            shape, dtype = graph.shapes[node.inputs[0]], graph.dtypes[node.inputs[0]]
            filt = graph.shapes[node.inputs[1]]
            gain += seconds(conv_problem(node, shape, filt, dtype))
            gain -= seconds(conv_problem(node.having(layout="NHWC"), _last(shape), filt, dtype))
    return gain


def _moved(graph: Graph, region: _Region) -> int:
    """Return the bytes that reorders move at the edges of a region; a Transpose that stands there already saves its own."""
    inside = {graph.nodes[index].output for index in region.nodes}
    made, readers = graph.producers(), _readers(graph)
    outside = {*graph.outputs, *graph.aliases.values()}
    moved = 0
    for name in region.enter:
        size = math.prod(graph.shapes[name]) * itemsize(graph.dtypes[name])
        if not is_transpose(made.get(name), TO_FIRST):
            moved += size
        elif name not in outside and all(node.output in inside for node in readers[name]):
            moved -= size
    for name in region.leave:
        size = math.prod(graph.shapes[name]) * itemsize(graph.dtypes[name])
        others = [node for node in readers.get(name, ()) if node.output not in inside]
        there = others and name not in outside and all(is_transpose(node, TO_LAST) for node in others)
        moved += -len(others) * size if there else size
    return moved


def _readers(graph: Graph) -> dict[str, list[Node]]:
    """Return the nodes that read each value."""
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    return readers


def _last(shape: Shape) -> Shape:
    """Return the shape of an image in N H W C."""
    return tuple(shape[axis] for axis in TO_LAST)


class _Change:
    """A graph while regions of it are rewritten."""

    def __init__(self, old: Graph, regions: list[_Region]) -> None:
        self.old = old
        self.inside = {index for region in regions for index in region.nodes}
        self.enter = {name for region in regions for name in region.enter}
        self.leave = {name for region in regions for name in region.leave}
        self.shapes: dict[str, Shape] = dict(old.shapes)
        self.dtypes: dict[str, str] = dict(old.dtypes)
        self.constants: dict[str, Array] = dict(old.constants)
        self.aliases: dict[str, str] = dict(old.aliases)
        self.nodes: list[Node] = []
        self.reorders = 0

    def graph(self) -> Graph:
        """Return the new graph."""
        for index, node in enumerate(self.old.nodes):
            if index not in self.inside:
                self.nodes.append(node)
                continue
            for name in node.inputs:
                if name in self.enter and _new(name) not in self.shapes:
                    if name in self.constants:
                        self._turn(name)
                    else:
                        self._name(name)
                        self._reorder(name, _new(name), TO_LAST)
            self.nodes.append(self._turned(node))
            for name in node.outputs:
                if name in self.leave:
                    self._reorder(_new(name), name, TO_FIRST)
        note = f"choose layout: {len(self.inside)} nodes in N H W C, {self.reorders} reorders"
        return self.old.with_nodes(
            self.nodes, note, shapes=self.shapes, dtypes=self.dtypes, constants=self.constants, aliases=self.aliases
        )

    def _name(self, name: str) -> str:
        """Return the name of an image in N H W C."""
        new = _new(name)
        self.shapes[new], self.dtypes[new] = _last(self.old.shapes[name]), self.old.dtypes[name]
        return new

    def _reorder(self, source: str, target: str, perm: tuple[int, ...]) -> None:
        if math.prod(self.shapes[target][1:]) == max(self.shapes[target][1:]):
            self.aliases[target] = source  # all axes but one are 1
            return
        self.nodes.append(Node("Transpose", (source,), (target,), {"perm": perm}, target))
        self.reorders += 1

    def _turned(self, node: Node) -> Node:
        attributes: dict[str, Any] = {"layout": "NHWC"}
        if node.op in _WITH_AXIS:
            default = -1 if node.op in ("LogSoftmax", "Softmax") else 0
            attributes["axis"] = _AXIS[int(node.get("axis", default)) % 4]
        keep = _KEPT.get(node.op, ())
        inputs = [name if not name or i in keep else self._input(name, node) for i, name in enumerate(node.inputs)]
        if node.op == "Resize":
            attributes["axes"] = [_AXIS[axis] for axis in _axes(node, self.constants)]
        elif node.op in _WITH_AXES:
            place, axes = _WITH_AXES[node.op], derived(node.output, "axes")
            self.constants[axes] = np.array([_AXIS[axis] for axis in _axes(node, self.constants)])
            self.shapes[axes], self.dtypes[axes] = self.constants[axes].shape, "int64"
            inputs += [""] * (place + 1 - len(inputs))
            inputs[place] = axes
        image = node.op not in ("ArgMax", "ArgMin")
        outputs = tuple(self._name(name) if image else name for name in node.outputs)
        return replace(node, inputs=tuple(inputs), outputs=outputs).having(**attributes)

    def _input(self, name: str, node: Node) -> str:
        value = self.old.constants.get(name)
        if value is None or name in self.enter:
            return _new(name)
        if node.op not in (*BINARY, "Conv") or value.size == 1:  # of a convolution, the residual
            return name
        self._turn(name)
        return _new(name)

    def _turn(self, name: str) -> None:
        """Store a constant in N H W C."""
        value, new = self.old.constants[name], _new(name)
        whole = value.reshape((1,) * (4 - value.ndim) + value.shape)
        self.constants[new] = np.ascontiguousarray(whole.transpose(TO_LAST))
        self.shapes[new], self.dtypes[new] = self.constants[new].shape, value.dtype.name


def _new(name: str) -> str:
    return derived(name, "nhwc")
