"""The pass that lets a network's first convolution read its image as it is given, though it writes N H W C."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from clconv.algorithms.standard.run_simd import RunSimd
from clconv.onnx.graph import Graph, Node
from clconv.onnx.problems import TO_LAST, problem_of
from clconv.plan import Plan
from clconv.problem import ConvProblem


def read_planes(graph: Graph, plan_of: Callable[[ConvProblem], Plan]) -> Graph:
    """Leave out the reorder to N H W C before a convolution that copies its rows anyway, if nobody else reads the image so.

    Parameters
    ----------
    graph : Graph
        With every shape and layout known.
    plan_of : callable
        The plan that runs for a convolution.
    """
    made, uses = graph.producers(), graph.uses()
    nodes: dict[str, Node] = {node.output: node for node in graph.nodes}
    count = 0
    for node in graph.nodes:
        reorder = made.get(node.inputs[0]) if node.op == "Conv" and node.get("layout") == "NHWC" else None
        if reorder is None or reorder.op != "Transpose" or tuple(reorder.get("perm", ())) != TO_LAST:
            continue
        if uses[reorder.output] == 1 and plan_of(problem_of(node, graph)).algorithm == RunSimd.name:
            del nodes[reorder.output]
            inputs = (reorder.inputs[0], *node.inputs[1:])
            nodes[node.output] = replace(node, inputs=inputs).having(planes=1)
            count += 1
    note = f"read planes: {count} reorders done by the convolutions behind them" if count else ""
    return graph.with_nodes(list(nodes.values()), note)
