"""What the kernels that copy rows into a zero-padded panel share (kernels/include/panel.clh): its size."""

from __future__ import annotations

from clconv.algorithms.base import accumulator_bytes, round_up
from clconv.problem import ConvProblem


def phase(problem: ConvProblem, vec: int, columns: int = 0) -> int:
    """Return the elements of one column sequence of a panel's row, the slack of a vector of ``vec`` included.

    A tile has ``columns`` outputs side by side, or ``vec``.
    """
    p = problem
    return round_up(max(p.OW, columns or vec) + (p.KW - 1) * p.DW // p.SW, vec) + vec


def panel_bytes(problem: ConvProblem, vec: int, rows: int, columns: int = 0) -> int:
    """Return the bytes of a group's panel under so many output rows."""
    p = problem
    return p.ICG * ((rows - 1) * p.SH + p.EKH) * p.SW * phase(p, vec, columns) * accumulator_bytes(p)
