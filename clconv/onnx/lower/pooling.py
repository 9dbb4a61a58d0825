"""Pooling, means, sums, softmax: many elements become one, or know of each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from clconv.algorithms.base import round_up
from clconv.errors import ShapeError
from clconv.onnx.graph import Node
from clconv.onnx.lower.movement import emit_copy, required
from clconv.onnx.problems import window_padding
from clconv.onnx.step import Argument, Channels, Int, Launch, Local, Lowering, Macro, pieces

REDUCE = {
    "ReduceMax": 0,
    "ReduceMean": 1,
    "ReduceSum": 2,
    "ReduceMin": 3,
    "ReduceL1": 4,
    "ReduceSumSquare": 5,
    "ReduceL2": 6,
    "ReduceProd": 7,
    "ReduceLogSum": 8,
    "ReduceLogSumExp": 9,
}
"""Nodes that make one of the elements along some axes, and their number in kernels/network/reduction.clh; the last is a form of
softmax.cl."""

_OF_NOTHING = {0: -np.inf, 1: np.nan, 3: np.inf, 7: 1, 8: -np.inf, 9: -np.inf}  # the others are sums
_FIRST = {"ReduceLogSum": "ReduceSum"}
_AGAIN = {"ReduceSumSquare": "ReduceSum"}
"""What a group of axes with others behind it gets, and one with others before it."""

_BLOCK = 4
"""Vectors of columns that kernels/network/reduce.cl takes at once where there are as many."""

_SOFTMAX = {"Softmax": 0, "LogSoftmax": 1}
_SUM_OF_EXPONENTIALS = 2
"""FORM of kernels/network/softmax.cl."""

_TILES, _SPAN = (4, 2), 12
"""Outputs of a tile of kernels/network/pool_channels.cl, and columns of it, at most: sixteen registers hold them."""

_EXPONENTIALS = 512
"""Of so many a work-item is made at least, which take as long as a few thousand sums."""


def along_first(node: Node) -> bool:
    """Whether a window over three axes is one element wide along the last two, as in PyTorch's LocalResponseNorm."""
    plain = all(list(node.get(name, [1] * 3))[1:] == [1, 1] for name in ("kernel_shape", "strides"))
    pads = list(node.get("pads", [0] * 6))
    return plain and len(pads) == 6 and not any(pads[1:3] + pads[4:])


def lower_pool(node: Node, to: Lowering) -> None:
    """Maximum or mean over a window of an image; a 1-D signal is an image of one row."""
    x, y = node.inputs[0], node.output
    dtype = to.floating(node, x)
    filt = [int(k) for k in node.attributes["kernel_shape"]]
    ones = [1] * len(filt)
    stride, dilation = list(node.get("strides", ones)), list(node.get("dilations", ones))
    channels_last = node.get("layout") == "NHWC"
    size, out = (list(to.shapes[name][1:3] if channels_last else to.shapes[name][2:]) for name in (x, y))
    if 0 in size:
        raise ShapeError(
            f"the node {node.name!r} ({node.op}) pools an image of the shape {to.shapes[x]}; pass one that holds pixels"
        )
    padding = window_padding(node, size, filt, stride, dilation)
    for length, taps, apart, (begin, end) in zip(size, filt, dilation, padding, strict=True):
        span, whole = (taps - 1) * apart + 1, length + begin + end
        # ONNX's formula gives no output; of what is there maxima and means are taken anyway, as elsewhere.
        if span > whole and node.get("count_include_pad", 0) and not node.get("ceil_mode", 0):
            raise ShapeError(
                f"the node {node.name!r} ({node.op}) counts all {span} pixels of a window, where the image {to.shapes[x]} and "
                f"its padding have {whole}; pass a larger one"
            )
    if len(filt) == 3:  # the last two are one, of which each element stands for itself: along_first
        filt, stride, dilation = [filt[0], 1], [stride[0], 1], [dilation[0], 1]
        size, out, padding = [size[0], math.prod(size[1:])], [out[0], math.prod(out[1:])], [padding[0], (0, 0)]
    if len(filt) == 1:
        filt, stride, dilation, size, out = [1, *filt], [1, *stride], [1, *dilation], [1, *size], [1, *out]
        padding = [(0, 0), *padding]
    mode = 0 if node.op == "MaxPool" else 2 if node.get("count_include_pad", 0) else 1
    if not to.device.is_cpu:
        _pool_on_gpu(node, to, dtype, mode, (filt, stride, dilation, size, out), padding)
        return
    lanes = to.lanes(dtype)
    images, channels = (to.shapes[x][0], to.shapes[x][3]) if channels_last else (math.prod(to.shapes[x]) // math.prod(size), 1)
    row = Local((size[1] + 2 * lanes) * (8 if dtype == "float64" else 4))
    # Where a row is too long for the local memory, its plane is an image with a single channel, which needs none.
    by_pixels = channels_last or row.bytes > to.device.local_mem_bytes
    if by_pixels and size[0] == out[0] == channels == 1:
        # A signal stands upright, for rows are what work-items share.
        filt, stride, dilation, size, out = (each[::-1] for each in (filt, stride, dilation, size, out))
        padding = padding[::-1]
    window = dict(zip(("KH", "KW", "SH", "SW", "DH", "DW"), (*filt, *stride, *dilation), strict=True))
    (top, bottom), (left, right) = padding
    integers = (*size, *out, top, left, bottom, right)
    macros = to.macros(dtype, **window, MODE=mode)
    flops = images * channels * math.prod(out) * math.prod(filt)
    if by_pixels:
        rows = max(1, min(out[0], pieces(math.prod(out) * channels, 1, to.device) // (out[1] * channels)))
        tile = next((t for t in _TILES if t <= out[1] and (t - 1) * stride[1] + (filt[1] - 1) * dilation[1] < _SPAN), 1)
        macros = (*macros, ("TILE_OW", tile))
        apart = Channels(channels, "x"), Channels(channels, "y")
        arguments: tuple[Argument, ...] = ("x", "y", *map(Int, (channels, *integers)), *apart, Int(rows))
        launch = to.launch("pool_channels", macros, arguments, (-(-out[0] // rows), images))
        to.emit("network/pool_channels", launch, {"x": x, "y": y}, flops=flops)
        return
    rows = min(out[0], max(1, pieces(images * math.prod(out), 1, to.device, 512) // out[1]))
    launch = to.launch("pool", macros, ("x", "y", *map(Int, (*integers, rows)), row), (-(-out[0] // rows), images))
    to.emit("network/pool", launch, {"x": x, "y": y}, flops=flops)


def _pool_on_gpu(
    node: Node, to: Lowering, dtype: str, mode: int, axes: Sequence[Sequence[int]], padding: Sequence[tuple[int, int]]
) -> None:
    """Add the step of a pooling with one output a work-item; ``axes`` are the window's and the images' sizes."""
    x, y = node.inputs[0], node.output
    (kh, kw), (sh, sw), (dh, dw), size, out = axes
    (top, bottom), (left, right) = padding
    layout = node.get("layout", "NCHW")
    images, channels = to.shapes[x][0], to.shapes[x][3 if layout == "NHWC" else 1]
    macros = to.macros(dtype, NHWC=int(layout == "NHWC"), KH=kh, KW=kw, SH=sh, SW=sw, DH=dh, DW=dw, MODE=mode)
    integers = (images, channels, *size, *out, top, left, bottom, right)
    outputs = images * channels * math.prod(out)
    launch = to.launch_grouped("pool_simt", macros, ("x", "y", *map(Int, integers)), outputs)
    to.emit("network/pool_simt", launch, {"x": x, "y": y}, flops=outputs * kh * kw)


def shares(to: Lowering, outer: int, count: int, inner: int) -> tuple[int, int]:
    """Return how many of a GPU's work-items share the elements of the middle one of three axes, and the work-items in all."""
    share = 1
    while share < to.items and share * 8 <= count and to.items // share > min(inner, 32):
        share *= 2
    return share, outer * -(-inner // (to.items // share)) * to.items


def _shared(to: Lowering, entry: str, dtype: str, outer: int, count: int, inner: int, **macros: int) -> Launch:
    """Return the launch of a GPU's kernel whose work-items share the elements of an axis."""
    share, items = shares(to, outer, count, inner)
    arguments = ("x", "y", Int(count), Int(inner))
    return to.launch_grouped(entry, to.macros(dtype, **macros, SHARES=share), arguments, items)


def _columns(
    to: Lowering,
    file: str,
    macros: tuple[Macro, ...],
    axes: tuple[int, int, int],
    lanes: int,
    block: int = 1,
    least: int = 2048,
) -> Launch:
    """Return the launch of a kernel whose work-items take all elements of some columns along the middle one of three axes.

    Each takes ``block`` vectors of columns and ``least`` elements or more, if there are as many.
    """
    outer, count, inner = axes
    columns = pieces(outer * inner, block * lanes, to.device, max(1, least // count))
    chunk = min(columns, round_up(inner, lanes))
    rows = max(1, columns // inner)
    size = (-(-max(1, inner - lanes + 1) // chunk), -(-outer // rows))  # less than a vector is left to the last one
    return to.launch(f"{file}_columns", macros, ("x", "y", *map(Int, (*axes, chunk, rows))), size, file)


def lower_global_pool(node: Node, to: Lowering) -> None:
    """Mean or maximum over every spatial axis."""
    shape = to.shapes[node.inputs[0]]
    if node.get("layout") == "NHWC":
        outer, count, inner = shape[0], shape[1] * shape[2], shape[3]
    else:
        outer, count, inner = math.prod(shape[:2]), math.prod(shape[2:]), 1
    what = "ReduceMax" if node.op == "GlobalMaxPool" else "ReduceMean"
    emit_reduce(node, to, node.inputs[0], node.output, outer, count, inner, REDUCE[what])


def emit_reduce(node: Node, to: Lowering, x: str, y: str, outer: int, count: int, inner: int, mode: int) -> None:
    """Add a step that makes one of the elements along the middle one of three axes, see :data:`REDUCE`.

    The mean of no elements is not a number, the largest of none minus infinity.
    """
    dtype = to.floating(node, x)
    if 0 in to.shapes[y]:
        return
    if count == 0:
        nothing = to.constant("nothing", np.full(1, _OF_NOTHING.get(mode, 0), dtype))
        emit_copy(to, nothing, y, (outer, inner), (0, 0), (inner, 1), op=f"{node.op} of nothing")
        return
    if mode == REDUCE["ReduceLogSumExp"]:
        _emit_softmax(to, x, y, outer, count, inner, _SUM_OF_EXPONENTIALS)
        return
    macros = to.macros(dtype, MODE=mode)
    if not to.device.is_cpu:
        launch = _shared(to, "reduce_simt", dtype, outer, count, inner, MODE=mode)
        to.emit("network/reduce_simt", launch, {"x": x, "y": y}, flops=outer * count * inner)
        return
    if inner == 1:
        per_item = max(1, pieces(outer * count, 1, to.device) // count)
        launch = to.launch(
            "reduce_rows", macros, ("x", "y", Int(outer), Int(count), Int(per_item)), (-(-outer // per_item),), "reduce"
        )
    else:
        lanes = to.lanes(dtype)
        many = outer * inner >= 2 * to.device.compute_units * _BLOCK * lanes
        launch = _columns(to, "reduce", macros, (outer, count, inner), lanes, _BLOCK if many else 1)
    to.emit("network/reduce", launch, {"x": x, "y": y}, flops=outer * count * inner)


def lower_reduce(node: Node, to: Lowering) -> None:
    """Mean, sum, product, extreme or norm of the elements along some axes, one group of neighbouring ones after the other."""
    x, shape = node.inputs[0], to.shapes[node.inputs[0]]
    axes = required(node, to.constants, 1, "axes").reshape(-1).tolist() if node.input(1) else []
    if not axes and not node.get("noop_with_empty_axes", 0):
        axes = list(range(len(shape)))
    marked = sorted(a % len(shape) for a in axes)
    groups: list[list[int]] = []
    for axis in marked:
        if groups and groups[-1][-1] == axis - 1:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    if not groups:
        emit_reduce(node, to, x, node.output, math.prod(shape), 1, 1, REDUCE[node.op])  # a norm of one element is none yet
        return
    sizes = list(shape)
    for index, group in enumerate(reversed(groups)):
        first, last = group[0], group[-1]
        outer, count, inner = (math.prod(sizes[a:b]) for a, b in ((0, first), (first, last + 1), (last + 1, len(sizes))))
        sizes[first : last + 1] = [1] * len(group)
        y = node.output if index == len(groups) - 1 else to.value(f"partial{index}", tuple(sizes), to.dtypes[x])
        op = node.op if index == 0 else _AGAIN.get(node.op, node.op)
        if index < len(groups) - 1:
            op = _FIRST.get(op, op)
        emit_reduce(node, to, x, y, outer, count, inner, REDUCE[op])
        x = y


def lower_softmax(node: Node, to: Lowering) -> None:
    """Softmax or its logarithm along an axis, or along all axes from one on."""
    x, shape = node.inputs[0], to.shapes[node.inputs[0]]
    to.floating(node, x)
    axis = int(node.get("axis", -1)) % max(len(shape), 1)
    end = len(shape) if node.get("from_axis_on") else axis + 1
    outer, count, inner = (int(np.prod(shape[a:b])) for a, b in ((0, axis), (axis, end), (end, len(shape))))
    _emit_softmax(to, x, node.output, outer, count, inner, _SOFTMAX[node.op])


def _emit_softmax(to: Lowering, x: str, y: str, outer: int, count: int, inner: int, form: int) -> None:
    """Add a step of exponentials along the middle one of three axes."""
    dtype, flops = to.dtypes[x], 4 * outer * count * inner
    if not to.device.is_cpu:
        launch = _shared(to, "softmax_simt", dtype, outer, count, inner, FORM=form)
        to.emit("network/softmax_simt", launch, {"x": x, "y": y}, flops=flops)
        return
    macros = to.macros(dtype, FORM=form)
    if inner == 1:
        rows = max(1, pieces(outer * count, 1, to.device, _EXPONENTIALS) // count)
        arguments = ("x", "y", Int(outer), Int(count), Int(rows))
        launch = to.launch("softmax_rows", macros, arguments, (-(-outer // rows),), "softmax")
    else:
        launch = _columns(to, "softmax", macros, (outer, count, inner), to.lanes(dtype), least=_EXPONENTIALS)
    to.emit("network/softmax", launch, {"x": x, "y": y}, flops=flops)
