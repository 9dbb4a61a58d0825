"""Convolutions: the library's own plans, chosen by select."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from clconv.activation import Activation
from clconv.algorithms.standard.run_simd import reading_planes
from clconv.errors import ShapeError, UnsupportedError
from clconv.onnx.graph import Node, Shape
from clconv.onnx.lower.movement import emit_copy, strides_of
from clconv.onnx.problems import TO_LAST, check_window, conv_problem, image_shape, ints_of, two_axes
from clconv.onnx.step import Lowering, describe
from clconv.problem import ConvProblem


def lower_conv(node: Node, to: Lowering) -> None:
    """One convolution of 2-D images; a 1-D signal is an image of one row."""
    x, w, bias, residual = (node.input(i) for i in range(4))
    planes = bool(node.get("planes"))  # of the pass read_planes: the image is still N C H W
    shape = tuple(to.shapes[x][axis] for axis in TO_LAST) if planes else to.shapes[x]
    problem = conv_problem(node, shape, to.shapes[w], to.floating(node, x))
    turned = problem.layout == "NHWC"
    emit_convolution(to, problem, x=x, w=w, bias=bias, residual=residual, y=node.output, turned=turned, planes=planes)


def emit_convolution(
    to: Lowering,
    problem: ConvProblem,
    *,
    x: str,
    w: str,
    bias: str,
    residual: str,
    y: str,
    op: str = "",
    turned: bool = False,
    planes: bool = False,
) -> None:
    """Add the step of a convolution with the plan that select gives.

    ``turned`` means that ``w`` is stored as ONNX has it, ``planes`` that ``x`` is, of a problem in N H W C.
    """
    if bias and to.shapes[bias] != (problem.OC,):
        raise ShapeError(
            f"the bias {bias!r} has the shape {to.shapes[bias]}; for the convolution {y!r} it must be ({problem.OC},)"
        )
    if math.prod(problem.output_shape) != math.prod(to.shapes[y]):
        raise ShapeError(
            f"the convolution that computes {y!r} gives {problem.output_shape}, and its attributes say {to.shapes[y]}; "
            "correct its kernel_shape, pads or auto_pad"
        )
    plan = to.plans.of(problem)
    if planes:
        plan = reading_planes(plan)
    scratch = {f"scratch{i}": size for i, size in enumerate(plan.scratch_bytes)}
    launches = plan.launches
    packs = {}
    if plan.packing is not None and w in to.constants:
        packs["packed"] = (plan.packing, w)
    elif plan.packing is not None:
        launches = plan.every_launch
        scratch["packed"] = plan.packed_bytes
    values = {"x": x, "w": w, "bias": bias, "residual": residual, "y": y}
    to.emit(
        plan.algorithm, launches, values, flops=problem.flops, plan=plan, scratch=scratch, op=op, packs=packs, turned=turned
    )


def lower_conv_transpose(node: Node, to: Lowering) -> None:
    """Spread the image out by the stride, then convolve with the filter turned around: a transposed convolution.

    ``y[oc, oh] = sum over ic, kh of x[ic, (oh + PT - kh*DH) / SH] * w[ic, oc, kh]`` where the division has no remainder.
    Between the elements of ``x`` stand ``stride - 1`` zeros; the filter is flipped and its channels are swapped.
    """
    x, w, bias = (node.input(i) for i in range(3))
    dtype = to.floating(node, x)
    filt = to.constants.get(w)
    if filt is None:
        raise UnsupportedError(
            f"the filter of the node {node.name!r} (ConvTranspose) must be constant; export the model with a fixed one"
        )
    axes = filt.ndim - 2
    two_axes(node, axes)
    check_window(node, filt.shape)
    groups = int(node.get("group", 1))
    stride, dilation = ints_of(node, "strides", axes), ints_of(node, "dilations", axes)
    spread = [(s - 1) * st + 1 for s, st in zip(to.shapes[x][2:], stride, strict=True)]
    reach = [(k - 1) * d for k, d in zip(filt.shape[2:], dilation, strict=True)]
    padding = _transposed_padding(node, spread, reach, to.shapes[node.output][2:])
    ic, ocg = filt.shape[:2]
    swapped = (
        filt.reshape(groups, ic // groups, *filt.shape[1:]).swapaxes(1, 2).reshape(groups * ocg, ic // groups, *filt.shape[2:])
    )
    flipped = np.ascontiguousarray(np.flip(swapped, tuple(range(2, filt.ndim))))
    turned = to.constant("turned", flipped.reshape(image_shape(flipped.shape)))
    source = x
    if any(st > 1 for st in stride):
        source = to.value("spread", (*to.shapes[x][:2], *spread), dtype)
        _emit_spread(to, x, source, stride, dtype)
    lead = [(0, 0)] * (2 - axes)
    lengths = (*(1,) * (2 - axes), *dilation)
    crop = any(min(pair) < 0 for pair in padding)
    if crop:
        raise UnsupportedError(
            f"the node {node.name!r} (ConvTranspose) crops more than its filter reaches; export it with smaller pads"
        )
    problem = ConvProblem(
        image_shape(to.shapes[source]),
        image_shape(flipped.shape),
        padding=lead + padding,
        dilation=lengths,
        groups=groups,
        dtype=dtype,
        bias=bool(bias),
        activation=node.get("activation", Activation()),
    )
    emit_convolution(to, problem, x=source, w=turned, bias=bias, residual="", y=node.output, op=describe(node))


def _transposed_padding(node: Node, spread: list[int], reach: list[int], out: Shape) -> list[tuple[int, int]]:
    """Return the padding of the convolution that gives the output the shape it has."""
    pads: Any = node.get("pads")
    n = len(spread)
    mode = node.text("auto_pad", "NOTSET")
    more = node.get("output_padding", [0] * n)
    result = []
    for i in range(n):
        total = out[i] + reach[i] - spread[i]  # before + after
        if mode not in ("SAME_UPPER", "SAME_LOWER") and "output_shape" not in node.attributes:
            before = reach[i] - (int(pads[i]) if pads is not None else 0)
        else:
            cut = max(0, 2 * reach[i] + int(more[i]) - total)  # what ONNX's pads take away in all
            half = cut // 2 if mode == "SAME_UPPER" else cut - cut // 2
            before = reach[i] - half
        result.append((before, total - before))
    return result


def _emit_spread(to: Lowering, x: str, y: str, stride: list[int], dtype: str) -> None:
    """Put zeros between the elements of an image."""
    shape = to.shapes[x]
    whole = strides_of(to.shapes[y])
    steps = [*whole[:2], *(w * s for w, s in zip(whole[2:], stride, strict=True))]
    zero = to.constant("zero", np.zeros(1, dtype))
    emit_copy(to, zero, y, to.shapes[y], [0] * len(whole), whole, op="fill with 0")
    emit_copy(to, x, y, shape, strides_of(shape), steps, op="spread")
