"""Host side of kernels/pointwise/channel_simd.cl: 1x1, vectors along the output channels."""

from __future__ import annotations

from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
    ahead,
    asks_far,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    far,
    fastest_first,
    round_up,
    size_arguments,
)
from clconv.algorithms.items import START, busiest_unit, seconds
from clconv.algorithms.packing import pack_filter
from clconv.algorithms.reasons import one_by_one, other_kind
from clconv.algorithms.sets import filled
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Plan
from clconv.problem import ConvProblem

LARGE_L2 = 1 << 20
"""Bytes of a second cache that gives the lines of an image in N C H W at the pace at which tiles of 6 pixels multiply, if one
work-item takes all. Measured with AVX2 on cores of 2 MiB, 1024 to 2048 channels at 7 x 7; Zen 3's, of 512 KiB, take 1.35 times
as long."""


TALL, VECTORS = 14, 2
"""Pixels and vectors of a tile that fills 32 registers; half as many pixels and twice the vectors do, too."""

PAGE, PAGES = 4096, 100
"""Bytes of a page of memory, and how many of these a core finds at once."""


class ChannelSimd(Algorithm):
    """Pixels are broadcast, filters are read in vectors: nothing of x is moved, and odd images waste nothing."""

    name = "pointwise/channel_simd"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """1x1 with one group; any problem in NHWC, without padding and 16-bit types in NCHW."""
        if reason := other_kind(problem, "pointwise"):
            return reason
        if problem.layout == "NCHW" and _needs_panel(problem):
            return "serves NCHW without padding and with float32 or float64 only; pointwise/panel_simd serves the rest"
        if _needs_panel(problem) and _pixel_bytes(problem) > device.local_mem_bytes:
            return (
                f"copies whole pixels of {_pixel_bytes(problem)} bytes into local memory, "
                f"the device has {device.local_mem_bytes}"
            )
        return None

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """Work-items of one to eight tiles of pixels and all output channels or a part, the least predicted time first."""
        avx512 = wide(problem, device)
        plans = self._plans(problem, device, avx512)
        block = VECTORS * 64 // accumulator_bytes(problem)
        if avx512 and round_up(problem.OC, block) >= 1.2 * problem.OC:
            plans += self._plans(problem, device, False)  # shorter vectors leave fewer lanes idle
        return fastest_first(dict.fromkeys(plans))

    def _plans(self, problem: ConvProblem, device: DeviceInfo, avx512: bool) -> list[Plan]:
        tile = TALL if avx512 or device.vector_registers >= 32 else 6
        if problem.layout == "NHWC":
            # Where the rows of a tile do not fit their sets of the first cache: half a tile.
            crowded = filled(tile, problem.SW * _pixel_bytes(problem)) > 1 and not _needs_panel(problem)
            heights = [tile // 2] if crowded else [tile, 2 * tile, 4 * tile, 8 * tile]
            pixels = problem.N * problem.OH * problem.OW
            if not crowded and pixels <= 10 * tile:
                heights.append(pixels)  # no item of a few that are left
        else:
            heights = [7 * tile, 8 * tile, 14 * tile, 16 * tile]
        shapes = [(tile, VECTORS)]
        block = VECTORS * (64 if avx512 else device.vector_bytes) // accumulator_bytes(problem)
        if tile == TALL and round_up(problem.OC, 2 * block) == round_up(problem.OC, block):
            shapes.append((tile // 2, 2 * VECTORS))
        return [self._plan(problem, device, avx512, s, h, n) for s in shapes for h in heights for n in (1, 2, 4, 8, 16, 32)]

    def _plan(
        self, p: ConvProblem, device: DeviceInfo, avx512: bool, shape: tuple[int, int], pixels_item: int, splits: int
    ) -> Plan:
        itemsize = accumulator_bytes(p)
        lanes = 64 // itemsize if avx512 else device.lanes(itemsize)
        tile, vectors = shape
        oc_block = vectors * lanes
        blocks = ceil_div(p.OC, oc_block)
        blocks_item = ceil_div(blocks, splits)
        nhwc = p.layout == "NHWC"
        images = 1 if nhwc else p.N
        pixels = p.OH * p.OW * p.N // images
        panel = _needs_panel(p)
        if panel:
            pixels_item = min(pixels_item, max(1, device.local_mem_bytes // _pixel_bytes(p) // 2))
        pixels_item = min(pixels_item, pixels)
        local = (
            Local(pixels_item * _pixel_bytes(p) if panel else itemsize),
            Local(itemsize if nhwc else round_up(pixels_item, lanes) * oc_block * itemsize),
        )
        size = (ceil_div(pixels, pixels_item), ceil_div(blocks, blocks_item), images)
        packing = pack_filter(p, device, oc_block)
        launch = Launch(
            kernel=self.kernel,
            entry="pointwise_channel",
            macros=(
                *common_macros(p, device),
                *(("VEC", lanes), ("PXB", tile), ("OCV", vectors), ("PANEL", int(panel)), ("AVX512", int(avx512))),
                ahead(p, device, packing.bytes // blocks, size, blocks_item),
                ("FAR", int(nhwc and not panel and p.stride == (1, 1) and asks_far(p, device))),
            ),
            arguments=(
                *("x", "packed", "bias", "residual", "y", *local),
                *size_arguments(p, "N", "IC", "IH", "IW", "OC", "OH", "OW", "PT", "PL", "XC", "YC"),
                *(Int(pixels_item), Int(blocks_item)),
                *epilogue_arguments(p),
            ),
            global_size=size,
            local_size=(1, 1, 1),
        )
        multiply = _rows(pixels_item, tile) * vectors * p.IC * device.multiply_cycles(lanes * itemsize)
        multiply *= _slower(p, device, shape, whole=pixels_item == pixels)
        # Half tiles are nearly as fast as whole ones: a filter that is used for 7 pixels comes in behind the arithmetic.
        few = 2 * VECTORS * pixels_item <= tile * vectors  # a block of the filter is used once, for few pixels
        stream = oc_block * itemsize * p.IC / (64 if not few else 400 if device.full_avx512 else 100)
        share = packing.bytes / blocks * blocks_item  # of the filter, which the next work-item reads again
        if size[0] > device.compute_units and share > device.l2_bytes / 2:
            stream += oc_block * itemsize * p.IC / 16  # measured; the second cache no longer has it
        begin_and_end = 30 * ceil_div(pixels_item, tile) + stream
        transpose = 0 if nhwc else 1.0 * pixels_item * oc_block
        copy = (8 if one_by_one(p, device) else 2) * p.IC * pixels_item if panel else 0
        read = pixels_item * _pixel_bytes(p) / (6 if device.moves_among and _many_pages(p) else 40)  # once for each share
        item = START + blocks_item * (multiply + begin_and_end + transpose) + copy + read
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            packing=packing,
            tile=f"{tile} pixels x {vectors} vectors of {lanes} channels; {pixels_item} pixels x {blocks_item * oc_block} "
            "channels a work-item",
            seconds=seconds(p, device, busiest_unit(size[0] * size[1] * size[2], device) * item),
            error_factor=direct_error_factor(p),
        )


def _rows(pixels: int, tile: int) -> int:
    """Pixels that an item computes: whole tiles, then half a tile, or one pixel, which waits for its sums as long as two."""
    rest = pixels % tile
    return pixels - rest + (0 if rest == 0 else 2 if rest == 1 else tile // 2 if rest <= tile // 2 else tile)


def _slower(p: ConvProblem, device: DeviceInfo, shape: tuple[int, int], *, whole: bool) -> float:
    """Return how many times longer than the units that multiply a tile takes; ``whole`` if an item takes all of an image."""
    tile, vectors = shape
    nhwc, pixels = p.layout == "NHWC", p.OH * p.OW
    all_near = device.l2_bytes >= LARGE_L2 and pixels * _pixel_bytes(p) < device.l2_bytes / 2
    fed = tile < TALL // 2 and all_near and p.stride == (1, 1) and whole
    if device.moves_among:
        slower = _slower_among(p, nhwc, seven=vectors > VECTORS)
    else:
        slower = 1.0 if vectors == VECTORS else 1.03  # not measured
        if not nhwc and pixels < 56 and not fed:
            slower *= 1.12  # measured; of such images, channels share lines of memory with their neighbours
        if device.moves_beside and not far(p, device):  # or fewer products gain nothing, measured without asking for it
            slower *= 1.06 if nhwc else 1.1  # measured; Strassen's additions come in behind the arithmetic
    if not nhwc and tile < TALL // 2 and not fed:
        slower *= 1.35 if p.stride == (1, 1) else 1.7  # measured; a tile of 6 pixels takes 24 bytes of a line, or 12
    return slower


def _slower_among(p: ConvProblem, nhwc: bool, *, seven: bool) -> float:
    """Return the same on a Xeon, measured against Strassen's product on two cores; ``seven`` for tiles of so many pixels.

    In N C H W, channels lie a plane apart.
    """
    if nhwc:
        return 1.01 if seven else 1.04
    many, plane = _many_pages(p), p.IH * p.IW * p.itemsize
    slower = (1.29 if many else 1.07 if plane < PAGE / 8 else 1.15) * (1.0 if p.stride == (1, 1) else 1.17)
    return slower * (0.92 if many else 0.97) if seven else slower


def _many_pages(p: ConvProblem) -> bool:
    """Tell whether the channels of a pixel lie in more pages of memory than a core's first table holds, so that it waits."""
    plane = p.IH * p.IW * p.itemsize
    return p.layout == "NCHW" and plane >= PAGE / 2 and p.IC * min(1.0, plane / PAGE) > PAGES


def _needs_panel(problem: ConvProblem) -> bool:
    return problem.padded or problem.itemsize == 2


def _pixel_bytes(problem: ConvProblem) -> int:
    return problem.IC * accumulator_bytes(problem)
