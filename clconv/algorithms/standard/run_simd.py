"""Host side of kernels/standard/run_simd.cl: few input channels in NHWC, output channels in vectors, on CPUs."""

from __future__ import annotations

from dataclasses import replace

from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
    asks_far,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    fastest_first,
    rounds,
    size_arguments,
)
from clconv.algorithms.channel_tile import boost, lanes_of
from clconv.algorithms.packing import pack_filter
from clconv.algorithms.reasons import not_nhwc, one_by_one, other_kind, too_little_local
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Plan
from clconv.problem import ConvProblem

MOST_RUN = 28
"""Elements of a window's row that are unrolled, each for all sums of a tile."""

VECTORS = 2
"""Of output channels, in a tile."""


class RunSimd(Algorithm):
    """A window's row of few channels is a run of elements; their addresses are constants of a tile."""

    name = "standard/run_simd"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """NHWC without groups, short rows of a window, and rows of the image that fit local memory."""
        p = problem
        if reason := other_kind(p, "standard") or not_nhwc(p):
            return reason
        if p.KW * p.IC > MOST_RUN:
            return f"unrolls a window's row of {p.KW} x {p.IC} elements, at most {MOST_RUN}"
        tile = _tile(p, device)
        return too_little_local(p.EKH * _pitch(p, tile) * accumulator_bytes(p), device)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """Bands of rows of several heights, the least predicted time first."""
        p = problem
        tile = _tile(p, device)
        rows = sorted({ceil_div(p.OH, device.compute_units * parts) for parts in (1, 2, 4, 8, 16, 32)} | {1})
        fits = [r for r in rows if _panel(p, tile, r) <= device.local_mem_bytes]
        return fastest_first(self._plan(p, device, tile, r) for r in fits)

    def _plan(self, p: ConvProblem, device: DeviceInfo, tile: int, item_rows: int) -> Plan:
        avx512 = wide(p, device)
        lanes = 64 // accumulator_bytes(p) if avx512 else lanes_of(p, device)
        packing = pack_filter(p, device, VECTORS * lanes)
        launch = Launch(
            kernel=self.kernel,
            entry="run_simd",
            macros=(
                *common_macros(p, device),
                *(("VEC", lanes), ("PXB", tile), ("OCV", VECTORS), ("CHANNELS", p.IC), ("PLANES", 0)),
                *(("AVX512", int(avx512)), ("AHEAD", 0), ("FAR", int(asks_far(p, device)))),
            ),
            arguments=(
                *("x", "packed", "bias", "residual", "y", Local(_panel(p, tile, item_rows))),
                *size_arguments(p, "IH", "IW", "OC", "OH", "OW", "PT", "PL", "YC"),
                *(Int(item_rows), Int(_pitch(p, tile))),
                *epilogue_arguments(p),
            ),
            global_size=(ceil_div(p.OH, item_rows), p.N),
            local_size=(1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            packing=packing,
            tile=f"{tile} pixels x {VECTORS} vectors of {lanes} channels, {item_rows} rows a work-item",
            seconds=_cycles(p, device, tile, lanes, item_rows) / (boost(device) * device.clock_mhz * 1e6),
            error_factor=direct_error_factor(p),
        )


def reading_planes(plan: Plan) -> Plan:
    """Return a plan of this algorithm for an image in N C H W; the result stays N H W C."""
    launches = tuple(
        replace(launch, macros=tuple((name, 1 if name == "PLANES" else value) for name, value in launch.macros))
        for launch in plan.launches
    )
    return replace(plan, launches=launches)


def _tile(p: ConvProblem, device: DeviceInfo) -> int:
    """Pixels of a tile: with its weights and one element, it fills the registers."""
    return 14 if wide(p, device) or device.vector_registers >= 32 else 6


def _pitch(p: ConvProblem, tile: int) -> int:
    """Elements of a row of the panel: what the tiles of a row read, which is a whole tile at least."""
    return ((max(p.OW, tile) - 1) * p.SW + p.EKW) * p.IC


def _panel(p: ConvProblem, tile: int, item_rows: int) -> int:
    """Bytes of the panel of a work-item."""
    return ((item_rows - 1) * p.SH + p.EKH) * _pitch(p, tile) * accumulator_bytes(p)


def _cycles(p: ConvProblem, device: DeviceInfo, tile: int, lanes: int, item_rows: int) -> float:
    """Predict the clock cycles of one call."""
    itemsize = accumulator_bytes(p)
    unit = device.multiply_cycles(lanes * itemsize)
    tap = max(unit * tile * VECTORS, 0.5 * (tile + VECTORS), 4.0) * 1.05
    finish = tile * VECTORS * max(2 * unit, lanes * itemsize / 16)
    tiles = item_rows * ceil_div(p.OW, tile) * ceil_div(p.OC, VECTORS * lanes)
    copy = _panel(p, tile, item_rows) / itemsize * (2.0 if one_by_one(p, device) else 0.3)
    items = ceil_div(p.OH, item_rows) * p.N
    return rounds(items, device) * (tiles * (p.KH * p.KW * p.IC * tap + 20 + finish) + copy + 2000)
