"""Host side of kernels/depthwise/channel_simd.cl: NHWC, vectors along the channels."""

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
from clconv.algorithms.reasons import not_nhwc, other_kind, too_little_local, too_many_taps
from clconv.algorithms.ring import Ring, bands, ring
from clconv.algorithms.unrolled import columns_too_far_apart, tiles_of_columns
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Packing, Plan
from clconv.problem import ConvProblem

TILES = (7, 4, 2, 1)
"""Outputs side by side in a tile: the images of most networks are multiples of 7 wide."""

COPYING = 8
"""FLOPs that could be done while an element of the image is copied into the ring."""

CACHE_LINE = 64
"""Bytes: a work-item takes so many channels, to read whole lines."""


class DepthwiseChannelSimd(Algorithm):
    """A band of rows a work-item, a cache line of channels wide."""

    name = "depthwise/channel_simd"
    family = "direct"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Depthwise problems in NHWC."""
        if reason := other_kind(problem, "depthwise") or not_nhwc(problem) or too_many_taps(problem):
            return reason
        return columns_too_far_apart(problem) or too_little_local(self._ring(problem, device).bytes, device)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One plan for each tile that the image is wide enough for."""
        return fastest_first(self._plan(problem, device, tile) for tile in tiles_of_columns(TILES, problem))

    def _ring(self, p: ConvProblem, device: DeviceInfo) -> Ring:
        acc_bytes = accumulator_bytes(p)
        vec = device.lanes(acc_bytes)
        return ring(p, vec, 1 if vec * acc_bytes >= CACHE_LINE or vec >= p.IC else 2)

    def _plan(self, p: ConvProblem, device: DeviceInfo, tile: int) -> Plan:
        acc_bytes = accumulator_bytes(p)
        vec = device.lanes(acc_bytes)
        rows = self._ring(p, device)
        macros = (*common_macros(p, device), ("VEC", vec), ("NV", rows.vectors), ("TILE_OW", tile))
        blocks = ceil_div(p.IC, vec)
        chunks = ceil_div(blocks, rows.vectors)
        count = bands(p, device, chunks)
        pack = Launch(
            kernel=self.kernel,
            entry="pack_multiplied",
            macros=macros,
            arguments=("w", "packed", *size_arguments(p, "IC", "OCG")),
            global_size=(blocks * p.OCG,),
            local_size=(1,),
        )
        launch = Launch(
            kernel=self.kernel,
            entry="depthwise_channel_simd",
            macros=macros,
            arguments=(
                *("x", "packed", "bias", "residual", "y"),
                Local(rows.bytes),
                *size_arguments(p, "IC", "IH", "IW", "OH", "OW", "OCG", "PT", "PL", "XC", "YC"),
                Int(count),
                Int(rows.width),
                *epilogue_arguments(p),
            ),
            global_size=(chunks, count, p.N),
            local_size=(1, 1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            packing=Packing(pack, blocks * vec * p.OCG * p.KH * p.KW * acc_bytes),
            tile=f"{tile} pixels x {vec} channels",
            seconds=self._seconds(p, device, tile, vec),
            error_factor=direct_error_factor(p),
        )

    def _seconds(self, p: ConvProblem, device: DeviceInfo, tile: int, vec: int) -> float:
        """Predict from loads and multiply-adds of whole tiles, and from the traffic."""
        waste = round_up(p.OW, tile) / p.OW * round_up(p.IC, vec) / p.IC
        loads = (places(tile, p.SW, p.KW, p.DW) + p.KW) / (tile * p.KW)  # vectors read per multiply-add
        copied = COPYING * p.N * p.IH * p.IW * p.IC
        compute = (p.flops * waste * (1 + loads) + copied) / (0.9 * device.driver_flops)
        return max(compute, p.bytes / device.bandwidth / 4)
