"""The convolution problem that a node stands for."""

from __future__ import annotations

from collections.abc import Sequence

from clconv.errors import ShapeError, UnsupportedError
from clconv.onnx.graph import Graph, Node, Shape
from clconv.problem import ConvProblem

TO_LAST = (0, 2, 3, 1)
"""Where the axes of an image in N H W C come from."""

LAST_FILTER = (2, 3, 1, 0)
"""Where the axes of its filter, KH KW IC/G OC, come from."""


def window_padding(
    node: Node, size: Sequence[int], filt: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]]:
    """Return the padding (before, after) of each spatial axis from ``pads`` or ``auto_pad``."""
    mode = node.text("auto_pad", "NOTSET")
    n = len(size)
    pads = node.get("pads", [0] * 2 * n)
    given = [(int(pads[i]), int(pads[i + n])) for i in range(n)]
    if mode == "NOTSET":
        return given
    result = [(0, 0)] * n
    if mode != "VALID":
        for i, (s, k, st, d) in enumerate(zip(size, filt, stride, dilation, strict=True)):
            total = max(0, (-(-s // st) - 1) * st + (k - 1) * d + 1 - s)
            small, large = total // 2, total - total // 2
            result[i] = (small, large) if mode == "SAME_UPPER" else (large, small)
    if "pads" in node.attributes and given != result:
        due = [pair[side] for side in (0, 1) for pair in result]
        raise ShapeError(
            f"the node {node.name!r} ({node.op}) has the pads {list(pads)}, and by its auto_pad {mode} they are {due}; "
            "leave one of them out"
        )
    return result


def check_window(node: Node, filt: Shape) -> None:
    """Refuse a ``kernel_shape`` that is not the filter's: one decides on the output's size, the other on what is in it."""
    given = node.get("kernel_shape")
    if given is not None and tuple(given) != filt[2:]:
        raise ShapeError(
            f"the filter {node.inputs[1]!r} of the node {node.name!r} ({node.op}) has the shape {filt}, which does not fit its "
            f"kernel_shape {list(given)}; correct one of them"
        )


def transposed_size(node: Node, size: Sequence[int]) -> list[int] | None:
    """Return the spatial axes of a ConvTranspose's output where they are given or follow from ``auto_pad``, else None."""
    given = node.get("output_shape")
    if given is not None:
        return [int(s) for s in given][-len(size) :]
    if node.text("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return [s * st for s, st in zip(size, ints_of(node, "strides", len(size)), strict=True)]
    return None


def problem_of(node: Node, graph: Graph) -> ConvProblem:
    """Return what a Conv of a graph whose shapes are known computes."""
    x, w = node.inputs[:2]
    return conv_problem(node, graph.shapes[x], graph.shapes[w], graph.dtypes[x])


def conv_problem(node: Node, shape: Shape, filt: Shape, dtype: str) -> ConvProblem:
    """Return what a Conv computes.

    Parameters
    ----------
    node : Node
        Its attribute ``layout`` says how images are stored.
    shape, filt : tuple of int
        Of the image, in its layout, and of the filter as ONNX has it: OC, IC/G, then the window.
    dtype : str
    """
    layout = node.get("layout", "NCHW")
    window, size = filt[2:], shape[2:] if layout == "NCHW" else shape[1:-1]
    two_axes(node, len(window))
    check_window(node, filt)
    stride, dilation = ints_of(node, "strides", len(window)), ints_of(node, "dilations", len(window))
    padding = window_padding(node, size, window, stride, dilation)
    lead = (1,) * (2 - len(window))
    return ConvProblem(
        image_shape(shape),
        image_shape(filt) if layout == "NCHW" else (*window, filt[1], filt[0]),
        stride=(*lead, *stride),
        padding=[(0, 0)] * len(lead) + padding,
        dilation=(*lead, *dilation),
        groups=int(node.get("group", 1)),
        layout=layout,
        dtype=dtype,
        bias=bool(node.input(2)),
        residual=bool(node.input(3)),
        activation=node.get("activation"),
    )


def two_axes(node: Node, axes: int) -> None:
    """Refuse a node whose images have other than one or two spatial axes."""
    if axes not in (1, 2):
        raise UnsupportedError(
            f"the node {node.name!r} ({node.op}) has {axes} spatial axes; convolutions with 1 or 2 are supported"
        )


def ints_of(node: Node, name: str, count: int) -> list[int]:
    """Return an attribute of so many integers; ones if it is absent."""
    return [int(v) for v in node.get(name, [1] * count)]


def image_shape(shape: Shape) -> Shape:
    """Return a shape with two spatial axes."""
    return shape if len(shape) == 4 else (*shape[:2], 1, *shape[2:])
