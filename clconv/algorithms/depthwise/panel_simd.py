"""Host side of kernels/depthwise/panel_simd.cl: NCHW, vectors along the width, from a zero-padded panel."""

from __future__ import annotations

from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    fastest_first,
    places,
    round_up,
    size_arguments,
)
from clconv.algorithms.depthwise.plane_tiles import cut
from clconv.algorithms.panel import panel_bytes, phase
from clconv.algorithms.reasons import not_nchw, one_by_one, other_kind, too_little_local, too_many_taps
from clconv.algorithms.unrolled import rows_too_far_apart, tiles_of_rows
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Plan
from clconv.problem import ConvProblem

TILES = (7, 4, 2, 1)
"""Output rows of a tile: the images of most networks are multiples of 7 high."""


class DepthwisePanelSimd(Algorithm):
    """Several channels, or a band of rows of one, a work-item, each copied into local memory with its border."""

    name = "depthwise/panel_simd"
    family = "direct"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Depthwise problems in NCHW whose rows under one output row fit into local memory."""
        if reason := other_kind(problem, "depthwise") or not_nchw(problem) or too_many_taps(problem):
            return reason
        return rows_too_far_apart(problem) or too_little_local(self._panel(problem, device, 1), device)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One plan for each tile that the image is high enough for."""
        p, most = problem, device.local_mem_bytes
        fitting = [tile for tile in tiles_of_rows(TILES, p) if self._panel(p, device, 2 * tile) <= most] or [1]
        return fastest_first(self._plan(problem, device, tile) for tile in fitting)

    def _panel(self, p: ConvProblem, device: DeviceInfo, rows: int) -> int:
        return panel_bytes(p, device.lanes(accumulator_bytes(p)), rows)

    def _plan(self, p: ConvProblem, device: DeviceInfo, tile: int) -> Plan:
        vec = device.lanes(accumulator_bytes(p))
        bands, channels = cut(p, device, tile)
        most = p.OH // tile
        budget = min(device.l1_bytes, device.local_mem_bytes)
        while bands < most and self._panel(p, device, ceil_div(p.OH, bands)) > budget:
            bands += 1
        launch = Launch(
            kernel=self.kernel,
            entry="depthwise_panel_simd",
            macros=(*common_macros(p, device), ("VEC", vec), ("TILE_OH", tile)),
            arguments=(
                *("x", "w", "bias", "residual", "y"),
                Local(self._panel(p, device, ceil_div(p.OH, bands))),
                *size_arguments(p, "N", "IC", "IH", "IW", "OH", "OW", "OCG", "PT", "PL"),
                Int(bands),
                Int(channels),
                Int(phase(p, vec)),
                *epilogue_arguments(p),
            ),
            global_size=(bands, ceil_div(p.IC, channels), p.N),
            local_size=(1, 1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            tile=f"{tile} rows x {vec} columns",
            seconds=self._seconds(p, device, tile, vec),
            error_factor=direct_error_factor(p),
        )

    def _seconds(self, p: ConvProblem, device: DeviceInfo, tile: int, vec: int) -> float:
        """Predict from loads and multiply-adds of whole tiles, and the copy into the panel."""
        waste = round_up(p.OH, tile) / p.OH * round_up(p.OW, vec) / p.OW
        loads = places(tile, p.SH, p.KH, p.DH) / (tile * p.KH)  # vectors read per multiply-add
        copied = 8.0 * p.N * p.IC * p.IH * p.IW * (vec if one_by_one(p, device) or p.SW > 4 else 1)
        if p.SW > 2:  # whole vectors of each of the columns' sequences, picked out of as many; measured
            copied = max(copied, 20.0 * p.N * p.IC * p.IH * p.SW * round_up(p.OW, vec))
        return (p.flops * waste * (1 + loads) + copied) / (0.9 * device.driver_flops)
