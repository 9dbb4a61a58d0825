"""Host side of kernels/pointwise/strassen_panel_simd.cl: 1x1 in NCHW, pixels in vectors, seven products in place of eight."""

from __future__ import annotations

import math

from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
    ceil_div,
    common_macros,
    epilogue_arguments,
    fastest_first,
    size_arguments,
)
from clconv.algorithms.items import START, few_items, seconds, tiles_each
from clconv.algorithms.packing import STEPS, pack_strassen
from clconv.algorithms.pointwise.strassen_simd import StrassenSimd
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Plan
from clconv.problem import ConvProblem
from clconv.strassen import cut, error_factor

VECTORS = 3
"""Of pixels, in half a tile."""

FEW_TILES = 3
"""Of an image, with which the products take longer: measured on two cores each of a Zen 5 and of a Xeon at 14 x 14."""


class StrassenPanelSimd(Algorithm):
    """For images of many pixels: rows of vectors come in and go out as they lie in memory."""

    name = "pointwise/strassen_panel_simd"
    family = "strassen"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """1x1 with one group in NCHW, without padding and stride, float32 or float64."""
        if reason := StrassenSimd().supports(problem, device):
            return reason
        if problem.layout != "NCHW" or problem.stride != (1, 1):
            return "serves NCHW without stride; pointwise/strassen_simd serves the rest"
        return None

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """Work-items of one to four tiles and all output channels or a part, the least predicted time first."""
        plans = [self._plan(problem, device, tiles, splits) for tiles in (1, 2, 4) for splits in (1, 2, 4, 8)]
        return fastest_first(dict.fromkeys(plans))

    def _plan(self, p: ConvProblem, device: DeviceInfo, tiles_item: int, splits: int) -> Plan:
        itemsize = accumulator_bytes(p)
        avx512 = wide(p, device)
        lanes = 64 // itemsize if avx512 else device.lanes(itemsize)
        oc_tile = 8 if avx512 or device.vector_registers >= 32 else 4
        heights = (VECTORS * lanes, (VECTORS - 1) * lanes)
        tiles, small = cut(p.OH * p.OW, heights)
        tiles_item = min(tiles_item, tiles)
        ic_half, blocks = ceil_div(p.IC, 2), ceil_div(p.OC, 2 * oc_tile)
        blocks_item = ceil_div(blocks, splits)
        size = (ceil_div(tiles, tiles_item), ceil_div(blocks, blocks_item), p.N)
        packing = pack_strassen(p, device, oc_tile)
        local = Local(tiles_item * STEPS * ic_half * heights[0] * itemsize)
        launch = Launch(
            kernel=self.kernel,
            entry="strassen_panel",
            macros=(
                *common_macros(p, device),
                *(("VEC", lanes), ("OCT", oc_tile), ("PXV", VECTORS), ("AVX512", int(avx512))),
            ),
            arguments=(
                *("x", "packed", "bias", "residual", "y", local),
                *size_arguments(p, "IC", "OC"),
                *(Int(p.OH * p.OW), Int(tiles), Int(small), Int(tiles_item), Int(blocks), Int(blocks_item)),
                *epilogue_arguments(p),
            ),
            global_size=size,
            local_size=(1, 1, 1),
        )
        vector = device.multiply_cycles(lanes * itemsize)
        vectors = VECTORS - small / tiles  # on average
        product = STEPS * (vectors * oc_tile * (ic_half * vector + 2) + 10)
        share = lanes * itemsize / 64
        if tiles <= FEW_TILES:
            product *= 1.08 if device.moves_beside else 1.12 if device.moves_among else 1.0
        put = (10.0 if device.moves_among else 6.0) * share * STEPS * vectors * ic_half
        again = share * local.bytes / _pace(local.bytes, device)  # the operands come in, for each block
        if device.moves_among:  # measured on two Xeon cores, against tiles of one to four and other methods
            again += packing.bytes / blocks / 45  # and the filter, once
            product *= 0.93
        count = tiles_each(tiles, tiles_item, size, device)
        item = START + count * (blocks_item * product + put) + blocks_item * again
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            packing=packing,
            tile=f"{oc_tile} channels x 2 x {VECTORS} vectors of {lanes} pixels; {tiles_item} tiles x "
            f"{2 * blocks_item * oc_tile} channels a work-item",
            seconds=seconds(p, device, few_items(math.prod(size), device, item, 20e3)),
            error_factor=error_factor(p),
            strassen=(*heights, blocks * oc_tile, p.IC),
        )


def _pace(size: int, device: DeviceInfo) -> float:
    """Bytes of the operands that come in per clock cycle, beside those that come in behind the multiplications; measured.

    More do of shorter vectors, and all do with the 2 MiB that the second cache of a Xeon core has.
    """
    if size <= device.l2_bytes / (1 if device.moves_among else 4):
        return math.inf
    return 40 if device.moves_among else 100
