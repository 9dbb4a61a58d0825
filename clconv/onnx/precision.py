"""Another element type than the model's: its floating-point constants, inputs and casts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from clconv.errors import UnsupportedError
from clconv.onnx.choices import kinds
from clconv.onnx.graph import Array, Graph, Node, derived, without_dead
from clconv.onnx.infer import runs

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
_TYPED = {"Cast", "CastLike", "Resize"}
"""Nodes that name an element type, or have numbers that keep theirs."""
_BRAIN = "bfloat16"
_NAMES = ("float32", "float16", "float64")


def widened(graph: Graph) -> Graph:
    """Return a graph as it was read with float32 in place of bfloat16, all of whose numbers it holds.

    Raises
    ------
    UnsupportedError
        If an If may cast to it.
    """
    constants = {name: a.astype(np.float32) for name, a in graph.constants.items() if a.dtype.name == _BRAIN}
    ports = tuple(replace(port, dtype="float32") if port.dtype == _BRAIN else port for port in graph.inputs)
    nodes = tuple(node.having(to=onnx.TensorProto.FLOAT) if _casts(node) else node for node in graph.nodes)
    if not constants and ports == graph.inputs and nodes == graph.nodes:
        return graph
    inner = next((node for node in nodes if node.op == "If" and not kinds(node).isdisjoint(_TYPED)), None)
    if inner is not None:
        raise UnsupportedError(
            f"the branches of the node {inner.name!r} (If) hold {', '.join(sorted(kinds(inner) & _TYPED))}, and the model "
            "bfloat16 numbers; export it in float32"
        )
    return graph.with_nodes(nodes, constants={**graph.constants, **constants}, inputs=ports)


def _casts(node: Node) -> bool:
    return node.op == "Cast" and bool(node.get("to") == onnx.TensorProto.BFLOAT16)


def converted(graph: Graph, dtype: str) -> Graph:
    """Return the graph with floating-point constants, inputs and casts of another type.

    Numbers that follow from sizes and constants alone stay as they are, for float16 holds no whole number from 2049 on
    exactly. Where they meet others, the node is told to convert them: ``floats``. So do the factors of a Resize.
    """
    known = _known(graph)
    constants: dict[str, Array] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        inner = kinds(node) & _TYPED if node.op == "If" else ()
        if inner:
            raise UnsupportedError(
                f"the branches of the node {node.name!r} (If) hold {', '.join(sorted(inner))}, which another element type "
                f"would change; load the model without dtype={dtype!r}"
            )
        spared = range(len(node.inputs)) if node.output in known else (1, 2) if node.op == "Resize" else ()
        inputs = list(node.inputs)
        for index in spared:
            value = graph.constant(node.input(index))
            if value is not None and _differs(value, dtype):
                inputs[index] = derived(node.inputs[index], value.dtype.name)
                constants[inputs[index]] = value
        node = replace(node, inputs=tuple(inputs))
        if node.output not in known:
            node = _retyped(node, dtype)
            if node.op != "Resize" and not known.isdisjoint(node.inputs):
                node = node.having(floats=dtype)
        nodes.append(node)
    readers: dict[str, set[str]] = {}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, set()).add(node.op)
    for name, value in graph.constants.items():
        constants[name] = _held(name, value, dtype, readers.get(name, set())) if _differs(value, dtype) else value
    factors = {name for node in graph.nodes if node.op == "Resize" for name in node.inputs[1:3]}
    ports = tuple(replace(p, dtype=dtype) if p.dtype in _NAMES and p.name not in factors else p for p in graph.inputs)
    return without_dead(graph.with_nodes(nodes, constants=constants, inputs=ports))


_BESIDE = frozenset(("Add", "Sub", "Clip", "Max", "Min", "Where", "Pad", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"))
"""Operations to which a number beyond all others means the same as the largest one."""


def _held(name: str, value: Array, dtype: str, ops: set[str]) -> Array:
    """Return a constant as the type holds it, for nodes that do ``ops`` with it.

    Limits and masks beyond what the type holds become its largest numbers, and a single small number that is added, such as
    what keeps a divisor from 0, the smallest that is not 0.

    Raises
    ------
    UnsupportedError
        If others are too large, or a single divisor too small.
    """
    info = np.finfo(dtype)
    with np.errstate(over="ignore"):
        held = value.astype(dtype)
    if np.isinf(held[np.isfinite(value)]).any():
        if not ops <= _BESIDE:
            number = float(np.abs(value[np.isfinite(value)]).max())
            raise UnsupportedError(
                f"the constant {name!r} holds {number:g}, more than {dtype} holds; load the model in float32"
            )
        held = np.where(np.isfinite(value), np.clip(value, info.min, info.max), value).astype(dtype)
    if value.size == 1 and ops & {"Add", "Div"} and not held.any() and value.any():
        if "Div" in ops:
            number = float(np.abs(value).reshape(-1)[0])
            raise UnsupportedError(
                f"the constant {name!r} holds {number:g}, less than {dtype} holds; load the model in float32"
            )
        held = np.copysign(info.smallest_subnormal, value).astype(dtype)
    return held


def _known(graph: Graph) -> set[str]:
    """Return the values that follow from sizes, constants and whole numbers that steer alone."""
    known = {port.name for port in graph.inputs if port.steers and port.dtype not in _NAMES}
    for node in graph.nodes:
        read = [name for name in node.inputs if name]
        follows = read and all(name in known or name in graph.constants for name in read) and not runs(node, graph.constants)
        if node.op in ("Shape", "Size") or follows:
            known.update(filter(None, node.outputs))
    return known


def _differs(value: Array, dtype: str) -> bool:
    return value.dtype.kind == "f" and value.dtype.name != dtype


def _retyped(node: Node, dtype: str) -> Node:
    """Return a node that names a floating-point type with another one."""
    if node.op == "Cast" and node.get("to") in _FLOATS:
        return node.having(to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    return node
