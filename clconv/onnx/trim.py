"""A pass that leaves out the taps of a filter which meet nothing but padding, as of a large dilation on a small image."""

from __future__ import annotations

import math
from dataclasses import replace

from clconv.onnx.graph import Change, Graph, Node, derived
from clconv.onnx.problems import ints_of, window_padding


def trim_filters(graph: Graph) -> Graph:
    """Shorten filters to the taps that meet the image for some output.

    The outer taps of DeepLab's 3x3 filters lie 24 pixels from the middle one, where an image of 224 x 224 has become 14 x 14.
    """
    change, taps = Change(graph), 0
    for node in graph.nodes:
        w = graph.constant(node.inputs[1]) if node.op == "Conv" else None
        kept = None if w is None else _kept(node, graph, w.shape[2:])
        if w is None or kept is None:
            change.nodes.append(node)
            continue
        window, pads = kept
        name = derived(node.inputs[1], "taps " + " ".join(f"{first}:{last}" for first, last in window))
        inner = w[(slice(None), slice(None), *(slice(first, last) for first, last in window))]
        change.constant(name, inner)
        taps += math.prod(w.shape[2:]) - math.prod(inner.shape[2:])
        less = replace(node, inputs=(node.inputs[0], name, *node.inputs[2:]))
        change.nodes.append(less.having(kernel_shape=list(inner.shape[2:]), pads=pads, auto_pad=b"NOTSET"))
    note = f"trim filters: {taps} taps left out that meet nothing but padding" if taps else ""
    return change.done(note)


def _kept(conv: Node, graph: Graph, window: tuple[int, ...]) -> tuple[list[tuple[int, int]], list[int]] | None:
    """Return first and last taps (exclusive) of each axis, and the padding that remains; None if nothing can be left out."""
    axes = len(window)
    size, out = graph.shapes[conv.inputs[0]][2:], graph.shapes[conv.output][2:]
    if axes not in (1, 2) or len(size) != axes or 0 in (*size, *out, *window):
        return None
    strides, dilations = ints_of(conv, "strides", axes), ints_of(conv, "dilations", axes)
    padding = window_padding(conv, size, window, strides, dilations)
    if min(*strides, *dilations) < 1 or min(map(min, padding)) < 0 or tuple(conv.get("kernel_shape", window)) != window:
        return None  # which is told where the convolution is taken for one
    kept, before, after = [], [], []
    for s, o, k, st, d, (front, back) in zip(size, out, window, strides, dilations, padding, strict=True):
        meet = [j for j in range(k) if _meets(j * d - front, st, o, s)]
        first, last = (meet[0], meet[-1] + 1) if meet else (0, k)
        # Padding cannot be less than nothing: a tap more is kept then.
        first, last = min(first, front // d), max(last, k - back // d)
        kept.append((first, last))
        before.append(front - first * d)
        after.append(back - (k - last) * d)
    return None if kept == [(0, k) for k in window] else (kept, before + after)


def _meets(pixel: int, stride: int, outputs: int, size: int) -> bool:
    """Whether a tap that meets a pixel, which may lie outside, for the first output meets one of the image's for any."""
    first = max(0, -(pixel // stride))  # output for which it is not in front of the image
    return first < outputs and pixel + first * stride < size
