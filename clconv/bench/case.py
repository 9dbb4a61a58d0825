"""The data of one layer, the same in every process, and the exact result to compare with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clconv.problem import ConvProblem
from clconv.reference import convolve
from clconv.tensors import empty

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
    return aligned(x), w


def aligned(array: NDArray[Any]) -> NDArray[Any]:
    """Return a contiguous copy that begins where a cache line does, as memory does that the libraries allocate themselves.

    Some copy the input into such memory before the clock starts; NumPy's own, 16 bytes behind a line, costs the others up to
    a quarter of their time.
    """
    copy = empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def exact(problem: ConvProblem) -> NDArray[np.float64]:
    """Return the layer's result in float64."""
    return convolve(problem, *tensors(problem))


def relative_error(y: NDArray[Any], reference: NDArray[Any]) -> float:
    """Return the largest deviation as a share of the largest output."""
    if y.shape != reference.shape:
        return float("inf")
    largest = float(np.abs(reference).max())
    error = float(np.abs(y - reference).max()) / largest if largest else float(np.abs(y).max())
    return error if np.isfinite(error) else float("inf")
