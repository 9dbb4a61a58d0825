"""Transposed convolutions: one ordinary convolution, or up to four, whose outputs are put together."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from clconv.activation import Activation
from clconv.onnx.graph import Array, Node, Shape
from clconv.onnx.lower.convolution import check_bias, emit_convolution
from clconv.onnx.lower.interleave import emit_interleave
from clconv.onnx.lower.movement import emit_copy, required, strides_of
from clconv.onnx.phases import Phases, filter_of, phases_of
from clconv.onnx.problems import check_window, image_shape, ints_of, two_axes
from clconv.onnx.separable import launch_seconds
from clconv.onnx.step import Lowering, describe
from clconv.problem import ConvProblem


@dataclass(frozen=True)
class _Part:
    """Phases that one convolution computes: those of the rows and of the columns; it reads the image from ``start`` on."""

    axes: tuple[Phases, Phases]
    start: tuple[int, int]
    problem: ConvProblem

    @property
    def phases(self) -> int:
        return self.axes[0].count * self.axes[1].count


def lower_conv_transpose(node: Node, to: Lowering) -> None:
    """Convolve with all phases of the filter at once, see :mod:`clconv.onnx.phases`, and put their outputs in turn.

    Phases that need fewer taps than others get a convolution of their own where that is predicted to be faster. Else they
    multiply zeros as well, and infinite elements give what is not a number.
    """
    x, bias, y = node.inputs[0], node.input(2), node.output
    to.floating(node, x)
    filt = required(node, to.constants, 1, "filter")
    two_axes(node, filt.ndim - 2)
    check_window(node, filt.shape)
    out = image_shape(to.shapes[y])
    if bias:
        check_bias(to, bias, out[1], y)
    axes = _axes(node, to.shapes[x][2:], to.shapes[y][2:], filt.shape[2:])
    rows, columns, parts = _fastest(node, to, axes, filt.shape)
    if len(parts) == 1 and _in_order(axes, out):
        _convolve(node, to, filt, parts[0], y, 0)
        return
    sources = [to.value(f"phases{i}", part.problem.output_shape, to.dtypes[y]) for i, part in enumerate(parts)]
    for i, (part, source) in enumerate(zip(parts, sources, strict=True)):
        _convolve(node, to, filt, part, source, i)
    counts, firsts = ((axes[0].count, axes[1].count), (rows[0].count, columns[0].count))
    places, begins = ((axes[0].places, axes[1].places), (axes[0].begin, axes[1].begin))
    of = [""] * 4
    for i, (below, left) in enumerate(itertools.product(range(len(rows)), range(len(columns)))):
        of[2 * below + left] = sources[i]
    emit_interleave(to, of, y, counts, places, firsts=firsts, begins=begins, op="put phases together")


def _axes(node: Node, size: Shape, out: Shape, window: Shape) -> tuple[Phases, Phases]:
    """Return the phases of both axes; a signal is an image of one row."""
    n = len(size)
    strides, dilations = ints_of(node, "strides", n), ints_of(node, "dilations", n)
    cut = _cut_before(node, size, out, [(k - 1) * d for k, d in zip(window, dilations, strict=True)], strides)
    found = [phases_of(*facts) for facts in zip(size, out, window, strides, dilations, cut, strict=True)]
    return (found[0], found[1]) if n == 2 else (phases_of(1, 1, 1, 1, 1, 0), found[0])


def _cut_before(node: Node, size: Shape, out: Shape, reach: list[int], strides: list[int]) -> list[int]:
    """Return the padding before, which cuts outputs off: given, or what gives the output the size it has."""
    n = len(size)
    mode = node.text("auto_pad", "NOTSET")
    if mode not in ("SAME_UPPER", "SAME_LOWER") and "output_shape" not in node.attributes:
        return [int(p) for p in node.get("pads", [0] * n)[:n]]
    more: Any = node.get("output_padding", [0] * n)
    result = []
    for i in range(n):
        both = max(0, (size[i] - 1) * strides[i] + 1 + reach[i] + int(more[i]) - out[i])
        result.append(both // 2 if mode == "SAME_UPPER" else both - both // 2)
    return result


def _fastest(
    node: Node, to: Lowering, axes: tuple[Phases, Phases], filt: Shape
) -> tuple[tuple[Phases, ...], tuple[Phases, ...], list[_Part]]:
    """Return the parts of the rows' phases and of the columns', and the convolution of each pair."""
    found = []
    for rows, columns in itertools.product(*(dict.fromkeys(((axis,), axis.parts())) for axis in axes)):
        parts = [_part(node, to, pair, filt) for pair in itertools.product(rows, columns)]
        found.append((rows, columns, parts))
    if len(found) == 1:
        return found[0]
    more = launch_seconds(to.device)
    return min(found, key=lambda each: sum(to.plans.seconds(part.problem) + more for part in each[2]))


def _part(node: Node, to: Lowering, axes: tuple[Phases, Phases], filt: Shape) -> _Part:
    shape = image_shape(to.shapes[node.inputs[0]])
    reads = [axis.reads(size) for axis, size in zip(axes, shape[2:], strict=True)]
    left = (*shape[:2], *(s + min(0, b) + min(0, a) for s, (b, a) in zip(shape[2:], reads, strict=True)))
    groups = int(node.get("group", 1))
    channels = groups * filt[1] * axes[0].count * axes[1].count
    problem = ConvProblem(
        left,
        (channels, filt[0] // groups, len(axes[0].taps[0]), len(axes[1].taps[0])),
        padding=[(max(0, before), max(0, after)) for before, after in reads],
        dilation=(axes[0].step, axes[1].step),
        groups=groups,
        dtype=to.dtypes[node.inputs[0]],
        bias=bool(node.input(2)),
        activation=node.get("activation", Activation()),
    )
    return _Part(axes, (max(0, -reads[0][0]), max(0, -reads[1][0])), problem)


def _in_order(axes: tuple[Phases, Phases], out: Shape) -> bool:
    """Whether the phases lie in memory as the output does: nothing is cut off, and what would change places is 1."""
    rows, columns = axes
    whole = all(axis.begin == 0 and axis.count * axis.places == size for axis, size in zip(axes, out[2:], strict=True))
    return whole and min(rows.count * columns.count, rows.places) == 1 and min(columns.count, columns.places) == 1


def _convolve(node: Node, to: Lowering, filt: Array, part: _Part, y: str, index: int) -> None:
    """Add the convolution of some phases."""
    x, bias = node.inputs[0], node.input(2)
    shape, left = image_shape(to.shapes[x]), part.problem.x_shape
    if left != shape:  # rows or columns that no output reads
        strides = strides_of(shape)
        offset = part.start[0] * strides[2] + part.start[1]
        whole, x = x, to.value(f"read{index}", left, to.dtypes[x])
        emit_copy(to, whole, x, left, strides, strides_of(left), from_offset=offset, op="cut")
    turned = filter_of(filt.reshape(image_shape(filt.shape)), part.problem.G, part.axes)
    emit_convolution(
        to,
        part.problem,
        x=x,
        w=to.constant(f"turned{index}", turned),
        bias=_repeated(to, bias, part.phases, index) if bias and part.phases > 1 else bias,
        residual="",
        y=y,
        op=describe(node),
    )


def _repeated(to: Lowering, bias: str, phases: int, index: int) -> str:
    """Return the bias of each of some phases."""
    value = to.constants.get(bias)
    if value is not None:
        return to.constant(f"bias{index}", np.repeat(value, phases))
    shape = (*to.shapes[bias], phases)
    repeated = to.value(f"bias{index}", (shape[0] * phases,), to.dtypes[bias])
    emit_copy(to, bias, repeated, shape, [1, 0], [phases, 1], op="repeat the bias")
    return repeated
