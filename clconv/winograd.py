"""Winograd's minimal filtering F(m x m, 3 x 3): its matrices in rational arithmetic, and how far rounding may carry it.

Along one axis, ``m`` outputs from ``m + 2`` inputs ``d`` and 3 taps ``g`` are ``AT ((G g) * (BT d))``, with ``m + 2`` products
in place of ``3 m``: Toom and Cook's evaluation of polynomials at ``m + 1`` points and at infinity, and interpolation.

The bound is the componentwise one of B. Barabasz, A. Anderson, K. M. Soodhalter, D. Gregg, "Error Analysis and Improving the
Accuracy of Winograd Convolution for Deep Neural Networks", ACM TOMS 46 (2020), section 4: each path from an input to an output
is rounded at most :func:`roundings` times, and the paths' sizes add up to the same expression with absolute values throughout,

    ``|AT| ( sum over ic of (|G| |g| |G|^T) * (|BT| |d| |BT|^T) ) |AT|^T``
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from clconv.problem import ConvProblem

Array = np.ndarray[Any, Any]
Matrix = list[list[Fraction]]

POINTS: dict[int, tuple[Fraction, ...]] = {
    2: (Fraction(0), Fraction(1), Fraction(-1)),
    4: (Fraction(0), Fraction(5, 8), Fraction(-5, 8), Fraction(3, 2), Fraction(-3, 2)),
    6: tuple(Fraction(p) for p in ("0", "1", "-1", "2", "-2", "1/2", "-1/2")),
}
"""The finite points of each tile size. Pairs +p, -p share sums; powers and sums of these are exact in float32. For 4, the usual
0, 1, -1, 2, -2 would lose a digit half more: the bound grows with ``amplification``, 13.2 here against 29.3 there."""


def refusal(problem: ConvProblem) -> str | None:
    """Return None if the method serves a problem: a 3x3 filter with stride and dilation 1, several input channels a group."""
    if (problem.KH, problem.KW) != (3, 3):
        return f"the filter must be 3x3, it is {problem.KH}x{problem.KW}"
    if problem.stride != (1, 1) or problem.dilation != (1, 1):
        return "stride and dilation must be 1"
    if problem.ICG == 1:
        return "one input channel a group leaves nothing to sum over, the transforms would cost more than they save"
    return None


@cache
def matrices(tile: int) -> tuple[Matrix, Matrix, Matrix]:
    """Return AT (m x n), G (n x 3) and BT (n x n), n = m + 2, as lists of rows.

    The kernel scales some of these rows and columns by powers of two or signs that cancel; no rounding depends on it.

    Examples
    --------
    >>> AT, G, BT = matrices(2)
    >>> [[str(v) for v in row] for row in BT]
    [['-1', '0', '1', '0'], ['0', '1', '1', '0'], ['0', '-1', '1', '0'], ['0', '-1', '0', '1']]
    """
    points = POINTS[tile]
    at = [[p**j for p in points] + [Fraction(int(j == tile - 1))] for j in range(tile)]
    g, bt = [], []
    for p in points:
        others = [q for q in points if q != p]
        f = Fraction(1)
        for q in others:
            f *= p - q
        g.append([p**k / f for k in range(3)])
        bt.append([*_from_roots(others), Fraction(0)])
    g.append([Fraction(0), Fraction(0), Fraction(1)])
    bt.append(_from_roots(list(points)))
    return at, g, bt


def _from_roots(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of the product of (t - root), the constant first."""
    poly = [Fraction(1)]
    for root in roots:
        poly = [low - root * same for low, same in zip([Fraction(0), *poly], [*poly, Fraction(0)], strict=True)]
    return poly


def _absolute(matrix: Matrix) -> Array:
    values: Array = np.abs(np.array([[float(v) for v in row] for row in matrix]))
    return values


@cache
def amplification(tile: int) -> float:
    """Largest sum of paths from a tap of the filter to an output, along one axis, for inputs of size 1.

    The direct method has 1.
    """
    at, g, bt = (_absolute(m) for m in matrices(tile))
    return float((at @ (bt.sum(axis=1)[:, None] * g)).max())


def roundings(problem: ConvProblem) -> int:
    """Most roundings on a path: four in each of six one-dimensional transforms, the sum over channels, bias and residual."""
    return 6 * 4 + problem.ICG + 3


def error_factor(problem: ConvProblem, tile: int) -> float:
    """Return c such that ``|y - exact| <= c * eps * max|x| * sum|w|``, before the activation.

    The maximum is taken over the pixels under a tile and the sum over the filter of one output channel.
    """
    return 0.5 * roundings(problem) * amplification(tile) ** 2


def magnitude(problem: ConvProblem, tile: int, x: Array, w: Array) -> Array:
    """Return the sum of the sizes of all paths into each output, in float64 and in the layout of the problem.

    Times :func:`roundings` times the unit roundoff (half of eps), this bounds the error elementwise.

    Parameters
    ----------
    problem : ConvProblem
    tile : int
    x, w : ndarray
        In the layout of the problem.
    """
    p = problem
    if p.layout == "NHWC":
        x, w = x.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1)
    at, g, bt = (_absolute(m) for m in matrices(tile))
    ty, tx = -(-p.OH // tile), -(-p.OW // tile)
    below, right = max(ty * tile + 2 - p.IH - p.PT, 0), max(tx * tile + 2 - p.IW - p.PL, 0)
    x = np.pad(np.abs(x.astype(np.float64)), ((0, 0), (0, 0), (p.PT, below), (p.PL, right)))
    tiles = np.lib.stride_tricks.sliding_window_view(x, (tile + 2, tile + 2), axis=(2, 3))[:, :, ::tile, ::tile][:, :, :ty, :tx]
    v = (bt @ tiles @ bt.T).reshape(p.N, p.G, p.ICG, ty, tx, tile + 2, tile + 2)
    u = (g @ np.abs(w.astype(np.float64)) @ g.T).reshape(p.G, p.OCG, p.ICG, tile + 2, tile + 2)
    m = np.einsum("goiab,ngiyxab->ngoyxab", u, v, optimize=True)
    y = (at @ m @ at.T).transpose(0, 1, 2, 3, 5, 4, 6).reshape(p.N, p.OC, ty * tile, tx * tile)[:, :, : p.OH, : p.OW]
    return np.ascontiguousarray(y.transpose(0, 2, 3, 1) if p.layout == "NHWC" else y)
