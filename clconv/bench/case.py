"""The data of one layer, the same in every process, and the exact result to compare with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clconv.problem import ConvProblem

TOLERANCE = 1e-4
"""A result that is off by more than this share of the largest output does not count."""


def encode(problem: ConvProblem) -> dict[str, Any]:
    """Write an NCHW problem as JSON can hold it."""
    fields = ("x_shape", "w_shape", "stride", "padding", "dilation", "groups")
    return {name: getattr(problem, name) for name in fields}


def decode(record: dict[str, Any]) -> ConvProblem:
    """Read what :func:`encode` wrote."""
    return ConvProblem(**record)


def tensors(problem: ConvProblem) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the input (N, IC, IH, IW) and the filter (OC, IC/G, KH, KW): normal numbers from a fixed seed."""
    random = np.random.default_rng(1)
    x = random.standard_normal(problem.x_shape, dtype=np.float32)
    w = random.standard_normal(problem.w_shape, dtype=np.float32)
    return x, w


def exact(problem: ConvProblem) -> NDArray[np.float64]:
    """Compute the layer in float64, tap by tap: for each (kh, kw) one matrix product per image and group."""
    p = problem
    x, w = (a.astype(np.float64) for a in tensors(p))
    x = np.pad(x, ((0, 0), (0, 0), *p.padding)).reshape(p.N, p.G, p.ICG, p.IH + p.PT + p.PB, p.IW + p.PL + p.PR)
    w = w.reshape(p.G, p.OCG, p.ICG, p.KH, p.KW)
    y = np.zeros((p.N, p.G, p.OCG, p.OH * p.OW))
    for kh in range(p.KH):
        for kw in range(p.KW):
            rows = slice(kh * p.DH, kh * p.DH + (p.OH - 1) * p.SH + 1, p.SH)
            columns = slice(kw * p.DW, kw * p.DW + (p.OW - 1) * p.SW + 1, p.SW)
            y += w[..., kh, kw] @ x[:, :, :, rows, columns].reshape(p.N, p.G, p.ICG, p.OH * p.OW)
    return y.reshape(p.output_shape)


def relative_error(y: NDArray[Any], reference: NDArray[Any]) -> float:
    """Return the largest deviation as a share of the largest output."""
    if y.shape != reference.shape:
        return float("inf")
    largest = float(np.abs(reference).max())
    error = float(np.abs(y - reference).max()) / largest if largest else float(np.abs(y).max())
    return error if np.isfinite(error) else float("inf")
