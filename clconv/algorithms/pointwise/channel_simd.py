"""Host side of kernels/pointwise/channel_simd.cl: 1x1, vectors along the output channels."""

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
from clconv.algorithms.packing import pack_filter
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Plan
from clconv.problem import DTYPES, ConvProblem


class ChannelSimd(Algorithm):
    """Pixels are broadcast, filters are read in vectors: nothing of x is moved, and odd images waste nothing."""

    name = "pointwise/channel_simd"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """1x1 with one group; any problem in NHWC, without padding and 16-bit types in NCHW."""
        if problem.kind != "pointwise":
            return f"serves 1x1 filters with one group, this is a {problem.kind} convolution"
        if problem.layout == "NCHW" and _needs_panel(problem):
            return "serves NCHW without padding and with float32 or float64 only; pointwise/panel_simd serves the rest"
        if _needs_panel(problem) and self._pixel_bytes(problem) > device.local_mem_bytes:
            return (
                f"copies whole pixels of {self._pixel_bytes(problem)} bytes into local memory, "
                f"the device has {device.local_mem_bytes}"
            )
        return None

    def _pixel_bytes(self, problem: ConvProblem) -> int:
        return problem.IC * DTYPES[accumulator(problem)]

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """Tiles of 6 pixels x 2 vectors of output channels."""
        return (self._plan(problem, device, 2, 256, 48, 2),)

    def _plan(
        self, problem: ConvProblem, device: DeviceInfo, vectors: int, ic_block: int, pixels_item: int, splits: int
    ) -> Plan:
        p = problem
        itemsize = DTYPES[accumulator(p)]
        lanes = device.lanes(itemsize)
        oc_block = vectors * lanes
        blocks = ceil_div(p.OC, oc_block)
        blocks_item = ceil_div(blocks, splits)
        nhwc = p.layout == "NHWC"
        pixels = p.OH * p.OW * (p.N if nhwc else 1)
        ic_block = min(ic_block, p.IC)
        panel = _needs_panel(p)
        pixels_item = min(pixels_item, pixels)
        if panel:
            pixels_item = min(pixels_item, device.local_mem_bytes // (2 * self._pixel_bytes(p)))
        sums = round_up(pixels_item, lanes) * oc_block * itemsize if ic_block < p.IC or not nhwc else itemsize
        pack, packed_bytes = pack_filter(p, oc_block)
        launch = Launch(
            kernel=self.kernel,
            entry="pointwise_channel",
            macros=(*common_macros(p, device), ("VEC", lanes), ("OCV", vectors), ("PANEL", int(panel))),
            arguments=(
                *("x", "packed", "bias", "residual", "y"),
                *(Local(pixels_item * self._pixel_bytes(p) if panel else itemsize), Local(sums)),
                *size_arguments(p, "N", "IC", "IH", "IW", "OC", "OH", "OW", "PT", "PL"),
                *(Int(pixels_item), Int(blocks_item), Int(ic_block)),
                *epilogue_arguments(p),
            ),
            global_size=(ceil_div(pixels, pixels_item), ceil_div(blocks, blocks_item), 1 if nhwc else p.N),
            local_size=(1, 1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            prepare=(pack,),
            packed_bytes=packed_bytes,
            tile=f"6 pixels x {vectors} vectors of {lanes} channels",
            seconds=p.flops / (1.2 * device.peak_flops),
            error_factor=direct_error_factor(p),
        )


def _needs_panel(problem: ConvProblem) -> bool:
    return problem.padded or problem.dtype in ("float16", "bfloat16")
