"""The rows of an image in bands, as kernels/include/bands.clh cuts them, and what the busiest unit has of them."""

from __future__ import annotations

from collections.abc import Callable

from clconv.algorithms.base import ceil_div


def mean_of_bands(rows: int, bands: int, items: int, units: int, cost: Callable[[int], float]) -> float:
    """Return the mean cost of the bands that the busiest unit works on.

    Parameters
    ----------
    rows : int
        Of an image.
    bands : int
        Of an image, ``rows`` at most.
    items : int
        Bands of all images, times the parts that each is computed in.
    units : int
        Compute units, which take bands that follow each other, or each the next one.
    cost : callable
        Of a band of so many rows.

    Examples
    --------
    >>> mean_of_bands(14, 4, 4, 2, float), mean_of_bands(7, 2, 2, 2, float)
    (3.5, 4.0)
    """
    low = rows // bands
    if rows % bands == 0:
        return cost(low)
    each = ceil_div(items, units)
    high = min(each, ceil_div(each * rows, bands) - each * low)
    return (high * cost(low + 1) + (each - high) * cost(low)) / each
