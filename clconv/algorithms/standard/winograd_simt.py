"""Host side of kernels/standard/winograd_simt.cl: Winograd's minimal filtering around a matrix product, for GPUs."""

from __future__ import annotations

from functools import partial

from clconv import winograd
from clconv.algorithms import gpu
from clconv.algorithms.base import (
    Algorithm,
    accumulator,
    accumulator_bytes,
    ceil_div,
    common_macros,
    epilogue_arguments,
    round_up,
    size_arguments,
)
from clconv.algorithms.gemm_tile import GemmTile, legal, refusal
from clconv.algorithms.standard.implicit_gemm_simt import ImplicitGemmSimt, describe, parts_bytes, product
from clconv.device import DeviceInfo
from clconv.plan import Argument, Int, Launch, Packing, Plan
from clconv.problem import ConvProblem

WORK_GROUP = 128
"""Work-items of a work-group of the transforms."""

MEMORY = 0.25
"""Share of the device's memory that what lies between the transforms may take."""

TILES_EACH = 2
"""Matrix tiles that are tried for each size of Winograd tiles; one on a CPU, where none of them pays."""


class WinogradSimt(Algorithm):
    """F(2x2, 3x3), F(4x4, 3x3) and F(6x6, 3x3): transforms before and after one convolution whose groups are frequencies."""

    name = "standard/winograd_simt"
    family = "winograd"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """3x3 filters with stride and dilation 1, and two input channels a group or more."""
        if reason := winograd.refusal(problem):
            return reason
        if (items := tiles_of(problem, 2) * max(problem.IC, problem.OC)) >= 2**31 - WORK_GROUP:
            return f"counts tiles and channels in 31 bits, there are {items}"
        return refusal(ImplicitGemmSimt.tiles, inner(problem, 2), device)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> list[Plan]:
        """For each size of tiles the matrix tiles with the least predicted times, the best of all first.

        None where what lies between the transforms would take more than a part of the device's memory.
        """
        plans, each = [], 1 if device.is_cpu else TILES_EACH
        for tile in winograd.tiles():
            middle = inner(problem, tile)
            plans += [
                self._plan(problem, device, tile, middle, gemm, parts)
                for gemm, parts in legal(ImplicitGemmSimt.tiles, middle, device)[:each]
            ]
        return sorted((p for p in plans if p.workspace <= device.global_mem_bytes * MEMORY), key=lambda plan: plan.seconds)

    def _plan(
        self, problem: ConvProblem, device: DeviceInfo, tile: int, middle: ConvProblem, gemm: GemmTile, parts: int
    ) -> Plan:
        p = problem
        size = accumulator_bytes(p)
        blocks = ceil_div(p.OCG, gemm.m)
        v_bytes, m_bytes = middle.N * middle.IC * middle.OW * size, middle.N * middle.OC * middle.OW * size
        moved = p.bytes + v_bytes + m_bytes
        transform = partial(self._transform, p, device, tile)
        sums = ("scratch1", "bias", "residual", "y")
        return Plan(
            algorithm=self.name,
            problem=problem,
            launches=(
                transform("winograd_input", p.IC, ("x", "scratch0"), ("N", "IC", "IH", "IW", "PT", "PL")),
                *product(middle, device, gemm, parts, x="scratch0", y="scratch1", scratch="scratch2"),
                transform("winograd_output", p.OC, sums, ("N", "OC", "OH", "OW"), epilogue_arguments(p)),
            ),
            packing=Packing(
                Launch(
                    self.kernel,
                    "winograd_filter",
                    (*common_macros(p, device), ("TILE", tile)),
                    ("w", "packed", *size_arguments(p, "OC", "ICG", "OCG"), Int(blocks)),
                    (gemm.m * p.ICG, p.G * blocks, 1),
                    (gemm.m, 1, 1),
                ),
                (tile + 2) ** 2 * p.G * blocks * p.ICG * gemm.m * size,
            ),
            scratch_bytes=(v_bytes, m_bytes, *((parts_bytes(middle, parts),) if parts > 1 else ())),
            tile=f"F({tile}x{tile}, 3x3), {tiles_of(p, tile)} tiles; {describe(gemm, parts)}",
            seconds=gemm.seconds(middle, device, parts) + 2 * gpu.LAUNCH + moved / (gpu.CACHED * device.bandwidth),
            error_factor=winograd.error_factor(problem, tile),
            winograd=tile,
        )

    def _transform(
        self,
        problem: ConvProblem,
        device: DeviceInfo,
        tile: int,
        entry: str,
        channels: int,
        buffers: tuple[str, ...],
        sizes: tuple[str, ...],
        last: tuple[Argument, ...] = (),
    ) -> Launch:
        """Return the launch of a transform of every tile of every channel."""
        width = min(WORK_GROUP, device.max_work_group_size)
        tiles = tuple(Int(ceil_div(size, tile)) for size in (problem.OH, problem.OW))
        return Launch(
            self.kernel,
            entry,
            (*common_macros(problem, device), ("TILE", tile)),
            (*buffers, *size_arguments(problem, *sizes), *tiles, *last),
            (round_up(tiles_of(problem, tile) * channels, width), 1, 1),
            (width, 1, 1),
        )


def tiles_of(problem: ConvProblem, tile: int) -> int:
    """Tiles of all images."""
    return problem.N * ceil_div(problem.OH, tile) * ceil_div(problem.OW, tile)


def inner(problem: ConvProblem, tile: int) -> ConvProblem:
    """Return the convolution between the transforms: tiles for pixels, and a group for each frequency of each group."""
    p, frequencies, tiles = problem, (tile + 2) ** 2, tiles_of(problem, tile)
    nhwc = p.layout == "NHWC"
    return ConvProblem(
        (1, 1, tiles, frequencies * p.IC) if nhwc else (1, frequencies * p.IC, 1, tiles),
        (1, 1, p.ICG, frequencies * p.OC) if nhwc else (frequencies * p.OC, p.ICG, 1, 1),
        groups=frequencies * p.G,
        layout=p.layout,
        dtype=accumulator(p),
    )
