"""Host side of kernels/depthwise/pixel_simd.cl: NHWC, vectors along the channels, straight from the tensor."""

from __future__ import annotations

from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    fastest_first,
    places,
    round_up,
    size_arguments,
)
from clconv.algorithms.depthwise import pixel_tiles
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Packing, Plan
from clconv.problem import ConvProblem

MOST_UNROLLED = 2048
"""Pixels of the image that a tile spans: the kernel unrolls their rows and columns, with all taps for each."""

TILES = ((2, 7), (1, 7), (2, 4), (1, 4), (1, 2), (1, 1))
"""(rows, columns) of outputs of a tile: the images of most networks are multiples of 7 wide."""

CROWDED = 1024
"""Bytes: pixels so far apart, or a multiple, share the sets of the first cache; see the kernel."""

WAY, LINES_SET = 4096, 4
"""Bytes of a way of the first cache, where lines so far apart share a set, and lines of a tile in a set from which on it takes
longer with stride 2, the more so where they come from beyond second caches. Measured on two Zen 5 cores, like the factors."""


class DepthwisePixelSimd(Algorithm):
    """A band of rows a work-item, a vector of channels and a tile of pixels at a time; nothing is copied."""

    name = "depthwise/pixel_simd"
    family = "direct"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Depthwise problems in NHWC with one output channel for each input channel."""
        return pixel_tiles.refused(problem, device, MOST_UNROLLED)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One plan for each tile that the image is large enough for."""
        return fastest_first(self._plan(problem, device, *tile) for tile in self._tiles(problem, device))

    def packing(self, problem: ConvProblem, device: DeviceInfo) -> Packing:
        """Pack a filter as the network's kernels read it as well that have a depthwise part."""
        return self._packing(problem, device, *self._tiles(problem, device)[0])

    def _tiles(self, p: ConvProblem, device: DeviceInfo) -> list[tuple[int, int]]:
        return pixel_tiles.fitting(p, TILES, MOST_UNROLLED, few_registers=not wide(p, device))

    def _packing(self, p: ConvProblem, device: DeviceInfo, height: int, width: int) -> Packing:
        avx512 = wide(p, device)
        vec = (2 if avx512 else 1) * device.lanes(accumulator_bytes(p))
        pitch = _pitch(p, vec)
        launch = Launch(
            kernel=self.kernel,
            entry="pack_taps",
            macros=(
                *common_macros(p, device),
                *(("VEC", vec), ("AVX512", int(avx512))),
                *(("TILE_OH", height), ("TILE_OW", width), ("EDGE", pixel_tiles.edge(p))),
            ),
            arguments=("w", "packed", *size_arguments(p, "IC"), Int(pitch)),
            global_size=(p.KH * p.KW,),
            local_size=(1,),
        )
        return Packing(launch, p.KH * p.KW * pitch * accumulator_bytes(p))

    def _plan(self, p: ConvProblem, device: DeviceInfo, height: int, width: int) -> Plan:
        avx512 = wide(p, device)
        vec = (2 if avx512 else 1) * device.lanes(accumulator_bytes(p))
        seconds = self._seconds(p, device, height, width, vec, avx512)
        bands, blocks = pixel_tiles.bands_and_blocks(p, device, height, vec, seconds)
        packing = self._packing(p, device, height, width)
        launch = Launch(
            kernel=self.kernel,
            entry="depthwise_pixel_simd",
            macros=packing.launch.macros,
            arguments=(
                *("x", "packed", "bias", "residual", "y"),
                *size_arguments(p, "IC", "IH", "IW", "OH", "OW", "PT", "PL", "XC", "YC"),
                *(Int(bands), Int(blocks), Int(_pitch(p, vec)), Int(p.IC * p.itemsize % CROWDED == 0)),
                *epilogue_arguments(p),
            ),
            global_size=(blocks, bands, p.N),
            local_size=(1, 1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            packing=packing,
            tile=f"{height} x {width} pixels x {vec} channels",
            seconds=seconds,
            error_factor=direct_error_factor(p),
        )

    def _seconds(self, p: ConvProblem, device: DeviceInfo, height: int, width: int, vec: int, avx512: bool) -> float:
        """Predict from loads and multiply-adds of whole tiles, and from the traffic."""
        waste = round_up(p.OH, height) / p.OH * round_up(p.OW, width) / p.OW * round_up(p.IC, vec) / p.IC
        pixels = places(height, p.SH, p.KH, p.DH) * places(width, p.SW, p.KW, p.DW)
        loads = (pixels + p.KH * p.KW) / (height * width * p.KH * p.KW)
        compute = p.flops * waste * (0.9 + 0.6 * loads) / device.driver_flops
        if not avx512:
            compute *= 1.7 if height * width <= 8 else 2.4  # measured; large tiles have no registers for taps
        apart = p.IC * p.itemsize
        lines = pixels * (apart & -apart) / WAY  # of a tile in a set
        if avx512 and not device.full_avx512 and p.SW > 1 and lines > LINES_SET:
            compute *= min(2.45, 1 + (lines - LINES_SET) / 25)  # measured on two Zen 4 cores
        if avx512 and device.moves_beside:
            if p.SW > 1 and lines > LINES_SET:
                near = p.bytes <= device.l2_bytes * device.compute_units
                compute *= min(2.0, 1 + (lines - LINES_SET) / 22) if near else 1.15 + (lines - LINES_SET) / 13
            elif height * width > 8:
                compute *= 1.1
        elif avx512 and device.moves_among:  # measured on two Xeon cores
            if p.SW > 1:
                compute *= (1.2 if width > 4 else 1.0) * (1.2 if height > 1 and lines > 1.5 * LINES_SET else 1.0)
            elif height * width > 8:
                compute *= 1.12
        return max(compute, p.bytes / device.bandwidth / 4)


def _pitch(p: ConvProblem, vec: int) -> int:
    """Return the elements from one tap of a packed filter to the next: zeros, whole vectors of channels, zeros."""
    return round_up(p.IC, vec) + 2 * vec
