"""Host side of kernels/pointwise/panel_simd.cl: 1x1 in NCHW, vectors along the pixels."""

from __future__ import annotations

from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    fastest_first,
    size_arguments,
)
from clconv.algorithms.items import START, busiest_unit, seconds
from clconv.algorithms.packing import pack_filter
from clconv.algorithms.reasons import one_by_one, other_kind
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Plan
from clconv.problem import ConvProblem


class PanelSimd(Algorithm):
    """A panel of pixels is copied into local memory once, then every output channel runs over it."""

    name = "pointwise/panel_simd"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """1x1 with one group in NCHW; any stride and padding."""
        if reason := other_kind(problem, "pointwise"):
            return reason
        if problem.layout != "NCHW":
            return "serves NCHW; pointwise/channel_simd serves NHWC"
        return None

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """Work-items of one to four panels and all output channels or a part, the least predicted time first."""
        tile = (8, 3) if device.vector_registers >= 32 else (4, 3)
        vectors = ceil_div(problem.OH * problem.OW, device.lanes(accumulator_bytes(problem)))
        share = ceil_div(vectors, device.compute_units)  # of one compute unit
        plans = [
            self._plan(problem, device, tile, ic_block, v, s)
            for ic_block in (256, 64)
            for v in (tile[1], 2 * tile[1], 4 * tile[1], share)
            for s in (1, 2, 4, 8)
        ]
        return fastest_first(dict.fromkeys(plans))

    def _plan(
        self, p: ConvProblem, device: DeviceInfo, tile: tuple[int, int], ic_block: int, vectors_item: int, splits: int
    ) -> Plan:
        oc_block, vectors = tile
        itemsize = accumulator_bytes(p)
        lanes = device.lanes(itemsize)
        blocks = ceil_div(p.OC, oc_block)
        blocks_item = ceil_div(blocks, splits)
        ic_block = min(ic_block, p.IC)
        panel = vectors * lanes * itemsize
        sums = blocks_item * oc_block * panel if ic_block < p.IC else itemsize
        all_vectors = ceil_div(p.OH * p.OW, lanes)
        vectors_item = min(vectors_item, all_vectors)
        size = (ceil_div(all_vectors, vectors_item), p.N, ceil_div(blocks, blocks_item))
        packing = pack_filter(p, device, oc_block)
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
                *(Int(vectors_item), Int(blocks_item), Int(ic_block)),
                *epilogue_arguments(p),
            ),
            global_size=size,
            local_size=(1, 1, 1),
        )
        panels, rest = divmod(vectors_item, vectors)
        step = panels * oc_block * vectors / 2 + (oc_block if rest else 0)  # cycles of a multiply-add of every tile
        passes = ceil_div(p.IC, ic_block)
        tiles = blocks_item * (step * p.IC + passes * (30 + 40 * (passes > 1)) * (panels + (rest > 0)))
        gather = 2.0 * lanes if p.padded or p.stride != (1, 1) or one_by_one(p, device) else 4.0  # cycles a vector
        item = START + tiles + gather * p.IC * vectors_item
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            packing=packing,
            tile=f"{oc_block} channels x {vectors} vectors of {lanes} pixels; "
            f"{vectors_item} vectors x {blocks_item * oc_block} channels a work-item, {ic_block} in",
            seconds=seconds(p, device, busiest_unit(size[0] * size[1] * size[2], device) * item),
            error_factor=direct_error_factor(p),
        )
