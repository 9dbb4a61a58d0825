"""Kinds of options that several commands have, and what is refused of them before a measurement."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import click

from clconv.errors import ShapeError
from clconv.files import beside

_FORMATS = (".png", ".jpg", ".jpeg", ".svg", ".pdf")
PICTURES = ", ".join(_FORMATS)
"""What pictures may end in, for people; for some other formats, matplotlib needs programs that may not be there."""


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


def listed(_context: click.Context, _parameter: click.Parameter, value: str) -> list[str]:
    """Return the words of a list with commas."""
    return [part.strip() for part in value.split(",") if part.strip()]


def require_found(only: Iterable[str], names: Collection[str], what: str) -> None:
    """Raise a ShapeError where a part of a name, of those that were asked for, is in none of the names found."""
    missing = [part for part in only if not any(part in name for name in names)]
    if missing:
        raise ShapeError(f"no {what} contains {' or '.join(map(repr, missing))} in its name")


def writable(_context: click.Context, _parameter: click.Parameter, value: Path | None) -> Path | None:
    """Refuse what could not be written later."""
    if value is None:
        return None
    try:
        target = value.resolve()  # what a link leads to
        if not (target.parent.is_dir() and os.access(target.parent, os.W_OK)):
            raise click.BadParameter(f"{value} cannot be written, its folder is missing or write-protected; name another file")
        if value.exists() and not value.is_file():
            raise click.BadParameter(f"{value} is no file, and would be replaced by one; name another one")
        trial = beside(target)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise click.BadParameter(f"{value} cannot be written ({error.strerror}); name another file") from error
    return value


def drawable(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Refuse the name of a picture that could not be drawn, or not be written."""
    if value is not None and value.suffix.lower() not in _FORMATS:
        raise click.BadParameter(f"{value} ends in no format that is drawn; let it end in one of {PICTURES}")
    return writable(context, parameter, value)
