"""Convolutions that follow each other, made one node: what the passes in separable and inverted have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clconv.onnx.graph import Graph, Node
from clconv.onnx.problems import problem_of
from clconv.problem import ConvProblem


def fuse_chains(graph: Graph, op: str, length: int, faster: Callable[[Sequence[ConvProblem]], bool]) -> tuple[Graph, int]:
    """Join convolutions in N H W C of which each but the last is read by the next alone, where that is faster.

    Parameters
    ----------
    graph : Graph
        With every shape and layout known.
    op : str
        Of the new nodes. Their inputs are the image, filter and bias of each part, and the last one's residual; their attribute
        ``parts`` holds the nodes.
    length : int
        Convolutions to join.
    faster : callable
        Whether to join such problems.

    Returns
    -------
    Graph
    int
        How many chains were joined.
    """
    uses = graph.uses()
    made: dict[str, Node] = {}
    nodes: list[Node] = []
    gone: set[str] = set()
    joined = 0
    for node in graph.nodes:
        if node.op == "Conv":
            parts = [node]
            while len(parts) < length:
                before = made.get(parts[0].inputs[0])
                if before is None or uses[before.output] != 1 or before.input(3):
                    break
                parts.insert(0, before)
            in_place = len(parts) == length and all(part.get("layout") == "NHWC" for part in parts)
            if in_place and faster([problem_of(part, graph) for part in parts]):
                gone.update(part.output for part in parts[:-1])
                filters = [name for part in parts for name in (part.inputs[1], part.input(2))]
                inputs = (parts[0].inputs[0], *filters, node.input(3))
                node = Node(op, inputs, node.outputs, {"parts": tuple(parts)}, node.name)
                joined += 1
            else:
                made[node.output] = node
        nodes.append(node)
    return graph.with_nodes([n for n in nodes if n.output not in gone]), joined
