"""A pointwise, a depthwise and a pointwise convolution in one kernel."""

from __future__ import annotations

from clconv.errors import UnsupportedError
from clconv.onnx.graph import Node
from clconv.onnx.inverted import plan_inverted
from clconv.onnx.problems import conv_problem
from clconv.onnx.step import Lowering


def lower_inverted(node: Node, to: Lowering) -> None:
    """Run what the pass fuse_inverted made of three nodes, all in N H W C."""
    parts = node.attributes["parts"]
    x, expand, lift, taps, shift, w, bias, residual = node.inputs
    dtype = to.floating(node, x)
    problems, shape = [], to.shapes[x]
    for part, weights in zip(parts, (expand, taps, w), strict=True):
        problems.append(conv_problem(part, shape, to.shapes[weights], dtype))
        shape = problems[-1].output_shape
    plan = plan_inverted(problems[0], problems[1], problems[2], to.device, direct=to.plans.direct)
    if plan is None:
        names = " and ".join(repr(part.name) for part in parts)
        raise UnsupportedError(f"the nodes {names} cannot run in one kernel; leave them apart")
    values = {"x": x, "w0": expand, "lift": lift, "w1": taps, "shift": shift, "w": w, "bias": bias, "residual": residual}
    packs = {"expand": (plan.expand, expand), "taps": (plan.taps, taps), "packed": (plan.packed, w)}
    flops = sum(problem.flops for problem in problems)
    to.emit(plan.algorithm, plan.launch, {**values, "y": node.output}, flops=flops, packs=packs, turned=True)
