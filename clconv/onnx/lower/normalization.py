"""Layer, instance and group normalisation: elements less their mean, by the root of their variance; of local responses."""

from __future__ import annotations

import math

import numpy as np

from clconv.errors import ShapeError, UnsupportedError
from clconv.onnx.graph import Array, Node, Shape, fits
from clconv.onnx.lower.pooling import REDUCE, emit_reduce, shares
from clconv.onnx.step import Argument, Float, Int, Lowering, pieces

_SUMS = 4
"""Vectors of columns that kernels/network/normalize.cl takes at once."""


def lower_layer_norm(node: Node, to: Lowering) -> None:
    """Over all axes from one on; each element of a row has a scale of its own."""
    shape = to.shapes[node.inputs[0]]
    axis = int(node.get("axis", -1))
    axis += len(shape) if axis < 0 else 0
    rest = shape[axis:]
    scale, shift = (_as_large(node, to, index, rest) for index in (1, 2))
    outer, count = math.prod(shape[:axis]), math.prod(rest)
    _emit(node, to, scale, shift, (outer, count, 1), (1, count, 1))
    mean, deviation = (*node.outputs[1:], "", "")[:2]
    for name in filter(None, (mean, deviation)):
        if to.dtypes[name] != to.dtypes[node.inputs[0]]:
            raise UnsupportedError(
                f"the node {node.name!r} ({node.op}) gives {name!r} in {to.dtypes[name]}, only supported where all is; "
                "drop that output"
            )
    if mean:
        emit_reduce(node, to, node.inputs[0], mean, outer, count, 1, REDUCE["ReduceMean"])
    if deviation:
        macros = to.macros(to.dtypes[deviation], HAS_SHIFT=0)
        arguments = ("x", "y", Int(count), _epsilon(node))
        launch = to.launch("inverse_deviation_rows", macros, arguments, (outer,), "normalize")
        to.emit("network/normalize", launch, {"x": node.inputs[0], "y": deviation}, flops=4 * outer * count)


def lower_lrn(node: Node, to: Lowering) -> None:
    """Each element by a power of the squares of its neighbours along the channels."""
    x, y = node.inputs[0], node.output
    dtype, shape = to.floating(node, x), to.shapes[x]
    size, beta = int(node.attributes["size"]), float(node.get("beta", 0.75))
    if len(shape) < 2 or size < 1:
        raise ShapeError(
            f"the node {node.name!r} (LRN) takes {size} channels of {x!r} of the shape {shape}; they must be one at least, and "
            "the shape N, C and the image's sizes"
        )
    n, channels, inner = shape[0], shape[1], math.prod(shape[2:])
    macros = to.macros(dtype, ROOTS=int(beta == 0.75))
    numbers = (n, channels, inner, (size - 1) // 2, size // 2)
    alpha = float(np.float32(node.get("alpha", 1e-4)))  # the default is a float32 number, too
    factors = (alpha / size, beta, float(node.get("bias", 1.0)))
    arguments: tuple[Argument, ...] = ("x", "y", *map(Int, numbers), *map(Float, factors))
    launch = to.launch_grouped("lrn", macros, arguments, n * -(-inner // to.lanes(dtype)))
    to.emit("network/lrn", launch, {"x": x, "y": y}, flops=math.prod(shape) * (2 * size + 4))


def lower_channel_norm(node: Node, to: Lowering) -> None:
    """Over the channels of each pixel, see :func:`clconv.onnx.rewrite.normalise_channels`."""
    shape = to.shapes[node.inputs[0]]
    last = node.get("layout") == "NHWC"
    axes = (math.prod(shape[:3]), shape[3], 1) if last else (shape[0], shape[1], math.prod(shape[2:]))
    scale, shift = (_as_large(node, to, index, axes[1:2]) for index in (1, 2))
    _emit(node, to, scale, shift, axes, (1, axes[1], 1))


def lower_instance_norm(node: Node, to: Lowering) -> None:
    """Over the pixels of each channel."""
    shape = to.shapes[node.inputs[0]]
    area = math.prod(shape[2:])
    scale, shift = (_as_large(node, to, index, shape[1:2]) for index in (1, 2))
    _emit(node, to, scale, shift, (math.prod(shape[:2]), area, 1), (shape[1], 1, area))


def lower_group_norm(node: Node, to: Lowering) -> None:
    """Over the pixels of some channels side by side."""
    shape = to.shapes[node.inputs[0]]
    if node.get("layout") == "NHWC":  # of one group
        scale, shift = (_as_large(node, to, index, shape[3:]) for index in (1, 2))
        _emit(node, to, scale, shift, (shape[0], math.prod(shape[1:]), 1), (1, shape[3], 1))
        return
    groups, area = int(node.attributes["num_groups"]), math.prod(shape[2:])
    if groups < 1 or shape[1] % groups:
        raise ShapeError(
            f"the node {node.name!r} ({node.op}) has num_groups={groups}, which does not divide its {shape[1]} channels"
        )
    scale, shift = (_as_large(node, to, index, shape[1:2]) for index in (1, 2))
    planes = shape[1] // groups
    _emit(node, to, scale, shift, (shape[0] * groups, planes * area, 1), (groups, planes, area))


def _as_large(node: Node, to: Lowering, index: int, shape: Shape) -> str:
    """Return the value of a scale or a shift, with as many elements as it is for; "" if there is none."""
    name = node.input(index)
    if not name or to.shapes[name] == tuple(shape):
        return name
    own: Shape = to.shapes[name]
    if not fits(own, shape):
        raise ShapeError(f"{name!r} has the shape {own}; for {node.name!r} ({node.op}) it must be {tuple(shape)}")
    if math.prod(own) == math.prod(shape):
        return name
    value: Array | None = to.constants.get(name)
    if value is None:
        raise UnsupportedError(
            f"{name!r} has the shape {own} and is not constant; for {node.name!r} ({node.op}) give it the shape {tuple(shape)}"
        )
    return to.constant(f"input{index}", np.ascontiguousarray(np.broadcast_to(value, shape)))


def _epsilon(node: Node) -> Float:
    return Float(float(node.get("epsilon", 1e-5)))


def _emit(node: Node, to: Lowering, scale: str, shift: str, axes: tuple[int, int, int], kinds: tuple[int, int, int]) -> None:
    """Add the step that normalises along the middle one of three axes; ``kinds``: KINDS, PLANES, AREA of the kernel."""
    x, y = node.inputs[0], node.output
    dtype = to.floating(node, x)
    for name in filter(None, (scale, shift)):
        if to.dtypes[name] != dtype:
            raise UnsupportedError(
                f"the node {node.name!r} ({node.op}) mixes {dtype} and {to.dtypes[name]}; convert one of them"
            )
    outer, count, inner = axes
    values = {"x": x, "scale": scale, "shift": shift, "y": y}
    epsilon, flops = _epsilon(node), 8 * outer * count * inner
    macros = to.macros(dtype, HAS_SHIFT=int(bool(shift)))
    if not to.device.is_cpu:
        share, items = shares(to, outer, count, inner)
        numbers = tuple(map(Int, (count, inner, *kinds)))
        arguments: tuple[Argument, ...] = (*values, *numbers, epsilon)
        launch = to.launch_grouped("normalize_simt", (*macros, ("SHARES", share)), arguments, items)
        to.emit("network/normalize_simt", launch, values, flops=flops)
        return
    repeated = count // (kinds[1] * kinds[2])  # scales and shifts, of pixels with their channels last
    if inner > 1:
        size: tuple[int, ...] = (-(-inner // (_SUMS * to.lanes(dtype))), outer)
        launch = to.launch("normalize_columns", macros, (*values, Int(count), Int(inner), epsilon), size, "normalize")
    elif repeated > 1:
        numbers = tuple(map(Int, (repeated, kinds[1])))
        launch = to.launch("normalize_pixels", macros, (*values, *numbers, epsilon), (outer,), "normalize")
    elif kinds != (1, count, 1):
        launch = to.launch("normalize_planes", macros, (*values, *map(Int, kinds), epsilon), (outer,), "normalize")
    else:
        rows = max(1, pieces(outer * count, 1, to.device) // count)
        arguments = (*values, Int(outer), Int(count), Int(rows), epsilon)
        launch = to.launch("normalize_rows", macros, arguments, (-(-outer // rows),), "normalize")
    to.emit("network/normalize", launch, values, flops=flops)
