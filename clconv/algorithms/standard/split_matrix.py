"""Host side of kernels/standard/split_matrix.cl: float32 products on a matrix unit that knows bfloat16."""

from __future__ import annotations

from dataclasses import dataclass

from clconv.algorithms.base import (
    Algorithm,
    ceil_div,
    common_macros,
    epilogue_arguments,
    fastest_first,
    round_up,
    size_arguments,
)
from clconv.algorithms.packing import pack_split
from clconv.algorithms.pointwise.items import START, few_items, seconds
from clconv.algorithms.reasons import too_little_local
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Plan
from clconv.problem import ConvProblem

TILE, STEP = 16, 32
"""Rows and columns of a tile of sums, and input channels that one instruction multiplies."""

METHODS = {"float32": ((2, 3), (3, 6)), "float16": ((2, 4),), "bfloat16": ((1, 1),)}
"""By element type: bfloat16 parts of an element, and how many products of parts are computed; the most accurate last."""

LEFT_OUT = {(2, 3): 256.0, (3, 6): 0.5}
"""What the products of parts that are not computed may come to, in eps of the product: 2**-15, 2**-24."""


SUMS_BYTES = 2 * 4 * 4 * TILE * TILE
"""2 x 2 tiles that are being finished, and those that come next."""


@dataclass(frozen=True)
class Window:
    """A work-item's part of the output, and the panel with its input.

    Attributes
    ----------
    rows, cols : int
        Of the output.
    width, panel_rows, plane, positions : int
        Positions of a row of the panel; rows of a plane; positions of a plane, with zeros behind it; of the panel.
    left : bool
        Positions are left operands. In NCHW they need not be transposed for right ones, but taps are misaligned then.
    """

    rows: int
    cols: int
    width: int
    panel_rows: int
    plane: int
    positions: int
    left: bool

    @classmethod
    def of(cls, p: ConvProblem, rows: int, cols: int, left: bool = True) -> Window:
        """Lay out the panel for so many rows and columns of the output."""
        reach_h, reach_w = (p.KH - 1) * p.DH + 1, (p.KW - 1) * p.DW + 1
        high, wide_ = (rows - 1) * p.SH + reach_h, (cols - 1) * p.SW + reach_w
        phases_h, phases_w = min(p.SH, reach_h), min(p.SW, reach_w)
        full = ceil_div(wide_, p.SW)
        shared = min(p.PL, max(0, wide_ - p.PL - p.IW), full - cols) if p.SW == 1 and cols == p.OW else 0
        width = full - shared
        panel_rows = ceil_div(high, p.SH)
        plane = panel_rows * width + shared
        furthest = (reach_h - 1) // p.SH * width + (reach_w - 1) // p.SW  # that a tap lies from its output
        sums = round_up((rows - 1) * width + cols, 2 * TILE)  # some of which are dropped
        used = max(phases_h * phases_w * plane, (phases_h * phases_w - 1) * plane + furthest + sums) + TILE
        return cls(rows, cols, width, panel_rows, plane, used | 1 if left else round_up(used, 2 * TILE) + TILE, left)

    @property
    def outputs(self) -> int:
        """Positions of the output, those between the rows included."""
        return (self.rows - 1) * self.width + self.cols


def flat(p: ConvProblem) -> ConvProblem:
    """Return a 1x1 convolution of all pixels in one row, where a problem is that; else the problem."""
    if (p.KH, p.KW) != (1, 1) or p.stride != (1, 1) or p.padded:
        return p
    images = p.N if p.layout == "NHWC" else 1
    n, c, pixels = p.N // images, p.IC, images * p.IH * p.IW
    shape = (n, 1, pixels, c) if p.layout == "NHWC" else (n, c, 1, pixels)
    return ConvProblem(
        x_shape=shape,
        w_shape=p.w_shape,
        groups=p.G,
        layout=p.layout,
        dtype=p.dtype,
        bias=p.bias,
        residual=p.residual,
        activation=p.activation,
    )


class SplitMatrix(Algorithm):
    """Elements are cut into bfloat16 numbers, which a matrix unit multiplies; as accurate as sums in float."""

    name = "standard/split_matrix"
    family = "split"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Any problem but float64, if a row of the input fits the local memory."""
        if problem.dtype not in METHODS:
            return f"splits numbers of 24 bits at most, {problem.dtype} has more"
        need = _local_bytes(problem, Window.of(flat(problem), 1, 1), METHODS[problem.dtype][0][0])
        return too_little_local(need, device, "the input of one output")

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """Work-items of some rows or a part of one, and all output channels or a part, the least predicted time first."""
        p = flat(problem)
        windows = []
        if p.OH == 1 or p.OW > 8 * TILE:
            windows += [(1, ceil_div(ceil_div(p.OW, n), 2 * TILE) * 2 * TILE) for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)]
        windows += [(ceil_div(p.OH, n), p.OW) for n in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 28, 56)]
        windows = [(min(rows, p.OH), min(cols, p.OW)) for rows, cols in windows]
        windows.append((1, 1))
        sides = (False, True) if p.layout == "NCHW" and (p.KH, p.KW) == (1, 1) else (True,)
        laid_out = [Window.of(p, rows, cols, left) for rows, cols in dict.fromkeys(windows) for left in sides]
        blocks = ceil_div(p.OCG, TILE)
        splits = [s for s in (1, 2, 3, 4, 6, 8, 16) if s <= ceil_div(blocks, 2)]
        plans = [
            self._plan(problem, p, device, window, split, *method)
            for method in METHODS[p.dtype]
            for window in laid_out
            if _local_bytes(p, window, method[0]) <= device.local_mem_bytes
            for split in splits
        ]
        return fastest_first(dict.fromkeys(plans))

    def _plan(
        self, whole: ConvProblem, p: ConvProblem, device: DeviceInfo, window: Window, splits: int, parts: int, products: int
    ) -> Plan:
        steps, blocks = ceil_div(p.ICG, STEP), ceil_div(p.OCG, TILE)
        blocks_item = round_up(ceil_div(blocks, splits), 2)
        splits = ceil_div(blocks, blocks_item)
        cuts = ceil_div(p.OW, window.cols)
        avx512 = wide(p, device)
        lanes = 16 if avx512 else max(2, min(16, device.lanes(4)))
        amx = int(device.amx)
        left = window.left
        size = (ceil_div(p.OH, window.rows) * cuts, p.G * splits, p.N)
        pack, packed_bytes = pack_split(p, parts, left)
        launch = Launch(
            kernel=self.kernel,
            entry="split_matrix",
            macros=(
                *common_macros(p, device),
                *(("VEC", lanes), ("AVX512", int(avx512)), ("LEFT", int(left)), ("PARTS", parts), ("PRODUCTS", products), ("AMX", amx)),
            ),
            arguments=(
                *("x", "packed", "bias", "residual", "y"),
                *(Local(_panel_bytes(p, window, parts)), Local(SUMS_BYTES), Local(4 * p.KH * p.KW)),
                *size_arguments(p, "IC", "IH", "IW", "OC", "OH", "OW", "ICG", "OCG", "PT", "PL"),
                *(Int(steps), Int(window.positions), Int(window.width), Int(window.panel_rows), Int(window.plane)),
                *(Int(cuts), Int(window.rows), Int(window.cols), Int(splits), Int(blocks_item)),
                *epilogue_arguments(p),
            ),
            global_size=size,
            local_size=(1, 1, 1),
        )
        terms = steps * p.KH * p.KW
        pairs = ceil_div(window.outputs, 2 * TILE) * ceil_div(blocks_item, 2)
        multiply = 4 * terms * products * (TILE if amx else 4 * TILE * TILE * STEP)
        finish = 250 if avx512 else 1000
        put = window.positions * steps * (6 if p.itemsize == 4 else 60) * parts
        filter_bytes = blocks_item * terms * parts * TILE * STEP * 2
        item = START + put + pairs * (multiply + finish) + filter_bytes / 30
        return Plan(
            algorithm=self.name,
            problem=whole,
            launches=(launch,),
            prepare=(pack,),
            packed_bytes=packed_bytes,
            tile=f"{2 * TILE} positions x {2 * TILE} channels; {window.rows} x {window.cols} pixels x {blocks_item * TILE} "
            f"channels a work-item; {'positions' if left else 'filter'} left, {products} products",
            seconds=seconds(whole, device, few_items(size[0] * size[1] * size[2], device, item, 20e3)),
            error_factor=error_factor(terms, parts, products, device),
        )


def error_factor(terms: int, parts: int, products: int, device: DeviceInfo) -> float:
    """Count the errors in eps of the absolute products: of those left out, then roundings.

    An instruction rounds once for each of the numbers it adds to a sum, and its result once more; there are ``products`` for
    each of the ``terms`` pieces of an output's sum. Parts are a little larger together than what they are parts of.
    """
    roundings = STEP + terms * products if device.amx else STEP * terms * products
    return LEFT_OUT.get((parts, products), 0.0) + 1.02 * (roundings + 4)


def _panel_bytes(p: ConvProblem, window: Window, parts: int) -> int:
    return 2 * parts * ceil_div(p.ICG, STEP) * STEP * window.positions


def _local_bytes(p: ConvProblem, window: Window, parts: int) -> int:
    return _panel_bytes(p, window, parts) + SUMS_BYTES + 4 * p.KH * p.KW
