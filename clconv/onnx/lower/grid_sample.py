"""GridSample: an image at places that another tensor names, as optical flow and spatial transformers move it."""

from __future__ import annotations

import math

from clconv.errors import ShapeError, UnsupportedError
from clconv.onnx.graph import Node
from clconv.onnx.step import Argument, Int, Lowering, pieces

_TAPS = {"nearest": 1, "linear": 2, "bilinear": 2, "cubic": 4, "bicubic": 4}
_BEYOND = ("zeros", "border", "reflection")


def lower_grid_sample(node: Node, to: Lowering) -> None:
    """Interpolate between the pixels of an image.

    Raises
    ------
    ShapeError
        If the image has no pixels.
    UnsupportedError
        If it has other than two spatial axes, or grid and image are of different types.
    """
    x, grid = node.inputs
    shape, dtype = to.shapes[x], to.floating(node, x)
    if len(shape) != 4:
        raise UnsupportedError(
            f"the node {node.name!r} (GridSample) samples an image of the shape {shape}; four axes are supported, N C H W"
        )
    if to.dtypes[grid] != dtype:
        raise UnsupportedError(f"the node {node.name!r} (GridSample) mixes {dtype} and {to.dtypes[grid]}; convert one of them")
    if 0 in shape:
        raise ShapeError(
            f"the node {node.name!r} (GridSample) samples an image of the shape {shape}; pass one that holds pixels"
        )
    images, channels, height, width = shape
    places = math.prod(to.shapes[grid][1:3])
    per_item = pieces(images * places, 1, to.device, max(1, 2048 // channels))
    macros = to.macros(
        dtype,
        TAPS=_TAPS[node.text("mode", "linear")],
        BEYOND=_BEYOND.index(node.text("padding_mode", "zeros")),
        ALIGN=int(bool(node.get("align_corners", 0))),
    )
    arguments: tuple[Argument, ...] = (
        *("x", "grid", "y"),
        *map(Int, (images * places, channels, height, width, places, per_item)),
    )
    launch = to.launch_grouped("grid_sample", macros, arguments, -(-images * places // per_item))
    values = {"x": x, "grid": grid, "y": node.output}
    to.emit("network/grid_sample", launch, values, flops=2 * math.prod(to.shapes[node.output]))
