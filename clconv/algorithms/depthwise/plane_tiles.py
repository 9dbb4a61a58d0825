"""What the depthwise kernels share that take images in NCHW, channel by channel: how these become work-items."""

from __future__ import annotations

from clconv.algorithms.base import ceil_div
from clconv.device import DeviceInfo
from clconv.problem import ConvProblem


def cut(problem: ConvProblem, device: DeviceInfo, height: int) -> tuple[int, int]:
    """Return the bands of a channel, of ``height`` rows of outputs at least, and the channels of a work-item.

    Eight work-items a unit: of several channels each, or, where channels are fewer, of a band of one.
    """
    items = ceil_div(8 * device.compute_units, problem.N)
    return min(problem.OH // height, max(1, items // problem.IC)), max(1, problem.IC // items)
