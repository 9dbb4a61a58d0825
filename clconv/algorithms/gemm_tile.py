"""Host side of kernels/include/gemm_tile.clh: tiles of a matrix product in local memory, and what they cost."""

from __future__ import annotations

from typing import NamedTuple

from clconv.algorithms import gpu
from clconv.algorithms.base import accumulator_bytes, ceil_div
from clconv.device import DeviceInfo
from clconv.plan import Macro
from clconv.problem import ConvProblem

MOST_PIXELS = 2**31 - 2**10
"""Pixels of one output image are counted in 32 bits, with room for a tile."""

SMALL = 32
"""Channels of a tile that are worth trying however few channels a group has."""

CANDIDATES = 12
"""Tiles and numbers of parts that become plans."""

MOST_PARTS = 64
"""Work-groups that share the taps of one tile, at most."""


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
        """Macros that the kernel's include asks for, but for SPLIT."""
        values = (self.m, self.p, self.k, self.wpt_m, self.wpt_p)
        return tuple(zip(("TILE_M", "TILE_P", "TILE_K", "WPT_M", "WPT_P"), values, strict=True))

    def local_bytes(self, problem: ConvProblem) -> int:
        """Local memory that the kernel declares: two slices of both operands, in N H W C with longer rows of one of them."""
        longer = 4 if problem.layout == "NHWC" else 0
        return 2 * self.k * (self.m + self.p + longer) * accumulator_bytes(problem)

    def groups(self, problem: ConvProblem) -> int:
        """Work-groups of one part."""
        p = problem
        return p.G * ceil_div(p.OCG, self.m) * ceil_div(p.N * p.OH * p.OW, self.p)

    def flat(self, problem: ConvProblem) -> bool:
        """Whether a slice holds neighbouring taps rather than channels of one place, which are too few."""
        return problem.KH * problem.KW > 1 and self.k > problem.ICG

    def slices(self, problem: ConvProblem) -> int:
        """Slices of all taps."""
        taps = problem.KH * problem.KW
        return ceil_div(problem.ICG * taps, self.k) if self.flat(problem) else ceil_div(problem.ICG, self.k) * taps

    def parts(self, problem: ConvProblem, device: DeviceInfo) -> list[int]:
        """Return the numbers of parts worth trying: without parts, and while units would be idle, twice as many.

        They do not pay on a CPU, where one tile gets two of them nevertheless, so that parts are tested there.
        """
        tried, most = [1], min(MOST_PARTS, self.slices(problem) // 2)
        if problem.N * problem.OC * problem.OH * problem.OW >= 2**31:
            return tried
        if device.is_cpu:
            return [1, 2] if self.m <= SMALL and most > 1 else tried
        while 2 * tried[-1] <= most and tried[-1] * self.groups(problem) < 4 * device.compute_units:
            tried.append(2 * tried[-1])
        return tried

    def why_not(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Return None if the device can run the tile, else the reason."""
        if self.items > device.max_work_group_size:
            return f"needs work-groups of {self.items} work-items, the device takes {device.max_work_group_size}"
        if (need := self.local_bytes(problem)) > device.local_mem_bytes:
            return f"needs {need} bytes of local memory, the device has {device.local_mem_bytes}"
        return None

    def seconds(self, problem: ConvProblem, device: DeviceInfo, parts: int = 1) -> float:
        """Predict the time of one call.

        On a GPU the next slice is fetched while one is multiplied, and comes no sooner than memory answers. On a CPU,
        work-items are loops and local memory is a detour.
        """
        products = self.wpt_m * self.wpt_p
        groups = self.groups(problem) * parts
        if device.is_cpu:
            flops = 2.0 * groups * self.slices(problem) * self.m * self.p * self.k
            return flops * products / (CPU_EFFICIENCY * device.driver_flops)
        slices = ceil_div(self.slices(problem), parts)
        fetch = FETCH * (FLAT if self.flat(problem) else 1.0) * (self.m + self.p) * self.k
        each = (self.m * self.p * self.k * (1 + 0.9 / self.wpt_p) + fetch) / gpu.LANES
        together = gpu.resident(self.items, products + ADDRESSES)
        time = gpu.seconds(device, groups, together, slices * (ANSWER + 0.8 * each), slices * each, START)
        if parts > 1:
            outputs = problem.N * problem.OC * problem.OH * problem.OW
            time += gpu.LAUNCH + (parts + 1.0) * outputs * accumulator_bytes(problem) / (gpu.CACHED * device.bandwidth)
        return max(time, problem.bytes / device.bandwidth)

    def __str__(self) -> str:
        return f"{self.m} channels x {self.p} pixels x {self.k} taps a work-group, {self.wpt_m} x {self.wpt_p} a work-item"


CPU_EFFICIENCY = 0.5
"""Share of a CPU's peak, divided by the outputs of a work-item: PoCL keeps their sums in memory, not in registers."""

FETCH = 21.0
"""Instructions that bring an element into local memory, on a GPU."""

FLAT = 1.75
"""How many times more those are where each tap of a slice has a place of its own."""

ADDRESSES = 36
"""Registers of a work-item besides its sums."""

ANSWER = 570.0
"""Clock cycles that memory takes to answer."""

START = 3700.0
"""Clock cycles before the first slice and after the last one."""


def refusal(tiles: tuple[GemmTile, ...], problem: ConvProblem, device: DeviceInfo) -> str | None:
    """Return None if the device can run the last and smallest of the tiles on the problem, else the reason why not."""
    if problem.OH * problem.OW > MOST_PIXELS:
        return f"takes output images of up to {MOST_PIXELS} pixels, not {problem.OH} x {problem.OW}"
    return tiles[-1].why_not(problem, device)


def legal(tiles: tuple[GemmTile, ...], problem: ConvProblem, device: DeviceInfo) -> list[tuple[GemmTile, int]]:
    """Return the tiles worth trying that the device can run, with numbers of parts, the least predicted time first.

    Where memory bounds several, the one with the least waste comes first of these. A large tile that would be three quarters
    empty never pays and is left out.
    """
    worth = [tile for tile in tiles if tile.m < 4 * problem.OCG or tile.m <= SMALL]
    possible = [(t, parts) for t in worth if t.why_not(problem, device) is None for parts in t.parts(problem, device)]
    possible.sort(key=lambda c: (_order(c[0], c[1], problem, device), c[1], c[0].groups(problem) * c[0].m * c[0].p))
    return possible[:CANDIDATES]


def _order(tile: GemmTile, parts: int, problem: ConvProblem, device: DeviceInfo) -> float:
    """Seconds by which tiles are ordered; parts are added up by a second kernel."""
    seconds = tile.seconds(problem, device, parts)
    return seconds if device.is_cpu else gpu.enqueued(seconds, 1 + (parts > 1))
