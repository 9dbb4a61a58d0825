"""What the kernels with rows of the image in a ring share (kernels/include/ring.clh): its size, and the bands of rows."""

from __future__ import annotations

from typing import NamedTuple

from clconv.algorithms.base import accumulator_bytes, ceil_div
from clconv.device import DeviceInfo
from clconv.problem import ConvProblem

ITEMS = 8
"""Work-items for each compute unit, if the image has rows enough."""


class Ring(NamedTuple):
    """Rows of some vectors of channels, in local memory."""

    vectors: int
    """Of channels."""
    width: int
    """Pixels of a row, the padding's among them."""
    bytes: int


def ring(problem: ConvProblem, vec: int, vectors: int, coming: int = 0) -> Ring:
    """Return the ring of a work-item that takes so many vectors of ``vec`` channels, with room for rows that are coming in."""
    width = (problem.OW - 1) * problem.SW + problem.EKW
    rows = problem.EKH + coming
    return Ring(vectors, width, rows * width * vectors * vec * accumulator_bytes(problem))


def bands(problem: ConvProblem, device: DeviceInfo, chunks: int) -> int:
    """Return into how many bands of rows an image is cut, whose channels are cut into ``chunks``.

    A band reads some rows of the next, too, so that it should not be small. The channels of a band follow each other, and each
    compute unit should have a band or an image: where two of them had channels of the same pixels, each brought the lines of
    the other into its own cache as well, and took up to twice as long.
    """
    most = max(1, problem.OH // (2 * problem.KH))
    return min(most, max(ceil_div(device.compute_units, problem.N), ceil_div(ITEMS * device.compute_units, chunks * problem.N)))
