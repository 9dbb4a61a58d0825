"""Nodes that move elements and compute nothing: transpose, slice, split, concatenation, repetition, padding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from clconv.algorithms.base import round_up
from clconv.errors import ShapeError, UnsupportedError
from clconv.onnx.graph import Array, Node, Shape
from clconv.onnx.step import Argument, Channels, Int, Lowering, Macro, Part, itemsize, pieces

_BLOCK = 16
"""Rows and columns of a tile of kernels/network/reorder.cl."""

_AXES = 6  # of kernels/network/copy.cl


def strides_of(shape: Shape) -> list[int]:
    """Return the strides of a contiguous tensor, in elements."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return strides


def emit_copy(
    to: Lowering,
    x: str,
    y: str,
    shape: Sequence[int],
    from_strides: Sequence[int],
    to_strides: Sequence[int],
    *,
    from_offset: int = 0,
    to_offset: int = 0,
    op: str = "",
    part: Part | None = None,
) -> None:
    """Add a step that moves ``shape`` elements from places in ``x`` to places in ``y``; ``part`` if they are all of one."""
    axes = [(s, a, b) for s, a, b in zip(shape, from_strides, to_strides, strict=True) if s != 1]
    merged: list[tuple[int, int, int]] = []
    for size, a, b in axes:
        if merged and merged[-1][1] == a * size and merged[-1][2] == b * size:
            merged[-1] = (merged[-1][0] * size, a, b)
        else:
            merged.append((size, a, b))
    if len(merged) > _AXES:
        raise UnsupportedError(
            f"moving elements along {len(merged)} axes at once is not supported, {_AXES} at most; reshape the tensor first"
        )
    merged = _with_rows(merged, to) if to.device.is_cpu else _elements(merged)
    dims = [(1, 0, 0)] * (_AXES - len(merged)) + merged
    sizes, sx, sy = ([axis[i] for axis in dims] for i in range(3))
    inner, rows = sizes[-1], math.prod(sizes[:-1])
    bytes_ = itemsize(to.dtypes[x])
    per_item = max(1, pieces(rows * inner, 1, to.device) // max(inner, 1))
    macros = (
        ("BYTES", bytes_),
        ("CONTIGUOUS", int(sx[-1] == 1 and sy[-1] == 1)),
        ("UNALIGNED_VECTORS", int(to.device.unaligned_vectors)),
    )
    steps: list[Argument] = [*map(Int, (*sx, *sy))]
    if part is not None and (part.rows, *part.steps) in dims:
        axis = dims.index((part.rows, *part.steps))
        for of, place in (("x", axis), ("y", _AXES + axis)):
            steps[place] = Channels((*sx, *sy)[place], of)
    arguments = ("x", "y", *map(Int, sizes), *steps, *map(Int, (from_offset, to_offset, per_item)))
    launch = to.launch_grouped("copy", macros, arguments, -(-rows // per_item))
    to.emit("network/copy", launch, {"x": x, "y": y}, op=op, part=part)


def _emit_part(to: Lowering, x: str, y: str, part: Part) -> None:
    """Add a step that moves a part of a tensor into it, or out of it."""
    from_rows, to_rows = part.steps
    from_offset, to_offset = (0, part.at) if part.of == "x" else (part.at, 0)
    shape, strides = (part.rows, part.size), ((from_rows, 1), (to_rows, 1))
    emit_copy(to, x, y, shape, *strides, from_offset=from_offset, to_offset=to_offset, part=part)


def _part_of(whole: Shape, axis: int, at: int, size: int, of: str) -> Part:
    """Return where ``size`` places along an axis lie, from ``at`` on."""
    inner = math.prod(whole[axis + 1 :])
    return Part(math.prod(whole[:axis]), size * inner, at * inner, whole[axis] * inner, of)


def _with_rows(axes: list[tuple[int, int, int]], to: Lowering) -> list[tuple[int, int, int]]:
    """Cut a single long row, so that every compute unit gets a part of it."""
    if len(axes) == 1:
        size, a, b = axes[0]
        for parts in (8 * to.device.compute_units, 4 * to.device.compute_units, 2 * to.device.compute_units):
            if size % parts == 0 and size // parts >= 2048:
                return [(parts, a * (size // parts), b * (size // parts)), (size // parts, a, b)]
    return axes


def _elements(axes: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Make a row of each element, where an axis is left for that: those of neighbouring lanes lie side by side then."""
    return [*axes, (1, 1, 1)] if len(axes) < _AXES else axes


def lower_identity(node: Node, to: Lowering) -> None:
    """Copy an output that needs memory of its own."""
    shape = to.shapes[node.output]
    emit_copy(to, node.inputs[0], node.output, shape, strides_of(shape), strides_of(shape))


def lower_transpose(node: Node, to: Lowering) -> None:
    """Permute the axes."""
    shape = to.shapes[node.inputs[0]]
    order = [int(a) for a in node.get("perm", range(len(shape))[::-1])]
    strides = strides_of(shape)
    out = tuple(shape[a] for a in order)
    # In tiles, which a GPU's lanes do not need: side by side they write, and the second cache serves what they read apart.
    exchanged = _exchanged(order)
    if to.device.is_cpu and exchanged is not None:
        _emit_reorder(node, to, *(math.prod(shape[a:b]) for a, b in pairwise((0, *exchanged, len(shape)))))
        return
    emit_copy(to, node.inputs[0], node.output, out, [strides[a] for a in order], strides_of(out))


def _exchanged(order: list[int]) -> tuple[int, int] | None:
    """Return where two groups of axes begin, the last of all, that a permutation exchanges; None if it does something else."""
    first = next((i for i, axis in enumerate(order) if axis != i), None)
    if first is None:
        return None
    second = order[first]
    return (first, second) if order[first:] == [*range(second, len(order)), *range(first, second)] else None


def _emit_reorder(node: Node, to: Lowering, images: int, rows: int, columns: int) -> None:
    """Add a step that exchanges rows and columns of matrices; work-items share the longer side."""
    items = max(1, 8 * to.device.compute_units // images)
    blocks = [rows, columns]
    longer = int(columns >= rows)
    blocks[longer] = round_up(-(-blocks[longer] // items), _BLOCK)
    macros = (("BYTES", itemsize(to.dtypes[node.output])), ("UNALIGNED_VECTORS", int(to.device.unaligned_vectors)))
    arguments: tuple[Argument, ...] = ("x", "y", *map(Int, (rows, columns, *blocks)))
    size = (-(-columns // blocks[1]), -(-rows // blocks[0]), images)
    launch = to.launch("reorder", macros, arguments, size)
    to.emit("network/reorder", launch, {"x": node.inputs[0], "y": node.output})


def lower_concat(node: Node, to: Lowering) -> None:
    """Put tensors one behind the other along an axis."""
    whole = to.shapes[node.output]
    axis = int(node.attributes["axis"]) % len(whole)
    at = 0
    for name in node.inputs:
        size = to.shapes[name][axis]
        if 0 not in to.shapes[name]:
            _emit_part(to, name, node.output, _part_of(whole, axis, at, size, "x"))
        at += size


def lower_split(node: Node, to: Lowering) -> None:
    """Cut a tensor along an axis."""
    whole = to.shapes[node.inputs[0]]
    axis = int(node.get("axis", 0)) % len(whole)
    at = 0
    for name in node.outputs:
        size = to.shapes[name][axis]
        if 0 not in to.shapes[name]:
            _emit_part(to, node.inputs[0], name, _part_of(whole, axis, at, size, "y"))
        at += size


def lower_shuffle(node: Node, to: Lowering) -> None:
    """Deal out the channels of two images in turn, into one or into halves."""
    last = node.get("layout", "NCHW") == "NHWC"
    shape, out = to.shapes[node.inputs[0]], to.shapes[node.output]
    channels, half = (shape[3], out[3]) if last else (shape[1], out[1])
    area = shape[1] * shape[2] if last else shape[2] * shape[3]
    names = dict(zip("abyz", (*node.inputs[:2], *node.outputs, ""), strict=False))
    if not to.device.is_cpu:
        sizes = tuple(map(Int, (shape[0], channels, area, half)))
        macros = _macros_of_shuffle(node, to, last)
        launch = to.launch_grouped("shuffle_simt", macros, ("a", "b", "y", "z", *sizes), shape[0] * channels * area)
        to.emit("network/shuffle_simt", launch, names)
        return
    rows, inner = (shape[0] * area, 2 * channels) if last else (shape[0] * 2 * channels, area)
    per_item = max(1, pieces(rows * inner, 1, to.device) // max(inner, 1))
    arguments: tuple[Argument, ...] = ("a", "b", "y", "z", *map(Int, (shape[0], channels, area, half, per_item)))
    launch = to.launch("channel_shuffle", _macros_of_shuffle(node, to, last), arguments, (-(-rows // per_item),))
    to.emit("network/channel_shuffle", launch, names)


def _macros_of_shuffle(node: Node, to: Lowering, last: bool) -> tuple[Macro, ...]:
    return (
        ("BYTES", itemsize(to.dtypes[node.output])),
        ("NHWC", int(last)),
        ("UNALIGNED_VECTORS", int(to.device.unaligned_vectors)),
    )


def required(node: Node, constants: Mapping[str, Array], index: int, what: str) -> Array:
    """Return an input that must be constant.

    Raises
    ------
    UnsupportedError
        If it is not.
    """
    value = constants.get(node.input(index))
    if value is None:
        raise UnsupportedError(
            f"the {what} of the node {node.name!r} ({node.op}) must be constant; export the model with fixed ones"
        )
    return value


def lower_slice(node: Node, to: Lowering) -> None:
    """Take every so-many-th element between two places, along some axes."""
    shape, out = to.shapes[node.inputs[0]], to.shapes[node.output]
    starts = required(node, to.constants, 1, "starts").reshape(-1)
    axes = required(node, to.constants, 3, "axes") if node.input(3) else np.arange(len(starts))
    steps = required(node, to.constants, 4, "steps") if node.input(4) else np.ones(len(starts), np.int64)
    strides = strides_of(shape)
    offset, walked = 0, list(strides)
    for start, axis, step in zip(starts.tolist(), axes.reshape(-1).tolist(), steps.reshape(-1).tolist(), strict=True):
        size = shape[axis]
        first = start + size if start < 0 else start
        first = min(max(first, 0), size if step > 0 else size - 1)
        offset += first * strides[axis]
        walked[axis] = step * strides[axis]
    cut = [axis for axis, size in enumerate(shape) if out[axis] != size]
    if walked == strides and len(cut) == 1:
        (axis,) = cut
        _emit_part(to, node.inputs[0], node.output, _part_of(shape, axis, offset // strides[axis], out[axis], "y"))
        return
    emit_copy(to, node.inputs[0], node.output, out, walked, strides_of(out), from_offset=offset)


def lower_expand(node: Node, to: Lowering) -> None:
    """Repeat a tensor along axes of size 1."""
    emit_expand(to, node.inputs[0], node.output)


def emit_expand(to: Lowering, x: str, y: str) -> None:
    """Repeat a tensor along axes of size 1, or that it does not have, two of them a step: each is one more to move along."""
    out = to.shapes[y]
    shape = (1,) * (len(out) - len(to.shapes[x])) + to.shapes[x]
    repeated = [axis for axis, size in enumerate(shape) if size != out[axis]]
    steps = [repeated[i : i + 2] for i in range(0, len(repeated), 2)] or [[]]
    for index, axes in enumerate(steps):
        wider = tuple(out[axis] if axis in axes else size for axis, size in enumerate(shape))
        strides = [0 if axis in axes else stride for axis, stride in enumerate(strides_of(shape))]
        into = y if index == len(steps) - 1 else to.value(f"expanded {len(to.steps)}", wider, to.dtypes[x])
        emit_copy(to, x, into, wider, strides, strides_of(wider))
        x, shape = into, wider


def lower_tile(node: Node, to: Lowering) -> None:
    """Repeat a tensor along its axes, two of them a step: each is one more axis to move elements along."""
    x = node.inputs[0]
    counts = required(node, to.constants, 1, "repeats").reshape(-1).tolist()
    repeated = [axis for axis, count in enumerate(counts) if count != 1]
    steps = [repeated[i : i + 2] for i in range(0, len(repeated), 2)] or [[]]
    for index, axes in enumerate(steps):
        shape = to.shapes[x]
        out = tuple(size * counts[axis] if axis in axes else size for axis, size in enumerate(shape))
        walk: list[tuple[int, int, int]] = []
        for axis, (size, a, b) in enumerate(zip(shape, strides_of(shape), strides_of(out), strict=True)):
            walk += [(counts[axis], 0, size * b), (size, a, b)] if axis in axes else [(size, a, b)]
        y = node.output if index == len(steps) - 1 else to.value(f"tiled{index}", out, to.dtypes[x])
        sizes, sx, sy = ([axis[i] for axis in walk] for i in range(3))
        emit_copy(to, x, y, sizes, sx, sy)
        x = y


_MODES = {"constant": 0, "reflect": 1, "edge": 2, "wrap": 3}


def lower_pad(node: Node, to: Lowering) -> None:
    """Add a border, or cut some of the tensor off."""
    x, y = node.inputs[0], node.output
    mode = node.text("mode", "constant")
    amounts = required(node, to.constants, 1, "pads")
    rank = len(to.shapes[x])
    axes = (required(node, to.constants, 3, "axes") if node.input(3) else np.arange(rank)).tolist()
    before, after = [0] * rank, [0] * rank
    for axis, first, last in zip(axes, *amounts.reshape(2, -1).tolist(), strict=True):
        before[axis], after[axis] = first, last
    if mode != "constant" and min((*before, *after), default=0) < 0:
        x, before = _cut(to, x, before, after)
    shape, out = to.shapes[x], to.shapes[y]
    if mode != "constant" and any(old == 0 < new for old, new in zip(shape, out, strict=True)):
        raise ShapeError(
            f"the node {node.name!r} (Pad) takes its border from {shape} of {node.inputs[0]!r}, which has no elements; "
            "pass an input that holds some"
        )
    value = node.input(2)
    if value and math.prod(to.shapes[value]) != 1:
        raise ShapeError(
            f"the node {node.name!r} (Pad) fills with {value!r} of the shape {to.shapes[value]}; it must be one number"
        )
    if not value:
        value = to.constant("zero", np.zeros(1, to.dtypes[x]))
    sizes = _joined_unpadded(shape, out, before)
    if len(sizes) > 4:
        raise UnsupportedError(f"the node {node.name!r} (Pad) pads too many axes of {shape}; at most 4 are supported")
    sizes = [(1, 1, 0)] * (4 - len(sizes)) + sizes
    xs, ys, ps = ([axis[i] for axis in sizes] for i in range(3))
    rows = math.prod(ys[:3])
    per_item = max(1, pieces(rows * ys[3], 1, to.device) // ys[3])
    macros = (
        ("BYTES", itemsize(to.dtypes[x])),
        ("UNALIGNED_VECTORS", int(to.device.unaligned_vectors)),
        ("MODE", _MODES[mode]),
    )
    arguments: tuple[Argument, ...] = ("x", "value", "y", *map(Int, (*xs, *ys, *ps, per_item)))
    launch = to.launch("pad", macros, arguments, (-(-rows // per_item),))
    to.emit("network/pad", launch, {"x": x, "value": value, "y": y})


def _cut(to: Lowering, x: str, before: list[int], after: list[int]) -> tuple[str, list[int]]:
    """Cut off what negative padding says, of which no border is taken then; return what is left, and its padding before."""
    shape, strides = to.shapes[x], strides_of(to.shapes[x])
    left = tuple(max(0, s + min(b, 0) + min(a, 0)) for s, b, a in zip(shape, before, after, strict=True))
    cut = to.value("cut", left, to.dtypes[x])
    if 0 not in left:
        offset = sum(max(0, -b) * stride for b, stride in zip(before, strides, strict=True))
        emit_copy(to, x, cut, left, strides, strides_of(left), from_offset=offset, op="cut")
    return cut, [max(0, b) for b in before]


def _joined_unpadded(shape: Shape, out: Shape, before: list[int]) -> list[tuple[int, int, int]]:
    """Join neighbouring axes that are not padded: (size in x, size in y, padding before)."""
    joined: list[tuple[int, int, int]] = []
    for s, o, b in zip(shape, out, before, strict=True):
        if s == o and b == 0 and joined and joined[-1][0] == joined[-1][1] and joined[-1][2] == 0:
            joined[-1] = (joined[-1][0] * s, joined[-1][1] * o, 0)
        else:
            joined.append((s, o, b))
    return joined
