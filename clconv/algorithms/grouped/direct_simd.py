"""Host side of kernels/grouped/direct_simd.cl: vectors along the width, from a zero-padded panel."""

from __future__ import annotations

from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    fastest_first,
    round_up,
    size_arguments,
)
from clconv.algorithms.packing import pack_filter
from clconv.algorithms.panel import panel_bytes, phase
from clconv.algorithms.reasons import one_by_one, other_kind, too_little_local
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Plan
from clconv.problem import ConvProblem

TILES = ((4, 3), (4, 2), (2, 4), (4, 1), (1, 4), (1, 1))
"""(output channels, output rows) of a tile: twelve vectors of sums at most, of sixteen registers."""

WIDE_TILES = ((8, 3), (8, 2), (4, 4), *TILES)
"""The same with thirty-two registers."""


class GroupedDirectSimd(Algorithm):
    """A band of rows of one group a work-item, all its output channels from one copy of the input."""

    name = "grouped/direct_simd"
    family = "direct"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Take grouped problems whose rows under one output row fit into local memory."""
        if reason := other_kind(problem, "grouped"):
            return reason
        return too_little_local(panel_bytes(problem, device.lanes(accumulator_bytes(problem)), 1), device)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One plan for each tile that the output is large enough for."""
        lanes = device.lanes(accumulator_bytes(problem))
        avx512 = wide(problem, device)
        plans = [
            self._plan(problem, device, block, rows, vec)
            for vec in ((2 * lanes, lanes) if avx512 else (lanes,))
            for block, rows in (WIDE_TILES if avx512 else TILES)
            if block <= problem.OCG and rows <= problem.OH and panel_bytes(problem, vec, rows) <= device.local_mem_bytes
        ]
        return fastest_first(plans)

    def _bands(self, p: ConvProblem, device: DeviceInfo, rows: int, vec: int) -> int:
        """Bands of at least ``rows`` rows: enough for all units, with panels that leave most of the second cache free."""
        most = p.OH // rows
        bands = min(most, max(1, ceil_div(8 * device.compute_units, p.G * p.N)))
        budget = min(max(device.l1_bytes, device.l2_bytes // 8), device.local_mem_bytes)
        while bands < most and panel_bytes(p, vec, ceil_div(p.OH, bands)) > budget:
            bands += 1
        return bands

    def _plan(self, p: ConvProblem, device: DeviceInfo, block: int, rows: int, vec: int) -> Plan:
        bands = self._bands(p, device, rows, vec)
        packing = pack_filter(p, device, block)
        launch = Launch(
            kernel=self.kernel,
            entry="grouped_direct_simd",
            macros=(
                *common_macros(p, device),
                *(("VEC", vec), ("OC_BLOCK", block), ("TILE_OH", rows), ("AVX512", int(wide(p, device)))),
            ),
            arguments=(
                *("x", "packed", "bias", "residual", "y"),
                Local(panel_bytes(p, vec, ceil_div(p.OH, bands))),
                *size_arguments(p, "N", "IC", "IH", "IW", "OC", "OH", "OW", "ICG", "OCG", "PT", "PL"),
                Int(bands),
                Int(phase(p, vec)),
                *epilogue_arguments(p),
            ),
            global_size=(bands, p.G, p.N),
            local_size=(1, 1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            packing=packing,
            tile=f"{block} channels x {rows} rows x {vec} columns",
            seconds=self._seconds(p, device, block, rows, bands, vec),
            error_factor=direct_error_factor(p),
        )

    def _seconds(self, p: ConvProblem, device: DeviceInfo, block: int, rows: int, bands: int, vec: int) -> float:
        """Multiply-adds of whole tiles with the loads that feed them, and the copy into the panel."""
        band = ceil_div(p.OH, bands)
        waste = round_up(band, rows) / band * round_up(p.OW, vec) / p.OW * round_up(p.OCG, block) / p.OCG
        loads = (block + rows) / (block * rows)  # reads per multiply-add
        elements = p.N * bands * p.G * panel_bytes(p, vec, band) / accumulator_bytes(p)
        slow = p.layout == "NHWC" or p.SW > 4 or one_by_one(p, device)  # copied element by element
        # Columns SW apart are dealt out vector by vector: for two phases by as many instructions as there are vectors.
        copied = elements * 2 * (vec if slow else 2 if p.SW <= 2 else 64 / vec)
        stored = 16.0 * p.N * p.OH * p.OW * p.OC if p.layout == "NHWC" else 0.0
        efficiency = 0.95
        if wide(p, device):
            half = vec == device.lanes(accumulator_bytes(p))
            longer = 1.4 if device.moves_beside else 1.3 if device.moves_among else 1.05
            efficiency = 1.0 if half else longer
            if device.moves_among and p.SW > 1:
                efficiency = 0.75 if half else 0.9  # measured: dealing out columns takes a unit from the multiply-adds
        return (p.flops * waste * max(1.0, 0.6 + 0.6 * loads) + copied + stored) / (efficiency * device.driver_flops)
