"""Winograd's minimal filtering F(m x m, r x r): its matrices in rational arithmetic, and how far rounding may carry it.

Along one axis, ``m`` outputs from ``m + r - 1`` inputs ``d`` and ``r`` taps ``g`` are ``AT ((G g) * (BT d))``, with
``m + r - 1`` products in place of ``r m``: Toom and Cook's evaluation of polynomials at ``m + r - 2`` points and at infinity,
and interpolation. ``BT`` is the same for all ``m`` and ``r`` with the same sum.

With stride 2 and 3 taps, ``2 m + 1`` inputs are needed. The first and the last tap meet the even ones alone, a filter of 2 with
stride 1 that takes ``m + 1`` products in the same way; the tap between them meets the odd ones, in ``m`` products: ``2 m + 1``
in all.

The bound is the componentwise one of B. Barabasz, A. Anderson, K. M. Soodhalter, D. Gregg, "Error Analysis and Improving the
Accuracy of Winograd Convolution for Deep Neural Networks", ACM TOMS 46 (2020), section 4: each path from an input to an output
is rounded at most :func:`roundings` times, and the paths' sizes add up to the same expression with absolute values throughout,

    ``|AT| ( sum over ic of (|G| |g| |G|^T) * (|BT| |d| |BT|^T) ) |AT|^T``
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from clconv.problem import ConvProblem

Array = np.ndarray[Any, Any]
Matrix = list[list[Fraction]]

TAPS = (2, 3, 4, 5, 6, 7)
"""Of a filter, along an axis, that the method serves with stride 1; with stride 2, 3 alone."""


def _points(*values: str) -> tuple[Fraction, ...]:
    return tuple(map(Fraction, values))


POINTS: dict[int, dict[int, tuple[Fraction, ...]]] = {
    1: {
        4: _points("0", "1", "-1"),
        6: _points("0", "5/8", "-5/8", "3/2", "-3/2"),
        8: _points("0", "1", "-1", "2", "-2", "1/2", "-1/2"),
    },
    2: {5: _points("0", "1"), 7: _points("0", "1", "-1"), 9: _points("1/2", "-1/2", "5/4", "-5/4")},
}
"""The finite points by stride and side of a tile, in pixels. Pairs +p, -p share sums; powers and sums of these are exact in
float32. For 6 with stride 1, the usual 0, 1, -1, 2, -2 would lose a digit half more: the bound grows with ``amplification``,
13.2 here against 29.3 there, for 3 taps. With stride 2 it is 7.8, and for the smaller tiles 3 and 4."""


def refusal(
    problem: ConvProblem, strides: tuple[int, ...] = (1,), taps: tuple[int, ...] = (3,), *, dilated: bool = False
) -> str | None:
    """Return None if the method serves a problem: a square filter, with such strides, several input channels a group.

    Parameters
    ----------
    problem : ConvProblem
    strides : tuple of int
    taps : tuple of int
        Sides of filters with stride 1; with stride 2 it is 3.
    dilated : bool
        Whether, with stride 1, an image may be taken for as many as its pixels meet each other in.
    """
    sides = taps if (problem.SH, problem.SW) == (1, 1) else (3,)
    if problem.KH != problem.KW or problem.KH not in sides:
        offered = " or ".join(f"{side}x{side}" for side in sides)
        return f"the filter must be {offered}, it is {problem.KH}x{problem.KW}"
    apart = dilated and (problem.SH, problem.SW) == (1, 1)
    if problem.SH != problem.SW or problem.SH not in strides or not (apart or problem.dilation == (1, 1)):
        alone = "; with stride 1 it may be more" if dilated else ""
        return f"the stride must be {' or '.join(map(str, strides))} both ways and the dilation 1{alone}"
    if problem.DH > problem.OH or problem.DW > problem.OW:
        return f"the dilation of {problem.DH} x {problem.DW} leaves one output in most rows or columns, which shares nothing"
    if problem.ICG == 1:
        return "one input channel a group leaves nothing to sum over, the transforms would cost more than they save"
    return None


def side(tile: int, stride: int = 1, taps: int = 3) -> int:
    """Return the pixels under a tile along an axis, and the products: as many."""
    return (tile - 1) * stride + taps


def tiles(stride: int = 1, taps: int = 3) -> tuple[int, ...]:
    """Return the sizes of tiles that there are points for, in outputs along an axis."""
    return tuple(tile for pixels in POINTS[stride] if (tile := (pixels - taps) // stride + 1) > 1)


@cache
def matrices(tile: int, stride: int = 1, taps: int = 3) -> tuple[Matrix, Matrix, Matrix]:
    """Return AT (m x n), G (n x r) and BT (n x n), n = :func:`side`, as lists of rows.

    The kernel scales some of these rows and columns by powers of two or signs that cancel; no rounding depends on it.

    Examples
    --------
    >>> AT, G, BT = matrices(2)
    >>> [[str(v) for v in row] for row in BT]
    [['-1', '0', '1', '0'], ['0', '1', '1', '0'], ['0', '-1', '1', '0'], ['0', '-1', '0', '1']]
    """
    n, zero = side(tile, stride, taps), Fraction(0)
    points = list(POINTS[stride][n])
    if stride == 1:
        return _minimal(tile, taps, points)
    even, g, bt = _minimal(tile, 2, points)
    at = [row + _unit(tile, i) for i, row in enumerate(even)]
    filters = [[first, zero, last] for first, last in g] + [_unit(3, 1)] * tile
    pixels = [[row[k // 2] if k % 2 == 0 else zero for k in range(n)] for row in bt]
    return at, filters, pixels + [_unit(n, 2 * i + 1) for i in range(tile)]


def _minimal(tile: int, taps: int, points: list[Fraction]) -> tuple[Matrix, Matrix, Matrix]:
    """Return the matrices of a filter with stride 1."""
    at = [[p**j for p in points] + [Fraction(int(j == tile - 1))] for j in range(tile)]
    g, bt = [], []
    for p in points:
        others = [q for q in points if q != p]
        f = Fraction(1)
        for q in others:
            f *= p - q
        g.append([p**k / f for k in range(taps)])
        bt.append([*_from_roots(others), Fraction(0)])
    g.append(_unit(taps, taps - 1))
    bt.append(_from_roots(points))
    return at, g, bt


def _unit(n: int, i: int) -> list[Fraction]:
    """Return a row of n that picks its i-th element."""
    return [Fraction(int(k == i)) for k in range(n)]


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
def amplification(tile: int, stride: int = 1, taps: int = 3) -> float:
    """Largest sum of paths from a tap of the filter to an output, along one axis, for inputs of size 1.

    The direct method has 1.
    """
    at, g, bt = (_absolute(m) for m in matrices(tile, stride, taps))
    return float((at @ (bt.sum(axis=1)[:, None] * g)).max())


def roundings(problem: ConvProblem) -> int:
    """Most roundings on a path: those of six one-dimensional transforms, the sum over channels, bias and residual.

    Four in a transform; of a filter by one for each second tap, which are multiplied with powers of a point and added up, those
    between them likewise, and both are added and divided.
    """
    return 4 * 4 + 2 * max(4, -(-problem.KH // 2) + 2) + problem.ICG + 3


def error_factor(problem: ConvProblem, tile: int) -> float:
    """Return c such that ``|y - exact| <= c * eps * max|x| * sum|w|``, before the activation.

    The maximum is taken over the pixels under a tile and the sum over the filter of one output channel.
    """
    return 0.5 * roundings(problem) * amplification(tile, problem.SH, problem.KH) ** 2


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
    if p.dilation != (1, 1):
        return _apart(problem, tile, x, w)
    if p.layout == "NHWC":
        x, w = x.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1)
    at, g, bt = (_absolute(m) for m in matrices(tile, p.SH, p.KH))
    n, step = side(tile, p.SH, p.KH), tile * p.SH
    ty, tx = -(-p.OH // tile), -(-p.OW // tile)
    below, right = max(ty * step + n - step - p.IH - p.PT, 0), max(tx * step + n - step - p.IW - p.PL, 0)
    x = np.pad(np.abs(x.astype(np.float64)), ((0, 0), (0, 0), (p.PT, below), (p.PL, right)))
    tiles = np.lib.stride_tricks.sliding_window_view(x, (n, n), axis=(2, 3))[:, :, ::step, ::step][:, :, :ty, :tx]
    v = (bt @ tiles @ bt.T).reshape(p.N, p.G, p.ICG, ty, tx, n, n)
    u = (g @ np.abs(w.astype(np.float64)) @ g.T).reshape(p.G, p.OCG, p.ICG, n, n)
    m = np.einsum("goiab,ngiyxab->ngoyxab", u, v, optimize=True)
    y = (at @ m @ at.T).transpose(0, 1, 2, 3, 5, 4, 6).reshape(p.N, p.OC, ty * tile, tx * tile)[:, :, : p.OH, : p.OW]
    return np.ascontiguousarray(y.transpose(0, 2, 3, 1) if p.layout == "NHWC" else y)


def _apart(problem: ConvProblem, tile: int, x: Array, w: Array) -> Array:
    """Return the sizes of paths of a dilated filter: it meets every DH-th row and DW-th column, an image of their own."""
    p, first = problem, 1 if problem.layout == "NHWC" else 2
    around = [(0, 0)] * 4
    around[first : first + 2] = p.padding
    whole, y = np.pad(x, around), np.empty(p.output_shape)
    for h in range(p.DH):
        for v in range(p.DW):
            where = (*(slice(None),) * first, slice(h, None, p.DH), slice(v, None, p.DW))
            own = replace(p, x_shape=whole[where].shape, padding=0, dilation=1)
            y[where] = magnitude(own, tile, whole[where], w)
    return y
