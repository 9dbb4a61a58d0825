"""Host side of kernels/include/gemm_tile.clh: tiles of a matrix product in local memory, and what they cost."""

from __future__ import annotations

from typing import NamedTuple

from clconv.algorithms.base import accumulator_bytes, ceil_div, filling, round_up
from clconv.device import DeviceInfo
from clconv.plan import Macro
from clconv.problem import ConvProblem

MOST_PIXELS = 2**31 - 2**10
"""Pixels of one output image are counted in 32 bits, with room for a tile."""


class GemmTile(NamedTuple):
    """Channels x pixels x taps of a work-group, and channels x pixels of a work-item."""

    m: int
    p: int
    k: int
    wpt_m: int
    wpt_p: int

    @property
    def items(self) -> int:
        """Work-items of a work-group."""
        return self.m // self.wpt_m * (self.p // self.wpt_p)

    @property
    def macros(self) -> tuple[Macro, ...]:
        """Macros that the kernel's include asks for."""
        values = (self.m, self.p, self.k, self.wpt_m, self.wpt_p)
        return tuple(zip(("TILE_M", "TILE_P", "TILE_K", "WPT_M", "WPT_P"), values, strict=True))

    def local_bytes(self, problem: ConvProblem) -> int:
        """Local memory that the kernel declares: a slice of both operands, one of them with longer rows."""
        return self.k * (self.m + self.p + 32 // self.k) * accumulator_bytes(problem)

    def groups(self, problem: ConvProblem) -> int:
        """Work-groups in all."""
        p = problem
        return p.G * ceil_div(p.OCG, self.m) * ceil_div(p.N * p.OH * p.OW, self.p)

    def why_not(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Return None if the device can run the tile, else the reason."""
        if self.items > device.max_work_group_size:
            return f"needs work-groups of {self.items} work-items, the device takes {device.max_work_group_size}"
        if (need := self.local_bytes(problem)) > device.local_mem_bytes:
            return f"needs {need} bytes of local memory, the device has {device.local_mem_bytes}"
        return None

    def seconds(self, problem: ConvProblem, device: DeviceInfo) -> float:
        """Predict the time of one call.

        On a GPU a multiply-add costs the more reads of local memory the smaller the work-item's tile is, and compute
        units without a tile are idle. On a CPU, work-items are loops and local memory is a detour.
        """
        tile_flops = 2.0 * self.m * self.p * round_up(problem.ICG * problem.KH * problem.KW, self.k)
        products = self.wpt_m * self.wpt_p
        if device.is_cpu:
            return self.groups(problem) * tile_flops * products / (CPU_EFFICIENCY * device.driver_flops)
        efficiency = products / (products + 1.5 * (self.wpt_m + self.wpt_p))
        groups = filling(self.groups(problem), device)
        return max(groups * tile_flops / (efficiency * device.peak_flops), problem.bytes / device.bandwidth)

    def __str__(self) -> str:
        return f"{self.m} channels x {self.p} pixels a work-group, {self.wpt_m} x {self.wpt_p} a work-item"


CPU_EFFICIENCY = 0.5
"""Share of a CPU's peak, divided by the outputs of a work-item: PoCL keeps their sums in memory, not in registers."""


def refusal(tiles: tuple[GemmTile, ...], problem: ConvProblem, device: DeviceInfo) -> str | None:
    """Return None if the device can run the last and smallest of the tiles on the problem, else the reason why not."""
    if problem.OH * problem.OW > MOST_PIXELS:
        return f"takes output images of up to {MOST_PIXELS} pixels, not {problem.OH} x {problem.OW}"
    return tiles[-1].why_not(problem, device)


def legal(tiles: tuple[GemmTile, ...], problem: ConvProblem, device: DeviceInfo) -> list[GemmTile]:
    """Return the tiles worth trying that the device can run, the one with the least predicted time first.

    Where memory bounds several, the one with the least waste comes first of these. ``tiles`` ends with the
    smallest; another one that would be three quarters empty never pays and is left out.
    """
    worth = [tile for tile in tiles if tile.m < 4 * problem.OCG or tile == tiles[-1]]
    possible = [tile for tile in worth if tile.why_not(problem, device) is None]
    return sorted(possible, key=lambda tile: (tile.seconds(problem, device), tile.groups(problem) * tile.m * tile.p))
