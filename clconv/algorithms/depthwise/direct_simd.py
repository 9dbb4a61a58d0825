"""Host side of kernels/depthwise/direct_simd.cl: NCHW, vectors along the width, straight from the tensor."""

from __future__ import annotations

from clconv.algorithms.base import (
    NEAR,
    Algorithm,
    accumulator_bytes,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    fastest_first,
    image_bytes,
    places,
    round_up,
    size_arguments,
)
from clconv.algorithms.depthwise.plane_tiles import cut
from clconv.algorithms.reasons import converted_slowly, far_columns, not_nchw, other_kind, too_many_taps
from clconv.algorithms.sets import WAY, filled
from clconv.algorithms.unrolled import rows_too_far_apart, tiles_of_rows
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Packing, Plan
from clconv.problem import ConvProblem

TILES = (7, 4, 2, 1)
"""Output rows of a tile: the images of most networks are multiples of 7 high."""

TOGETHER_BYTES = 16 * 1024
"""Bytes of the images of channels whose tiles at one place follow each other."""

FAR = 0.15
"""Share of the time more where images come from memory, in comparison with strip_simd, which asks for the next channel. On two
Zen 3 cores, 96 channels at 224 x 224 take 2.6 ms (strips 1.8), 16 channels at 512 x 512 1.4 (strips 1.8)."""


LANE = 2.3
"""Clock cycles of a multiply-add where a tile is computed lane by lane; measured on a Zen 5 core, filters of one tap."""


class DepthwiseDirectSimd(Algorithm):
    """Several channels, or a band of rows of one, a work-item; borders are masked in registers."""

    name = "depthwise/direct_simd"
    family = "direct"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Depthwise problems in NCHW with a horizontal stride of 1 or 2."""
        if reason := other_kind(problem, "depthwise") or not_nchw(problem) or far_columns(problem):
            return reason
        return converted_slowly(problem, device) or too_many_taps(problem) or rows_too_far_apart(problem)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One plan for each tile that the image is high enough for."""
        return fastest_first(self._plan(problem, device, tile) for tile in tiles_of_rows(TILES, problem))

    def _plan(self, p: ConvProblem, device: DeviceInfo, tile: int) -> Plan:
        vec = device.lanes(accumulator_bytes(p))
        macros = (*common_macros(p, device), ("VEC", vec), ("TILE_OH", tile), ("BORDER_TAPS", border_taps(p)), ("AVX512", 0))
        bands, channels = cut(p, device, tile)
        zeros = p.SW * vec + (p.KW - 1) * p.DW
        pack = Launch(
            kernel=self.kernel,
            entry="write_zeros",
            macros=macros,
            arguments=("packed",),
            global_size=(1,),
            local_size=(1,),
        )
        launch = Launch(
            kernel=self.kernel,
            entry="depthwise_direct_simd",
            macros=macros,
            arguments=(
                *("x", "w", "packed", "bias", "residual", "y"),
                *size_arguments(p, "N", "IC", "IH", "IW", "OH", "OW", "OCG", "PT", "PL"),
                Int(bands),
                Int(channels),
                Int(together(p, tile, vec)),
                *epilogue_arguments(p),
            ),
            global_size=(bands, ceil_div(p.IC, channels), p.N),
            local_size=(1, 1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            packing=Packing(pack, zeros * p.itemsize),
            tile=f"{tile} rows x {vec} columns",
            seconds=self._seconds(p, device, tile, vec),
            error_factor=direct_error_factor(p),
        )

    def _seconds(self, p: ConvProblem, device: DeviceInfo, tile: int, vec: int) -> float:
        """Predict from loads and multiply-adds of whole tiles, from rows that share sets of a cache, and from the traffic."""
        waste = round_up(p.OH, tile) / p.OH * round_up(p.OW, vec) / p.OW
        loads = p.SW * places(tile, p.SH, p.KH, p.DH) / (tile * p.KH)  # vectors read per multiply-add
        full = filled(places(tile, p.SH, p.KH, p.DH), p.IW * p.itemsize) + filled(tile, p.OW * p.itemsize)
        crowd = (1 + 1.5 * max(0.0, full - 1)) * (1.2 if p.IW * p.itemsize % WAY == 0 else 1.0)
        far = 1 + FAR * max(0.0, 1 - NEAR * device.compute_units / image_bytes(p))
        share = 0.95 if p.SW == 1 and p.KH * p.KW <= 9 else 0.9  # of the peak; few taps stay in registers
        compute = far * crowd * p.flops * waste * (1 + loads) / (share * device.driver_flops)
        lanes = far_tiles(p, tile) * p.flops / 2 * LANE / (device.compute_units * device.clock_mhz * 1e6)
        return max(compute, p.bytes / device.bandwidth / 4) + lanes


def far_tiles(problem: ConvProblem, tile: int) -> float:
    """Return the share of the tiles that are computed lane by lane: more rows under them lie outside than a filter spans."""
    p = problem
    edge, span = (p.KH - 1) * p.DH, (tile - 1) * p.SH + p.EKH
    tops = [min(oh, p.OH - tile) * p.SH - p.PT for oh in range(0, p.OH, tile)]  # the last one overlaps the one before
    return sum(top + edge < 0 or top + span - edge > p.IH for top in tops) / len(tops)


def border_taps(problem: ConvProblem) -> int:
    """Return the columns of the filter that may lie beside the image, as bits: not more than padding asks for."""
    p = problem
    beside = (kw * p.DW < p.PL or (p.KW - 1 - kw) * p.DW < p.PR for kw in range(p.KW))
    return sum(1 << kw for kw, may_be in enumerate(beside) if may_be)


def together(problem: ConvProblem, tile: int, vec: int) -> int:
    """Return how many channels' tiles at one place follow each other: as many as a first-level cache holds images of.

    Where a row is shorter than a vector, a tile's last vector reaches into the next channel, which must come later then.
    """
    overflows = vec > problem.OW and tile < problem.OH
    return 1 if overflows else max(1, TOGETHER_BYTES // (problem.IH * problem.IW * problem.itemsize))
