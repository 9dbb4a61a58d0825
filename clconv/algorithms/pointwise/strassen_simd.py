"""Host side of kernels/pointwise/strassen_simd.cl: 1x1 with seven products of halves in place of eight."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
    ahead,
    ceil_div,
    common_macros,
    epilogue_arguments,
    far,
    fastest_first,
    round_up,
    size_arguments,
)
from clconv.algorithms.items import START, few_items, seconds, tiles_each
from clconv.algorithms.packing import STEPS, pack_strassen
from clconv.algorithms.reasons import other_kind
from clconv.algorithms.sets import filled
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Macro, Plan
from clconv.problem import ConvProblem
from clconv.strassen import cut, error_factor

VECTORS = 2
"""Of output channels, in a tile."""

PART = 512
"""Input channels at a time in N H W C, half as many where second caches are small: two Xeon cores take 3 % less for 1024."""


@dataclass(frozen=True)
class StrassenTile:
    """The tile of include/strassen_tile.clh for a problem and a device.

    Attributes
    ----------
    heights : (int, int)
        Pixels of half a tile, large and small.
    lanes : int
        Of a vector.
    itemsize : int
        Bytes of a sum.
    ic_half : int
        Input channels of a half.
    blocks : int
        Pairs of blocks of output channels.
    avx512 : bool
    """

    heights: tuple[int, int]
    lanes: int
    itemsize: int
    ic_half: int
    blocks: int
    avx512: bool

    @classmethod
    def of(cls, p: ConvProblem, device: DeviceInfo) -> StrassenTile:
        """Return the tile that fills the registers."""
        itemsize = accumulator_bytes(p)
        avx512 = wide(p, device)
        lanes = 64 // itemsize if avx512 else device.lanes(itemsize)
        heights = (14, 11) if avx512 or device.vector_registers >= 32 else (6, 5)
        return cls(heights, lanes, itemsize, ceil_div(p.IC, 2), ceil_div(p.OC, 2 * VECTORS * lanes), avx512)

    @property
    def oc_block(self) -> int:
        """Output channels of a tile, in one of its halves."""
        return VECTORS * self.lanes

    @property
    def macros(self) -> tuple[Macro, ...]:
        """Macros of the tile."""
        large, small = self.heights
        return (("VEC", self.lanes), ("PXB", large), ("PXS", small), ("OCV", VECTORS), ("AVX512", int(self.avx512)))

    def stream(self, packed_bytes: int, device: DeviceInfo) -> float:
        """Clock cycles until a block of the filter has come in, for the first of the tiles that use it."""
        return packed_bytes / self.blocks / (80 if packed_bytes <= device.l2_bytes * device.compute_units else 40)

    def cycles(self, device: DeviceInfo, small: float) -> float:
        """Clock cycles of a tile, and a pair of blocks of output channels; ``small`` is the share of small tiles."""
        vector = device.multiply_cycles(self.lanes * self.itemsize)
        height = self.heights[0] - small * (self.heights[0] - self.heights[1])
        return STEPS * (height * VECTORS * (self.ic_half * vector + 2) + 10)


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
            return "serves float32 and float64; its error may be larger than what 16 bits in memory lose"
        return None

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """Work-items of one to seven tiles and all output channels or a share, the least predicted time first."""
        together = (1, 2, 3, 4) if problem.layout == "NCHW" else (1, 2, 3, 4, 7)
        some = PART if device.l2_bytes >= 1 << 20 else PART // 2
        parts = (problem.IC, some) if problem.layout == "NHWC" and 2 * some <= problem.IC else (problem.IC,)
        choices = itertools.product(together, (1, 2, 4, 8, 16), parts)
        return fastest_first(dict.fromkeys(self._plan(problem, device, *choice) for choice in choices))

    def _plan(self, p: ConvProblem, device: DeviceInfo, tiles_item: int, splits: int, part: int) -> Plan:
        itemsize = accumulator_bytes(p)
        tile = StrassenTile.of(p, device)
        nhwc = p.layout == "NHWC"
        images = 1 if nhwc else p.N
        tiles, small = cut(p.OH * p.OW * p.N // images, tile.heights)
        tiles_item = min(tiles_item, tiles)
        height = tile.heights[0]
        blocks_item = ceil_div(tile.blocks, splits)
        half = ceil_div(part, 2)
        row = round_up(half, tile.lanes) + tile.lanes
        operands = STEPS * (height * row if nhwc else half * round_up(height, tile.lanes))
        local = (
            Local(tiles_item * operands * itemsize),
            Local(itemsize if nhwc else tiles_item * 4 * height * tile.oc_block * itemsize),
        )
        size = (ceil_div(tiles, tiles_item), ceil_div(tile.blocks, blocks_item), images)
        packing = pack_strassen(p, device, tile.oc_block, part)
        parts = ceil_div(p.IC, part)
        in_place = _in_place(p, device, tile)
        launch = Launch(
            kernel=self.kernel,
            entry="pointwise_strassen",
            macros=(
                *common_macros(p, device),
                *tile.macros,
                ("IN_PLACE", int(in_place)),
                ("IN_PARTS", int(parts > 1)),
                ("FAR", int(in_place and parts == 1 and far(p, device))),
                ahead(p, device, packing.bytes // tile.blocks // parts, size, blocks_item),
            ),
            arguments=(
                *("x", "packed", "bias", "residual", "y", *local),
                *size_arguments(p, "N", "IC", "IH", "IW", "OC", "OH", "OW", "XC", "YC"),
                *(Int(tiles), Int(small), Int(tiles_item), Int(tile.blocks), Int(blocks_item), Int(part)),
                *epilogue_arguments(p),
            ),
            global_size=size,
            local_size=(1, 1, 1),
        )
        transpose = 0 if nhwc else 4.0 * height * tile.oc_block
        # Clock cycles of a vector of an operand; with channels side by side, of 64 bytes.
        apart = 8.0 if tile.avx512 and p.SW <= 2 and p.OW >= 7 else 24.0  # from two vectors, see picks.clh, or one by one
        move = 5.4 * tile.lanes * itemsize / 64 if nhwc else 6.0 if p.stride == (1, 1) else apart
        if device.moves_among and not in_place:
            move *= 1.08 if nhwc else 2  # measured; the sums of quarters take a unit from the multiplications
        put = move * STEPS * height * tile.ic_half / tile.lanes
        stream = tile.stream(packing.bytes, device)
        if local[0].bytes > device.l2_bytes / 4:  # and the operands, again for each block
            stream += parts * local[0].bytes / (24 if local[0].bytes > device.l2_bytes else 64)
        product = tile.cycles(device, small / tiles) + (parts - 1) * 8.0 * height * VECTORS
        count = tiles_each(tiles, tiles_item, size, device)
        if device.moves_among:  # measured
            product = 0.965 * (product + 10 * STEPS) if nhwc else product
        item = START + blocks_item * (count * (product + transpose) + stream) + count * put
        in_parts = f", {part} in" if parts > 1 else ""
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            packing=packing,
            tile=f"2 x {height} pixels x {VECTORS} vectors of {tile.lanes} channels; {tiles_item} tiles x "
            f"{2 * blocks_item * tile.oc_block} channels a work-item{in_parts}",
            seconds=seconds(p, device, few_items(math.prod(size), device, item, 20e3)),
            error_factor=error_factor(p),
            strassen=(*tile.heights, tile.blocks * tile.oc_block, part),
        )


def _in_place(p: ConvProblem, device: DeviceInfo, tile: StrassenTile) -> bool:
    """Whether the kernel may read quarters of x where they are, and the rows of a tile leave each other in the first cache.

    And a quarter of it to the filter.
    """
    whole = p.layout == "NHWC" and p.stride == (1, 1) and p.IC % (2 * tile.lanes) == 0 and tile.itemsize == p.itemsize
    return whole and device.is_pocl and device.is_cpu and filled(tile.heights[0], p.IC * p.itemsize) <= 0.75
