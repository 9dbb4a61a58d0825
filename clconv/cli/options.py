"""Kinds of options that several commands have."""

from __future__ import annotations

import math
from typing import Any

import click


class Seconds(click.FloatRange):
    """A time above 0 and below two weeks; NaN, which passes for a number in any range, is none."""

    def __init__(self) -> None:
        super().__init__(0, 10**6, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number of seconds; use one above 0", param, ctx)
        return number
