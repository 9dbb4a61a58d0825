"""A pass that makes one convolution of several of the same image whose results are added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from clconv.onnx.folding import known_filter
from clconv.onnx.graph import Array, Graph, Node, derived, without_dead
from clconv.onnx.statistics import affine_of, trains

_Pair = tuple[int, int]


@dataclass(frozen=True)
class _Branch:
    """A convolution of an image, or a batch normalisation as a depthwise one with a single tap."""

    x: str
    w: Array  # OC IC/G KH KW; float64 where it was computed, else as it is
    bias: Array
    dtype: str
    groups: int = 1
    strides: _Pair = (1, 1)
    dilations: _Pair = (1, 1)
    begins: _Pair = (0, 0)  # padding
    ends: _Pair = (0, 0)

    @property
    def extent(self) -> _Pair:
        """Rows and columns from the first tap to the last."""
        height, width = ((k - 1) * d + 1 for k, d in zip(self.w.shape[2:], self.dilations, strict=True))
        return height, width


def merge_branches(graph: Graph) -> Graph:
    """Make one convolution of a sum of several, and of batch normalisations, of the same image.

    ``conv(x, w) + conv(x, v) = conv(x, w + v)``, where the taps of the smaller filter lie among those of the larger one. So are
    RepVGG, MobileOne and RepLKNet trained (https://arxiv.org/abs/2101.03697), and often exported before that is done.
    """
    uses, made, constants = graph.uses(), graph.producers(), dict(graph.constants)
    nodes: list[Node] = []
    merged = 0
    for node in graph.nodes:
        sources = [made.get(name) for name in node.inputs if uses[name] == 1] if node.op == "Add" else []
        if len(sources) == 2 and any(source is not None and source.op == "Conv" for source in sources):
            first, second = (None if source is None else _branch(source, constants) for source in sources)
            total = None if first is None or second is None else _sum(first, second) or _sum(second, first)
            if total is not None and _holds(graph, total):
                node = _convolution(total, node, constants)
                made[node.output] = node
                merged += 1
        nodes.append(node)
    note = f"merge branches: {merged} sums of convolutions of the same image made one convolution each" if merged else ""
    return without_dead(graph.with_nodes(nodes, note, constants=constants))


def _branch(node: Node, constants: Mapping[str, Array]) -> _Branch | None:
    """Return what a node computes, None if it is nothing of that kind or its numbers are not known."""
    if node.op == "BatchNormalization":
        scale = constants.get(node.input(1))
        affine = None if scale is None or scale.ndim != 1 or trains(node) else affine_of(node, len(scale), constants)
        if scale is None or affine is None:
            return None
        return _Branch(node.inputs[0], affine[0].reshape(-1, 1, 1, 1), affine[1], scale.dtype.name, groups=len(scale))
    if node.op != "Conv" or not known_filter(node, constants) or node.text("auto_pad", "NOTSET") != "NOTSET":
        return None
    w = constants[node.inputs[1]]
    bias = constants[node.inputs[2]].astype(np.float64) if node.input(2) else np.zeros(len(w))
    pads = _numbers(node, "pads", 0, 4)
    strides, dilations = _numbers(node, "strides", 1, 2), _numbers(node, "dilations", 1, 2)
    if w.ndim != 4 or pads is None or strides is None or dilations is None or min(*strides, *dilations) < 1:
        return None
    groups = int(node.get("group", 1))
    begins, ends = (pads[0], pads[1]), (pads[2], pads[3])
    return _Branch(
        *(node.inputs[0], w, bias, w.dtype.name, groups),
        *((strides[0], strides[1]), (dilations[0], dilations[1]), begins, ends),
    )


def _numbers(node: Node, name: str, default: int, count: int) -> list[int] | None:
    """Return an attribute of so many numbers, None if it has others."""
    numbers = [int(n) for n in node.get(name, [default] * count)]
    return numbers if len(numbers) == count else None


def _sum(large: _Branch, small: _Branch) -> _Branch | None:
    """Return the convolution that adds both results, None if the second filter does not lie within the first."""
    if (large.x, large.dtype, large.strides) != (small.x, small.dtype, small.strides) or len(large.w) != len(small.w):
        return None
    places: list[list[int]] = []  # of the small filter's taps among the large one's, along each axis
    for axis in (0, 1):
        first = large.begins[axis] - small.begins[axis]
        spare = large.extent[axis] - small.extent[axis]
        if first + large.ends[axis] - small.ends[axis] != spare or not 0 <= first <= spare:
            return None
        pixels = [first + tap * small.dilations[axis] for tap in range(small.w.shape[2 + axis])]
        if any(pixel % large.dilations[axis] for pixel in pixels):
            return None
        places.append([pixel // large.dilations[axis] for pixel in pixels])
    channels = large.w.shape[1]
    w = large.w.astype(np.float64)
    rows, columns = np.ix_(*places)
    if large.groups == small.groups and channels == small.w.shape[1]:
        w[:, :, rows, columns] += small.w
    elif small.groups == len(small.w) == channels * large.groups and small.w.shape[1] == 1:  # depthwise
        for channel, taps in enumerate(small.w[:, 0]):
            w[channel, channel % channels, rows, columns] += taps
    else:
        return None
    return replace(large, w=w, bias=large.bias + small.bias)


def _holds(graph: Graph, branch: _Branch) -> bool:
    """Whether the type of a convolution holds its filter and bias."""
    filt, bias = graph.stored(branch.w, branch.dtype), graph.stored(branch.bias, branch.dtype, added=True)
    return filt is not None and bias is not None


def _convolution(branch: _Branch, add: Node, constants: dict[str, Array]) -> Node:
    """Return the convolution in place of a sum; its filter and bias go into ``constants``."""
    names = derived(add.output, "w"), derived(add.output, "bias")
    for name, value in zip(names, (branch.w, branch.bias), strict=True):
        constants[name] = value.astype(branch.dtype)
    attributes = {
        "kernel_shape": list(branch.w.shape[2:]),
        "pads": [*branch.begins, *branch.ends],
        "strides": list(branch.strides),
        "dilations": list(branch.dilations),
        "group": branch.groups,
    }
    return Node("Conv", (branch.x, *names), add.outputs, attributes, add.name)
