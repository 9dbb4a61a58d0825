"""How much of an image a tile of outputs spans, for kernels that unroll its rows or columns."""

from __future__ import annotations

from collections.abc import Iterable

from clconv.problem import ConvProblem

MOST_PLACES = 128
"""Rows, or columns, of the image that a tile of outputs spans, for kernels that unroll these; 2000 take 16 s to build."""

MOST_MULTIPLIED = 128
"""Multiply-adds of a tile that are unrolled where registers are few; 400 take LLVM three seconds and more."""


def span(outputs: int, stride: int, taps: int, dilation: int) -> int:
    """Count the places along one axis from the first one that some outputs side by side read to the last one."""
    return (outputs - 1) * stride + (taps - 1) * dilation + 1


def few_enough(outputs: int, problem: ConvProblem) -> bool:
    """Whether the multiply-adds of a tile of so many outputs may be unrolled where registers are few."""
    return outputs == 1 or outputs * problem.KH * problem.KW <= MOST_MULTIPLIED


def rows_too_far_apart(problem: ConvProblem) -> str | None:
    """Refuse filters dilated so far that the rows under one row of outputs cannot be unrolled."""
    return _too_far_apart("rows", span(1, problem.SH, problem.KH, problem.DH))


def columns_too_far_apart(problem: ConvProblem) -> str | None:
    """Refuse filters dilated so far that the columns under one output cannot be unrolled."""
    return _too_far_apart("columns", span(1, problem.SW, problem.KW, problem.DW))


def tiles_of_rows(tiles: Iterable[int], problem: ConvProblem) -> list[int]:
    """Return the heights of tiles that the image has outputs for and whose rows may be unrolled."""
    p = problem
    return [tile for tile in tiles if tile <= p.OH and span(tile, p.SH, p.KH, p.DH) <= MOST_PLACES]


def tiles_of_columns(tiles: Iterable[int], problem: ConvProblem) -> list[int]:
    """Return the widths of tiles that the image has outputs for and whose columns may be unrolled."""
    p = problem
    return [tile for tile in tiles if tile <= p.OW and span(tile, p.SW, p.KW, p.DW) <= MOST_PLACES]


def _too_far_apart(what: str, places: int) -> str | None:
    return None if places <= MOST_PLACES else f"unrolls the {places} {what} that a filter spans, at most {MOST_PLACES}"
