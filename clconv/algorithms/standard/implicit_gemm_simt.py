"""Host side of kernels/standard/implicit_gemm_simt.cl: a matrix product through local memory, for GPUs."""

from __future__ import annotations

from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    round_up,
    size_arguments,
)
from clconv.algorithms.gemm_tile import GemmTile, legal, refusal
from clconv.algorithms.packing import pack_filter
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Plan
from clconv.problem import ConvProblem

WORK_GROUP = 64
"""Work-items of a work-group that adds up parts."""


class ImplicitGemmSimt(Algorithm):
    """Output channels x pixels in tiles of a work-group; the im2col matrix exists only slice by slice, in local memory."""

    name = "standard/implicit_gemm_simt"
    tiles = (
        GemmTile(128, 64, 8, 8, 8),
        GemmTile(64, 64, 16, 8, 4),
        GemmTile(64, 32, 16, 4, 4),
        GemmTile(64, 16, 16, 4, 4),
        GemmTile(32, 32, 16, 4, 4),
        GemmTile(32, 32, 8, 4, 4),
    )
    """Largest first; the last one fits 64 work-items and 16 KiB."""

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Any window, one group or many, where the device's work-groups are large enough for the smallest tile."""
        if problem.kind == "depthwise":
            return "serves standard, grouped and pointwise convolutions, not depthwise ones"
        return refusal(self.tiles, problem, device)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> list[Plan]:
        """One plan per tile that the device can run and number of parts that may pay."""
        return [self._plan(problem, device, tile, parts) for tile, parts in legal(self.tiles, problem, device)]

    def _plan(self, problem: ConvProblem, device: DeviceInfo, tile: GemmTile, parts: int) -> Plan:
        packing = pack_filter(problem, device, tile.m, items=tile.m)
        return Plan(
            algorithm=self.name,
            problem=problem,
            launches=product(problem, device, tile, parts),
            packing=packing,
            scratch_bytes=(parts_bytes(problem, parts),) if parts > 1 else (),
            tile=describe(tile, parts),
            seconds=tile.seconds(problem, device, parts),
            error_factor=direct_error_factor(problem),
        )


def describe(tile: GemmTile, parts: int) -> str:
    """Say how the work is cut, for people."""
    return f"{tile}, {parts} parts" if parts > 1 else str(tile)


def parts_bytes(problem: ConvProblem, parts: int) -> int:
    """Return the memory that the sums of the parts take."""
    return parts * problem.N * problem.OC * problem.OH * problem.OW * accumulator_bytes(problem)


def product(
    problem: ConvProblem,
    device: DeviceInfo,
    tile: GemmTile,
    parts: int,
    *,
    x: str = "x",
    y: str = "y",
    scratch: str = "scratch0",
) -> tuple[Launch, ...]:
    """Return the launches that compute a convolution as a matrix product.

    Parameters
    ----------
    problem : ConvProblem
    device : DeviceInfo
    tile : GemmTile
    parts : int
        Work-groups that share the taps of a tile.
    x, y, scratch : str
        Buffers: what is read and written, and where the sums of several parts are left.
    """
    split = parts > 1
    multiply = Launch(
        kernel=f"{ImplicitGemmSimt.name}.cl",
        entry="conv_implicit_gemm",
        macros=(
            *common_macros(problem, device),
            *tile.macros,
            ("SPLIT", int(split)),
            ("FLAT", int(tile.flat(problem))),
        ),
        arguments=(
            *(x, "packed", "bias", "residual", scratch if split else y),
            *size_arguments(problem, "N", "IC", "IH", "IW", "OC", "OH", "OW", "ICG", "OCG", "PT", "PL"),
            Int(parts),
            *epilogue_arguments(problem),
        ),
        global_size=(tile.groups(problem) * parts * tile.items, 1, 1),
        local_size=(tile.items, 1, 1),
    )
    if not split:
        return (multiply,)
    outputs = problem.N * problem.OC * problem.OH * problem.OW
    width = min(WORK_GROUP, device.max_work_group_size)
    add = Launch(
        kernel="sum_parts.cl",
        entry="sum_parts",
        macros=common_macros(problem, device),
        arguments=(
            *(scratch, "bias", "residual", y, Int(parts), Int(outputs)),
            *size_arguments(problem, "OC"),
            Int(problem.OH * problem.OW),
            *epilogue_arguments(problem),
        ),
        global_size=(round_up(outputs, width), 1, 1),
        local_size=(width, 1, 1),
    )
    return multiply, add
