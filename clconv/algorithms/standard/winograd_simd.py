"""Host side of kernels/standard/winograd_simd.cl: Winograd's minimal filtering of 3x3 filters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from clconv.algorithms.base import Algorithm, accumulator, ceil_div, common_macros, epilogue_arguments, size_arguments
from clconv.device import DeviceInfo
from clconv.plan import Argument, Int, Launch, Local, Macro, Plan
from clconv.problem import DTYPES, ConvProblem
from clconv.winograd import error_factor

STRIP_TILES = {2: 24, 4: 12, 6: 8}
"""Tiles of a row that are transformed together: a strip of about 50 pixels fits a first-level cache."""


@dataclass(frozen=True)
class Blocking:
    """How the work is cut: runs of tiles, shares and panels of output channels, V in local memory or not."""

    tile: int
    runs: int
    shares: int
    panels: int
    fused: bool


class WinogradSimd(Algorithm):
    """F(2x2, 3x3), F(4x4, 3x3) and F(6x6, 3x3): fewer multiplications, paid for with accuracy."""

    name = "standard/winograd_simd"
    family = "winograd"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """3x3 filters with stride and dilation 1, and two input channels a group or more."""
        if (problem.KH, problem.KW) != (3, 3):
            return f"the filter must be 3x3, it is {problem.KH}x{problem.KW}"
        if problem.stride != (1, 1) or problem.dilation != (1, 1):
            return "stride and dilation must be 1"
        if problem.ICG == 1:
            return "one input channel a group leaves nothing to sum over, the transforms would cost more than they save"
        return None

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> Iterator[Plan]:
        """Every tile size with its best blockings."""
        for tile in (4, 6, 2):
            for fused in (True, False):
                yield plan_of(problem, device, Blocking(tile, runs=2, shares=1, panels=1, fused=fused))


def plan_of(problem: ConvProblem, device: DeviceInfo, blocking: Blocking) -> Plan:
    """Return the plan with a given blocking."""
    kernel = "standard/winograd_simd.cl"
    size = DTYPES[accumulator(problem)]
    vec = device.lanes(size)
    tile, oc_block, frequencies = blocking.tile, 2 * vec, (blocking.tile + 2) ** 2
    icb, ocb = ceil_div(problem.ICG, vec), ceil_div(problem.OCG, oc_block)
    ty, tx = ceil_div(problem.OH, tile), ceil_div(problem.OW, tile)
    tiles = problem.N * ty * tx
    most = ceil_div(tiles, blocking.runs)
    macros: tuple[Macro, ...] = (
        *common_macros(problem, device),
        ("VEC", vec),
        ("TILE", tile),
        ("STRIP_TILES", STRIP_TILES[tile]),
        ("FUSED", int(blocking.fused)),
    )
    sizes: tuple[Argument, ...] = (
        *size_arguments(problem, "IC", "IH", "IW", "OC", "OH", "OW", "ICG", "OCG", "PT", "PL"),
        *(Int(ty), Int(tx), Int(problem.N)),
    )
    strip = Local((tile + 2) * (STRIP_TILES[tile] * tile + 2) * vec * size)
    v_bytes = frequencies * size * _slab(icb * vec * most, oc_block)
    m_bytes = frequencies * size * _slab(most * oc_block, oc_block) * blocking.panels
    last = (Int(blocking.panels), *epilogue_arguments(problem))
    work = (blocking.runs, blocking.shares, problem.G)
    one = (1, 1, 1)
    launches: tuple[Launch, ...]
    if blocking.fused:
        buffers: tuple[Argument, ...] = ("x", "packed", "bias", "residual", "y", Local(v_bytes), Local(m_bytes), strip)
        launches = (Launch(kernel, "winograd_fused", macros, (*buffers, *sizes, *last), work, one),)
    else:
        buffers = ("scratch0", "packed", "bias", "residual", "y", Local(m_bytes), strip)
        launches = (
            Launch(kernel, "winograd_input", macros, ("x", "scratch0", strip, *sizes), (blocking.runs, icb, problem.G), one),
            Launch(kernel, "winograd_output", macros, (*buffers, *sizes, *last), work, one),
        )
    prepare = Launch(
        kernel,
        "winograd_filter",
        macros,
        ("w", "packed", *size_arguments(problem, "OC", "ICG", "OCG"), Int(ocb), Int(blocking.panels)),
        (oc_block, icb * vec, problem.G * ocb),
        (oc_block, 1, 1),
    )
    return Plan(
        algorithm=WinogradSimd.name,
        problem=problem,
        launches=launches,
        prepare=(prepare,),
        packed_bytes=problem.G * frequencies * icb * vec * ocb * oc_block * size,
        scratch_bytes=() if blocking.fused else (problem.G * blocking.runs * v_bytes,),
        tile=f"F({tile}x{tile}, 3x3), {blocking.runs} runs of {most} tiles",
        seconds=problem.flops / (0.3 * device.peak_flops),
        error_factor=error_factor(problem, tile),
        winograd=tile,
    )


def _slab(elements: int, oc_block: int) -> int:
    """Elements from one frequency to the next, as ``slab_of`` in the kernel."""
    return (ceil_div(elements, oc_block) | 1) * oc_block
