"""What kernels/standard/split_matrix.cl and run_matrix.cl have in common: methods, their errors, and the plan of a launch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from clconv.algorithms.base import ceil_div, common_macros, epilogue_arguments, round_up, size_arguments
from clconv.algorithms.items import START, seconds
from clconv.algorithms.reasons import one_by_one
from clconv.algorithms.wide import matrix_lanes, wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Macro, Packing, Plan
from clconv.problem import ConvProblem

TILE, STEP = 16, 32
"""Rows and columns of a tile of sums, and numbers of a row that one instruction multiplies."""

SUMS_BYTES = 2 * 4 * 4 * TILE * TILE
"""Four tiles that are being finished, and those that come next."""

STREAMED = 32 << 20
"""Bytes of an output in NHWC from which on it is written past the caches: 1.1 to 2 times as fast, and slower below."""

COPY = 2.0
"""Clock cycles for a vector that is copied from one place of local memory to another."""

CROSSING = 50.0
"""Clock cycles more for a tile whose rows lie across two lines of the cache, of each of two parts."""

MOST_PLANS = 12
"""Candidates for each method: the predicted times of those behind are far off."""


@dataclass(frozen=True)
class Method:
    """How accurately elements are split and multiplied.

    Attributes
    ----------
    parts : int
        bfloat16 numbers that stand for an element.
    products : int
        Products of parts that are computed.
    left_out : float
        What the others may come to, in eps of the product of the elements.
    """

    parts: int
    products: int
    left_out: float = 0.0


METHODS = {
    "float32": (Method(2, 3, 256.0), Method(3, 6, 0.5)),  # 2**-15: two numbers lose 2**-17 each, and 2**-16 in their product
    "float16": (Method(2, 4),),
    "bfloat16": (Method(1, 1),),
}
"""By element type, the most accurate last."""


def unsplit(problem: ConvProblem) -> str | None:
    """Refuse element types that no method splits."""
    return None if problem.dtype in METHODS else f"splits numbers of 24 bits at most, {problem.dtype} has more"


@dataclass(frozen=True)
class Window:
    """A work-item's part of the output, and the panel with its input.

    Attributes
    ----------
    rows, cols : int
        Of the output.
    width, panel_rows, plane, positions : int
        Positions of a row of the panel; rows of a plane; positions of a plane, with zeros behind it; of the panel.
    row_outputs : int
        Outputs that a row of the panel stands for, with those that are dropped.
    columns : int
        Columns of x that follow each other in the vectors which a row is put together from.
    left : bool
        Positions are left operands. In NCHW they need not be transposed for right ones, but taps are misaligned then.
    """

    rows: int
    cols: int
    width: int
    panel_rows: int
    plane: int
    positions: int
    row_outputs: int
    columns: int
    left: bool = True

    @property
    def outputs(self) -> int:
        """Positions of the output, those between the rows included."""
        return (self.rows - 1) * self.row_outputs + self.cols


def shared_zeros(p: ConvProblem, cols: int, width: int) -> int:
    """Columns of padding that serve as the right side of a row of the panel and as the left side of the next."""
    if p.SW > 1 or cols < p.OW:
        return 0
    return min(p.PL, max(0, width - p.PL - p.IW), width - cols)


def cuts(p: ConvProblem, most: int) -> list[tuple[int, int]]:
    """Rows and columns of the output that work-items may take: bands of rows, and parts of a row that is long."""
    pieces: list[tuple[int, int]] = []
    if p.OH == 1 or p.OW > 8 * TILE:
        lengths = (round_up(ceil_div(p.OW, n), 2 * TILE) for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64))
        pieces += [(1, min(length, p.OW)) for length in lengths]
    pieces += [(ceil_div(p.OH, n), p.OW) for n in range(1, most + 1) if n <= 8 or n % 2 == 0]
    return list(dict.fromkeys(pieces))


@dataclass(frozen=True)
class Work:
    """What the work-items of a launch do, counted.

    Attributes
    ----------
    window : Window
    method : Method
    groups : int
        That are computed apart.
    channels : int
        Output channels of one of them.
    terms : int
        Steps of 32 numbers in the sum of an output.
    numbers : int
        Of the panel, for one part.
    panel_vectors : float
        Vectors that a panel's position is put together from.
    position_tiles : int
        Tiles of positions in a block of four tiles: 2 or 4.
    splits : int
        Work-items that share a group's output channels.
    copies : int
        Vectors that are copied for each position of the output before it is multiplied, for one part.
    """

    window: Window
    method: Method
    groups: int
    channels: int
    terms: int
    numbers: int
    panel_vectors: float
    position_tiles: int
    splits: int
    copies: int = 0

    @property
    def blocks(self) -> int:
        """Of 16 output channels, in a group."""
        return ceil_div(self.channels, TILE)

    @property
    def blocks_item(self) -> int:
        """Blocks of a work-item."""
        return round_up(ceil_div(self.blocks, self.splits), 4 // self.position_tiles)

    @property
    def panel_bytes(self) -> int:
        """Local memory for the panel."""
        return 2 * self.method.parts * self.numbers

    @property
    def local_bytes(self) -> int:
        """Local memory in all, but for the places of the taps."""
        return self.panel_bytes + SUMS_BYTES

    def size(self, p: ConvProblem) -> tuple[int, int, int]:
        """Work-items: pieces of the output, groups and shares of their channels, images."""
        pieces = ceil_div(p.OH, self.window.rows) * ceil_div(p.OW, self.window.cols)
        return (pieces, self.groups * ceil_div(self.blocks, self.blocks_item), p.N)

    def cycles(self, p: ConvProblem, device: DeviceInfo) -> float:
        """Clock cycles of a work-item; the constants are fitted to a thousand plans on a Xeon with AMX."""
        window, channel_tiles = self.window, 4 // self.position_tiles
        passes = ceil_div(self.blocks_item, channel_tiles)  # through the panel
        tiles = ceil_div(window.outputs, self.position_tiles * TILE) * passes
        product = TILE if device.amx else 4 * TILE * TILE * STEP
        step = 4.0 * product * self.method.products + 55
        if not window.left and self.terms > self.panel_vectors:
            step += CROSSING * self.position_tiles  # several taps begin at any position of a line
        nchw = p.layout == "NCHW"
        finish = (580 if nchw else 320) if wide(p, device) else 1500
        # Vectors of columns end with the row.
        positions = window.positions * (round_up(window.columns, TILE) / window.columns if nchw else 1)
        move = (10 if window.left else 9) * (1.2 if p.SW > 1 and window.columns == window.width else 1) if nchw else 7.7
        if one_by_one(p, device) or not device.avx512:
            move *= 8
        put = positions * self.panel_vectors * self.method.parts * move
        put += window.outputs * self.copies * self.method.parts * COPY
        # A panel that the second cache does not hold comes from the third in each pass.
        outside = max(0.0, self.panel_bytes - 0.66 * device.l2_bytes) / 32
        filter_bytes = self.blocks_item * self.terms * self.method.parts * TILE * STEP * 2
        return START + put + tiles * (self.terms * step + finish) + passes * outside + filter_bytes / 15


def busiest(items: int, device: DeviceInfo, cycles: float) -> float:
    """Clock cycles of the busiest compute unit; units begin at different times, and long items leave them so at the end."""
    late = min(0.8 * cycles, 64e3) if device.compute_units > 1 else 0.0
    return ceil_div(items, device.compute_units) * cycles + late


def shortlist(works: Iterable[Work], taps: int, p: ConvProblem, device: DeviceInfo) -> list[Work]:
    """Work that the local memory has room for, of each method that with the least predicted times."""
    fitting = (work for work in works if work.local_bytes + 4 * taps <= device.local_mem_bytes)
    # What differs in nothing but how many work-items were asked for is the same.
    distinct = {(w.method, w.window, w.position_tiles, w.blocks_item, w.copies): w for w in fitting}.values()
    ranked = sorted(distinct, key=lambda work: busiest(math.prod(work.size(p)), device, work.cycles(p, device)))
    if not device.amx:  # none is the fastest; one for each form of the kernel serves who asks for them, and tests
        forms = {(w.method, w.window.left, w.position_tiles, w.copies > 0): w for w in reversed(ranked)}
        ranked = [work for work in ranked if work in forms.values()]
    methods = dict.fromkeys(work.method for work in ranked)
    return [work for method in methods for work in [w for w in ranked if w.method == method][:MOST_PLANS]]


def split_plan(
    name: str,
    entry: str,
    problem: ConvProblem,
    p: ConvProblem,
    device: DeviceInfo,
    work: Work,
    macros: tuple[Macro, ...],
    sizes: tuple[Int, ...],
    taps: int,
    packing: Packing,
) -> Plan:
    """Return the plan of ``problem``, computed as ``p``: the two differ where images are strung together."""
    window, method = work.window, work.method
    columns = ceil_div(p.OW, window.cols)
    splits = ceil_div(work.blocks, work.blocks_item)
    avx512 = wide(p, device)
    size = work.size(p)
    launch = Launch(
        kernel=f"{name}.cl",
        entry=entry,
        macros=(
            *common_macros(p, device),
            *(("VEC", matrix_lanes(device, avx512)), ("AVX512", int(avx512)), ("AMX", int(device.amx))),
            *(("PARTS", method.parts), ("PRODUCTS", method.products), ("LEFT", int(window.left))),
            *(("PTILES", work.position_tiles), ("STREAM", int(_streams(p, device)))),
            *macros,
        ),
        arguments=(
            *("x", "packed", "bias", "residual", "y"),
            *(Local(work.panel_bytes), Local(SUMS_BYTES), Local(4 * taps)),
            *size_arguments(p, "IC", "IH", "IW", "OC", "OH", "OW", "PT", "PL"),
            *sizes,
            *map(Int, (window.positions, window.width, window.panel_rows, window.plane)),
            *map(Int, (columns, window.rows, window.cols, splits, work.blocks_item)),
            *epilogue_arguments(p),
        ),
        global_size=size,
        local_size=(1, 1, 1),
    )
    return Plan(
        algorithm=name,
        problem=problem,
        launches=(launch,),
        packing=packing,
        tile=f"{work.position_tiles * TILE} positions x {4 // work.position_tiles * TILE} channels; "
        f"{window.rows} x {window.cols} pixels x {work.blocks_item * TILE} channels a work-item; "
        f"{method.products} products of parts{'; folded taps' if work.copies else ''}{'' if window.left else '; columns'}",
        seconds=seconds(problem, device, busiest(math.prod(size), device, work.cycles(p, device))),
        error_factor=error_factor(work.terms, method, device),
    )


def _streams(p: ConvProblem, device: DeviceInfo) -> bool:
    """Whether the output is written past the caches; in NCHW lines of it are not written as wholes."""
    size = p.N * p.OC * p.OH * p.OW * p.itemsize
    return p.layout == "NHWC" and p.dtype == "float32" and device.unaligned_vectors and size > STREAMED


def error_factor(terms: int, method: Method, device: DeviceInfo) -> float:
    """Count the errors in eps of the absolute products: of those left out, then roundings.

    An instruction rounds once for each of the numbers it adds to a sum, and its result once more; there are ``products`` for
    each of the ``terms`` of an output's sum. Parts are a little larger together than what they are parts of.
    """
    roundings = STEP + terms * method.products if device.amx else STEP * terms * method.products
    return method.left_out + 1.02 * (roundings + 4)
