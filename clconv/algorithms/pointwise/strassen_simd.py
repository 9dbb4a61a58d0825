"""Host side of kernels/pointwise/strassen_simd.cl: 1x1 with seven products of halves in place of eight."""

from __future__ import annotations

import math

from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
    ceil_div,
    common_macros,
    epilogue_arguments,
    fastest_first,
    round_up,
    size_arguments,
)
from clconv.algorithms.pointwise.items import LATE, START, seconds
from clconv.algorithms.reasons import other_kind
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Plan
from clconv.problem import ConvProblem
from clconv.strassen import cut, error_factor

VECTORS = 2
"""Of output channels, in a tile."""

STEPS = 7


class StrassenSimd(Algorithm):
    """An eighth fewer multiplications, paid for with accuracy and a filter of 7/4 its size."""

    name = "pointwise/strassen_simd"
    family = "strassen"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """1x1 with one group and without padding, float32 or float64; any stride."""
        if reason := other_kind(problem, "pointwise"):
            return reason
        if problem.padded:
            return "serves problems without padding; pointwise/channel_simd and pointwise/panel_simd serve the rest"
        if problem.itemsize == 2:
            return f"serves float32 and float64; converting {problem.dtype} takes longer than an eighth of the multiplications"
        return None

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """Work-items of one to seven tiles and all output channels or a part, the least predicted time first."""
        together = (1, 2, 3, 4) if problem.layout == "NCHW" else (1, 2, 3, 4, 7)
        plans = [self._plan(problem, device, tiles, splits) for tiles in together for splits in (1, 2, 4, 8, 16)]
        return fastest_first(dict.fromkeys(plans))

    def _plan(self, p: ConvProblem, device: DeviceInfo, tiles_item: int, splits: int) -> Plan:
        itemsize = accumulator_bytes(p)
        avx512 = wide(p, device)
        lanes = 64 // itemsize if avx512 else device.lanes(itemsize)
        heights = (14, 11) if avx512 or device.vector_registers >= 32 else (6, 5)
        nhwc = p.layout == "NHWC"
        images = 1 if nhwc else p.N
        tiles, small = cut(p.OH * p.OW * p.N // images, heights)
        tiles_item = min(tiles_item, tiles)
        oc_block = VECTORS * lanes
        blocks = ceil_div(p.OC, 2 * oc_block)
        blocks_item = ceil_div(blocks, splits)
        ic_half = ceil_div(p.IC, 2)
        row = round_up(ic_half, lanes) + lanes
        operands = STEPS * (heights[0] * row if nhwc else ic_half * round_up(heights[0], lanes))
        local = (
            Local(tiles_item * operands * itemsize),
            Local(itemsize if nhwc else tiles_item * 4 * heights[0] * oc_block * itemsize),
        )
        size = (ceil_div(tiles, tiles_item), ceil_div(blocks, blocks_item), images)
        macros = (
            *common_macros(p, device),
            *(("VEC", lanes), ("PXB", heights[0]), ("PXS", heights[1]), ("OCV", VECTORS), ("AVX512", int(avx512))),
        )
        launch = Launch(
            kernel=self.kernel,
            entry="pointwise_strassen",
            macros=macros,
            arguments=(
                *("x", "packed", "bias", "residual", "y", *local),
                *size_arguments(p, "N", "IC", "IH", "IW", "OC", "OH", "OW"),
                *(Int(tiles), Int(small), Int(tiles_item), Int(blocks), Int(blocks_item)),
                *epilogue_arguments(p),
            ),
            global_size=size,
            local_size=(1, 1, 1),
        )
        prepare = Launch(
            kernel=self.kernel,
            entry="strassen_filter",
            macros=macros,
            arguments=("w", "packed", *size_arguments(p, "IC", "OC")),
            global_size=(oc_block, ic_half, blocks),
            local_size=(oc_block, 1, 1),
        )
        # Clock cycles: a vector of multiply-adds takes a half, or a whole one if it is wider than the units.
        vector = lanes * itemsize / device.vector_bytes / 2
        height = heights[0] - small / tiles * (heights[0] - heights[1])  # on average
        multiply = STEPS * height * VECTORS * (ic_half * vector + 2)
        transpose = 0 if nhwc else 4.0 * height * oc_block
        move = 5.4 if nhwc else 6.0 if p.stride == (1, 1) else 24  # a vector of an operand
        put = move * STEPS * height * ic_half / lanes
        packed_bytes = blocks * STEPS * ic_half * oc_block * itemsize
        near = packed_bytes <= device.l2_bytes * device.compute_units
        stream = packed_bytes / blocks / (80 if near else 40)  # a block of the filter comes in, for the first of the tiles
        if local[0].bytes > device.l2_bytes / 2:
            stream += local[0].bytes / 64  # and the operands, again for each block
        item = START + blocks_item * (tiles_item * (multiply + transpose + STEPS * 10) + stream) + tiles_item * put
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            prepare=(prepare,),
            packed_bytes=packed_bytes,
            tile=f"2 x {heights[0]} pixels x {VECTORS} vectors of {lanes} channels; {tiles_item} tiles x "
            f"{2 * blocks_item * oc_block} channels a work-item",
            seconds=seconds(p, device, ceil_div(math.prod(size), device.compute_units) * item + min(LATE * item, 20e3)),
            error_factor=error_factor(p),
            strassen=(*heights, blocks * oc_block),
        )
