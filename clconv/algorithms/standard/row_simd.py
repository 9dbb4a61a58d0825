"""Host side of kernels/standard/row_simd.cl: NCHW, pieces of a row of outputs, vectors along the output channels."""

from __future__ import annotations

from collections.abc import Iterator

from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    fastest_first,
    inside,
    round_up,
    size_arguments,
)
from clconv.algorithms.items import START, few_items, seconds
from clconv.algorithms.packing import pack_filter
from clconv.algorithms.reasons import converted_often, too_little_local, too_many_columns
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Plan
from clconv.problem import ConvProblem

MOST_PADDING = 3
"""Columns on each side: at pixels and taps that can meet one there is a branch."""

TILES = ((6, 2), (7, 1), (4, 2), (4, 1), (2, 1), (1, 1))
"""(outputs side by side, vectors of output channels) of a tile: of sixteen registers."""

WIDE_TILES = ((14, 2), (14, 1), (8, 3), (7, 3), (7, 2), *TILES)
"""The same with thirty-two registers; the images of most networks are multiples of 7 wide."""

SUMS = 32768
"""Bytes of local memory for sums that leave most of the first cache to the image and the filter, or nearly."""

CACHE_LINE = 64
"""Bytes."""

STREAM, BESIDE_STREAM = 14, 20
"""Bytes of the filter that come from the second cache in a clock cycle; and since Zen 5. Measured."""

BOOST, WIDE_BOOST, AMONG_BOOST, BESIDE_BOOST = 1.4, 1.2, 1.1, 1.0
"""The clock at work over the one that drivers report, with what the model misses; with vectors of AVX-512; on a Xeon; and since
Zen 5, where other models miss as much. Measured."""


class RowSimd(Algorithm):
    """A band of rows a work-item; nothing of the image is copied, and only a tile's first pixel has an address."""

    name = "standard/row_simd"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Take dense and grouped problems in NCHW of 32 or 64 bits with little padding."""
        if problem.kind in ("pointwise", "depthwise"):
            return f"serves standard and grouped problems, this one is {problem.kind}"
        if problem.layout != "NCHW":
            return "reads pixels that are a constant way apart, and in NHWC that way is the number of channels"
        if reason := too_many_columns(problem) or converted_often(problem):
            return reason
        if max(problem.PL, problem.PR) > MOST_PADDING:
            return f"has code for up to {MOST_PADDING} columns of padding on a side, not {max(problem.PL, problem.PR)}"
        return too_little_local(self._sums(problem, device.lanes(accumulator_bytes(problem)), 1, 1), device)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One plan for each tile that the image is wide enough for and the channels fill."""
        return fastest_first(self._plan(problem, device, *shape) for shape in self._shapes(problem, device))

    def _shapes(self, p: ConvProblem, device: DeviceInfo) -> Iterator[tuple[int, int, int]]:
        lanes = device.lanes(accumulator_bytes(p))
        avx512 = wide(p, device)
        for vec in (2 * lanes, lanes) if avx512 else (lanes,):
            for px, vectors in WIDE_TILES if avx512 else TILES:
                filled = vectors == 1 or (vectors - 1) * vec < p.OCG
                if px <= p.OW and filled and self._sums(p, vec, vectors, 1) <= device.local_mem_bytes:
                    yield px, vectors, vec

    @staticmethod
    def _sums(p: ConvProblem, vec: int, vectors: int, rows: int) -> int:
        """Bytes of the sums of some rows of outputs; the last are read in whole vectors of pixels."""
        return round_up(rows * p.OW, vec) * vectors * vec * accumulator_bytes(p)

    def _rows(self, p: ConvProblem, device: DeviceInfo, vec: int, vectors: int, shares: int) -> int:
        """Rows of a band: few enough for work for all units, and for sums that stay in the first cache."""
        bands = min(p.OH, ceil_div(8 * device.compute_units, p.G * shares * p.N))
        most = min(SUMS, device.local_mem_bytes)
        while bands < p.OH and self._sums(p, vec, vectors, ceil_div(p.OH, bands)) > most:
            bands += 1
        return ceil_div(p.OH, bands)

    def _plan(self, p: ConvProblem, device: DeviceInfo, px: int, vectors: int, vec: int) -> Plan:
        blocks = ceil_div(p.OCG, vectors * vec)
        # Of few groups, a block's filter stays in the second cache for all rows; of many, the image's rows in the first.
        shares = blocks if 4 * device.compute_units > p.G else 1
        rows = self._rows(p, device, vec, vectors, shares)
        packing = pack_filter(p, device, vectors * vec)
        size = (ceil_div(p.OH, rows), p.G * shares, p.N)
        launch = Launch(
            kernel=self.kernel,
            entry="conv_row",
            macros=(
                *common_macros(p, device),
                *(
                    ("VEC", vec),
                    ("PX", px),
                    ("OCV", vectors),
                    ("OUTSIDE", max(p.PL, p.PR)),
                    ("AVX512", int(wide(p, device))),
                ),
            ),
            arguments=(
                *("x", "packed", "bias", "residual", "y", Local(self._sums(p, vec, vectors, rows))),
                *size_arguments(p, "IC", "IH", "IW", "OC", "OH", "OW", "ICG", "OCG", "PT", "PL"),
                *(Int(rows), Int(blocks // shares)),
                *epilogue_arguments(p),
            ),
            global_size=size,
            local_size=(1, 1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            packing=packing,
            tile=f"{px} columns x {vectors} vectors of {vec} channels; {rows} rows a work-item",
            seconds=self._seconds(p, device, px, vectors, vec, rows, shares),
            error_factor=direct_error_factor(p),
        )

    def _seconds(self, p: ConvProblem, device: DeviceInfo, px: int, vectors: int, vec: int, rows: int, shares: int) -> float:
        """Multiply-adds or loads of whole tiles, or the filter's way to them, whichever takes longest, and the transposing."""
        unit = device.multiply_cycles(vec * accumulator_bytes(p))
        if wide(p, device) and vec == device.lanes(accumulator_bytes(p)):
            unit *= 1.1  # measured; half a vector's work takes more than half of its time
        narrow = not wide(p, device)
        loads = (px + vectors) / (1.6 if narrow else 2)  # clock cycles; the former measured
        tap = max(px * vectors * unit, loads, 4.0)  # a sum may be touched every fourth cycle
        filters = p.ICG * p.KH * p.KW * vectors * vec * accumulator_bytes(p)  # of a tile, which reads them all
        way = filters / (BESIDE_STREAM if device.moves_beside else STREAM) if filters > 1.5 * device.l1_bytes else 0.0
        tile = max(p.ICG * p.KH * (p.KW * tap + 2), way) + 30
        if narrow and device.l1_bytes < 1.5 * p.ICG * p.KH * CACHE_LINE:
            tile += p.ICG * p.KH * CACHE_LINE / STREAM  # and the image's lines, which the next tile needs again
        transpose = 0.4 * rows * p.OW * vectors * vec
        item = START + ceil_div(p.OCG, vectors * vec) // shares * (rows * ceil_div(p.OW, px) * tile + transpose)
        items = ceil_div(p.OH, rows) * p.G * shares * p.N
        boost = BOOST
        if wide(p, device):
            boost = BESIDE_BOOST if device.moves_beside else AMONG_BOOST if device.moves_among else WIDE_BOOST
        # Taps beside the image are left out; as many as meet the borders of usual images were in what was measured.
        item *= min(1.0, 2 * inside(p))
        return seconds(p, device, few_items(items, device, item, 40e3) / boost)
