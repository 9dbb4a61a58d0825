"""ScatterND and ScatterElements: some elements of a tensor replaced, as an assignment to a part of it is exported."""

from __future__ import annotations

import math

import numpy as np

from clconv.errors import ShapeError, UnsupportedError
from clconv.onnx.graph import Array, Node, Shape
from clconv.onnx.lower.gather import flat_places, within
from clconv.onnx.lower.movement import required
from clconv.onnx.step import Argument, Int, Lowering, itemsize, pieces


def lower_scatter_nd(node: Node, to: Lowering) -> None:
    """Replace what constant numbers along the first axes name."""
    shape = to.shapes[node.inputs[0]]
    places = required(node, to.constants, 1, "indices")
    axes = places.shape[-1] if places.ndim else len(shape) + 1
    _check(node, to, places, axes <= len(shape), (*places.shape[:-1], *shape[axes:]))
    _emit_put(node, to, flat_places(node, places, shape[:axes]), math.prod(shape[axes:]))


def lower_scatter_elements(node: Node, to: Lowering) -> None:
    """Replace elements along an axis that a constant number for each new one names."""
    shape = to.shapes[node.inputs[0]]
    places = required(node, to.constants, 1, "indices")
    axis = int(node.get("axis", 0))
    axis += len(shape) if axis < 0 else 0
    beside = (n <= size for along, (n, size) in enumerate(zip(places.shape, shape, strict=False)) if along != axis)
    _check(node, to, places, places.ndim == len(shape) and all(beside), places.shape)
    where = list(np.ogrid[tuple(slice(size) for size in places.shape)])
    where[axis] = within(node, places, shape[axis])
    _emit_put(node, to, np.ravel_multi_index(tuple(np.broadcast_arrays(*where)), shape), 1)


def _check(node: Node, to: Lowering, places: Array, lie_within: bool, updates: Shape) -> None:
    """Refuse places that do not fit the tensor, and new elements that do not fit the places; ONNX's inference lets both pass.

    Raises
    ------
    ShapeError
    """
    x, at, u = node.inputs
    if not lie_within or to.shapes[u] != updates:
        got = f"{x!r} {to.shapes[x]}, {at!r} {places.shape} and {u!r} {to.shapes[u]}"
        need = f"{u!r} must have the shape {updates}" if lie_within else f"{at!r} must lie within {x!r}"
        raise ShapeError(f"the node {node.name!r} ({node.op}) takes {got}; {need}")


def _emit_put(node: Node, to: Lowering, rows: Array, inner: int) -> None:
    """Add a step that replaces rows of ``inner`` elements; of several for one place the last one counts.

    Raises
    ------
    UnsupportedError
        If new elements are to be added to old ones.
    """
    if node.text("reduction", "none") != "none":
        raise UnsupportedError(
            f"the node {node.name!r} ({node.op}) joins elements by {node.text('reduction', '')!r}, which is not supported; "
            "replace them"
        )
    x, _, updates = node.inputs
    count = math.prod(to.shapes[x]) // inner
    source = np.full(count, -1, np.int32)
    source[rows.reshape(-1)] = np.arange(rows.size)
    per_item = max(1, pieces(count * inner, 1, to.device) // inner)
    macros = (("BYTES", itemsize(to.dtypes[x])), ("UNALIGNED_VECTORS", int(to.device.unaligned_vectors)))
    arguments: tuple[Argument, ...] = ("x", "u", "from", "y", *map(Int, (count, inner, per_item)))
    launch = to.launch_grouped("put", macros, arguments, -(-count // per_item))
    values = {"x": x, "u": updates, "from": to.constant("from", source), "y": node.output}
    to.emit("network/put", launch, values)
