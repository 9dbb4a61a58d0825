"""Host side of kernels/standard/split_matrix.cl: float32 products on a matrix unit that knows bfloat16."""

from __future__ import annotations

from collections.abc import Iterable

from clconv.algorithms.base import Algorithm, ceil_div, fastest_first, round_up
from clconv.algorithms.packing import pack_split
from clconv.algorithms.reasons import not_cpu, too_little_local
from clconv.algorithms.split import (
    METHODS,
    STEP,
    SUMS_BYTES,
    TILE,
    Method,
    Window,
    Work,
    cuts,
    shared_zeros,
    shortlist,
    split_plan,
    unsplit,
)
from clconv.device import DeviceInfo
from clconv.plan import Int, Plan
from clconv.problem import ConvProblem


class SplitMatrix(Algorithm):
    """Elements are split into bfloat16 numbers for a matrix unit: three products of them, or six for every bit."""

    name = "standard/split_matrix"
    family = "split"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Any problem but depthwise and float64, on a CPU, if the input of an output fits the local memory."""
        if reason := not_cpu(device) or unsplit(problem):
            return reason
        if problem.kind == "depthwise":
            return f"multiplies {STEP} channels of a group at once, a depthwise problem has one"
        p = flat(problem)
        if p.layout == "NCHW" and max(p.IW, TILE) < p.SW:
            return f"turns as many columns as the stride, {p.SW}, where the image has {p.IW}"
        need = _panel_numbers(p, window_of(p, 1, 1)) * 2 * METHODS[p.dtype][0].parts + SUMS_BYTES + 4 * p.KH * p.KW
        return too_little_local(need, device, "the input of one output")

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """Work-items of some rows or a part of one, and all output channels or a part, the least predicted time first."""
        p = flat(problem)
        # Columns of several taps lie across lines of the cache, which pays where a group has few output channels for its panel.
        # Of more than two phases, the last row of one would run on into the next one.
        columns = p.layout == "NCHW" and ((p.KH, p.KW) == (1, 1) or (p.G > 1 and p.SW <= 2))
        sides = (False, True) if columns else (True,)
        blocks = ceil_div(p.OCG, TILE)

        def works(pieces: Iterable[tuple[int, int]]) -> list[Work]:
            windows = [window_of(p, rows, cols, left) for rows, cols in pieces for left in sides]
            made = (
                _work(p, window, method, tiles, splits)
                for method in METHODS[p.dtype]
                for window in windows
                for tiles in ((2, 4) if blocks % 2 else (2,))
                for splits in (1, 2, 3, 4, 6, 8, 16)
                if splits <= ceil_div(blocks, 2)
            )
            return shortlist(made, p.KH * p.KW, p, device)

        return fastest_first(self._plan(problem, p, device, work) for work in works(cuts(p, 16)) or works([(1, 1)]))

    def _plan(self, problem: ConvProblem, p: ConvProblem, device: DeviceInfo, work: Work) -> Plan:
        packing = pack_split(p, device, work.method.parts, work.window.left)
        sizes = (Int(p.ICG), Int(p.OCG), Int(ceil_div(p.ICG, STEP)))
        taps = p.KH * p.KW
        return split_plan(self.name, "split_matrix", problem, p, device, work, (), sizes, taps, packing)


def window_of(p: ConvProblem, rows: int, cols: int, left: bool = True) -> Window:
    """Lay out the panel of include/split_panel.clh for so many rows and columns of the output."""
    reach_h, reach_w = (p.KH - 1) * p.DH + 1, (p.KW - 1) * p.DW + 1
    phases = min(p.SH, reach_h) * min(p.SW, reach_w)
    full = ceil_div((cols - 1) * p.SW + reach_w, p.SW)
    shared = shared_zeros(p, cols, full)
    width = full - shared
    panel_rows = ceil_div((rows - 1) * p.SH + reach_h, p.SH)
    halved = not left and p.SW == 2 and reach_w > 1
    # Halves of vectors run on behind the last row.
    plane = panel_rows * width + (round_up(width, TILE // 2) - width if halved else shared)
    furthest = (reach_h - 1) // p.SH * width + (reach_w - 1) // p.SW  # that a tap lies from its output
    sums = round_up((rows - 1) * width + cols, 4 * TILE)  # some of which are dropped
    used = max(phases * plane, (phases - 1) * plane + furthest + sums) + TILE
    # Rows of left tiles begin in different sets of the first cache, and so do those of right ones.
    positions = used | 1 if left else round_up(used, 2 * TILE) + TILE
    columns = width * p.SW if halved or (left and (reach_w >= p.SW or p.SW > 2)) else width  # see PASSES
    return Window(rows, cols, width, panel_rows, plane, positions, width, columns, left)


def flat(p: ConvProblem) -> ConvProblem:
    """Return a 1x1 convolution of all pixels in one row, where a problem is that; else the problem."""
    if (p.KH, p.KW) != (1, 1) or p.stride != (1, 1) or p.padded:
        return p
    images = p.N if p.layout == "NHWC" else 1
    n, c, pixels = p.N // images, p.IC, images * p.IH * p.IW
    return ConvProblem(
        x_shape=(n, 1, pixels, c) if p.layout == "NHWC" else (n, c, 1, pixels),
        w_shape=p.w_shape,
        groups=p.G,
        layout=p.layout,
        dtype=p.dtype,
        bias=p.bias,
        residual=p.residual,
        activation=p.activation,
    )


def _panel_numbers(p: ConvProblem, window: Window) -> int:
    return round_up(p.ICG, STEP) * window.positions


def _work(p: ConvProblem, window: Window, method: Method, position_tiles: int, splits: int) -> Work:
    steps = ceil_div(p.ICG, STEP)
    return Work(
        window,
        method,
        groups=p.G,
        channels=p.OCG,
        terms=steps * p.KH * p.KW,
        numbers=_panel_numbers(p, window),
        panel_vectors=steps,
        position_tiles=position_tiles,
        splits=splits,
    )
