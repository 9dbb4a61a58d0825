"""To go on with an earlier run that was kept as JSON, or to take others' times from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from clconv.errors import ClconvError


class Run(Protocol):
    """What layers' and networks' results have in common."""

    rounds: int
    seconds: float
    date: str
    versions: dict[str, str]


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
    require_alike(earlier, now, alike, "start anew without --resume")
    earlier.rounds, earlier.seconds = now.rounds, now.seconds
    if (first := earlier.date.split(" to ")[0]) != now.date:
        earlier.date = f"{first} to {now.date}"
    return earlier


def require_alike(earlier: R, now: R, alike: Sequence[str], what_to_do: str) -> None:
    """Raise a ClconvError if an attribute of an earlier run differs."""
    for what in alike:
        before, after = getattr(earlier, what), getattr(now, what)
        if before != after:
            raise ClconvError(f"the earlier run has {what} {before}, this one {after}; {what_to_do}")


def adopted_versions(earlier: R, now: R, names: Iterable[str]) -> dict[str, str]:
    """Return the versions of libraries whose times an earlier run stands for, with its date where that is another."""
    when = "" if earlier.date == now.date else f" of {earlier.date}"
    return {name: f"{earlier.versions[name]}{when}" for name in names if name in earlier.versions}
