"""A transposed convolution as an ordinary one: every so-many-th output reads every so-many-th tap, all with stride 1.

Along one axis ``y[o] = sum over i, k of x[i] * w[k]`` where ``i*stride + k*dilation = o + cut``. The outputs are numbered anew,
``o + begin = v*stride + r``: in phase ``r``, place ``v`` reads ``x[v + j]`` with the tap ``k`` of which
``j*stride + k*dilation = r + cut - begin``. The phases are output channels of one convolution, whose window holds each ``j``
that one of them needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from clconv.onnx.graph import Array


@dataclass(frozen=True)
class Phases:
    """One axis of a transposed convolution.

    Parameters
    ----------
    count : int
        Phases.
    places : int
        Outputs of each.
    begin : int
        Outputs that are cut off in front, when all phases are put together; less than ``count``.
    first, step : int
        Place ``v`` reads ``x[v + first]``, ``x[v + first + step]``, ...
    taps : tuple of tuple of int
        By phase, the tap of the filter that is multiplied with each of these; -1 for none.
    """

    count: int
    places: int
    begin: int
    first: int
    step: int
    taps: tuple[tuple[int, ...], ...]

    def reads(self, size: int) -> tuple[int, int]:
        """Return how many elements are read before the first one of ``size`` and behind the last; either may be negative."""
        return -self.first, self.places + self.first + (len(self.taps[0]) - 1) * self.step - size

    @property
    def work(self) -> int:
        """Multiply-adds."""
        return self.count * self.places * len(self.taps[0])

    def parts(self) -> tuple[Phases, ...]:
        """Return the phases in two parts, if those of each need the same taps and both together more."""
        used = [tuple(i for i, tap in enumerate(taps) if tap >= 0) for taps in self.taps]
        ends = [r for r in range(1, self.count) if used[r] != used[r - 1]]
        if len(ends) != 1:
            return (self,)
        parts = self._part(used[0], 0, ends[0]), self._part(used[-1], ends[0], self.count)
        return parts if sum(part.work for part in parts) < self.work else (self,)

    def _part(self, used: tuple[int, ...], start: int, stop: int) -> Phases:
        window = used or (0,)
        step = math.gcd(*(i - window[0] for i in window)) or 1
        taps = tuple(taps[window[0] : window[-1] + 1 : step] for taps in self.taps[start:stop])
        return replace(self, count=stop - start, first=self.first + window[0] * self.step, step=step * self.step, taps=taps)


def phases_of(size: int, out: int, taps: int, stride: int, dilation: int, cut: int) -> Phases:
    """Return the phases of an axis, numbered so that the work is least.

    Parameters
    ----------
    size, out : int
        Elements of the image and of the output.
    taps, stride, dilation : int
        Of the transposed convolution.
    cut : int
        Its outputs that are cut off in front: ONNX's padding before.
    """
    begins = sorted({0, cut % stride})  # for the fewest places, or the fewest taps
    found = [_numbered(size, out, taps, stride, dilation, cut, begin) for begin in begins]
    if size == 1 and out <= (taps - 1) * dilation + 1:  # its stride means nothing: each output has a phase of its own
        found.append(_numbered(size, out, taps, out, dilation, cut, 0))
    return min(found, key=lambda each: (each.work, each.begin))


def _numbered(size: int, out: int, taps: int, count: int, dilation: int, cut: int, begin: int) -> Phases:
    places = -(-(out + begin) // count)
    needed: dict[tuple[int, int], int] = {}  # (phase, j) -> tap
    for tap in range(taps):
        before, phase = divmod(tap * dilation - cut + begin, count)
        if -size < before < places:  # else it meets no element
            needed[phase, -before] = tap
    window = sorted({j for _, j in needed}) or [0]
    step = math.gcd(*(j - window[0] for j in window)) or 1
    all_taps = tuple(
        tuple(needed.get((phase, j), -1) for j in range(window[0], window[-1] + 1, step)) for phase in range(count)
    )
    return Phases(count, places, begin, window[0], step, all_taps)


def filter_of(w: Array, groups: int, axes: Sequence[Phases]) -> Array:
    """Return the ordinary convolution's filter.

    Parameters
    ----------
    w : numpy.ndarray
        Of the transposed one: IC, OC/G, KH, KW.
    groups : int
    axes : sequence of Phases
        Of both.

    Returns
    -------
    numpy.ndarray
        OC * phases, IC/G, and the window; the phases of an output channel lie side by side.
    """
    ic, ocg = w.shape[:2]
    swapped = (
        w.reshape(groups, ic // groups, ocg, *w.shape[2:]).swapaxes(1, 2).reshape(groups * ocg, ic // groups, *w.shape[2:])
    )
    with_none = np.pad(swapped, ((0, 0), (0, 0), (0, 1), (0, 1)))  # tap -1
    rows, columns = (np.array(axis.taps) for axis in axes)
    taken = with_none[:, :, rows[:, None, :, None], columns[None, :, None, :]]  # OC, IC/G, phases, phases, window, window
    return np.ascontiguousarray(np.moveaxis(taken, 1, 3).reshape(-1, ic // groups, rows.shape[1], columns.shape[1]))
