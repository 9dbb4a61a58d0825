"""Depthwise and the pointwise convolution behind it as one step: its kernels, and where one of them is faster."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from clconv.activation import Activation
from clconv.algorithms.base import (
    accumulator_bytes,
    ahead,
    ceil_div,
    common_macros,
    epilogue_arguments,
    round_up,
    size_arguments,
)
from clconv.algorithms.depthwise.pixel_simd import DepthwisePixelSimd
from clconv.algorithms.depthwise.pixel_tiles import edge
from clconv.algorithms.items import START, few_items, seconds
from clconv.algorithms.packing import pack_filter, pack_strassen
from clconv.algorithms.pointwise.strassen_simd import StrassenSimd, StrassenTile
from clconv.algorithms.wide import wide
from clconv.codes import helps
from clconv.device import DeviceInfo
from clconv.onnx.bands import mean_of_bands
from clconv.onnx.block_matrix import plan_block
from clconv.onnx.chains import fuse_chains
from clconv.onnx.graph import Graph
from clconv.plan import Argument, Float, Int, Launch, Local, Macro, Packing
from clconv.problem import ConvProblem
from clconv.strassen import cut

LAUNCH, PASSAGE = 25e-6, 4e-6
"""Seconds that one launch more costs a CPU beside the work of its kernel, in the measure of predicted times: 13 us between
two kernels, and as much until all threads of the second one work. PASSAGE: where threads go on from one to the next."""

_CLAMPS = {"identity": (-math.inf, math.inf), "relu": (0.0, math.inf), "relu6": (0.0, 6.0)}
TILES = (7, 4, 2, 1)
"""Outputs side by side of the depthwise part."""


@dataclass(frozen=True)
class Separable:
    """How two convolutions run as one: the launch, who packs each filter, and the predicted time."""

    launch: Launch
    taps: Packing
    packed: Packing
    seconds: float

    @property
    def algorithm(self) -> str:
        """Name of the kernel, for people."""
        return self.launch.kernel.removesuffix(".cl")


def fuse_separable(graph: Graph, device: DeviceInfo, apart: Callable[[ConvProblem], float], *, direct: bool = False) -> Graph:
    """Let one kernel do a depthwise convolution and the pointwise one behind it where that is predicted to be faster.

    Parameters
    ----------
    graph : Graph
        With every shape and layout known.
    device : DeviceInfo
    apart : callable
        Predicted time of a convolution by itself.
    direct : bool
        Rule out Strassen's product and the matrix unit.
    """

    def faster(problems: Sequence[ConvProblem]) -> bool:
        together = plan_separable(problems[0], problems[1], device, direct=direct)
        return together is not None and together.seconds < sum(map(apart, problems)) + launch_seconds(device)

    fused, count = fuse_chains(graph, "Separable", 2, faster)
    note = f"fuse separable: {count} depthwise convolutions done by the pointwise ones behind them" if count else ""
    return fused.with_nodes(fused.nodes, note)


def launch_seconds(device: DeviceInfo) -> float:
    """Return what one launch more costs in a network."""
    return PASSAGE if helps(device) else LAUNCH


def plan_separable(first: ConvProblem, second: ConvProblem, device: DeviceInfo, *, direct: bool = False) -> Separable | None:
    """Return the plan of a depthwise and a pointwise convolution as one, None if the kernel does not serve them."""
    clamp = clamp_of(first.activation)
    plain = second.kind == "pointwise" and not second.padded and second.stride == (1, 1)
    if not plain or clamp is None or not device.is_cpu or DepthwisePixelSimd().supports(first, device) is not None:
        return None
    if wide(first, device) != wide(second, device):  # the taps are packed for other vectors
        return None
    plans = [form(first, second, device, clamp) for form in ((direct_form,) if direct else FORMS)]
    return min((plan for plan in plans if plan is not None), key=lambda plan: plan.seconds, default=None)


def clamp_of(activation: Activation) -> tuple[float, float] | None:
    """Return the limits of an activation that is a clamp, None for another."""
    return (activation.a, activation.b) if activation.kind == "clip" else _CLAMPS.get(activation.kind)


@dataclass(frozen=True)
class _Part:
    """The pointwise part of a work-item, on the pixels of its rows.

    Attributes
    ----------
    macros : tuple of Macro
    lanes : int
        Of a vector.
    blocks : int
        Steps of output channels, for all work-items together.
    spare : int
        Pixels that local memory has room for beyond those that exist.
    sums : int
        Bytes of local memory beside the depthwise part's result.
    packing : Packing
        Of the filter.
    once, block : float
        Clock cycles before the first block, and of each.
    """

    macros: tuple[Macro, ...]
    lanes: int
    blocks: int
    spare: int
    sums: int
    packing: Packing
    once: float
    block: float


_Make: TypeAlias = Callable[[ConvProblem, DeviceInfo, int], "_Part | None"]
Form: TypeAlias = Callable[[ConvProblem, ConvProblem, DeviceInfo, tuple[float, float]], "Separable | None"]


def _direct(p: ConvProblem, device: DeviceInfo, pixels: int) -> _Part | None:
    """Tiles of include/pixel_tile.clh."""
    itemsize = accumulator_bytes(p)
    avx512 = wide(p, device)
    lanes = (2 if avx512 else 1) * device.lanes(itemsize)
    vectors, tile = (1 if lanes >= p.OC else 2), (14 if avx512 or device.vector_registers >= 32 else 6)
    unit = device.multiply_cycles(lanes * itemsize)
    multiply = ceil_div(pixels, tile // 2) * (tile // 2) * vectors * p.IC * unit
    return _Part(
        macros=(("VEC", lanes), ("PXB", tile), ("OCV", vectors), ("AVX512", int(avx512)), ("STRASSEN", 0)),
        lanes=lanes,
        blocks=ceil_div(p.OC, vectors * lanes),
        spare=0,
        sums=itemsize,
        packing=pack_filter(p, device, vectors * lanes),
        once=0.0,
        block=multiply + 30 * ceil_div(pixels, tile) + vectors * lanes * itemsize * p.IC / 64,
    )


def _strassen(p: ConvProblem, device: DeviceInfo, pixels: int) -> _Part | None:
    """Tiles of include/strassen_tile.clh, for halves of whole vectors."""
    tile = StrassenTile.of(p, device)
    if StrassenSimd().supports(p, device) is not None or p.IC % (2 * tile.lanes) != 0:
        return None
    tiles, small = cut(pixels, tile.heights)
    height = tile.heights[0]
    packing = pack_strassen(p, device, tile.oc_block)
    return _Part(
        macros=(*tile.macros, ("STRASSEN", 1)),
        lanes=tile.lanes,
        blocks=tile.blocks,
        spare=2 * height,
        sums=tiles * 4 * height * (tile.ic_half + tile.lanes) * tile.itemsize,
        packing=packing,
        once=tiles * 4 * height * tile.ic_half / tile.lanes * 4.0,
        block=tiles * tile.cycles(device, small / tiles) + tile.stream(packing.bytes, device),
    )


def direct_form(first: ConvProblem, second: ConvProblem, device: DeviceInfo, clamp: tuple[float, float]) -> Separable | None:
    """Return the best plan with a pointwise part of plain sums."""
    return _best(first, second, device, clamp, _direct)


def strassen_form(first: ConvProblem, second: ConvProblem, device: DeviceInfo, clamp: tuple[float, float]) -> Separable | None:
    """Return the best plan with a pointwise part by Strassen's product."""
    return _best(first, second, device, clamp, _strassen)


def matrix_form(first: ConvProblem, second: ConvProblem, device: DeviceInfo, clamp: tuple[float, float]) -> Separable | None:
    """Return the best plan with a pointwise part on the matrix unit."""
    block = plan_block(None, first, second, device, (-math.inf, math.inf, *clamp))
    return None if block is None else Separable(block.launch, block.taps, block.packed, block.seconds)


FORMS: tuple[Form, ...] = (direct_form, strassen_form, matrix_form)
"""Of the pointwise part."""


def _best(
    first: ConvProblem, second: ConvProblem, device: DeviceInfo, clamp: tuple[float, float], make: _Make
) -> Separable | None:
    plans = [
        _together(first, second, device, clamp, bands, splits, make)
        for bands in _bands(second.OH, device.compute_units)
        for splits in (1, 2, 4)
    ]
    return min((plan for plan in plans if plan is not None), key=lambda plan: plan.seconds, default=None)


def _bands(rows: int, units: int) -> list[int]:
    """Return numbers of bands to try: as many for each unit, and those of few rows."""
    of_units = {min(rows, count * units) for count in (1, 2, 3, 4)}
    return sorted(of_units | {ceil_div(rows, height) for height in (1, 2, 4, 8)})


def pixel_pitch(filled: int, lanes: int, itemsize: int) -> int:
    """Elements from pixel to pixel in local memory, ``filled`` or more, so that a tile does not share few sets of a cache."""
    pitch = round_up(filled, lanes)
    return pitch + lanes if pitch * itemsize % 512 == 0 else pitch


def _together(
    first: ConvProblem,
    p: ConvProblem,
    device: DeviceInfo,
    clamp: tuple[float, float],
    bands: int,
    splits: int,
    make: _Make,
) -> Separable | None:
    rows = ceil_div(p.OH, bands)
    part = make(p, device, rows * p.OW)
    if part is None:
        return None
    itemsize = accumulator_bytes(p)
    columns = next(tile for tile in TILES if tile <= p.OW)
    pitch = pixel_pitch(p.IC, part.lanes, itemsize)
    local = (Local((rows * p.OW + part.spare) * pitch * itemsize), Local(part.sums))
    if sum(each.bytes for each in local) > min(device.local_mem_bytes, device.l2_bytes * 5 // 8):
        return None
    taps = DepthwisePixelSimd().packing(first, device)
    tap_pitch = round_up(p.IC, part.lanes) + 2 * part.lanes
    blocks_item = ceil_div(part.blocks, splits)
    size = (bands, ceil_div(part.blocks, blocks_item), p.N)
    window = (("KH", first.KH), ("KW", first.KW), ("SH", first.SH), ("SW", first.SW), ("DH", first.DH), ("DW", first.DW))
    common = {name: value for name, value in common_macros(p, device) if name not in (*dict(window), "NHWC")}
    macros = (
        *common.items(),
        *window,
        *part.macros,
        ahead(p, device, part.packing.bytes // part.blocks),
        *(("TILE_OW", columns), ("EDGE", edge(first))),
        *(("HAS_SHIFT", int(first.bias)), ("CLAMP", int(clamp != _CLAMPS["identity"]))),
    )
    arguments: tuple[Argument, ...] = (
        *("x", "taps", "shift", "packed", "bias", "residual", "y", *local),
        *size_arguments(first, "IC", "IH", "IW"),
        *size_arguments(p, "OC", "OH", "OW"),
        *size_arguments(first, "PT", "PL"),
        *size_arguments(p, "YC"),
        *(Int(bands), Int(part.blocks), Int(blocks_item), Int(tap_pitch), Int(pitch)),
        *(Float(clamp[0]), Float(clamp[1])),
        *epilogue_arguments(p),
    )
    launch = Launch("network/separable.cl", "separable", macros, arguments, size, (1, 1, 1))
    unit = device.multiply_cycles(part.lanes * itemsize)
    depthwise = ceil_div(p.OW, columns) * ceil_div(p.IC, part.lanes) * (columns * first.KH * first.KW * unit * 1.2 + 25)

    # What a tile reads comes from the second cache again for each block of the filter, and fits less and less beside it.
    again = max(0.0, sum(each.bytes for each in local) - device.l2_bytes / 4) / 100

    def cycles(height: int) -> float:
        own = part if height == rows else make(p, device, height * p.OW)
        return math.inf if own is None else START + height * depthwise + own.once + blocks_item * (own.block + again)

    item = mean_of_bands(p.OH, bands, math.prod(size), device.compute_units, cycles)
    return Separable(
        launch,
        taps,
        part.packing,
        seconds(p, device, few_items(math.prod(size), device, item, 40e3)),
    )
