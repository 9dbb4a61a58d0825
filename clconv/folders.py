"""Where files of the user lie: named by an environment variable, or in the user's own folders."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import platformdirs


@cache
def _absolute(named: str) -> Path:
    """Return the path that a variable names: from the folder that Python was in when it was read first."""
    return Path(named).absolute()


def _place(variable: str, usual: Callable[..., str]) -> Path | None:
    """Return the path that a variable names, else the user's folder; None where there is none.

    A container may run as a user without a home, and the folder that Python is in may be deleted.
    """
    try:
        named = os.environ.get(variable)
        return _absolute(named) if named else Path(usual("clconv", appauthor=False))
    except (RuntimeError, OSError):
        return None


def cache_folder() -> Path | None:
    """Return the folder of what can be made again: ``CLCONV_CACHE`` or the user's; None for ``off`` and where there is none."""
    return None if os.environ.get("CLCONV_CACHE") == "off" else _place("CLCONV_CACHE", platformdirs.user_cache_dir)


def tuning_file() -> Path | None:
    """Return the file of tuning records: ``CLCONV_TUNING`` or one in the user's data folder; None where there is none."""
    place = _place("CLCONV_TUNING", platformdirs.user_data_dir)
    return place if place is None or os.environ.get("CLCONV_TUNING") else place / "tuning.json"
