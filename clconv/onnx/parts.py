"""Values that lie within others: what a Concat puts together is computed there, what a Split cuts stays where it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from clconv.onnx.step import Part, Step
from clconv.plan import Channels

Root = Callable[[str], str]


@dataclass(frozen=True)
class Place:
    """Where a value lies in the memory of another, which lies in none.

    Parameters
    ----------
    whole : str
    part : Part
        Of the whole's memory.
    """

    whole: str
    part: Part


@dataclass(frozen=True)
class _Home:
    """The step that moves a value into another, or out of it, and may be left out."""

    step: int
    whole: str
    part: Part


def place_parts(steps: Sequence[Step], root: Root, kept: Container[str]) -> tuple[tuple[Step, ...], dict[str, Place]]:
    """Leave out steps that only move a part of a value, where all that touch the part can work on it in the whole.

    Kernels can whose launches say how far apart the rows of a value are (:class:`Channels`): those of an image in N H W C
    are its pixels. A value whose rows follow each other, as an image's do in N C H W, is like any other one.

    Parameters
    ----------
    steps : sequence of Step
    root : callable
        The value whose memory a value is.
    kept : container of str
        Values with memory of their own: constants, and what a call brings.

    Returns
    -------
    tuple of Step
        Those that are left.
    dict of str to Place
    """
    touching: dict[str, list[int]] = defaultdict(list)
    for index, step in enumerate(steps):
        for name in {root(name) for name in step.values.values() if name}:
            touching[name].append(index)
    homes = _homes(steps, root, kept)
    while True:
        places = {name: _place(name, homes) for name in homes}
        gone = {home.step for home in homes.values()}
        wrong = [
            name
            for name, home in homes.items()
            if not _nests(home, homes)
            or not all(_can(steps[i], name, root, home.part, places) for i in touching[name] if i not in gone)
        ]
        if not wrong:
            left = (_moved(step, root, places) for index, step in enumerate(steps) if index not in gone)
            return tuple(left), places
        for name in wrong:
            del homes[name]


def _homes(steps: Sequence[Step], root: Root, kept: Container[str]) -> dict[str, _Home]:
    """Return for each value that is moved into or out of another one the first step that does so."""
    homes: dict[str, _Home] = {}
    for index, step in enumerate(steps):
        if step.part is None:
            continue
        outer = "y" if step.part.of == "x" else "x"
        name, whole = root(step.values[step.part.of]), root(step.values[outer])
        if name not in homes and name not in kept and whole not in kept and name not in _around(whole, homes):
            homes[name] = _Home(index, whole, step.part)
    return homes


def _around(name: str, homes: Mapping[str, _Home]) -> Iterable[str]:
    """Iterate over a value and all that it lies in."""
    yield name
    while name in homes:
        name = homes[name].whole
        yield name


def _nests(home: _Home, homes: Mapping[str, _Home]) -> bool:
    """Whether a part is one of what its whole is a part of."""
    outer = homes.get(home.whole)
    return outer is None or outer.part.rows in (1, home.part.rows)


def _can(step: Step, name: str, root: Root, part: Part, places: Mapping[str, Place]) -> bool:
    """Whether a step can work on a value where its rows lie apart."""
    if part.rows == 1:
        return True
    for argument in (argument for argument, value in step.values.items() if value and root(value) == name):
        of = argument
        residual = step.values.get("residual")
        if residual and argument in ("y", "residual"):  # which lie as the other does
            if not _alike(places.get(root(residual)), places.get(root(step.values["y"]))):
                return False
            of = "y"
        for launch in step.launches:
            apart = [a.value for a in launch.arguments if isinstance(a, Channels) and a.of == of]
            if argument in launch.arguments and apart != [part.size]:
                return False
    return True


def _alike(a: Place | None, b: Place | None) -> bool:
    return a is not None and b is not None and (a.part.rows, a.part.pitch) == (b.part.rows, b.part.pitch)


def _place(name: str, homes: Mapping[str, _Home]) -> Place:
    """Return where a value lies in the end, whose whole may be a part, too."""
    whole, part = homes[name].whole, homes[name].part
    while whole in homes:
        whole, outer = homes[whole].whole, homes[whole].part
        part = replace(part, at=part.at + outer.at, pitch=part.pitch if outer.rows == 1 else outer.pitch)
    return Place(whole, part)


def _moved(step: Step, root: Root, places: Mapping[str, Place]) -> Step:
    """Return a step with launches that know how far apart the rows of its values are."""
    apart = {
        argument: places[root(name)].part.pitch
        for argument, name in step.values.items()
        if name and root(name) in places and places[root(name)].part.rows > 1
    }
    return replace(step, launches=tuple(launch.within(apart) for launch in step.launches)) if apart else step
