"""Functions of each element, and of two tensors' elements with broadcasting."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import numpy as np

from clconv.activation import Activation
from clconv.errors import ShapeError, UnsupportedError
from clconv.onnx.functions import FUNCTIONS, function_of
from clconv.onnx.graph import Node, Shape
from clconv.onnx.lower.movement import emit_expand
from clconv.onnx.step import Argument, Channels, Float, Int, Lowering, pieces

BINARY = {"Add": 0, "Sub": 1, "Mul": 2, "Div": 3, "PRelu": 4, "Max": 5, "Min": 6, "Pow": 7, "Sum": 0}
"""Nodes of two tensors, in the order of kernels/network/binary.cl."""

MOST_AXES = 4
"""Groups of axes that two tensors walk along together, of kernels/network/walk.clh."""

NUMBERS = (
    *("float32", "float16", "float64"),
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
)
"""In the order of kernels/network/number.clh."""


def fused(node: Node) -> tuple[int, tuple[Float, Float]]:
    """Return the number of the function that was fused into a node, and its two arguments."""
    activation: Activation = node.get("activation") or Activation()
    return FUNCTIONS.index(activation.kind), (Float(activation.a), Float(activation.b))


def lower_unary(node: Node, to: Lowering) -> None:
    """One function, element by element."""
    dtype = to.floating(node, node.inputs[0])
    function = function_of(node, to.graph)
    if function is None:
        raise UnsupportedError(
            f"the limits of the node {node.name!r} ({node.op}) must be constant; export the model with fixed ones"
        )
    emit_unary(to, node.inputs[0], node.output, function, dtype)


def emit_unary(to: Lowering, x: str, y: str, function: Activation, dtype: str) -> None:
    """Add a step that applies a function."""
    count = math.prod(to.shapes[x])
    chunk = pieces(count, to.lanes(dtype), to.device)
    macros = to.macros(dtype, FUNCTION=FUNCTIONS.index(function.kind))
    arguments = ("x", "y", Int(count), Int(chunk), Float(function.a), Float(function.b))
    launch = to.launch_grouped("unary", macros, arguments, -(-count // chunk))
    to.emit("network/unary", launch, {"x": x, "y": y}, flops=count)


def lower_cast(node: Node, to: Lowering) -> None:
    """Give numbers another type."""
    x, y = node.inputs[0], node.output
    target, count = to.dtypes[y], math.prod(to.shapes[x])
    stored = number_type(to.dtypes[x])
    if not casts(to.dtypes[x], target):
        raise UnsupportedError(
            f"the node {node.name!r} ({node.op}) makes {target} of {to.dtypes[x]}, which is not supported; use types of numbers"
        )
    floating = target in NUMBERS[:3]
    chunk = pieces(count, to.lanes(target) if floating else 1, to.device)
    if floating:
        entry, macros = "cast", to.macros(target, FROM=stored)
    else:
        entry = "cast_integer"
        macros = to.macros("float32", FROM=stored, TO=len(NUMBERS) if target == "bool" else NUMBERS.index(target))
    launch = to.launch_grouped(entry, macros, ("x", "y", Int(count), Int(chunk)), -(-count // chunk))
    to.emit(f"network/{entry}", launch, {"x": x, "y": y})


def number_type(dtype: str) -> int:
    """Return the number of a type in kernels; truth values are bytes, 0 and 1."""
    return NUMBERS.index("uint8" if dtype == "bool" else dtype) if dtype in (*NUMBERS, "bool") else -1


def casts(source: str, target: str) -> bool:
    """Whether elements of a type are made another one's where the network runs."""
    return min(number_type(source), number_type(target)) >= 0


def lower_binary(node: Node, to: Lowering) -> None:
    """Two tensors; more of them for Max, Min and Sum, one after the other."""
    if len(node.inputs) < 2:
        lower_identity_of(node, to)
        return
    left = node.inputs[0]
    for index, right in enumerate(node.inputs[1:], 1):
        if node.op == "Pow" and right in to.constants and to.dtypes[right] != to.dtypes[left]:
            right = to.constant("exponent", to.constants[right].astype(to.dtypes[left]))  # the result is of the base's type
        last = index == len(node.inputs) - 1
        shape = broadcast(to.shapes[left], to.shapes[right])
        y = node.output if last else to.value(f"partial{index}", shape, to.dtypes[left])
        _emit_binary(node, to, left, right, y, last)
        left = y


def lower_identity_of(node: Node, to: Lowering) -> None:
    """Copy the only input."""
    emit_unary(to, node.inputs[0], node.output, Activation(), to.floating(node, node.inputs[0]))


def _emit_binary(node: Node, to: Lowering, a: str, b: str, y: str, last: bool) -> None:
    dtype = to.floating(node, a)
    if to.dtypes[b] != dtype:
        raise UnsupportedError(f"the node {node.name!r} ({node.op}) mixes {dtype} and {to.dtypes[b]}; convert one of them")
    a, b = spread(to, [a, b], y)
    walk = Walk.of(node, to, [a, b], y, to.lanes(dtype))
    function, numbers = fused(node) if last else (0, (Float(0.0), Float(0.0)))
    macros = to.macros(dtype, FUNCTION=function, OP=BINARY[node.op], A_STEP=walk.steps[0], B_STEP=walk.steps[1])
    arguments: tuple[Argument, ...] = ("a", "b", "y", *walk.integers, *numbers)
    launch = to.launch_grouped("binary", macros, arguments, walk.items)
    to.emit("network/binary", launch, {"a": a, "b": b, "y": y}, flops=math.prod(to.shapes[y]))


@dataclass(frozen=True)
class Walk:
    """How work-items go along tensors that are broadcast to one shape.

    Parameters
    ----------
    integers : tuple of Int
        D0 .. D3, three strides of each tensor, CHUNK and ROWS of kernels/network/walk.clh.
    steps : tuple of int
        Of each tensor along a row: 0 or 1.
    items : int
        Work-items.
    """

    integers: tuple[Int, ...]
    steps: tuple[int, ...]
    items: int

    @classmethod
    def of(cls, node: Node, to: Lowering, inputs: list[str], y: str, lanes: int) -> Walk:
        """Return that of a node.

        Raises
        ------
        ShapeError
            If the tensors do not give the result's shape.
        """
        shape, shapes = to.shapes[y], [to.shapes[name] for name in inputs]
        both = " and ".join(map(str, shapes))
        if any(reduce(broadcast, order) != shape for order in (shapes, shapes[::-1])):
            raise ShapeError(
                f"the node {node.name!r} ({node.op}) takes {both}, which do not give {shape}; their sizes must be the same or 1"
            )
        sizes, strides = joined(shape, shapes)
        fill = MOST_AXES - len(sizes)
        sizes, strides = [1] * fill + sizes, [[0] * fill + own for own in strides]
        rows, inner = math.prod(sizes[:3]), sizes[3]
        chunk = pieces(inner, lanes, to.device)
        per_item = max(1, pieces(rows * inner, lanes, to.device) // inner)
        integers = (*sizes, *(stride for own in strides for stride in own[:3]), chunk, per_item)
        return cls(tuple(map(Int, integers)), tuple(own[3] for own in strides), -(-inner // chunk) * -(-rows // per_item))


def spread(to: Lowering, inputs: list[str], y: str) -> list[str]:
    """Return tensors that are broadcast to one shape; where that has too many axes for a walk, the smallest are written out."""
    shape, names = to.shapes[y], list(inputs)
    for which in sorted(range(len(names)), key=lambda i: to.size(names[i])):
        if len(joined(shape, [to.shapes[name] for name in names])[0]) <= MOST_AXES:
            break
        x = names[which]
        if to.shapes[x] != shape and reduce(broadcast, (to.shapes[x], shape)) == shape:
            names[which] = to.value(f"spread {len(to.steps)}", shape, to.dtypes[x])
            emit_expand(to, x, names[which])
    return names


def broadcast(a: Shape, b: Shape) -> Shape:
    """Return the shape of two broadcast ones."""
    n = max(len(a), len(b))
    pairs = zip((1,) * (n - len(a)) + a, (1,) * (n - len(b)) + b, strict=True)
    return tuple(q if p == 1 else p for p, q in pairs)


def joined(shape: Shape, inputs: list[Shape]) -> tuple[list[int], list[list[int]]]:
    """Join neighbouring axes that every tensor walks alike.

    Returns
    -------
    list of int
        The joined sizes of the result.
    list of list of int
        Per input its strides in elements, 0 where it is repeated; the last is 0 or 1.
    """
    n = len(shape)
    padded = [(1,) * (n - len(s)) + tuple(s) for s in inputs]
    sizes: list[int] = []
    kinds: list[tuple[bool, ...]] = []
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        kind = tuple(s[axis] != 1 for s in padded)
        if kinds and kinds[-1] == kind:
            sizes[-1] *= size
        else:
            sizes.append(size)
            kinds.append(kind)
    if not sizes:
        sizes, kinds = [1], [tuple(True for _ in inputs)]
    strides: list[list[int]] = []
    for which in range(len(inputs)):
        step, own = 1, []
        for size, kind in zip(reversed(sizes), reversed(kinds), strict=True):
            own.append(step if kind[which] else 0)
            step *= size if kind[which] else 1
        strides.append(own[::-1])
    return sizes, strides


def lower_batch_norm(node: Node, to: Lowering) -> None:
    """Batch normalisation that stands alone."""
    x = node.inputs[0]
    dtype = to.floating(node, x)
    statistics, epsilon = node.inputs[1:5], float(node.get("epsilon", 1e-5))
    shape = to.shapes[x]
    last = node.get("layout") == "NHWC"
    channels = shape[-1 if last else 1] if len(shape) > 1 else 1
    for name in statistics:
        if to.shapes[name] != (channels,):
            raise ShapeError(
                f"{name!r} has the shape {to.shapes[name]}; for {node.name!r} ({node.op}) it must be ({channels},)"
            )
    if any(to.dtypes[name] != dtype for name in statistics):
        if not all(name in to.constants for name in statistics):
            raise UnsupportedError(f"the node {node.name!r} ({node.op}) mixes element types; export it with {dtype} statistics")
        statistics, epsilon = _one_type(to, statistics, epsilon, dtype), 0.0
    size, count = 1 if last else math.prod(shape[2:]), math.prod(shape)
    sizes: tuple[Argument, ...] = (Int(channels), Int(size))
    length, entry = size, "batch_norm"
    if size == 1 and channels >= to.lanes(dtype) and to.device.is_cpu:  # vectors along the channels, not the pixels
        apart = Channels(channels, "x"), Channels(channels, "y")
        sizes, length, entry = (Int(channels), *apart), channels, "batch_norm_vectors"
    rows = count // length
    per_item = max(1, pieces(count, 1, to.device) // length)
    function, numbers = fused(node)
    arguments: tuple[Argument, ...] = (
        *("x", "scale", "shift", "mean", "variance", "y"),
        *(Int(rows), *sizes, Int(per_item)),
        *(Float(epsilon), *numbers),
    )
    macros = to.macros(dtype, FUNCTION=function)
    launch = to.launch(entry, macros, arguments, (-(-rows // per_item),), "batch_norm")
    names = dict(zip(("x", "scale", "shift", "mean", "variance"), (x, *statistics), strict=True))
    to.emit("network/batch_norm", launch, {**names, "y": node.output}, flops=2 * count)


def _one_type(to: Lowering, statistics: tuple[str, ...], epsilon: float, dtype: str) -> tuple[str, ...]:
    """Return constant statistics of a type that mean the same with an epsilon of 0; that type may not hold a variance."""
    scale, shift, mean, variance = (to.constants[name].astype(np.float64) for name in statistics)
    factor = scale / np.sqrt(variance + epsilon)
    zero, one = np.zeros_like(factor), np.ones_like(factor)
    values = {"scale": factor, "shift": shift - mean * factor, "mean": zero, "variance": one}
    return tuple(to.constant(what, value.astype(dtype)) for what, value in values.items())
