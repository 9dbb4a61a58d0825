"""Convolutions: the library's own plans, chosen by select."""

from __future__ import annotations

import math

from clconv.algorithms.standard.run_simd import reading_planes
from clconv.errors import ShapeError
from clconv.onnx.graph import Node
from clconv.onnx.problems import LAST_FILTER, TO_LAST, conv_problem
from clconv.onnx.step import Lowering
from clconv.problem import ConvProblem


def lower_conv(node: Node, to: Lowering) -> None:
    """One convolution of 2-D images; a 1-D signal is an image of one row."""
    x, w, bias, residual = (node.input(i) for i in range(4))
    planes = bool(node.get("planes"))  # of the pass read_planes: the image is still N C H W
    shape = tuple(to.shapes[x][axis] for axis in TO_LAST) if planes else to.shapes[x]
    last = bool(node.get("filter_last"))  # of the pass gate_filters: the filter is KH KW IC OC
    filt = tuple(to.shapes[w][LAST_FILTER.index(axis)] for axis in range(4)) if last else to.shapes[w]
    problem = conv_problem(node, shape, filt, to.floating(node, x))
    turned = problem.layout == "NHWC" and not last
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
    if bias:
        check_bias(to, bias, problem.OC, y)
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


def check_bias(to: Lowering, bias: str, channels: int, y: str) -> None:
    """Refuse a bias that has not one number for each output channel."""
    if to.shapes[bias] != (channels,):
        raise ShapeError(
            f"the bias {bias!r} has the shape {to.shapes[bias]}; for the convolution {y!r} it must be ({channels},)"
        )
