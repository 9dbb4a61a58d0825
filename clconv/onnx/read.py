"""An ONNX file read, checked and written in the words of the newest operator set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from clconv.errors import ClconvError, UnsupportedError
from clconv.onnx.graph import Array, Graph, Node, Port

OLDEST = 6
"""Operator sets before this one are as good as extinct."""


def read_model(source: str | Path | bytes | onnx.ModelProto) -> onnx.ModelProto:
    """Return a checked model from a path, the bytes of a file, or a model.

    Raises
    ------
    ClconvError
        If the file is missing, damaged, or not ONNX.
    """
    invalid: Exception | None = None
    if isinstance(source, onnx.ModelProto):
        model, what = source, "the model"
        invalid = _why_invalid(model)
    elif isinstance(source, (str, Path, bytes)):
        what = "the model" if isinstance(source, bytes) else f"{source}" or "the path ''"
        if not isinstance(source, bytes):
            # Before it is loaded: the checker makes a copy of its own, and large models need not be in memory twice.
            invalid = _why_invalid(str(source))
        try:
            model = onnx.load_from_string(source) if isinstance(source, bytes) else onnx.load(source, load_external_data=False)
        except FileNotFoundError:
            raise ClconvError(f"{what} does not exist; give the path of an ONNX file") from None
        except OSError as error:
            raise ClconvError(f"{what} cannot be read ({error}); give the path of an ONNX file") from error
        except Exception as error:  # protobuf's DecodeError, whose class depends on its implementation
            raise ClconvError(f"{what} is no ONNX file, or a damaged one ({error}); export or download it again") from error
        if isinstance(source, bytes):
            invalid = _why_invalid(model)
        else:
            _load_data(model, Path(source))
    else:
        raise ClconvError(f"a model is a path, bytes or an onnx.ModelProto, not a {type(source).__name__}")
    if invalid is not None:
        absent = _absent_file(model, Path())
        if absent:
            raise ClconvError(
                f"{what} keeps tensors in the file {absent}, which is looked for beside it; pass its path"
            ) from invalid
        first = str(invalid).strip().splitlines()[0] if str(invalid).strip() else type(invalid).__name__
        raise ClconvError(f"{what} is not a valid ONNX model ({first}); export or download it again") from invalid
    return model


def _load_data(model: onnx.ModelProto, path: Path) -> None:
    """Read the tensors that are kept in other files beside the model's."""
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # ValidationError for files that are absent, others for wrong sizes
        absent = _absent_file(model, path.parent)
        if absent:
            raise ClconvError(
                f"{path} keeps tensors in the file {absent}, which is not beside it; put it into the same folder"
            ) from error
        raise ClconvError(
            f"the tensors that {path} keeps in other files cannot be read ({error}); export the model again"
        ) from error


def _absent_file(model: onnx.ModelProto, folder: Path) -> str:
    """Return the name of a file that tensors are kept in and that is not in a folder, ``""`` if there is none."""
    files = dict.fromkeys(filter(None, map(_data_file, model.graph.initializer)))
    return next((name for name in files if not (folder / name).is_file()), "")


def _data_file(tensor: onnx.TensorProto) -> str:
    """Return the name of the file that a tensor is kept in, ``""`` for one that is part of the model."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return ""
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _why_invalid(model: str | onnx.ModelProto) -> Exception | None:
    """Return what ONNX's checker says against a model or a file, None if it is content."""
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # ValidationError, and others for graphs that are no graphs
        return error
    return None


def graph_of(model: onnx.ModelProto) -> Graph:
    """Return the graph of a checked model.

    Raises
    ------
    UnsupportedError
        If the operator set is too old, or an input is no tensor.
    """
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
    read = {name for raw in proto.node for name in raw.input} | {o.name for o in proto.output}
    nodes: list[Node] = []
    for index, raw in enumerate(proto.node):
        node = _node(raw, index)
        if node.op == "Constant":
            if node.output in read:  # what nobody reads may be text
                constants[node.output] = _constant(node)
        else:
            nodes.append(_modern(node, opset, constants))
    inputs = tuple(_port(info) for info in proto.input if info.name not in constants)
    return Graph(tuple(nodes), constants, inputs, tuple(o.name for o in proto.output))


def _array(tensor: onnx.TensorProto) -> Array:
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:  # wrong sizes, unknown types, absent external data
        if _data_file(tensor):
            raise ClconvError(
                f"the tensor {tensor.name!r} is kept in the file {_data_file(tensor)}, which cannot be read ({error}); "
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
    attributes = {a.name: helper.get_attribute_value(a) for a in raw.attribute}
    domain = "" if raw.domain in ("", "ai.onnx") else f"{raw.domain}."
    name = raw.name or f"{raw.op_type}_{index}"
    return Node(f"{domain}{raw.op_type}", tuple(raw.input), tuple(raw.output), attributes, name)


def _constant(node: Node) -> Array:
    for name, value in node.attributes.items():
        if name == "value":
            return _array(value)
        if name in ("value_float", "value_floats"):
            return np.asarray(value, np.float32)
        if name in ("value_int", "value_ints"):
            return np.asarray(value, np.int64)
    raise UnsupportedError(f"the constant {node.name!r} is no dense tensor of numbers; export the model without it")


class _Old:
    """Rewrites one node of an older operator set; new constant inputs go into ``constants``."""

    def __init__(self, node: Node, opset: int, constants: dict[str, Array]) -> None:
        self.node = node
        self.opset = opset
        self.constants = constants
        self.attributes = dict(node.attributes)

    def as_input(self, position: int, attribute: str, dtype: Any) -> None:
        """Turn an attribute into a constant input."""
        if attribute in self.attributes:
            self.put(position, attribute, np.asarray(self.attributes.pop(attribute), dtype))

    def put(self, position: int, what: str, value: Array) -> None:
        """Add a constant input."""
        name = f"{self.node.output}:{what}"
        self.constants[name] = value
        inputs = list(self.node.inputs) + [""] * (position + 1 - len(self.node.inputs))
        inputs[position] = name
        self.node = Node(self.node.op, tuple(inputs), self.node.outputs, self.node.attributes, self.node.name)

    def done(self, op: str | None = None) -> Node:
        """Return the new node."""
        n = self.node
        return Node(op or n.op, n.inputs, n.outputs, self.attributes, n.name)


def _modern(node: Node, opset: int, constants: dict[str, Array]) -> Node:
    rewrite = _REWRITES.get(node.op)
    return node if rewrite is None else rewrite(_Old(node, opset, constants))


def _clip(old: _Old) -> Node:
    old.as_input(1, "min", np.float32)
    old.as_input(2, "max", np.float32)
    return old.done()


def _axes(old: _Old) -> Node:
    old.as_input(1, "axes", np.int64)
    return old.done()


def _pad(old: _Old) -> Node:
    old.as_input(1, "pads", np.int64)
    old.as_input(2, "value", np.float32)
    return old.done()


def _slice(old: _Old) -> Node:
    if "axes" not in old.attributes and "starts" in old.attributes:
        old.attributes["axes"] = list(range(len(old.attributes["starts"])))
    old.as_input(1, "starts", np.int64)
    old.as_input(2, "ends", np.int64)
    old.as_input(3, "axes", np.int64)
    return old.done()


def _split(old: _Old) -> Node:
    n = old.node
    known = next((name for name in n.outputs if name), n.name)
    outputs = tuple(name or f"{known}:omitted{i}" for i, name in enumerate(n.outputs))  # each takes its part all the same
    old.node = Node(n.op, n.inputs, outputs, n.attributes, n.name)
    old.as_input(1, "split", np.int64)
    if not old.node.input(1):
        old.attributes["num_outputs"] = len(old.node.outputs)
    return old.done()


def _softmax(old: _Old) -> Node:
    if old.opset < 13:  # all axes from this one on are taken together
        old.attributes.setdefault("axis", 1)
        old.attributes["from_axis_on"] = 1
    return old.done()


def _upsample(old: _Old) -> Node:
    if old.opset < 7:
        old.attributes["scales"] = [1, 1, *(old.attributes.pop(name) for name in ("height_scale", "width_scale"))]
        if old.attributes.get("mode") in (b"bilinear", "bilinear"):
            old.attributes["mode"] = b"linear"
    old.as_input(1, "scales", np.float32)
    return _scales_only(old)


def _resize(old: _Old) -> Node:
    return _scales_only(old) if old.opset < 11 else old.done()


def _scales_only(old: _Old) -> Node:
    """Upsample, and Resize before it knew coordinates: (x, scales)."""
    n = old.node
    old.node = Node(n.op, (n.inputs[0], "", n.inputs[1]), n.outputs, n.attributes, n.name)
    old.attributes.update(coordinate_transformation_mode=b"asymmetric", nearest_mode=b"floor")
    return old.done("Resize")


def _binary(old: _Old) -> Node:
    """Before version 7, the second tensor's axes began at ``axis`` of the first one's, instead of ending with them."""
    axis = old.attributes.pop("axis", None)
    if old.opset < 7 and old.attributes.pop("broadcast", 0) and axis is not None:
        old.attributes["old_axis"] = axis
    return old.done()


def _prelu(old: _Old) -> Node:
    if old.opset < 7:
        old.attributes["old_axis"] = 1  # a slope per channel
    return old.done()


def _sum(old: _Old) -> Node:
    return old.done({1: "Identity", 2: "Add"}.get(len(old.node.inputs), "Sum"))


def _dropout(old: _Old) -> Node:
    training = old.node.input(2)
    if training and (training not in old.constants or bool(old.constants[training])):
        return old.done("Dropout in training mode")
    return _only_output(old, "Identity", inputs=1)


def _batch_norm(old: _Old) -> Node:
    if old.attributes.get("training_mode", 0) or not old.attributes.get("spatial", 1):
        return old.done("BatchNormalization in training mode")
    return _only_output(old, "BatchNormalization", inputs=5)


def _only_output(old: _Old, op: str, inputs: int) -> Node:
    """Keep the first output; a second one that somebody reads turns up as a value that nobody computes."""
    n = old.node
    return Node(op, n.inputs[:inputs], n.outputs[:1], old.attributes, n.name)


_REWRITES: dict[str, Callable[[_Old], Node]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Equal", "Greater", "Less"), _binary),
    "PRelu": _prelu,
    "Sum": _sum,
    "Clip": _clip,
    **dict.fromkeys(("Squeeze", "Unsqueeze", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum"), _axes),
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
    "Softmax": _softmax,
    "Upsample": _upsample,
    "Resize": _resize,
    "Dropout": _dropout,
    "BatchNormalization": _batch_norm,
}
