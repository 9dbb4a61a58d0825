"""Nodes of older operator sets, rewritten as today's have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from clconv.errors import ShapeError
from clconv.onnx.graph import Array, Node, derived


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

    def number(self, position: int, attribute: str) -> None:
        """Turn an attribute into a constant input of the first one's type, which is not known yet."""
        if attribute in self.attributes:
            self.as_input(position, attribute, np.float32)
            self.attributes["floats"] = ""

    def put(self, position: int, what: str, value: Array) -> None:
        """Add a constant input."""
        name = derived(self.node.output, what)
        self.constants[name] = value
        inputs = list(self.node.inputs) + [""] * (position + 1 - len(self.node.inputs))
        inputs[position] = name
        self.node = Node(self.node.op, tuple(inputs), self.node.outputs, self.node.attributes, self.node.name)

    def done(self, op: str | None = None) -> Node:
        """Return the new node."""
        n = self.node
        return Node(op or n.op, n.inputs, n.outputs, self.attributes, n.name)


def modern(node: Node, opset: int, constants: dict[str, Array]) -> Node:
    """Return a node of operator set ``opset`` as today's has it; new constant inputs go into ``constants``."""
    rewrite = _REWRITES.get(node.op)
    return node if rewrite is None else rewrite(_Old(node, opset, constants))


def _clip(old: _Old) -> Node:
    old.number(1, "min")
    old.number(2, "max")
    return old.done()


def _axes(old: _Old) -> Node:
    old.as_input(1, "axes", np.int64)
    return old.done()


def _pad(old: _Old) -> Node:
    old.as_input(1, "pads", np.int64)
    old.number(2, "value")
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
    # One without a name takes its part all the same.
    outputs = tuple(name or derived(known, f"omitted{i}") for i, name in enumerate(n.outputs))
    old.node = Node(n.op, n.inputs, outputs, n.attributes, n.name)
    old.as_input(1, "split", np.int64)
    if not old.node.input(1):
        count = old.attributes.setdefault("num_outputs", len(outputs))
        if count != len(outputs):
            raise ShapeError(
                f"the node {n.name!r} (Split) has {len(outputs)} outputs and num_outputs={count}; correct one of them"
            )
        if old.opset < 18:  # the last part may be smaller since
            old.attributes["evenly"] = 1
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
    """Upsample, and Resize before it knew coordinates: (x, scales).

    The nearest place was the one before along axes that grow, and the one behind along those that shrink.
    """
    n = old.node
    old.node = Node(n.op, (n.inputs[0], "", n.inputs[1]), n.outputs, n.attributes, n.name)
    old.attributes.update(coordinate_transformation_mode=b"asymmetric", nearest_mode=b"floor")
    if old.attributes.get("mode", b"nearest") in (b"nearest", "nearest"):
        old.attributes["old_nearest"] = 1
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
    return _first_outputs(old, "Identity", inputs=1)


def _batch_norm(old: _Old) -> Node:
    if old.opset < 14:  # more outputs than one told it
        old.attributes["training_mode"] = int(any(old.node.outputs[1:]))
    if not old.attributes.get("spatial", 1):
        return old.done("BatchNormalization of each pixel by itself")
    return _first_outputs(old, "BatchNormalization", inputs=5, outputs=3 if old.attributes.get("training_mode", 0) else 1)


def _first_outputs(old: _Old, op: str, inputs: int, outputs: int = 1) -> Node:
    """Keep the first outputs; another one that somebody reads turns up as a value that nobody computes."""
    n = old.node
    return Node(op, n.inputs[:inputs], n.outputs[:outputs], old.attributes, n.name)


_REDUCED = ("Mean", "Max", "Min", "Prod", "Sum", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")

_REWRITES: dict[str, Callable[[_Old], Node]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Equal", "Greater", "Less"), _binary),
    "PRelu": _prelu,
    "Sum": _sum,
    "Clip": _clip,
    **dict.fromkeys(("Squeeze", "Unsqueeze", *(f"Reduce{what}" for what in _REDUCED)), _axes),
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _softmax),
    "Upsample": _upsample,
    "Resize": _resize,
    "Dropout": _dropout,
    "BatchNormalization": _batch_norm,
}
