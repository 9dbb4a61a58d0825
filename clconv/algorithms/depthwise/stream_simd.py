"""Host side of kernels/depthwise/stream_simd.cl: NHWC, vectors along the channels, in place, sixteen registers."""

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
from clconv.algorithms.depthwise import pixel_tiles
from clconv.algorithms.sets import filled
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Packing, Plan
from clconv.problem import ConvProblem

MOST_UNROLLED = 128
"""Pixels of the image that a tile spans: the kernel unrolls them twice, for tiles inside and at the border."""

TILES = ((2, 4), (2, 2), (1, 4), (1, 2), (1, 1))
"""(rows, columns) of outputs of a tile: sixteen registers hold their sums and the taps that a row of the image meets."""

STREAMS = 32
"""Pixels whose channels the processor asks for ahead of time; with stride 2, tiles of 45 take up to 1.5 times those of 25."""


class DepthwiseStreamSimd(Algorithm):
    """A band of rows a work-item, a tile of pixels with all their channels at a time; nothing is copied."""

    name = "depthwise/stream_simd"
    family = "direct"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Depthwise problems in NHWC with one output channel for each input channel."""
        if reason := pixel_tiles.refused(problem, device, MOST_UNROLLED):
            return reason
        vec = device.lanes(accumulator_bytes(problem))
        return None if vec <= problem.IC else f"takes vectors of {vec} channels, this problem has {problem.IC}"

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One plan for each tile that the image is large enough for."""
        tiles = pixel_tiles.fitting(problem, TILES, MOST_UNROLLED, few_registers=True)
        return fastest_first(self._plan(problem, device, *tile) for tile in tiles)

    def _plan(self, p: ConvProblem, device: DeviceInfo, height: int, width: int) -> Plan:
        acc_bytes = accumulator_bytes(p)
        vec = device.lanes(acc_bytes)
        seconds = self._seconds(p, device, height, width, vec)
        bands = pixel_tiles.bands(p, device, height, seconds)
        block = p.KH * p.KW * vec
        blocks = ceil_div(p.IC, vec) + ceil_div(p.IC, block)  # the latter of zeros, as many as there are channels
        macros = (
            *common_macros(p, device),
            *(("VEC", vec), ("TILE_OH", height), ("TILE_OW", width), ("AVX512", 0)),
        )
        pack = Launch(
            kernel=self.kernel,
            entry="pack_blocks",
            macros=macros,
            arguments=("w", "packed", *size_arguments(p, "IC")),
            global_size=(blocks,),
            local_size=(1,),
        )
        launch = Launch(
            kernel=self.kernel,
            entry="depthwise_stream_simd",
            macros=macros,
            arguments=(
                *("x", "packed", "bias", "residual", "y"),
                *size_arguments(p, "IC", "IH", "IW", "OH", "OW", "PT", "PL", "XC", "YC"),
                Int(bands),
                *epilogue_arguments(p),
            ),
            global_size=(bands, p.N),
            local_size=(1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            packing=Packing(pack, blocks * block * acc_bytes),
            tile=f"{height} x {width} pixels x {vec} channels",
            seconds=seconds,
            error_factor=direct_error_factor(p),
        )

    def _seconds(self, p: ConvProblem, device: DeviceInfo, height: int, width: int, vec: int) -> float:
        """Predict from loads and multiply-adds of whole tiles, and from the traffic."""
        waste = round_up(p.OH, height) / p.OH * round_up(p.OW, width) / p.OW * round_up(p.IC, vec) / p.IC
        pixels = places(height, p.SH, p.KH, p.DH) * places(width, p.SW, p.KW, p.DW)
        loads = (pixels + p.KH * p.KW) / (height * width * p.KH * p.KW)
        full = filled(pixels, p.IC * p.itemsize)  # until the other halves of the lines are read
        crowd = 1 + max(0.0, full - 1, pixels / STREAMS - 1) / 2
        rows, units = p.N * ceil_div(p.OH, height), device.compute_units
        uneven = ceil_div(rows, units) * units / rows  # a row of tiles is one unit's
        compute = crowd * uneven * p.flops * waste * (1.4 + 0.7 * loads) / device.driver_flops
        return max(compute, p.bytes / device.bandwidth / 4)
