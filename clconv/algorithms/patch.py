"""Host side of kernels/include/patch.clh: register tiles of outputs, and what they cost."""

from __future__ import annotations

import math
from typing import NamedTuple

from clconv.algorithms import gpu
from clconv.algorithms.base import ceil_div
from clconv.device import DeviceInfo
from clconv.plan import Macro
from clconv.problem import ConvProblem

LARGEST_WINDOW = 49
"""Taps up to which a tile of several rows and its patch fit into registers."""

LARGEST_PATCH = 256
"""Elements of the patch up to which they do so: rows and columns that a large stride leaves out are in it as well."""

_READ = 24.0
"""What an element of the patch costs, in multiply-adds: address, comparisons, load."""

_START = 100.0
"""What a work-item costs before and after its loops, in multiply-adds: divisions, epilogue."""

_ANSWER = 120.0
"""Clock cycles that a work-item waits for each patch, beside others."""

_WAITS, _WAITS_SPREAD = 1.4, 2.4
"""Clock cycles from an instruction to the next one, where work-items read side by side and where some read the same."""


class PatchTile(NamedTuple):
    """Rows x columns of outputs of a work-item."""

    h: int
    w: int

    @property
    def macros(self) -> tuple[Macro, ...]:
        """Macros that the kernel's include asks for."""
        return (("WPT_H", self.h), ("WPT_W", self.w))

    def fits(self, problem: ConvProblem) -> bool:
        """Whether the patch fits into registers and is worth reading as a whole: a small window, near others, no holes."""
        p = problem
        if self == (1, 1):
            return True
        _, rows, columns = self.patch(p)
        return p.KH * p.KW <= LARGEST_WINDOW and rows * columns <= LARGEST_PATCH and p.dilation == (1, 1)

    def count(self, problem: ConvProblem) -> int:
        """Tiles of one channel in all images."""
        return problem.N * ceil_div(problem.OH, self.h) * ceil_div(problem.OW, self.w)

    def patch(self, problem: ConvProblem) -> tuple[int, int, int]:
        """Patches of one input channel that a work-item reads one after the other, their rows and columns."""
        p = problem
        columns = (self.w - 1) * p.SW + p.KW if self.w > 1 else p.KW
        return (1, (self.h - 1) * p.SH + p.KH, columns) if self.h > 1 else (p.KH, 1, columns)

    def gpu_seconds(self, problem: ConvProblem, device: DeviceInfo, groups: int, items: int, channels: int) -> float:
        """Predict the time of work-groups of so many work-items, each with so many output channels, on a GPU."""
        p = problem
        patches, rows, columns = self.patch(p)
        products = p.KH * p.KW * channels * self.h * self.w
        work = _START + p.ICG * (products + _READ * patches * rows * columns)
        together = gpu.resident(items, channels * self.h * self.w + rows * columns + 16)
        waits = _WAITS if p.layout == "NCHW" else _WAITS_SPREAD
        alone = 400 + p.ICG * patches * _ANSWER + waits * work
        return max(gpu.seconds(device, groups, together, alone, items * work / gpu.LANES), problem.bytes / device.bandwidth)


def cpu_seconds(problem: ConvProblem, device: DeviceInfo, items: int, outputs: int) -> float:
    """Predict the time of work-items of so many outputs each on a CPU, as measured on PoCL."""
    flops = 2.0 * items * outputs * problem.ICG * problem.KH * problem.KW
    return flops / (0.01 * math.sqrt(outputs) * device.driver_flops)
