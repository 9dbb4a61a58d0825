"""The oracle: a convolution in NumPy and float64, with a bound on the error that each output may have.

The bound follows Higham, Accuracy and Stability of Numerical Algorithms (2nd ed.), section 3.1: a sum of K products in
any order errs by at most about ``K * eps`` times the sum of the absolute products.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from clconv import strassen, winograd
from clconv.activation import Activation
from clconv.plan import Plan
from clconv.problem import EPS, ConvProblem

Array = np.ndarray[Any, Any]

_SLOPE = {"hardswish": 1.5, "silu": 1.1, "gelu": 1.13, "gelu_tanh": 1.13}  # largest slope of an activation; 1 for the others
_TINY = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-126, "float64": 2.0**-1022}


def convolve(problem: ConvProblem, x: Array, w: Array) -> Array:
    """Return the bare convolution in float64: no bias, residual or activation.

    Parameters
    ----------
    problem : ConvProblem
    x, w : ndarray
        In the layout of the problem.

    Returns
    -------
    ndarray of float64
        In the layout of the problem.
    """
    p = problem
    if p.layout == "NHWC":
        x, w = x.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1)
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), *p.padding))
    w = w.astype(np.float64).reshape(p.G, p.OCG, p.ICG, p.KH, p.KW)
    y = np.zeros((p.N, p.G, p.OCG, p.OH * p.OW))
    for kh in range(p.KH):
        for kw in range(p.KW):
            top, left = kh * p.DH, kw * p.DW
            taps = x[:, :, top : top + (p.OH - 1) * p.SH + 1 : p.SH, left : left + (p.OW - 1) * p.SW + 1 : p.SW]
            y += w[..., kh, kw] @ taps.reshape(p.N, p.G, p.ICG, p.OH * p.OW)
    y = y.reshape(p.N, p.OC, p.OH, p.OW)
    return np.ascontiguousarray(y.transpose(0, 2, 3, 1)) if p.layout == "NHWC" else y


def activate(v: Array, activation: Activation) -> Array:
    """Return an activation of float64 values."""
    kind, a, b = activation.kind, activation.a, activation.b
    if kind == "gelu":
        normal: Array = 1 + np.array([math.erf(u) for u in (v * math.sqrt(0.5)).flat]).reshape(v.shape)
        return 0.5 * v * normal
    sixth: Array = np.clip(v + 3, 0, 6) / 6
    sigmoid: Array = 0.5 * (1 + np.tanh(0.5 * v))
    results: dict[str, Array] = {
        "identity": v,
        "relu": np.maximum(v, 0),
        "relu6": np.clip(v, 0, 6),
        "sigmoid": sigmoid,
        "tanh": np.tanh(v),
        "silu": v * sigmoid,
        "hardswish": v * sixth,
        "hardsigmoid": sixth,
        "leaky_relu": np.where(v < 0, a * v, v),
        "clip": np.clip(v, a, b),
        "scaled_hardswish": a * v * sixth + b,
        "gelu_tanh": 0.5 * v * (1 + np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))),
    }
    return results[kind]


def reference(problem: ConvProblem, x: Array, w: Array, bias: Array | None = None, residual: Array | None = None) -> Array:
    """Return the exact result, in float64, of what a kernel is asked to compute."""
    return activate(_add(problem, convolve(problem, x, w), bias, residual), problem.activation)


def _add(problem: ConvProblem, y: Array, bias: Array | None, residual: Array | None) -> Array:
    if bias is not None:
        b = bias.astype(np.float64)
        y = y + (b[:, None, None] if problem.layout == "NCHW" else b)
    if residual is not None:
        y = y + residual.astype(np.float64)
    return y


def error_bound(
    problem: ConvProblem, plan: Plan, x: Array, w: Array, bias: Array | None = None, residual: Array | None = None
) -> Array:
    """Return, for each output, the largest error that the plan may make.

    Parameters
    ----------
    problem : ConvProblem
    plan : Plan
        Its ``error_factor`` is used; :mod:`clconv.winograd` and :mod:`clconv.strassen` look at all that meets in a tile.
    x, w, bias, residual : ndarray
        What the kernel is given, in the element type of the problem.

    Returns
    -------
    ndarray of float64
        In the layout of the problem.
    """
    eps = EPS["float64" if problem.dtype == "float64" else "float32"]
    absolute = [None if t is None else np.abs(t.astype(np.float64)) for t in (x, w, bias, residual)]
    assert absolute[0] is not None and absolute[1] is not None  # noqa: PT018 - x and w are always there
    if plan.winograd:
        size, factor = winograd.magnitude(problem, plan.winograd, x, w), 0.5 * winograd.roundings(problem)
    elif plan.strassen:
        size, factor = strassen.magnitude(problem, plan.strassen, x, w), 0.5 * strassen.roundings(problem)
    else:
        size, factor = convolve(problem, absolute[0], absolute[1]), plan.error_factor
    size = _add(problem, size, absolute[2], absolute[3])
    y = np.abs(reference(problem, x, w, bias, residual))
    act = problem.activation
    slope = max(_SLOPE.get(act.kind, 1.0), abs(act.a) if act.kind == "leaky_relu" else 0.0)
    shift = 0.0
    if act.kind == "scaled_hardswish":
        slope, shift = 1.5 * abs(act.a), abs(act.a) + 2 * abs(act.b)  # the sum may be small beside both that it is of
    computed = slope * factor * eps * size + 8 * eps * (y + (act.kind in _ROUNDED) + shift)
    # The result is rounded once more into the element type; below its normal range the spacing is absolute.
    total: Array = computed * (1 + EPS[problem.dtype]) + 0.5 * EPS[problem.dtype] * y + _TINY[problem.dtype]
    return total


_ROUNDED = ("sigmoid", "tanh", "silu", "hardswish", "hardsigmoid", "gelu", "gelu_tanh")
