"""Host side of kernels/pointwise/panel_simd.cl: 1x1 in NCHW, vectors along the pixels."""

from __future__ import annotations

from clconv.algorithms.base import (
    Algorithm,
    accumulator,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    size_arguments,
)
from clconv.algorithms.packing import pack_filter
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Plan
from clconv.problem import DTYPES, ConvProblem


class PanelSimd(Algorithm):
    """A panel of pixels is copied into local memory once, then every output channel runs over it."""

    name = "pointwise/panel_simd"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """1x1 with one group in NCHW; any stride and padding."""
        if problem.kind != "pointwise":
            return f"serves 1x1 filters with one group, this is a {problem.kind} convolution"
        if problem.layout != "NCHW":
            return "serves NCHW; pointwise/channel_simd serves NHWC"
        return None

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """Tiles of 4 output channels x 3 vectors of pixels."""
        return (self._plan(problem, device, 4, 3, 256, 1, 1),)

    def _plan(
        self, problem: ConvProblem, device: DeviceInfo, oc_block: int, vectors: int, ic_block: int, panels: int, splits: int
    ) -> Plan:
        p = problem
        itemsize = DTYPES[accumulator(p)]
        lanes = device.lanes(itemsize)
        blocks = ceil_div(p.OC, oc_block)
        blocks_item = ceil_div(blocks, splits)
        ic_block = min(ic_block, p.IC)
        panel = vectors * lanes * itemsize
        sums = blocks_item * oc_block * panel if ic_block < p.IC else itemsize
        pack, packed_bytes = pack_filter(p, oc_block)
        launch = Launch(
            kernel=self.kernel,
            entry="pointwise_panel",
            macros=(
                *common_macros(p, device),
                *(("VEC", lanes), ("OCB", oc_block), ("PXV", vectors), ("PADDED", int(p.padded))),
            ),
            arguments=(
                *("x", "packed", "bias", "residual", "y", Local(ic_block * panel), Local(sums)),
                *size_arguments(p, "IC", "IH", "IW", "OC", "OH", "OW", "PT", "PL"),
                *(Int(panels * vectors), Int(blocks_item), Int(ic_block)),
                *epilogue_arguments(p),
            ),
            global_size=(ceil_div(p.OH * p.OW, panels * vectors * lanes), p.N, ceil_div(blocks, blocks_item)),
            local_size=(1, 1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            prepare=(pack,),
            packed_bytes=packed_bytes,
            tile=f"{oc_block} channels x {vectors} vectors of {lanes} pixels",
            seconds=p.flops / (1.2 * device.peak_flops),
            error_factor=direct_error_factor(p),
        )
