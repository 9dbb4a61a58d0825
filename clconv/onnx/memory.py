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

    def meets(self, other: Lifetime) -> bool:
        """Whether both are needed at one time."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class MemoryPlan:
    """Buffers and who lives in them.

    Parameters
    ----------
    sizes : tuple of int
        Bytes of each buffer.
    place : mapping of str to (int, int)
        The buffer of each value, and its first byte in it.
    """

    sizes: tuple[int, ...]
    place: Mapping[str, tuple[int, int]]

    @property
    def bytes(self) -> int:
        """All buffers together."""
        return sum(self.sizes)


def plan_memory(values: Iterable[Lifetime], unit: int = 0) -> MemoryPlan:
    """Give every value a place so that no two values that are needed at once share a byte.

    Parameters
    ----------
    values : iterable of Lifetime
    unit : int
        Where values may begin anywhere in a buffer, the bytes that they begin at multiples of; 0 where each has a buffer for
        itself in its time.
    """
    ordered = sorted(values, key=lambda v: (-v.size, v.first, v.name))  # the largest is placed first
    plan = _whole_buffers(ordered)
    cut = _one_buffer(ordered, unit) if unit and ordered else plan
    return cut if cut.bytes < plan.bytes else plan


def _whole_buffers(values: Sequence[Lifetime]) -> MemoryPlan:
    """Put each value into the smallest buffer that is free in its time, which is as large as the first one in it."""
    sizes: list[int] = []
    tenants: list[list[Lifetime]] = []
    place: dict[str, tuple[int, int]] = {}
    for value in values:
        free = [i for i, others in enumerate(tenants) if not any(map(value.meets, others))]
        if free:
            index = min(free, key=lambda i: sizes[i])
        else:
            index = len(sizes)
            sizes.append(value.size)
            tenants.append([])
        tenants[index].append(value)
        place[value.name] = index, 0
    return MemoryPlan(tuple(sizes), place)


def _one_buffer(values: Sequence[Lifetime], unit: int) -> MemoryPlan:
    """Put each value into the smallest gap between those that are needed in its time, or behind them.

    "Greedy by size for offset calculation" of Pisarchyk and Lee, 2020, https://arxiv.org/abs/2001.03288.
    """
    placed: list[tuple[int, int, Lifetime]] = []
    for value in values:
        size = -(-value.size // unit) * unit
        at = end = 0
        smallest = None
        for first, behind, other in placed:
            if not value.meets(other):
                continue
            if size <= first - end and (smallest is None or first - end < smallest):
                at, smallest = end, first - end
            end = max(end, behind)
        at = end if smallest is None else at
        placed.append((at, at + size, value))
        placed.sort(key=lambda item: item[:2])
    return MemoryPlan((max(behind for _, behind, _ in placed),), {value.name: (0, at) for at, _, value in placed})


def least_bytes(values: Sequence[Lifetime]) -> int:
    """Return the most bytes that are needed at one time: no plan can do with less."""
    times = {v.first for v in values}
    return max((sum(v.size for v in values if v.first <= t <= v.last) for t in times), default=0)
