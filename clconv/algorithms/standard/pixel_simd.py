"""Host side of kernels/standard/pixel_simd.cl: NCHW, pixels in vectors, on CPUs."""

from __future__ import annotations

from dataclasses import dataclass

from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    rounds,
    size_arguments,
)
from clconv.algorithms.channel_tile import boost, lanes_of
from clconv.algorithms.packing import pack_filter
from clconv.algorithms.panel import panel_bytes, phase
from clconv.algorithms.reasons import one_by_one, too_little_local, too_many_columns
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Plan
from clconv.problem import ConvProblem

TILES = ((4, 3), (4, 2), (4, 1))
"""(output channels, output rows) of a tile: twelve vectors of sums at most, of sixteen registers."""

CACHED, MEMORY = 64 << 20, 8e9
"""Bytes of tensors that a third cache may hold, and bytes a second at which larger ones were written."""

WIDE_TILES = ((4, 7), (4, 6), (8, 3), (4, 5), (8, 2), (8, 1))
"""The same with thirty-two registers."""

MOST_SUMS = 24
"""Of a tile that takes no longer than others for its multiply-adds, on two Zen 5 cores."""


@dataclass(frozen=True)
class _Cut:
    """Lanes of a vector; channels and rows of a tile; rows and blocks of output channels of a work-item."""

    wide: bool
    vec: int
    block: int
    rows: int
    item_rows: int
    item_blocks: int


class PixelSimd(Algorithm):
    """Tiles of output channels by rows by a vector of pixels, kept in registers until they are written."""

    name = "standard/pixel_simd"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """NCHW without groups, filters larger than 1x1, rows of a vector or longer that fit local memory."""
        p = problem
        lanes = lanes_of(p, device)
        if p.layout != "NCHW" or p.kind != "standard":
            return f"serves standard convolutions in NCHW, this one is {p.kind} in {p.layout}"
        if reason := too_many_columns(p):
            return reason
        if lanes > p.OW:
            return f"needs output rows of {lanes} pixels, they have {p.OW}"
        return too_little_local(_panel(p, _Cut(False, lanes, 4, 1, 1, 1)), device)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> list[Plan]:
        """For the best four tiles their best cut."""
        p = problem
        vec = lanes_of(p, device)
        spread = wide(p, device) and 2 * vec <= p.OW
        best: list[tuple[float, _Cut]] = []
        for block, rows in WIDE_TILES if spread else TILES:
            blocks = ceil_div(p.OC, block)
            cuts = {
                _Cut(spread, vec * 2 if spread else vec, block, rows, min(rows * tiles, p.OH), ceil_div(blocks, shares))
                for tiles in (1, 2, 4, 8, 16)
                for shares in (1, 2, 4, 8)
                if rows <= p.OH
            }
            found = [(_cycles(p, device, c), c) for c in cuts if _panel(p, c) <= device.local_mem_bytes]
            if found:
                best.append(min(found, key=lambda item: item[0]))
        best.sort(key=lambda item: item[0])
        # Lines of many channels and rows at a time go to memory slowly, once no cache holds the tensors.
        memory = p.bytes / MEMORY if p.bytes > CACHED else 0.0
        clock = boost(device) * device.clock_mhz * 1e6
        return [self._plan(p, device, cut, max(memory, cycles / clock)) for cycles, cut in best[:4]]

    def _plan(self, p: ConvProblem, device: DeviceInfo, cut: _Cut, seconds: float) -> Plan:
        packing = pack_filter(p, device, cut.block)
        launch = Launch(
            kernel=self.kernel,
            entry="pixel_simd",
            macros=(
                *common_macros(p, device),
                *(("VEC", cut.vec), ("OC_BLOCK", cut.block), ("TILE_OH", cut.rows), ("AVX512", int(cut.wide))),
            ),
            arguments=(
                *("x", "packed", "bias", "residual", "y", Local(_panel(p, cut))),
                *size_arguments(p, "N", "IC", "IH", "IW", "OC", "OH", "OW", "PT", "PL"),
                *(Int(cut.item_rows), Int(cut.item_blocks), Int(phase(p, cut.vec))),
                *epilogue_arguments(p),
            ),
            global_size=_items(p, cut),
            local_size=(1, 1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            packing=packing,
            tile=f"{cut.block} channels x {cut.rows} rows x {cut.vec} columns, {cut.item_rows} rows a work-item",
            seconds=seconds,
            error_factor=direct_error_factor(p),
        )


def _items(p: ConvProblem, cut: _Cut) -> tuple[int, int, int]:
    """Work-items: bands of rows, shares of the output channels, images."""
    return ceil_div(p.OH, cut.item_rows), ceil_div(ceil_div(p.OC, cut.block), cut.item_blocks), p.N


def _panel(p: ConvProblem, cut: _Cut) -> int:
    """Bytes of the panel of a work-item."""
    return panel_bytes(p, cut.vec, cut.item_rows)


def _cycles(p: ConvProblem, device: DeviceInfo, cut: _Cut) -> float:
    """Predict the clock cycles of one call. The constants were measured on a Zen 4 core."""
    sums = cut.block * cut.rows
    # Clock cycles of a multiply-add or a load of a vector.
    half = device.multiply_cycles(cut.vec * accumulator_bytes(p))
    loads = half * (1.5 * cut.rows + cut.block)
    tap = max(half * sums, loads, 4.0) * 1.05
    if device.moves_beside:
        tap *= 1.2 if sums <= MOST_SUMS else 1.3  # measured on two Zen 5 cores
    panel = _panel(p, cut)
    if panel > device.l2_bytes // 2:
        tap *= 1.2
    tile = p.IC * p.KH * p.KW * tap + 40 + 4 * half * sums
    tiles = ceil_div(p.OW, cut.vec) * ceil_div(cut.item_rows, cut.rows) * cut.item_blocks
    copy = panel / accumulator_bytes(p) * (0.4 if p.SW <= 2 and not one_by_one(p, device) else 2.0)
    bands, shares, images = _items(p, cut)
    items = bands * shares * images
    return rounds(items, device) * (tiles * tile + copy + 2000)
