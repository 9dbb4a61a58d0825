"""Strassen's matrix product of pixels and filters, in Winograd's form: how pixels are paired, and how far rounding carries.

``A`` holds pixels by input channels, ``B`` input channels by output channels, ``C = A B``; all are cut into quarters. An entry
of ``C`` is a sum of products of sums. The sizes of all paths from the inputs into it add up to ``|W| ((|U| |A|) * (|V| |B|))``
in the words of N. J. Higham, "Accuracy and Stability of Numerical Algorithms" (2002), section 23.2.2, and each path is rounded
at most :func:`roundings` times.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clconv.problem import ConvProblem

Array = np.ndarray[Any, Any]

AMPLIFICATION = 13
"""Paths into an entry of C12, the most there are, in entries of the two columns of B that meet there: 6 and 7."""


def cut(pixels: int, heights: tuple[int, int]) -> tuple[int, int]:
    """Cut pixels into tiles: how many in all, and how many of these, the last ones, are of the smaller height.

    Parameters
    ----------
    pixels : int
    heights : (int, int)
        Of half a tile, in pixels; the smaller one second.

    Examples
    --------
    >>> cut(196, (14, 11)), cut(49, (14, 11))
    ((7, 0), (2, 1))
    """
    large, small = heights
    half = -(-pixels // 2)
    tiles = -(-half // large)
    return tiles, min(tiles, (tiles * large - half) // (large - small))


def halves(pixels: int, heights: tuple[int, int]) -> tuple[Array, Array]:
    """Pixels of the upper and of the lower halves of all tiles, in pairs; numbers from ``pixels`` on stand for none."""
    tiles, small = cut(pixels, heights)
    upper, lower, start = [], [], 0
    for t in range(tiles):
        size = heights[int(t >= tiles - small)]
        upper.append(np.arange(start, start + size))
        lower.append(np.arange(start + size, start + 2 * size))
        start += 2 * size
    return np.concatenate(upper), np.concatenate(lower)


def roundings(problem: ConvProblem) -> int:
    """Most roundings on a path: three additions on either side, four products into one sum, a fifth, bias and residual.

    Where input channels come in parts, there are fewer.
    """
    return 3 + 3 + 4 * -(-problem.IC // 2) + 1 + 3


def error_factor(problem: ConvProblem) -> float:
    """Return c such that ``|y - exact| <= c * eps * max|x| * sum|w|``, before the activation.

    The maximum is taken over two pixels and the sum over the filters of two output channels, whichever is larger.
    """
    return 0.5 * roundings(problem) * AMPLIFICATION


def magnitude(problem: ConvProblem, cuts: tuple[int, int, int, int], x: Array, w: Array) -> Array:
    """Return the sum of the sizes of all paths into each output, in float64 and in the layout of the problem.

    Times :func:`roundings` times the unit roundoff (half of eps), this bounds the error elementwise.

    Parameters
    ----------
    problem : ConvProblem
    cuts : tuple of 4 int
        As :class:`clconv.plan.Plan` has them.
    x, w : ndarray
        In the layout of the problem.
    """
    p = problem
    if p.layout == "NHWC":
        x, w = x.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1)
    large, small, channels, part = cuts
    a = np.abs(x.astype(np.float64))[:, :, :: p.SH, :: p.SW][:, :, : p.OH, : p.OW].reshape(p.N, p.IC, p.OH * p.OW)
    a = a.transpose(0, 2, 1) if p.layout == "NCHW" else a.transpose(0, 2, 1).reshape(1, -1, p.IC)
    b = np.pad(np.abs(w.astype(np.float64))[:, :, 0, 0].T, ((0, 0), (0, 2 * channels - p.OC)))
    upper, lower = halves(a.shape[1], (large, small))
    a = np.pad(a, ((0, 0), (0, max(upper.max(), lower.max()) + 1 - a.shape[1]), (0, 0)))
    c = np.zeros((a.shape[0], a.shape[1], 2 * channels))
    for s in range(0, p.IC, part):
        c += _paths(a[:, :, s : s + part], b[s : s + part], upper, lower, channels)
    y = c[:, : p.N * p.OH * p.OW // a.shape[0], : p.OC].reshape(p.N, p.OH, p.OW, p.OC)
    return np.ascontiguousarray(y if p.layout == "NHWC" else y.transpose(0, 3, 1, 2))


def _paths(a: Array, b: Array, upper: Array, lower: Array, channels: int) -> Array:
    """Return the sizes of all paths of input channels that are multiplied together."""
    half = -(-len(b) // 2)
    a = np.pad(a, ((0, 0), (0, 0), (0, 2 * half - len(b))))
    b = np.pad(b, ((0, 2 * half - len(b)), (0, 0)))
    a11, a12, a21, a22 = a[:, upper, :half], a[:, upper, half:], a[:, lower, :half], a[:, lower, half:]
    b11, b12, b21, b22 = b[:half, :channels], b[:half, channels:], b[half:, :channels], b[half:, channels:]
    s1, t1 = a21 + a22, b12 + b11
    s2, t2 = s1 + a11, b22 + t1
    u2 = a11 @ b11 + s2 @ t2
    u3 = u2 + (a11 + a21) @ (b22 + b12)
    p5 = s1 @ t1
    c = np.empty((a.shape[0], a.shape[1], 2 * channels))
    c[:, upper, :channels] = a11 @ b11 + a12 @ b21
    c[:, upper, channels:] = u2 + p5 + (a12 + s2) @ b22
    c[:, lower, :channels] = u3 + a22 @ (b21 + t2)
    c[:, lower, channels:] = u3 + p5
    return c
