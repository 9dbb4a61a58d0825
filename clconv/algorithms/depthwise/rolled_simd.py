"""Host side of kernels/depthwise/rolled_simd.cl: large filters, from a zero-padded panel, in loops that stay loops."""

from __future__ import annotations

from typing import NamedTuple

from clconv.algorithms import items
from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    fastest_first,
    items_wanted,
    size_arguments,
)
from clconv.algorithms.packing import pack_filter
from clconv.algorithms.panel import panel_bytes, phase
from clconv.algorithms.reasons import MOST_TAPS, one_by_one, other_kind, too_little_local
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Plan
from clconv.problem import ConvProblem

TILES = ((4, 2), (2, 4), (7, 1), (1, 8), (1, 4), (1, 1))
"""(rows, vectors side by side) of a tile along the width: eight sums with sixteen registers."""

WIDE_TILES = ((7, 2), (4, 4), (14, 1), *TILES)
"""The same with thirty-two registers."""

PIXELS = (8, 7, 4, 2, 1)
"""Outputs side by side of a tile along the channels."""

WIDE_PIXELS = (14, *PIXELS)
"""The same with thirty-two registers."""

LATENCY = 4.6
"""Clock cycles until all sums of a tile are there to be added to again; measured, since four are not reached."""

LINE = 64
"""Bytes of a line of memory."""

MOST_ROWS = 7
"""Of a tile whose rows have an address each; twice as many do not fit the registers, and take twice as long."""


class Tile(NamedTuple):
    """Outputs whose sums are in registers."""

    height: int
    width: int
    """Of vectors along the width, or of pixels."""
    vec: int
    across: bool
    """Vectors lie along the channels, not along the width."""


class DepthwiseRolledSimd(Algorithm):
    """Several channels, or a band of rows of one, a work-item; or a vector of channels in NHWC."""

    name = "depthwise/rolled_simd"
    family = "direct"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Depthwise problems with filters that other kernels do not unroll."""
        if reason := other_kind(problem, "depthwise"):
            return reason
        if max(problem.KH, problem.KW) <= MOST_TAPS:
            return f"is for filters of more than {MOST_TAPS} taps a side, this one has {problem.KH} x {problem.KW}"
        return too_little_local(min(_least_panel(problem, tile) for tile in _tiles(problem, device)), device, "a row of tiles")

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One plan for each tile that the image is large enough for and whose panel fits."""
        tiles = (tile for tile in _tiles(problem, device) if _least_panel(problem, tile) <= device.local_mem_bytes)
        return fastest_first(self._plan(problem, device, tile) for tile in tiles)

    def _plan(self, p: ConvProblem, device: DeviceInfo, tile: Tile) -> Plan:
        seconds = self._seconds(p, device, tile)
        bands, channels = _cut(p, device, tile, seconds)
        columns = tile.width * tile.vec
        launch = Launch(
            kernel=self.kernel,
            entry="depthwise_rolled_simd",
            macros=(
                *common_macros(p, device),
                *(("VEC", tile.vec), ("TILE_OH", tile.height), ("TILE_OW", tile.width)),
                *(("ACROSS", int(tile.across)), ("AVX512", int(wide(p, device)))),
            ),
            arguments=(
                *("x", "packed", "bias", "residual", "y"),
                Local(_panel(p, tile, ceil_div(p.OH, bands))),
                *size_arguments(p, "N", "IC", "IH", "IW", "OH", "OW", "OCG", "PT", "PL"),
                Int(bands),
                Int(channels),
                Int(_width(p) if tile.across else phase(p, tile.vec, columns)),
                *epilogue_arguments(p),
            ),
            global_size=(bands, ceil_div(p.IC, channels), p.N),
            local_size=(1, 1, 1),
        )
        pixels = f"{tile.width} pixels x {tile.vec} channels"
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            packing=pack_filter(p, device, tile.vec, together=tile.vec) if tile.across else pack_filter(p, device, 1),
            tile=pixels if tile.across else f"{tile.height} rows x {columns} columns",
            seconds=seconds,
            error_factor=direct_error_factor(p),
        )

    def _seconds(self, p: ConvProblem, device: DeviceInfo, tile: Tile) -> float:
        """Predict from loads and multiply-adds of whole tiles, and the copy into the panel."""
        work = _tile_cycles(p, device, tile)
        elements = p.N * p.IC * p.IH * p.IW
        if tile.across:
            vectors = ceil_div(p.IC, tile.vec)
            tiles = p.N * p.OH * ceil_div(p.OW, tile.width) * vectors
            copied = 2.0 * elements * vectors / p.IC
            stored = 2.0 * tiles * tile.width
        else:
            tiles = p.N * p.OC * ceil_div(p.OH, tile.height) * ceil_div(p.OW, tile.width * tile.vec)
            slow = p.layout == "NHWC" or p.SW > 4 or one_by_one(p, device)  # copied element by element
            copied = 4.0 * elements / (1 if slow else tile.vec)
            stored = tiles * tile.height * tile.width * (4.0 * tile.vec if p.layout == "NHWC" else 2.0)
        return items.seconds(p, device, (tiles * work + copied + stored) / device.compute_units)


def _tile_cycles(p: ConvProblem, device: DeviceInfo, tile: Tile) -> float:
    """Clock cycles of a tile for all taps: multiply-adds, loads, or waiting for the sums."""
    size = tile.vec * accumulator_bytes(p)
    multiply = device.multiply_cycles(size)  # as long as a load in one line of memory
    crossing = multiply * (1 + size / LINE)  # vectors along the width begin anywhere
    sums = tile.height * tile.width

    def row(outputs: int) -> float:
        return max(LATENCY, outputs * tile.width * multiply, tile.width * crossing + 0.5 * outputs)

    if tile.across:
        return p.KW * p.KH * max(LATENCY, (tile.width + 1) * multiply)
    if _slides(p, tile):
        return p.KW * ((p.KH - tile.height + 1) * row(tile.height) + 2 * sum(map(row, range(1, tile.height))))
    pairs = _pairs(p, tile)
    pair = max(LATENCY, 2 * sums * multiply, tile.height * (tile.width + 1) * crossing + 1.0)
    return p.KH * (pairs * pair + (p.KW - 2 * pairs) * max(LATENCY, sums * crossing + 0.5))


def _pairs(p: ConvProblem, tile: Tile) -> int:
    """Return how many taps of a row have another one that meets the same vectors, each a vector further."""
    far, rest = divmod(tile.vec * p.SW, p.DW)
    if rest:
        return 0
    whole, rest = divmod(p.KW, 2 * far)
    return whole * far + max(0, rest - far)


def _tiles(p: ConvProblem, device: DeviceInfo) -> list[Tile]:
    """Tiles that the image has outputs for."""
    avx512 = wide(p, device)
    vec = device.lanes(accumulator_bytes(p)) * (2 if avx512 else 1)
    along = (Tile(height, width, vec, across=False) for height, width in (WIDE_TILES if avx512 else TILES))
    tiles = [
        tile
        for tile in along
        if tile.height <= p.OH and (tile.width - 1) * vec < p.OW and (tile.height <= MOST_ROWS or _slides(p, tile))
    ]
    if p.layout == "NHWC" and p.OCG == 1:
        widths = WIDE_PIXELS if avx512 else PIXELS
        tiles += [Tile(1, width, vec, across=True) for width in widths if width <= p.OW]
    return tiles


def _width(p: ConvProblem) -> int:
    """Pixels of a row of a panel with vectors of channels."""
    return (p.OW - 1) * p.SW + p.EKW


def _slides(p: ConvProblem, tile: Tile) -> bool:
    """Whether a vector of the panel is read once for all rows of a tile."""
    return not tile.across and 1 < tile.height <= p.KH and p.SH == p.DH == 1


def _panel(p: ConvProblem, tile: Tile, rows: int) -> int:
    """Return the bytes of the panel under so many output rows."""
    if tile.across:
        return min(p.IH, (rows - 1) * p.SH + p.EKH) * _width(p) * tile.vec * accumulator_bytes(p)
    return panel_bytes(p, tile.vec, rows, tile.width * tile.vec)


def _least_panel(p: ConvProblem, tile: Tile) -> int:
    """Return the bytes of the panel if the image is cut into as many bands as there are rows of tiles."""
    return _panel(p, tile, ceil_div(p.OH, p.OH // tile.height))


def _cut(p: ConvProblem, device: DeviceInfo, tile: Tile, seconds: float) -> tuple[int, int]:
    """Return the bands of an image, with panels that leave half of the second cache free, and the channels of a work-item."""
    wanted = items_wanted(p, device, seconds)
    most = p.OH // tile.height
    channels = tile.vec if tile.across else max(1, p.IC // wanted)
    bands = min(most, max(1, wanted // ceil_div(p.IC, channels)))
    budget = min(device.l2_bytes // 2, device.local_mem_bytes)
    while bands < most and _panel(p, tile, ceil_div(p.OH, bands)) > budget:
        bands += 1
    return bands, channels
