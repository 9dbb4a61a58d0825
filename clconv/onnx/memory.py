"""Which values share memory: pure arithmetic over lifetimes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Lifetime:
    """A value of ``size`` bytes that is needed from one step to another, both included."""

    name: str
    size: int
    first: int
    last: int


@dataclass(frozen=True)
class MemoryPlan:
    """Buffers and who lives in them.

    Parameters
    ----------
    sizes : tuple of int
        Bytes of each buffer.
    place : mapping of str to int
        The buffer of each value.
    """

    sizes: tuple[int, ...]
    place: Mapping[str, int]

    @property
    def bytes(self) -> int:
        """All buffers together."""
        return sum(self.sizes)


def plan_memory(values: Iterable[Lifetime]) -> MemoryPlan:
    """Give every value a buffer so that no two values in one buffer are needed at once.

    The largest value comes first. Each goes into the smallest buffer that is free in its time, so a buffer is as large as
    the first value in it and never grows.
    """
    sizes: list[int] = []
    tenants: list[list[Lifetime]] = []
    place: dict[str, int] = {}
    for value in sorted(values, key=lambda v: (-v.size, v.first, v.name)):
        free = [i for i, others in enumerate(tenants) if all(o.last < value.first or value.last < o.first for o in others)]
        if free:
            index = min(free, key=lambda i: sizes[i])
        else:
            index = len(sizes)
            sizes.append(value.size)
            tenants.append([])
        tenants[index].append(value)
        place[value.name] = index
    return MemoryPlan(tuple(sizes), place)


def least_bytes(values: Sequence[Lifetime]) -> int:
    """Return the most bytes that are needed at one time: no plan can do with less."""
    times = {v.first for v in values}
    return max((sum(v.size for v in values if v.first <= t <= v.last) for t in times), default=0)
