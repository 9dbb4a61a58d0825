"""Host side of kernels/include/patch.clh: register tiles of outputs, and what they cost."""

from __future__ import annotations

import math
from typing import NamedTuple

from clconv.algorithms.base import ceil_div, filling
from clconv.device import DeviceInfo
from clconv.plan import Macro
from clconv.problem import ConvProblem

LARGEST_WINDOW = 49
"""Taps up to which a tile of several rows and its patch fit into registers."""

_READ = 4.0
"""What an element of the patch costs, in multiply-adds: address, four comparisons, load."""

_START = 80.0
"""What a work-item costs before and after its loops, in multiply-adds: divisions, epilogue."""


class PatchTile(NamedTuple):
    """Rows x columns of outputs of a work-item."""

    h: int
    w: int

    @property
    def macros(self) -> tuple[Macro, ...]:
        """Macros that the kernel's include asks for."""
        return (("WPT_H", self.h), ("WPT_W", self.w))

    def fits(self, problem: ConvProblem) -> bool:
        """Whether the patch fits into registers and is worth reading as a whole: small windows without holes."""
        p = problem
        return self == (1, 1) or (p.KH * p.KW <= LARGEST_WINDOW and p.dilation == (1, 1))

    def count(self, problem: ConvProblem) -> int:
        """Tiles of one channel in all images."""
        return problem.N * ceil_div(problem.OH, self.h) * ceil_div(problem.OW, self.w)

    def work(self, problem: ConvProblem, channels: int) -> float:
        """Instructions of a work-item with so many output channels, all input channels of its group included."""
        p = problem
        rows = (self.h - 1) * p.SH + p.KH if self.h > 1 else p.KH
        columns = (self.w - 1) * p.SW + p.KW if self.w > 1 else p.KW
        products = p.KH * p.KW * channels * self.h * self.w
        return _START + p.ICG * (products + _READ * rows * columns + p.KH * p.KW * channels)


def cpu_seconds(problem: ConvProblem, device: DeviceInfo, items: int, outputs: int) -> float:
    """Predict the time of work-items of so many outputs each on a CPU, as measured on PoCL."""
    flops = 2.0 * items * outputs * problem.ICG * problem.KH * problem.KW
    return flops / (0.01 * math.sqrt(outputs) * device.driver_flops)


def gpu_seconds(problem: ConvProblem, device: DeviceInfo, groups: int, group_work: float) -> float:
    """Predict the time of work-groups of so many instructions each."""
    rate = device.peak_flops / 2
    return max(filling(groups, device) * group_work / rate, problem.bytes / device.bandwidth)
