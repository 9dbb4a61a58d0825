"""To go on with an earlier run that was kept as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from clconv.errors import ClconvError


class Run(Protocol):
    """What layers' and networks' results have in common."""

    rounds: int
    seconds: float


R = TypeVar("R", bound=Run)


def resumed(earlier: R, now: R, alike: Sequence[str]) -> R:
    """Return earlier results to go on with, for the rounds and seconds of now.

    Parameters
    ----------
    earlier, now : Results or NetworkResults
    alike : sequence of str
        The attributes that must be the same.

    Raises
    ------
    ClconvError
        If one of these is not.
    """
    for what in alike:
        before, after = getattr(earlier, what), getattr(now, what)
        if before != after:
            raise ClconvError(f"the earlier run has {what} {before}, this one {after}; start anew without --resume")
    earlier.rounds, earlier.seconds = now.rounds, now.seconds
    return earlier
