"""Shapes of every value, and everything that follows from constants and shapes alone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper, shape_inference

from clconv.errors import ClconvError, ShapeError, UnsupportedError
from clconv.onnx.choices import opened
from clconv.onnx.einsum import product_shape
from clconv.onnx.graph import Array, Graph, Node, Shape, derived, without_dead
from clconv.onnx.lower import VIEWS
from clconv.onnx.lower.resize import offered, resized, resized_shape
from clconv.onnx.problems import transposed_size
from clconv.onnx.statistics import trained, trains

_OPSET = defs.onnx_opset_version()
_OPSETS = [helper.make_opsetid("", _OPSET)]
_DATA = 1024  # constants of up to this many elements may be shapes, axes, sizes: shape inference gets to see them

_SIZES = 1 << 31
"""Sizes and attributes are less than that: kernels count in 32 bits, and ONNX's inference takes the lower 32 of more."""

_DRAWN = ("Bernoulli", "Multinomial", "RandomNormalLike", "RandomUniformLike")
_RUN = (
    *("Conv", "ConvTranspose", "AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool"),
    *("Gelu", "GroupNormalization", "InstanceNormalization", "LRN"),
)
"""Computed where the network runs even if all that they read is constant: ``onnx.reference`` refuses some of them that ONNX
defines, and computes others wrongly."""
_OWN = {"Silu": "Sigmoid"}  # nodes that passes made, and one of ONNX's with the same shapes


def fold_constants(graph: Graph) -> Graph:
    """Compute the nodes that read constants alone."""
    constants = dict(graph.constants)
    nodes, folded = [], 0
    for node in opened(graph.nodes, constants):
        if _foldable(node, constants):
            constants.update(_evaluate(node, constants))
            folded += 1
        else:
            nodes.append(node)
    note = f"fold constants: {folded} nodes computed once" if folded else ""
    return without_dead(graph.with_nodes(nodes, note, constants=constants))


def specialise(graph: Graph, inputs: Mapping[str, Shape], steering: Mapping[str, Array] | None = None) -> Graph:
    """Return the graph for input shapes that are known: every shape known, every shape computation folded.

    Parameters
    ----------
    graph : Graph
    inputs : mapping of str to shape
    steering : mapping of str to array, optional
        Contents of the inputs that steer.

    Raises
    ------
    ShapeError
        If the shapes do not fit a node.
    UnsupportedError
        If a shape depends on what is in a tensor.
    """
    constants = {**graph.constants, **(steering or {})}
    shapes: dict[str, Shape] = {name: a.shape for name, a in constants.items()}
    dtypes: dict[str, str] = {name: a.dtype.name for name, a in constants.items()}
    for port in graph.inputs:
        shapes[port.name], dtypes[port.name] = tuple(inputs[port.name]), port.dtype
    nodes: list[Node] = []
    folded = 0
    for original in opened(graph.nodes, constants):
        if original.op == "If":
            raise UnsupportedError(
                f"the condition of the node {original.name!r} (If) depends on what tensors hold; export the model without it"
            )
        node = _aligned(original, shapes, dtypes, constants, nodes) if "old_axis" in original.attributes else original
        results: dict[str, Array] | None = None
        if node.op in ("Shape", "Size"):
            results = {node.output: _counted(node, shapes)}
        elif _foldable(node, constants):
            results = _evaluate(node, constants)
        if results is not None:
            folded += 1
            constants.update(results)
            shapes.update((name, a.shape) for name, a in results.items())
            dtypes.update((name, a.dtype.name) for name, a in results.items())
            continue
        if "floats" in node.attributes:
            node = _converted(node, shapes, dtypes, constants)
        for name, (dtype, shape) in infer(node, shapes, dtypes, constants).items():
            shapes[name], dtypes[name] = shape, dtype
        if node.op in ("Cast", "CastLike") and dtypes[node.output] == dtypes[node.inputs[0]]:
            node = Node("Identity", node.inputs[:1], node.outputs, {}, node.name)
        nodes.append(node)
    note = f"fold shapes: {folded} nodes computed once" if folded else ""
    lost = [name for name in graph.outputs if name not in shapes]
    if lost:
        raise UnsupportedError(
            f"the output {lost[0]!r} is a side product of a node, which is not supported; drop it from the model"
        )
    graph = graph.with_nodes(nodes, note, constants=constants, shapes=shapes, dtypes=dtypes)
    return without_dead(graph)


def _converted(node: Node, shapes: dict[str, Shape], dtypes: dict[str, str], constants: dict[str, Array]) -> Node:
    """Give numbers that follow from sizes, or were attributes, the type of those that they meet.

    ``floats`` is that type, "" the first input's; see :mod:`clconv.onnx.precision` and :mod:`clconv.onnx.versions`.
    """
    dtype, inputs = str(node.attributes["floats"] or dtypes[node.inputs[0]]), list(node.inputs)
    for index, name in enumerate(inputs):
        value = constants.get(name)
        if value is None or value.dtype.kind != "f" or value.dtype.name == dtype:
            continue
        with np.errstate(over="ignore"):  # a mask's -3e38 becomes an infinity, which does the same
            number = value.astype(dtype)
        if node.op == "Div" and index == 1 and not np.isfinite(number).all():
            raise UnsupportedError(
                f"the node {node.name!r} (Div) divides by {np.abs(value).max():g}, which follows from sizes and is more than "
                f"{dtype} holds; load the model without dtype={dtype!r}"
            )
        inputs[index] = derived(name, dtype)
        constants[inputs[index]] = number
        shapes[inputs[index]], dtypes[inputs[index]] = number.shape, dtype
    return replace(node, inputs=tuple(inputs))


def _aligned(
    node: Node, shapes: dict[str, Shape], dtypes: dict[str, str], constants: dict[str, Array], nodes: list[Node]
) -> Node:
    """Give the second tensor of a node from before operator set 7 the axes that today's broadcasting wants."""
    a, b = node.inputs[:2]
    shape = _behind(node, shapes[a], shapes[b])
    attributes = {k: v for k, v in node.attributes.items() if k != "old_axis"}
    if shape == shapes[b]:
        return Node(node.op, node.inputs, node.outputs, attributes, node.name)
    name = derived(node.output, "aligned")
    shapes[name], dtypes[name] = shape, dtypes[b]
    if b in constants:
        constants[name] = constants[b].reshape(shape)
    else:
        nodes.append(Node("Reshape", (b,), (name,), {}, node.name))
    return Node(node.op, (a, name, *node.inputs[2:]), node.outputs, attributes, node.name)


def _behind(node: Node, a: Shape, b: Shape) -> Shape:
    """Return the shape of the second tensor with an axis of size 1 for each one of the first that follows its own."""
    return (*b, *(1,) * (len(a) - int(node.attributes["old_axis"]) % max(len(a), 1) - len(b))) if b else b


def infer(
    node: Node, shapes: Mapping[str, Shape], dtypes: Mapping[str, str], constants: Mapping[str, Array]
) -> dict[str, tuple[str, Shape]]:
    """Return element type and shape of each output of a node.

    Raises
    ------
    ShapeError, UnsupportedError
        As :func:`specialise`.
    """
    types: dict[str, Any] = {}
    data: dict[str, Any] = {}
    _check_numbers(node)
    for name in filter(None, node.inputs):
        _check_computed(node, name, shapes)
        elem = helper.np_dtype_to_tensor_dtype(np.dtype(dtypes[name]))
        types[name] = helper.make_tensor_type_proto(elem, shapes[name])
        constant = constants.get(name)
        if constant is not None and constant.size <= _DATA:
            data[name] = numpy_helper.from_array(np.ascontiguousarray(constant), name)
    op = _OWN.get(node.op, node.op)
    if not defs.has(op):
        raise UnsupportedError(f"the node {node.name!r} is a {node.op}, which ONNX's operator set {_OPSET} does not have")
    schema = defs.get_schema(op, _OPSET)
    _check_types(node, schema, dtypes)
    proto = _proto(node, schema)
    try:
        found = shape_inference.infer_node_outputs(schema, proto, types, data, opset_imports=_OPSETS, ir_version=10)
    except Exception as error:  # InferenceError, whose class is not public
        got = ", ".join(f"{name} {shapes[name]}" for name in filter(None, node.inputs))
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ShapeError(f"the node {node.name!r} ({node.op}) does not take {got}: {reason}") from error
    results: dict[str, tuple[str, Shape]] = {}
    if op == "GroupNormalization":  # a function of other nodes, which ONNX's inference does not look into
        found = {node.output: types[node.inputs[0]]}
    for output in filter(None, node.outputs):
        tensor = found[output].tensor_type if output in found else None
        dims = list(tensor.shape.dim) if tensor is not None and tensor.HasField("shape") else None
        if tensor is None or dims is None or not all(d.HasField("dim_value") for d in dims):
            raise UnsupportedError(
                f"the shape of {output!r} depends on what the tensors of the node {node.name!r} ({node.op}) hold; "
                "export the model with fixed sizes"
            )
        results[output] = (helper.tensor_dtype_to_np_dtype(tensor.elem_type).name, tuple(d.dim_value for d in dims))
    size = transposed_size(node, shapes[node.inputs[0]][2:]) if node.op == "ConvTranspose" else None
    if size is not None:  # ONNX's inference adds output_padding to it, or leaves it out
        dtype, shape = results[node.output]
        results[node.output] = dtype, (*shape[:2], *size)
    product = product_shape(node, shapes)
    if product is not None:  # ONNX's inference takes sizes along what both tensors have from the first, even if it is 1
        results[node.output] = results[node.output][0], product
    if node.op == "Resize" and not node.input(3) and node.input(2) in constants:
        results[node.output] = (
            results[node.output][0],
            resized_shape(node, shapes[node.inputs[0]], constants[node.input(2)]),
        )
    _check_sizes(node, shapes, {name: shape for name, (_, shape) in results.items()})
    return results


def _check_computed(node: Node, name: str, shapes: Mapping[str, Shape]) -> None:
    if name not in shapes:
        raise UnsupportedError(f"the node {node.name!r} ({node.op}) reads {name!r}, which no supported node computes")


def _check_numbers(node: Node) -> None:
    for attribute, value in node.attributes.items():
        numbers = value if isinstance(value, (list, tuple)) else (value,)
        large = next((n for n in numbers if isinstance(n, int) and not -_SIZES <= n < _SIZES), None)
        if large is not None:
            raise ShapeError(
                f"the node {node.name!r} ({node.op}) has the {attribute} {large}; numbers must be less than {_SIZES}"
            )


def _check_types(node: Node, schema: Any, dtypes: Mapping[str, str]) -> None:
    """Refuse several element types where ONNX wants one: its inference gives the result that of the first input."""
    first: dict[str, str] = {}
    for index, name in enumerate(node.inputs):
        if not name:
            continue
        kind = schema.inputs[min(index, len(schema.inputs) - 1)].type_str  # the last one may stand for many
        other = first.setdefault(kind, name)
        if dtypes[name] != dtypes[other]:
            raise ShapeError(
                f"the node {node.name!r} ({node.op}) takes {other!r} of {dtypes[other]} and {name!r} of {dtypes[name]}; "
                "they must be of one element type, convert one of them"
            )


def _check_sizes(node: Node, shapes: Mapping[str, Shape], results: Mapping[str, Shape]) -> None:
    """Refuse what ONNX's inference lets pass: sizes below 0, axes left out, and views of another number of elements."""
    for shape in results.values():
        if any(size < 0 for size in shape):
            raise ShapeError(f"the node {node.name!r} ({node.op}) would give the shape {shape}; sizes must not be negative")
        if any(size >= _SIZES for size in shape):
            raise ShapeError(
                f"the node {node.name!r} ({node.op}) would give the shape {shape}; sizes must be less than {_SIZES}"
            )
    if node.get("evenly") and len(set(results.values())) > 1:
        raise ShapeError(
            f"the node {node.name!r} ({node.op}) cuts {shapes[node.inputs[0]]} into {len(results)} equal parts, which is not "
            "possible; give their sizes, as split"
        )
    if node.op == "Transpose":
        shape = shapes[node.inputs[0]]
        order = [int(axis) for axis in node.get("perm", range(len(shape)))]
        if sorted(order) != list(range(len(shape))):
            raise ShapeError(
                f"the node {node.name!r} (Transpose) has the perm {order} for an input of the shape {shape}; it must hold each "
                f"axis from 0 to {len(shape) - 1} once"
            )
    if node.op in ("DepthToSpace", "SpaceToDepth"):
        shape = shapes[node.inputs[0]]
        if len(shape) != 4 or math.prod(shape) != math.prod(results[node.output]):
            raise ShapeError(
                f"the node {node.name!r} ({node.op}) takes {shape} for blocks of {node.get('blocksize')}, which does not come "
                "out even; pass inputs of other sizes"
            )
    if node.op in VIEWS and math.prod(shapes[node.inputs[0]]) != math.prod(results[node.output]):
        raise ShapeError(
            f"the node {node.name!r} ({node.op}) makes {results[node.output]} of {shapes[node.inputs[0]]}, which has another "
            "number of elements; pass inputs of the size that the model was exported for"
        )


def _proto(node: Node, schema: Any) -> onnx.NodeProto:
    proto = helper.make_node(schema.name, list(node.inputs), list(node.outputs), name=node.name)
    for name, value in node.attributes.items():
        if name in schema.attributes:  # whose type an empty list does not tell
            kind = schema.attributes[name].type.value if isinstance(value, list) and not value else None
            proto.attribute.append(helper.make_attribute(name, value, attr_type=kind))
    return proto


def _foldable(node: Node, constants: Mapping[str, Array]) -> bool:
    """Whether a node computes, always the same, from what it reads, and that is constant."""
    if not defs.has(node.op) or node.op in ("If", *_DRAWN):
        return False
    if any(isinstance(value, onnx.GraphProto) for value in node.attributes.values()):
        return False
    if not node.inputs or not all(name in constants for name in node.inputs if name):
        return False
    floats = node.inputs[0] in constants and constants[node.inputs[0]].dtype.kind == "f"
    return not (floats and runs(node, constants))


def runs(node: Node, constants: Mapping[str, Array]) -> bool:
    """Whether a node of floating-point numbers is computed where the network runs even if all that it reads is constant."""
    pads = constants.get(node.input(1)) if node.op == "Pad" else None
    return node.op in _RUN or (pads is not None and bool((pads < 0).any()))


def _evaluate(node: Node, constants: Mapping[str, Array]) -> dict[str, Array]:
    from onnx.reference import ReferenceEvaluator

    feeds = {name: constants[name] for name in node.inputs if name}
    if node.op == "Resize" and offered(node):
        image = feeds[node.inputs[0]]
        found = infer(node, {n: a.shape for n, a in feeds.items()}, {n: a.dtype.name for n, a in feeds.items()}, constants)
        return {node.output: resized(node, image, found[node.output][1], constants)}
    whole: Shape | None = None
    if "old_axis" in node.attributes:
        a, b = node.inputs[:2]
        feeds[b] = feeds[b].reshape(_behind(node, feeds[a].shape, feeds[b].shape))
    elif node.get("from_axis_on"):
        x = node.inputs[0]
        whole = feeds[x].shape
        axis = int(node.attributes["axis"]) % max(len(whole), 1)
        feeds[x] = feeds[x].reshape(*whole[:axis], math.prod(whole[axis:]))
        node = node.having(axis=axis)
    proto = _proto(node, defs.get_schema(node.op, _OPSET))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, about infinities in constants
            if trains(node):
                return trained(node, feeds)
            values = ReferenceEvaluator(proto).run(None, feeds)
    except Exception as error:  # whatever the operator raises on bad values
        raise ClconvError(f"the node {node.name!r} ({node.op}) cannot be computed from its constants ({error})") from error
    if any(isinstance(value, list) for value in values):
        raise UnsupportedError(f"the node {node.name!r} ({node.op}) gives a sequence; only tensors are supported")
    if "factor" in node.attributes:  # of a product that is done with the function
        values = [np.asarray(v * node.get("factor") + node.get("addend", 0.0), v.dtype) for v in map(np.asarray, values)]
    results = {name: np.asarray(value) for name, value in zip(node.outputs, values, strict=False) if name}
    _check_sizes(node, {name: a.shape for name, a in feeds.items()}, {name: a.shape for name, a in results.items()})
    return results if whole is None else {name: value.reshape(whole) for name, value in results.items()}


def _counted(node: Node, shapes: Mapping[str, Shape]) -> Array:
    """Return what a Shape or a Size says."""
    _check_computed(node, node.inputs[0], shapes)
    shape = shapes[node.inputs[0]]
    if node.op == "Size":
        return np.asarray(math.prod(shape), np.int64)
    return np.asarray(shape[node.get("start", 0) : node.get("end", len(shape))], np.int64)
