"""TopK: the largest elements along an axis, and where they are."""

from __future__ import annotations

import math

from clconv.onnx.graph import Node
from clconv.onnx.lower.gather import emit_take
from clconv.onnx.lower.movement import required
from clconv.onnx.step import Argument, Int, Lowering, pieces


def lower_top_k(node: Node, to: Lowering) -> None:
    """Find where they are, and take them from there; they are in order, whether that is asked for or not."""
    x, shape = node.inputs[0], to.shapes[node.inputs[0]]
    dtype = to.floating(node, x)
    axis = int(node.get("axis", -1)) % max(len(shape), 1)
    count = int(required(node, to.constants, 1, "number").reshape(-1)[0])
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    values, places = node.outputs
    rows = outer * inner
    per_item = pieces(rows, 1, to.device, max(1, 2048 // shape[axis]))
    macros = to.macros(dtype, SMALLEST=int(not node.get("largest", 1)))
    arguments: tuple[Argument, ...] = ("x", "y", *map(Int, (rows, shape[axis], count, inner, per_item)))
    launch = to.launch_grouped("top_k", macros, arguments, -(-rows // per_item))
    to.emit("network/top_k", launch, {"x": x, "y": places}, flops=math.prod(shape))
    emit_take(to, x, places, values, (outer, shape[axis], inner), each=True)
