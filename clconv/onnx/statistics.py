"""Batch normalisation in numbers: what a known one does to each channel, and that of constants by their own statistics.

Standardised weights are exported as the latter.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from clconv.onnx.graph import Array, Node


def affine_of(norm: Node, channels: int, constants: Mapping[str, Array]) -> tuple[Array, Array] | None:
    """Return scale and shift of each channel in float64, None if they are not constant or do not fit."""
    values = [constants.get(name) for name in norm.inputs[1:5]]
    if any(v is None or v.shape != (channels,) for v in values):
        return None
    scale, shift, mean, variance = (np.asarray(v, np.float64) for v in values)
    factor = scale / np.sqrt(variance + float(norm.get("epsilon", 1e-5)))
    return factor, shift - mean * factor


def trains(node: Node) -> bool:
    """Whether a node is a BatchNormalization in training mode."""
    return node.op == "BatchNormalization" and bool(node.get("training_mode", 0))


def trained(node: Node, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Compute such a node: the result, and the running mean and variance behind it if they are wanted.

    In float64, for a variance of small weights is next to nothing in float16.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    x, scale, shift, mean, variance = (feeds[name].astype(np.float64) for name in node.inputs[:5])
    if x.ndim < 2 or any(a.shape != x.shape[1:2] for a in (scale, shift, mean, variance)):
        raise ValueError(f"x has the shape {x.shape}, and there must be one number per channel of it in each other input")
    momentum, axes = float(node.get("momentum", 0.9)), (0, *range(2, x.ndim))
    own_mean, own_variance = x.mean(axes), x.var(axes)
    factor = scale / np.sqrt(own_variance + float(node.get("epsilon", 1e-5)))
    each = (1, -1, *(1,) * (x.ndim - 2))
    results = (
        (x - own_mean.reshape(each)) * factor.reshape(each) + shift.reshape(each),
        mean * momentum + own_mean * (1 - momentum),
        variance * momentum + own_variance * (1 - momentum),
    )
    types = (feeds[node.inputs[i]].dtype for i in (0, 3, 3))
    return {name: y.astype(t) for name, y, t in zip(node.outputs, results, types, strict=False) if name}
