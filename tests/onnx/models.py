"""Small models for the tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]


def model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int | str | None]],
    outputs: list[str],
    constants: dict[str, Array] | None = None,
    *,
    dtype: int = onnx.TensorProto.FLOAT,
    opset: int = 17,
) -> onnx.ModelProto:
    """Build a model; the shapes of its outputs are inferred, and one open size where that fails."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, dtype, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    made = onnx.shape_inference.infer_shapes(made)
    for output in made.graph.output:
        if not output.type.tensor_type.HasField("shape"):
            output.CopyFrom(helper.make_tensor_value_info(output.name, dtype, [None]))
    return made


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """Build a node from names separated by blanks; ``_`` is an absent one."""
    read, written = (["" if name == "_" else name for name in names.split()] for names in (inputs, outputs))
    return helper.make_node(op, read, written, name=f"the {op} of {outputs.split()[0]}", **attributes)


def numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> Array:
    """Draw float32 numbers."""
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def exact(proto: onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    """Run a model in float64 through onnx.reference."""
    from onnx.reference import ReferenceEvaluator

    double = onnx.ModelProto()
    double.CopyFrom(proto)
    for tensor in double.graph.initializer:
        if tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    wide = {name: a.astype(np.float64) if a.dtype.kind == "f" else a for name, a in feeds.items()}
    return [np.asarray(y) for y in ReferenceEvaluator(double).run(None, wide)]
