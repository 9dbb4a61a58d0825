"""Host side of kernels/depthwise/pixel_simd.cl: NHWC, vectors along the channels, straight from the tensor."""

from __future__ import annotations

from clconv.algorithms.base import (
    SHORT,
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
from clconv.algorithms.reasons import converted_often, not_nhwc, other_kind, too_many_taps
from clconv.algorithms.unrolled import few_enough, span
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Plan
from clconv.problem import ConvProblem

MOST_UNROLLED = 2048
"""Pixels of the image that a tile spans: the kernel unrolls their rows and columns, with all taps for each."""

TILES = ((2, 7), (1, 7), (2, 4), (1, 4), (1, 2), (1, 1))
"""(rows, columns) of outputs of a tile: the images of most networks are multiples of 7 wide."""

CROWDED = 1024
"""Bytes: pixels so far apart, or a multiple, share the sets of the first cache; see the kernel."""


def bands_of_tiles(p: ConvProblem, device: DeviceInfo, height: int, seconds: float) -> int:
    """Work-items of an image: bands of as equal a number of whole tile rows as can be; the last has what is left, too."""
    rows = p.OH // height
    items = ceil_div((2 if seconds < SHORT else 8) * device.compute_units, p.N)
    return ceil_div(rows, ceil_div(rows, items))


class DepthwisePixelSimd(Algorithm):
    """A band of rows a work-item, a vector of channels and a tile of pixels at a time; nothing is copied."""

    name = "depthwise/pixel_simd"
    family = "direct"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Depthwise problems in NHWC with one output channel for each input channel, in float32 or float64."""
        if reason := other_kind(problem, "depthwise") or not_nhwc(problem):
            return reason
        if problem.OCG > 1:
            return f"has input and output channels in the same lanes, this problem makes {problem.OCG} of each"
        if (pixels := self._span(problem, 1, 1)) > MOST_UNROLLED:
            return f"unrolls the {pixels} pixels that a filter spans, at most {MOST_UNROLLED}"
        return converted_often(problem) or too_many_taps(problem)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One plan for each tile that the image is large enough for."""
        p = problem
        fitting = [(h, w) for h, w in TILES if h <= p.OH and w <= p.OW and self._span(p, h, w) <= MOST_UNROLLED]
        if not wide(p, device):
            fitting = [(h, w) for h, w in fitting if few_enough(h * w, p)]
        return fastest_first(self._plan(problem, device, *tile) for tile in fitting)

    def _span(self, p: ConvProblem, height: int, width: int) -> int:
        return span(height, p.SH, p.KH, p.DH) * span(width, p.SW, p.KW, p.DW)

    def _plan(self, p: ConvProblem, device: DeviceInfo, height: int, width: int) -> Plan:
        avx512 = wide(p, device)
        vec = (2 if avx512 else 1) * device.lanes(accumulator_bytes(p))
        seconds = self._seconds(p, device, height, width, vec, avx512)
        bands = bands_of_tiles(p, device, height, seconds)
        pitch = round_up(p.IC, vec) + 2 * vec
        macros = (
            *common_macros(p, device),
            *(("VEC", vec), ("TILE_OH", height), ("TILE_OW", width), ("AVX512", int(avx512))),
        )
        prepare = Launch(
            kernel=self.kernel,
            entry="pack_depthwise",
            macros=macros,
            arguments=("w", "packed", *size_arguments(p, "IC"), Int(pitch)),
            global_size=(pitch, p.KH * p.KW),
            local_size=(vec, 1),
        )
        launch = Launch(
            kernel=self.kernel,
            entry="depthwise_pixel_simd",
            macros=macros,
            arguments=(
                *("x", "packed", "bias", "residual", "y"),
                *size_arguments(p, "IC", "IH", "IW", "OH", "OW", "PT", "PL"),
                *(Int(bands), Int(pitch), Int(p.IC * p.itemsize % CROWDED == 0)),
                *epilogue_arguments(p),
            ),
            global_size=(bands, p.N),
            local_size=(1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            prepare=(prepare,),
            packed_bytes=p.KH * p.KW * pitch * accumulator_bytes(p),
            tile=f"{height} x {width} pixels x {vec} channels",
            seconds=seconds,
            error_factor=direct_error_factor(p),
        )

    def _seconds(self, p: ConvProblem, device: DeviceInfo, height: int, width: int, vec: int, avx512: bool) -> float:
        """Predict from loads and multiply-adds of whole tiles, and from the traffic."""
        waste = round_up(p.OH, height) / p.OH * round_up(p.OW, width) / p.OW * round_up(p.IC, vec) / p.IC
        pixels = places(height, p.SH, p.KH, p.DH) * places(width, p.SW, p.KW, p.DW)
        loads = (pixels + p.KH * p.KW) / (height * width * p.KH * p.KW)
        compute = p.flops * waste * (0.7 + 0.8 * loads) / device.driver_flops
        if not avx512:
            compute *= 3  # tiles have more sums than there are registers, and each vector of channels is a call
        return max(compute, p.bytes / device.bandwidth / 4)
