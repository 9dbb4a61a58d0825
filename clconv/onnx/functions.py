"""Functions of one number: the activations of a convolution, and those that only the network's own kernels know."""

from __future__ import annotations

import numpy as np

from clconv.activation import ACTIVATIONS, Activation
from clconv.onnx.graph import Graph, Node

FUNCTIONS = (
    *ACTIVATIONS,
    "hardsigmoid_ab",
    "elu",
    "swish_a",
    "erf",
    "exp",
    "sqrt",
    "neg",
    "abs",
    "reciprocal",
    "softplus",
    "mish",
    "log",
    "selu",
    "celu",
    "softsign",
    "floor",
    "ceil",
    "round",
    "sign",
    "thresholded_relu",
    "sin",
    "cos",
)
"""In the order of kernels/network/function.clh; the first thirteen are those of include/epilogue.clh."""

_PLAIN = {
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "HardSwish": "hardswish",
    "Silu": "silu",
    "Erf": "erf",
    "Exp": "exp",
    "Sqrt": "sqrt",
    "Neg": "neg",
    "Abs": "abs",
    "Reciprocal": "reciprocal",
    "Softplus": "softplus",
    "Mish": "mish",
    "Log": "log",
    "Softsign": "softsign",
    "Floor": "floor",
    "Ceil": "ceil",
    "Round": "round",
    "Sign": "sign",
    "Sin": "sin",
    "Cos": "cos",
}

_WITH_AXES = (
    *("AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "Flatten", "Gemm", "GlobalAveragePool", "GlobalMaxPool"),
    "MaxPool",
)
_ELEMENTWISE = ("Add", "Div", "Mul", "Pow", "Sub")

UNARY = (*_PLAIN, "LeakyRelu", "Clip", "HardSigmoid", "Gelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Swish")
"""Nodes that are such a function."""


def function_of(node: Node, graph: Graph) -> Activation | None:
    """Return the function that a node computes, None if it is none or its numbers are not constant."""
    op = node.op
    if op == "HardSwish" and "factor" in node.attributes:  # which :mod:`clconv.onnx.scales` has given it
        return Activation("scaled_hardswish", node.attributes["factor"], node.attributes["addend"])
    if op in _PLAIN:
        return Activation(_PLAIN[op])
    if op == "LeakyRelu":
        return Activation("leaky_relu", _number(node, "alpha", 0.01))
    if op == "HardSigmoid":
        alpha, beta = _number(node, "alpha", 0.2), _number(node, "beta", 0.5)
        if abs(alpha - 1 / 6) < 1e-7 and beta == 0.5:
            return Activation("hardsigmoid")
        return Activation("hardsigmoid_ab", alpha, beta)
    if op == "Gelu":
        return Activation("gelu_tanh" if node.text("approximate", "none") == "tanh" else "gelu")
    if op == "Elu":
        return Activation("elu", _number(node, "alpha", 1.0))
    if op == "Selu":
        gamma = _number(node, "gamma", 1.0507009873554805)
        return Activation("selu", gamma * _number(node, "alpha", 1.6732632423543772), gamma)
    if op in ("Celu", "ThresholdedRelu"):
        return Activation("celu" if op == "Celu" else "thresholded_relu", _number(node, "alpha", 1.0))
    if op == "Swish":
        alpha = _number(node, "alpha", 1.0)
        return Activation("silu") if alpha == 1 else Activation("swish_a", alpha)
    if op == "Clip":
        return _clip(node, graph)
    return None


def with_axes(graph: Graph) -> set[str]:
    """Return the values that have an axis at least, and are no single number, as far as can be told without any shapes."""
    known = {port.name for port in graph.inputs if port.shape} | {name for name, a in graph.constants.items() if a.ndim}
    for node in graph.nodes:
        if node.op in _WITH_AXES or (node.op in (*_ELEMENTWISE, *UNARY) and any(name in known for name in node.inputs)):
            known.update(node.outputs)
    return known


def _number(node: Node, name: str, default: float) -> float:
    """Return an attribute, which is a float32 in the file, and so is its default."""
    return float(np.float32(node.get(name, default)))


def _clip(node: Node, graph: Graph) -> Activation | None:
    limits = [-float("inf"), float("inf")]
    for index in (0, 1):
        name = node.input(index + 1)
        if name:
            value = graph.constant(name)
            if value is None or value.size != 1:
                return None
            limits[index] = float(value.reshape(-1)[0])
    low, high = limits
    if low == 0 and high == 6:
        return Activation("relu6")
    if low == 0 and high == float("inf"):
        return Activation("relu")
    return Activation("clip", min(low, high), high)
