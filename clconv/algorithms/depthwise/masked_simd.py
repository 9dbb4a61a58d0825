"""Host side of kernels/depthwise/masked_simd.cl: NCHW, vectors along the width, borders in masks."""

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
from clconv.algorithms.reasons import converted_slowly, far_columns, not_nchw, other_kind, too_many_taps
from clconv.algorithms.unrolled import rows_too_far_apart, tiles_of_rows
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Plan
from clconv.problem import ConvProblem

TILES = (14, 7, 4, 2, 1)
"""Output rows of a tile: the images of most networks are multiples of 7 high."""

MOST_TAPS = 25
"""Of a filter, without AVX-512; 49 take LLVM ten seconds and more."""

MOST_ROWS = 2
"""Of a tile, without AVX-512; more take LLVM as long."""

BEGIN = 16.0
"""Clock cycles of a tile before and after its rows: masks, the ends of its sums."""

MOST_VECTORS = 29
"""Sums and taps that stay in AVX-512's registers beside the operands."""


class DepthwiseMaskedSimd(Algorithm):
    """Several channels, or a band of rows of one, a work-item; no load or store leaves the tensor, by masks."""

    name = "depthwise/masked_simd"
    family = "direct"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Depthwise problems in NCHW with a horizontal stride of 1 or 2."""
        if reason := other_kind(problem, "depthwise") or not_nchw(problem) or far_columns(problem):
            return reason
        if (taps := problem.KH * problem.KW) > MOST_TAPS and not wide(problem, device):
            return f"moves vectors element by element without AVX-512, and unrolls {MOST_TAPS} taps at most, not {taps}"
        return converted_slowly(problem, device) or too_many_taps(problem) or rows_too_far_apart(problem)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One plan for each tile that the image is high enough for, and each length of a vector."""
        avx512 = wide(problem, device)
        lanes = device.lanes(accumulator_bytes(problem))
        vectors = (2 * lanes, lanes) if avx512 else (lanes,)
        tiles = [tile for tile in tiles_of_rows(TILES, problem) if avx512 or tile <= MOST_ROWS]
        plans = [self._plan(problem, device, tile, vec, avx512) for tile in tiles for vec in vectors]
        return fastest_first(plans)

    def _plan(self, p: ConvProblem, device: DeviceInfo, tile: int, vec: int, avx512: bool) -> Plan:
        seconds = self._seconds(p, device, tile, vec, avx512)
        items = items_wanted(p, device, seconds)
        channels = ceil_div(p.IC, items)
        bands = min(p.OH // tile, max(1, items // p.IC))
        launch = Launch(
            kernel=self.kernel,
            entry="depthwise_masked_simd",
            macros=(*common_macros(p, device), ("VEC", vec), ("TILE_OH", tile), ("AVX512", int(avx512))),
            arguments=(
                *("x", "w", "bias", "residual", "y"),
                *size_arguments(p, "IC", "IH", "IW", "OH", "OW", "OCG", "PT", "PL"),
                Int(bands),
                Int(channels),
                *epilogue_arguments(p),
            ),
            global_size=(bands, ceil_div(p.IC, channels), p.N),
            local_size=(1, 1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            tile=f"{tile} rows x {vec - _parts(p, vec) + 1} columns",
            seconds=seconds,
            error_factor=direct_error_factor(p),
        )

    def _seconds(self, p: ConvProblem, device: DeviceInfo, tile: int, vec: int, avx512: bool) -> float:
        """Predict from loads, shuffles and multiply-adds of whole tiles, their beginnings and ends, and from the traffic."""
        parted, parts = _parted(p, vec), _parts(p, vec)
        columns = vec - parts + 1
        waste = round_up(p.OH, tile) / p.OH * ceil_div(p.OW, columns) * vec / p.OW
        moves = 4 if parted else (2 * p.SW - 1) * p.KW  # loads and shuffles a row
        moves_per_multiply = moves * places(tile, p.SH, p.KH, p.DH) / (tile * p.KH * p.KW)
        compute = p.flops * waste * (0.7 + 0.8 * moves_per_multiply) / device.driver_flops
        if not avx512:
            compute *= 2  # vectors at the border are moved element by element
        elif not device.moves_beside and tile * parts + p.KH * p.KW > MOST_VECTORS:
            compute *= 1.15  # more than the registers hold
        if avx512 and vec == device.lanes(accumulator_bytes(p)):
            compute *= 1.3 if device.full_avx512 else 1.18  # measured: half a vector takes a turn, or more than half of one
        tiles = p.N * p.IC * ceil_div(p.OW, columns) * ceil_div(p.OH, tile)
        begun = BEGIN * tiles / (device.clock_mhz * 1e6 * device.compute_units)
        return max(compute + begun, p.bytes / device.bandwidth / 4)


def _parted(problem: ConvProblem, vec: int) -> bool:
    """Whether a row's vectors are parted into even and odd elements."""
    return problem.SW == 2 and problem.DW == 1 and vec >= (problem.KW + 1) // 2 * 2


def _parts(problem: ConvProblem, vec: int) -> int:
    """Return how many sums an output has: if rows are parted, those of the taps 0 and 1, 2 and 3, and so on."""
    return (problem.KW + 1) // 2 if _parted(problem, vec) else 1
