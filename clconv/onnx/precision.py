"""Another element type than the model's: its floating-point constants, inputs and casts."""

from __future__ import annotations

import numpy as np
import onnx

from clconv.onnx.graph import Graph, Node, Port

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)


def converted(graph: Graph, dtype: str) -> Graph:
    """Return the graph with floating-point constants, inputs and casts of another type; factors of a size stay as they are."""
    factors = {name for node in graph.nodes if node.op == "Resize" for name in node.inputs[1:3]}
    constants = {
        name: a if name in factors or a.dtype.kind != "f" or a.dtype.name == dtype else a.astype(dtype)
        for name, a in graph.constants.items()
    }
    inputs = tuple(Port(p.name, dtype, p.shape) if p.dtype in ("float32", "float16", "float64") else p for p in graph.inputs)
    return graph.with_nodes([_retyped(node, dtype) for node in graph.nodes], constants=constants, inputs=inputs)


def _retyped(node: Node, dtype: str) -> Node:
    """Return a node that names a floating-point type with another one."""
    value = node.get("value")
    if node.op == "Cast" and node.get("to") in _FLOATS:
        return node.having(to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    if node.op == "ConstantOfShape" and (value is None or value.data_type in _FLOATS):
        number = np.zeros(1) if value is None else onnx.numpy_helper.to_array(value)
        return node.having(value=onnx.numpy_helper.from_array(number.astype(dtype)))
    return node
