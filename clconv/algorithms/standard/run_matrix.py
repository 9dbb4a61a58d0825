"""Host side of kernels/standard/run_matrix.cl: few channels on a matrix unit, several taps of a row in one step."""

from __future__ import annotations

from collections.abc import Iterable

from clconv.algorithms.base import Algorithm, ceil_div, fastest_first, round_up
from clconv.algorithms.packing import pack_run
from clconv.algorithms.reasons import not_cpu, too_little_local
from clconv.algorithms.split import (
    METHODS,
    STEP,
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


class RunMatrix(Algorithm):
    """A row's taps lie side by side, so that the first layer of a network and groups of few channels fill a step, too."""

    name = "standard/run_matrix"
    family = "split"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """On a CPU, up to 16 input channels, or groups of 2, 4, 8 or 16 channels in and out; no dilation along the width."""
        if reason := not_cpu(device) or unsplit(problem):
            return reason
        if problem.DW > 1:
            return "takes taps of a row that lie side by side; with dilation along the width they do not"
        if problem.G == 1 and problem.IC > TILE:
            return f"serves {TILE} input channels or fewer; standard/split_matrix serves the rest"
        if problem.G > 1 and (problem.ICG != problem.OCG or problem.ICG not in (2, 4, 8, 16)):
            return (
                "serves groups of 2, 4, 8 or 16 channels in and as many out, "
                f"these have {problem.ICG} and {problem.OCG}; standard/split_matrix serves the rest"
            )
        work = _work(problem, _window(problem, 1, 1), METHODS[problem.dtype][0], 2, 1, fold=False)
        return too_little_local(work.local_bytes + 4 * _terms(problem), device, "the input of one output")

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """Work-items of some rows or a part of one, and 16 channels of groups, the least predicted time first."""
        blocks = ceil_div(_bunch(problem), TILE)
        folds = (False, True) if 2 * _terms(problem, fold=True) <= _terms(problem) else (False,)

        def works(pieces: Iterable[tuple[int, int]]) -> list[Work]:
            windows = [_window(problem, rows, cols) for rows, cols in pieces]
            made = (
                _work(problem, window, method, tiles, splits, fold=fold)
                for method in METHODS[problem.dtype]
                for window in windows
                for fold in folds
                for tiles in ((2, 4) if blocks % 2 or problem.layout == "NCHW" else (2,))
                for splits in (1, 2, 4)
                if splits <= ceil_div(blocks, 2)
            )
            return shortlist(made, _terms(problem), problem, device)

        return fastest_first(self._plan(problem, device, work) for work in works(cuts(problem, 56)) or works([(1, 1)]))

    def _plan(self, p: ConvProblem, device: DeviceInfo, work: Work) -> Plan:
        run = run_of(p)
        taps = (1, p.KH * p.KW) if work.copies else (p.KH, p.KW)
        packing = pack_run(p, device, taps, work.method.parts, run, work.groups, work.blocks)
        macros = (("RUN", run), ("FOLD", int(work.copies > 0)))
        sizes = (Int(_bunch(p)),)
        return split_plan(self.name, "run_matrix", p, p, device, work, macros, sizes, work.terms, packing)


def run_of(p: ConvProblem) -> int:
    """Channels of a position in the panel: as in memory, or what vectors make of them."""
    if p.G > 1:
        return TILE
    if p.layout == "NHWC":
        return p.IC
    return 4 if p.IC <= 4 else TILE


def _bunch(p: ConvProblem) -> int:
    """Output channels that are computed together."""
    return p.OC if p.G == 1 else TILE


def _terms(p: ConvProblem, *, fold: bool = False) -> int:
    """Return the steps of 32 numbers in the sum of an output: of the taps of each row, or of all taps together."""
    rows, taps = (1, p.KH * p.KW) if fold else (p.KH, p.KW)
    return rows * ceil_div(taps * run_of(p), STEP)


def _window(p: ConvProblem, rows: int, cols: int) -> Window:
    reach_h, run = (p.KH - 1) * p.DH + 1, run_of(p)
    full = (cols - 1) * p.SW + p.KW
    shared = shared_zeros(p, cols, full)
    width = round_up(full - shared, p.SW)
    phases = min(p.SH, reach_h)
    panel_rows = ceil_div((rows - 1) * p.SH + reach_h, p.SH)
    plane = panel_rows * width + shared
    row_outputs = width // p.SW
    sums = round_up((rows - 1) * row_outputs + cols, 4 * TILE) * p.SW
    # Vectors of a plane's last row run on by less than a tile.
    used = max(phases * plane + TILE, (phases - 1) * plane + (reach_h - 1) // p.SH * width + sums)
    steps = ceil_div(p.KW * run, STEP)
    return Window(rows, cols, width, panel_rows, plane, used + ceil_div(steps * STEP + TILE, run), row_outputs, width)


def _work(p: ConvProblem, window: Window, method: Method, position_tiles: int, splits: int, *, fold: bool) -> Work:
    run, terms, numbers = run_of(p), _terms(p, fold=fold), window.positions * run_of(p)
    if fold:
        numbers += round_up(window.rows * window.row_outputs, 4 * TILE) * terms * STEP + TILE
    return Work(
        window,
        method,
        groups=1 if p.G == 1 else ceil_div(p.OC, TILE),
        channels=_bunch(p),
        terms=terms,
        numbers=numbers,
        # In NCHW pairs of channels are dealt out, which takes fewer shuffles than split_matrix' transposition.
        panel_vectors=max(run / TILE, 0.25) * (0.55 if p.layout == "NCHW" else 1),
        position_tiles=position_tiles,
        splits=splits,
        copies=p.KH * ceil_div(p.KW * run, TILE) + 1 if fold else 0,
    )
