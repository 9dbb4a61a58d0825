"""Host side of kernels/depthwise/twin_simd.cl: NCHW, narrow images, rows of two channels in a vector."""

from __future__ import annotations

from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    fastest_first,
    items_wanted,
    places,
    round_up,
    size_arguments,
)
from clconv.algorithms.reasons import converted_often, not_nchw, other_kind, too_many_taps
from clconv.algorithms.unrolled import rows_too_far_apart, tiles_of_rows
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Plan
from clconv.problem import ConvProblem

TILES = (7, 4, 2, 1)
"""Output rows of a tile: the images of most networks are multiples of 7 high."""

BEGIN = 20.0
"""Clock cycles of a tile before and after its rows: weights and masks, the ends of its sums; measured."""

MOST_VECTORS = 27
"""Sums and taps that stay in AVX-512's registers beside the operands."""


class DepthwiseTwinSimd(Algorithm):
    """Several channels a work-item, two at a time; no load or store leaves the tensor, by masks."""

    name = "depthwise/twin_simd"
    family = "direct"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Depthwise problems in NCHW with a horizontal stride of 1 or 2, in float32 or float64."""
        if reason := other_kind(problem, "depthwise") or not_nchw(problem):
            return reason
        if problem.SW > 2 or (problem.SW == 2 and problem.DW > 1):
            return "takes a horizontal stride of 1, or of 2 where filters are not dilated"
        if reason := converted_often(problem) or too_many_taps(problem) or rows_too_far_apart(problem):
            return reason
        half = self._lanes(problem, device) // 2
        if half < 2 or half < self._parts(problem):
            return f"moves sums within half a vector, which is {half} elements here"
        return None

    @staticmethod
    def _lanes(p: ConvProblem, device: DeviceInfo) -> int:
        return device.lanes(accumulator_bytes(p)) * (2 if wide(p, device) else 1)

    @staticmethod
    def _parts(p: ConvProblem) -> int:
        """Return how many sums an output has: with stride 2 those of the taps 0 and 1, 2 and 3, and so on."""
        return (p.KW + 1) // 2 if p.SW == 2 else 1

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One plan for each tile that the image is high enough for."""
        return fastest_first(self._plan(problem, device, tile) for tile in tiles_of_rows(TILES, problem))

    def _plan(self, p: ConvProblem, device: DeviceInfo, tile: int) -> Plan:
        seconds = self._seconds(p, device, tile)
        items = items_wanted(p, device, seconds)
        channels = round_up(ceil_div(p.OC, items), 2)
        vec = self._lanes(p, device)
        launch = Launch(
            kernel=self.kernel,
            entry="depthwise_twin_simd",
            macros=(*common_macros(p, device), ("VEC", vec), ("TILE_OH", tile), ("AVX512", int(wide(p, device)))),
            arguments=(
                *("x", "w", "bias", "residual", "y"),
                *size_arguments(p, "IC", "IH", "IW", "OH", "OW", "OCG", "PT", "PL"),
                Int(channels),
                *epilogue_arguments(p),
            ),
            global_size=(ceil_div(p.OC, channels), p.N),
            local_size=(1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            tile=f"{tile} rows x {vec // 2 - self._parts(p) + 1} columns x 2 channels",
            seconds=seconds,
            error_factor=direct_error_factor(p),
        )

    def _seconds(self, p: ConvProblem, device: DeviceInfo, tile: int) -> float:
        """Predict from loads, shuffles and multiply-adds of whole tiles, their beginnings and ends, and from the traffic."""
        parts = self._parts(p)
        rows = places(tile, p.SH, p.KH, p.DH)
        multiply = tile * p.KH * p.KW
        moves = rows * (4 if p.SW == 2 else p.KW) + tile * (2 * parts - 1)  # halves put together, parted, moved
        cycles = (multiply + moves) * (0.5 if device.full_avx512 else 1.0) + rows + p.KH * p.KW
        if not wide(p, device):
            cycles *= 8  # vectors are moved element by element
        elif tile * parts + p.KH * p.KW > MOST_VECTORS:
            cycles *= 1.15  # more than the registers hold
        columns = self._lanes(p, device) // 2 - parts + 1
        tiles = ceil_div(p.N * ceil_div(p.OC, 2), device.compute_units) * ceil_div(p.OH, tile) * ceil_div(p.OW, columns)
        return max(tiles * (cycles + BEGIN) / (device.clock_mhz * 1e6), p.bytes / device.bandwidth / 4)
