"""Host side of kernels/depthwise/channel_simd.cl: NHWC, vectors along the channels."""

from __future__ import annotations

from clconv.algorithms.base import (
    Algorithm,
    accumulator,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    round_up,
    size_arguments,
)
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Plan
from clconv.problem import DTYPES, ConvProblem

TILES = (7, 4, 2, 1)
"""Outputs side by side in a tile: the images of most networks are multiples of 7 wide."""

MOST_TAPS = 11
"""Widest filter: all its columns are unrolled."""


class DepthwiseChannelSimd(Algorithm):
    """A row of outputs a work-item, VEC channels of several pixels at a time."""

    name = "depthwise/channel_simd"
    family = "direct"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Depthwise problems in NHWC."""
        if problem.kind != "depthwise":
            return f"serves depthwise problems, this one is {problem.kind}"
        if problem.layout != "NHWC":
            return "has its vectors along the channels, which lie apart in NCHW"
        if problem.KW > MOST_TAPS:
            return f"unrolls the {problem.KW} columns of the filter, at most {MOST_TAPS}"
        return None

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One plan for each tile that the image is wide enough for."""
        fitting = [tile for tile in TILES if tile <= problem.OW]
        return tuple(sorted((self._plan(problem, device, tile) for tile in fitting), key=lambda plan: plan.seconds))

    def _plan(self, p: ConvProblem, device: DeviceInfo, tile: int) -> Plan:
        acc_bytes = DTYPES[accumulator(p)]
        vec = device.lanes(acc_bytes)
        macros = (*common_macros(p, device), ("VEC", vec), ("TILE_OW", tile))
        blocks = ceil_div(p.IC, vec)
        chunks = min(blocks, max(1, 16 * device.compute_units // max(1, p.N * p.OH)))
        chunk = ceil_div(blocks, chunks) * vec
        prepare = Launch(
            kernel=self.kernel,
            entry="pack_depthwise",
            macros=macros,
            arguments=("w", "packed", *size_arguments(p, "IC", "OCG")),
            global_size=(vec, p.KH * p.KW, blocks * p.OCG),
            local_size=(vec, 1, 1),
        )
        launch = Launch(
            kernel=self.kernel,
            entry="depthwise_channel_simd",
            macros=macros,
            arguments=(
                *("x", "packed", "bias", "residual", "y"),
                *size_arguments(p, "IC", "IH", "IW", "OH", "OW", "OCG", "PT", "PL"),
                Int(chunk),
                *epilogue_arguments(p),
            ),
            global_size=(p.OH, ceil_div(p.IC, chunk), p.N),
            local_size=(1, 1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            prepare=(prepare,),
            packed_bytes=blocks * vec * p.OCG * p.KH * p.KW * acc_bytes,
            tile=f"{tile} pixels x {vec} channels",
            seconds=self._seconds(p, device, tile, vec),
            error_factor=direct_error_factor(p),
        )

    def _seconds(self, p: ConvProblem, device: DeviceInfo, tile: int, vec: int) -> float:
        """Predict from loads and multiply-adds of whole tiles, and from the traffic."""
        waste = round_up(p.OW, tile) / p.OW * round_up(p.IC, vec) / p.IC
        loads = ((tile - 1) * p.SW + (p.KW - 1) * p.DW + 1 + p.KW) / (tile * p.KW)  # vectors read per multiply-add
        compute = p.flops * waste * (1 + loads) / (0.9 * device.peak_flops)
        return max(compute, p.bytes / device.bandwidth / 4)
