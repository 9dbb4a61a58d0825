"""Comparisons, truth values, and choices by them; places of extremes."""

from __future__ import annotations

import math

import numpy as np

from clconv.errors import ShapeError, UnsupportedError
from clconv.onnx.graph import Node
from clconv.onnx.lower.elementwise import Walk, number_type, spread
from clconv.onnx.step import Argument, Int, Lowering, itemsize, pieces

COMPARE = {"Equal": 0, "Less": 1, "LessOrEqual": 2, "And": 3, "Or": 4, "Xor": 5, "Greater": 1, "GreaterOrEqual": 2}
"""Nodes that give truth values, in the order of kernels/network/compare.cl; the last two with their tensors exchanged."""

ARG_EXTREME = ("ArgMax", "ArgMin")

_PLACES = 1 << 24
"""Places that float32 numbers tell apart."""


def lower_compare(node: Node, to: Lowering) -> None:
    """Compare two tensors, or join their truth values."""
    a, b = node.inputs[::-1] if node.op.startswith("Greater") else node.inputs
    _emit_compare(node, to, a, b, COMPARE[node.op])


def lower_not(node: Node, to: Lowering) -> None:
    """Turn truth values round: those are equal to 0 that were not."""
    _emit_compare(node, to, node.inputs[0], to.constant("zero", np.zeros((), np.bool_)), COMPARE["Equal"])


def _emit_compare(node: Node, to: Lowering, a: str, b: str, operation: int) -> None:
    a, b = spread(to, [a, b], node.output)
    walk = Walk.of(node, to, [a, b], node.output, 1)
    kind = number_type(to.dtypes[a])
    if kind < 0:
        raise UnsupportedError(
            f"the node {node.name!r} ({node.op}) compares elements of {to.dtypes[a]}, which is not supported; convert them"
        )
    macros = to.macros("float32", FROM=kind, OP=operation, A_STEP=walk.steps[0], B_STEP=walk.steps[1])
    launch = to.launch_grouped("compare", macros, ("a", "b", "y", *walk.integers), walk.items)
    to.emit("network/compare", launch, {"a": a, "b": b, "y": node.output}, flops=math.prod(to.shapes[node.output]))


def lower_where(node: Node, to: Lowering) -> None:
    """Take elements of one tensor or the other."""
    inputs = spread(to, list(node.inputs), node.output)
    walk = Walk.of(node, to, inputs, node.output, 1)
    macros = (
        ("BYTES", itemsize(to.dtypes[node.output])),
        ("UNALIGNED_VECTORS", int(to.device.unaligned_vectors)),
        *zip(("C_STEP", "A_STEP", "B_STEP"), walk.steps, strict=True),
    )
    values = dict(zip(("c", "a", "b"), inputs, strict=True))
    launch = to.launch_grouped("where", macros, (*values, "y", *walk.integers), walk.items)
    to.emit("network/where", launch, {**values, "y": node.output})


def lower_arg_extreme(node: Node, to: Lowering) -> None:
    """Find where the largest or smallest element along an axis is."""
    x, y, shape = node.inputs[0], node.output, to.shapes[node.inputs[0]]
    dtype = to.floating(node, x)
    axis = int(node.get("axis", 0)) % max(len(shape), 1)
    outer, count, inner = math.prod(shape[:axis]), math.prod(shape[axis : axis + 1]), math.prod(shape[axis + 1 :])
    if count == 0:
        raise ShapeError(
            f"the node {node.name!r} ({node.op}) looks along the axis {axis} of {shape}, which holds no elements; "
            "pass an input that does"
        )
    if count > _PLACES:
        raise UnsupportedError(
            f"the node {node.name!r} ({node.op}) looks for an extreme of {count} elements; at most {_PLACES} are supported"
        )
    macros = to.macros(dtype, SMALLEST=int(node.op == "ArgMin"), LAST=int(bool(node.get("select_last_index", 0))))
    lanes = to.lanes(dtype)
    columns = pieces(outer * inner, lanes, to.device, max(1, 2048 // count))
    chunk, rows = (min(columns, -(-inner // lanes) * lanes), max(1, columns // inner)) if inner > 1 else (1, columns)
    arguments: tuple[Argument, ...] = ("x", "y", *map(Int, (outer, count, inner, chunk, rows)))
    launch = to.launch_grouped("arg_extreme", macros, arguments, -(-inner // chunk) * -(-outer // rows))
    to.emit("network/arg_extreme", launch, {"x": x, "y": y}, flops=outer * count * inner)
