"""A depthwise and a pointwise convolution in one kernel."""

from __future__ import annotations

from clconv.errors import UnsupportedError
from clconv.onnx.graph import Node
from clconv.onnx.problems import conv_problem
from clconv.onnx.separable import plan_separable
from clconv.onnx.step import Lowering


def lower_separable(node: Node, to: Lowering) -> None:
    """Run what the pass fuse_separable made of two nodes, both in N H W C."""
    first, second = node.attributes["parts"]
    x, taps, shift, w, bias, residual = node.inputs
    dtype = to.floating(node, x)
    depthwise = conv_problem(first, to.shapes[x], to.shapes[taps], dtype)
    pointwise = conv_problem(second, depthwise.output_shape, to.shapes[w], dtype)
    plan = plan_separable(depthwise, pointwise, to.device, direct=to.plans.direct)
    if plan is None:
        raise UnsupportedError(f"the nodes {first.name!r} and {second.name!r} cannot run in one kernel; leave them apart")
    values = {"x": x, "w0": taps, "shift": shift, "w": w, "bias": bias, "residual": residual, "y": node.output}
    packs = {"taps": (plan.taps, taps), "packed": (plan.packed, w)}
    flops = depthwise.flops + pointwise.flops
    to.emit(plan.algorithm, plan.launch, values, flops=flops, packs=packs, turned=True)
