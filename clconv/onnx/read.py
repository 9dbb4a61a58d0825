"""An ONNX model as a graph, in the words of the newest operator set."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import onnx
from onnx import helper, inliner, numpy_helper

from clconv.errors import ClconvError, UnsupportedError
from clconv.onnx.choices import read_choice
from clconv.onnx.graph import MARK, Array, Graph, Node, Port
from clconv.onnx.model_file import data_file, read_by
from clconv.onnx.versions import modern

OLDEST = 6
"""Operator sets before this one are as good as extinct."""


def graph_of(model: onnx.ModelProto) -> Graph:
    """Return the graph of a checked model.

    Raises
    ------
    ShapeError
        If a Split has another number of outputs than it says.
    UnsupportedError
        If the operator set is too old, or an input is no tensor.
    """
    if model.functions:
        model = inliner.inline_local_functions(model)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < OLDEST:
        raise UnsupportedError(
            f"the model uses version {opset} of ONNX's operators, at least {OLDEST} is needed; "
            "convert it with onnx.version_converter.convert_version"
        )
    proto = model.graph
    constants: dict[str, Array] = {}
    for tensor in proto.initializer:
        constants[tensor.name] = _array(tensor)
    if proto.sparse_initializer:
        raise UnsupportedError("the model has sparse initializers; export it with dense ones")
    read = {name for raw in proto.node for name in read_by(raw)} | {o.name for o in proto.output}
    marked = next((n for n in (*read, *(name for raw in proto.node for name in raw.output)) if MARK in n), None)
    if marked is not None:
        raise UnsupportedError(
            f"the model has a value called {marked!r}; rename it, {MARK!r} is in names of clconv's own alone"
        )
    origin = _Origin(opset, model.producer_name, constants)
    nodes = tuple(_nodes(proto, origin, read))
    inputs = tuple(_port(info) for info in proto.input if info.name not in constants)
    return Graph(nodes, constants, inputs, tuple(o.name for o in proto.output))


@dataclass(frozen=True)
class _Origin:
    """What the nodes of a model have in common: version, who wrote it, and the constants, to which they may add."""

    opset: int
    producer: str
    constants: dict[str, Array]


def _nodes(graph: onnx.GraphProto, origin: _Origin, read: AbstractSet[str] | None) -> list[Node]:
    """Return the nodes of a graph; constants that are not among those ``read`` may be text, and are left out."""
    nodes: list[Node] = []
    for index, raw in enumerate(graph.node):
        node = _node(raw, index)
        if node.op == "Constant":
            if read is None or node.output in read:
                origin.constants[node.output] = _constant(node)
        elif node.op == "If":
            nodes.append(read_choice(node, partial(_branch, origin=origin)))
        else:
            nodes.append(_meant(_trimmed(modern(node, origin.opset, origin.constants)), origin.producer))
    return nodes


def _branch(graph: onnx.GraphProto, origin: _Origin) -> list[Node]:
    """Return the nodes of a branch, whose constants become the model's."""
    for tensor in graph.initializer:
        origin.constants[tensor.name] = _array(tensor)
    return _nodes(graph, origin, None)


def _meant(node: Node, producer: str) -> Node:
    """Return what the program that wrote a model means by a node, where that is not what ONNX says.

    PyTorch exports ``interpolate(scale_factor=0.7, align_corners=True)`` with the scale. In its corners are those of the image
    that it gives, as they are in ONNX Runtime; ONNX takes the size before that is rounded down.
    """
    if producer == "pytorch" and node.op == "Resize" and node.text("coordinate_transformation_mode", "") == "align_corners":
        return node.having(whole_sizes=1)
    return node


def _array(tensor: onnx.TensorProto) -> Array:
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:  # wrong sizes, unknown types, absent external data
        if data_file(tensor):
            raise ClconvError(
                f"the tensor {tensor.name!r} is kept in the file {data_file(tensor)}, which cannot be read ({error}); "
                "pass the path of the model, beside which the file is"
            ) from error
        raise ClconvError(
            f"the tensor {tensor.name!r} of the model cannot be read ({error}); export the model again"
        ) from error


def _port(info: onnx.ValueInfoProto) -> Port:
    if not info.type.HasField("tensor_type"):
        raise UnsupportedError(f"the input {info.name!r} is no tensor; only tensors are supported")
    tensor = info.type.tensor_type
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    except KeyError:
        raise ClconvError(
            f"the input {info.name!r} has the unknown element type {tensor.elem_type}; export the model again"
        ) from None
    if not tensor.HasField("shape"):
        return Port(info.name, dtype, None)
    sizes = (d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim)
    return Port(info.name, dtype, tuple(s if s >= 0 else None for s in sizes))


def _node(raw: onnx.NodeProto, index: int) -> Node:
    name = raw.name or f"{raw.op_type}_{index}"
    try:
        attributes = {a.name: helper.get_attribute_value(a) for a in raw.attribute}
    except ValueError as error:  # a reference to an attribute of the function that the node is not in, or of no type
        raise ClconvError(
            f"an attribute of the node {name!r} ({raw.op_type}) cannot be read ({error}); export the model again"
        ) from error
    domain = "" if raw.domain in ("", "ai.onnx") else f"{raw.domain}."
    return Node(f"{domain}{raw.op_type}", tuple(raw.input), tuple(raw.output), attributes, name)


def _trimmed(node: Node) -> Node:
    """Leave out absent outputs behind the last one that there is, which are the same as none."""
    last = max((i for i, name in enumerate(node.outputs) if name), default=0)
    return replace(node, outputs=node.outputs[: last + 1])


def _constant(node: Node) -> Array:
    for name, value in node.attributes.items():
        if name == "value":
            return _array(value)
        if name in ("value_float", "value_floats"):
            return np.asarray(value, np.float32)
        if name in ("value_int", "value_ints"):
            return np.asarray(value, np.int64)
    raise UnsupportedError(f"the constant {node.name!r} is no dense tensor of numbers; export the model without it")
