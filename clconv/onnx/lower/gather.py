"""Gather and its relatives: elements of an axis that numbers name, constant ones or what a call brings or computes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from clconv.errors import ShapeError, UnsupportedError
from clconv.onnx.graph import Array, Node, Shape
from clconv.onnx.lower.movement import emit_copy
from clconv.onnx.step import Argument, Int, Lowering, itemsize, pieces

_MOST_RUNS = 8
"""Each is a step of its own. More are taken one by one, by numbers in memory, which takes as long or half of it; measured."""


def lower_gather(node: Node, to: Lowering) -> None:
    """Take the elements of an axis that numbers name: constant ones by copies, if few runs of them are equally far apart."""
    shape = to.shapes[node.inputs[0]]
    axis = int(node.get("axis", 0))
    axis += len(shape) if axis < 0 else 0
    outer, extent, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    numbers = to.constants.get(node.inputs[1])
    if numbers is None:
        emit_take(to, node.inputs[0], node.inputs[1], node.output, (outer, extent, inner))
    else:
        _take_constant(node, to, numbers.reshape(-1), (outer, extent, inner))


def lower_gather_nd(node: Node, to: Lowering) -> None:
    """Take what numbers along the first axes name. Those of several axes are one number where they are constant.

    Raises
    ------
    ShapeError
        If both tensors differ along the axes that they have in common.
    UnsupportedError
        If they are not constant.
    """
    shape, places = to.shapes[node.inputs[0]], to.shapes[node.inputs[1]]
    batch, named = int(node.get("batch_dims", 0)), places[-1]
    if shape[:batch] != places[:batch]:
        raise ShapeError(
            f"the node {node.name!r} (GatherND) takes {node.inputs[0]!r} {shape} and {node.inputs[1]!r} {places}, whose first "
            f"{batch} sizes (batch_dims) must be the same"
        )
    numbers = to.constants.get(node.inputs[1])
    if numbers is None and (batch or named != 1):
        raise UnsupportedError(
            f"the node {node.name!r} (GatherND) looks for places along {batch + named} axes that are no constants, one is "
            "supported; export the model with fixed ones"
        )
    axes = batch + named
    extent, inner = math.prod(shape[:axes]), math.prod(shape[axes:])
    if numbers is None:
        emit_take(to, node.inputs[0], node.inputs[1], node.output, (1, extent, inner))
        return
    flat = flat_places(node, numbers, shape[batch:axes])
    own = np.arange(math.prod(shape[:batch])).reshape(*shape[:batch], *(1,) * (flat.ndim - batch))
    _take_constant(node, to, (own * math.prod(shape[batch:axes]) + flat).reshape(-1), (1, extent, inner))


def lower_gather_elements(node: Node, to: Lowering) -> None:
    """Take elements along an axis that a number for each output names.

    Raises
    ------
    UnsupportedError
        If the numbers leave out elements of another axis.
    """
    shape, places = to.shapes[node.inputs[0]], to.shapes[node.inputs[1]]
    axis = int(node.get("axis", 0))
    axis += len(shape) if axis < 0 else 0
    if (*shape[:axis], *shape[axis + 1 :]) != (*places[:axis], *places[axis + 1 :]):
        raise UnsupportedError(
            f"the node {node.name!r} (GatherElements) takes {places} elements of {shape} along the axis {axis}, where other "
            "axes must be as long; slice what it reads"
        )
    at = node.inputs[1]
    numbers = to.constants.get(at)
    if numbers is not None:
        within(node, numbers, shape[axis])
    sizes = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    emit_take(to, node.inputs[0], at, node.output, sizes, each=True)


def _take_constant(node: Node, to: Lowering, numbers: Array, shape: tuple[int, int, int]) -> None:
    """Take elements that constant numbers name, of the middle one of three axes."""
    outer, extent, inner = shape
    numbers = within(node, numbers, extent)
    runs = _runs(numbers.tolist())
    if len(runs) > _MOST_RUNS:
        emit_take(to, node.inputs[0], to.constant("numbers", numbers.astype(np.int32)), node.output, shape)
        return
    for start, count, step, first in runs:
        emit_copy(
            to,
            node.inputs[0],
            node.output,
            (outer, count, inner),
            (extent * inner, step * inner, 1),
            (len(numbers) * inner, inner, 1),
            from_offset=first * inner,
            to_offset=start * inner,
        )


def emit_take(to: Lowering, x: str, at: str, y: str, shape: tuple[int, int, int], *, each: bool = False) -> None:
    """Add a step that takes elements of the middle one of three axes by numbers in memory, one for each of them or for rows."""
    outer, extent, inner = shape
    count = math.prod(to.shapes[y]) // (outer * inner)
    rows = outer * count
    per_item = max(1, pieces(rows * inner, 1, to.device) // inner)
    macros = (
        ("BYTES", itemsize(to.dtypes[x])),
        ("LONG", int(to.dtypes[at] == "int64")),
        ("EACH", int(each)),
        ("UNALIGNED_VECTORS", int(to.device.unaligned_vectors)),
    )
    arguments: tuple[Argument, ...] = ("x", "at", "y", *map(Int, (rows, extent, count, inner, per_item)))
    launch = to.launch_grouped("take", macros, arguments, -(-rows // per_item))
    to.emit("network/take", launch, {"x": x, "at": at, "y": y})


def within(node: Node, numbers: Array, extent: int) -> Array:
    """Return constant numbers as places along an axis, where those below 0 count from the end.

    Raises
    ------
    ShapeError
        If one names no element.
    """
    numbers = numbers.astype(np.int64)
    if not ((-extent <= numbers) & (numbers < extent)).all():
        raise ShapeError(
            f"the node {node.name!r} ({node.op}) names the elements {numbers.min()} to {numbers.max()} of an axis of {extent}"
        )
    return numbers % max(extent, 1)


def flat_places(node: Node, numbers: Array, shape: Shape) -> Array:
    """Return as one number what constant numbers, along the last axis of theirs, name along several axes."""
    flat: Array = np.zeros(numbers.shape[:-1], np.int64)
    for axis, size in enumerate(shape):
        flat = flat * size + within(node, numbers[..., axis], size)
    return flat


def _runs(numbers: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """Cut numbers into runs of a constant step: place of the first one, how many, step, first number."""
    runs: list[tuple[int, int, int, int]] = []
    for place, number in enumerate(numbers):
        if runs:
            start, count, step, first = runs[-1]
            if count == 1:
                step = number - first
            if number == first + count * step:
                runs[-1] = (start, count + 1, step, first)
                continue
        runs.append((place, 1, 1, number))
    return runs
