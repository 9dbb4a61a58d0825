"""The device's own limits, from two small kernels: multiply-adds per second, and bytes per second from each cache level."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clconv.bench.peers import OURS

MIB = 1 << 20


@dataclass(frozen=True)
class Level:
    """A level of the memory hierarchy: how many bytes it holds for all threads together, and how fast a copy runs in it.

    ``gb_s`` counts bytes read and written.
    """

    name: str
    bytes: float
    gb_s: float


@dataclass(frozen=True)
class Machine:
    """A device and what it can do at best.

    Parameters
    ----------
    device, platform, driver : str
    units : int
        Compute units.
    gflops : float
        Peak of the float32 multiply-add units, two operations each, in 1e9 per second.
    levels : tuple of Level
        From the smallest to memory.
    call_us : float
        Microseconds from enqueuing an empty kernel until it is known to be done; the median, for it varies.
    caller_us : float
        The same in the thread that calls, see :mod:`clconv.caller`; 0 where the driver cannot do that.
    """

    device: str
    platform: str
    driver: str
    units: int
    gflops: float
    levels: tuple[Level, ...]
    call_us: float = 0.0
    caller_us: float = 0.0

    @classmethod
    def of(cls, record: dict[str, Any]) -> Machine:
        """Read what :meth:`record` or :func:`measure` returned."""
        levels = tuple(Level(level["name"], level["bytes"] or math.inf, level["gb_s"]) for level in record["levels"])
        return cls(**{**record, "levels": levels})

    def record(self) -> dict[str, Any]:
        """Return the facts as JSON can hold them: memory, which holds anything, has 0 bytes there."""
        record = dataclasses.asdict(self)
        for level in record["levels"]:
            level["bytes"] = 0 if math.isinf(level["bytes"]) else level["bytes"]
        return record

    def faster(self, other: Machine | None) -> Machine:
        """Join two measurements of one device: the higher number of each."""
        if other is None or [level.name for level in other.levels] != [level.name for level in self.levels]:
            return self
        levels = tuple(max(a, b, key=lambda level: level.gb_s) for a, b in zip(self.levels, other.levels, strict=True))
        calls = {name: min(getattr(self, name), getattr(other, name)) for name in ("call_us", "caller_us")}
        return dataclasses.replace(self, gflops=max(self.gflops, other.gflops), levels=levels, **calls)

    def gb_s(self, size: float) -> float:
        """Bandwidth of the smallest level that holds ``size`` bytes."""
        return next((level for level in self.levels if size <= level.bytes), self.levels[-1]).gb_s


def cache_bytes() -> dict[str, int]:
    """Return the data caches of one core by name as Linux tells them, else sizes of a usual core."""
    sizes = {"L1": 32 << 10, "L2": MIB, "L3": 32 * MIB}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
            if kind != "Instruction":
                sizes[f"L{level}"] = int(size.rstrip("KM")) << (20 if size.endswith("M") else 10)
        except (OSError, ValueError):
            continue
    return sizes


def measure(seconds: float) -> dict[str, Any]:
    """Measure the default device, each number for about ``seconds``, and return a :class:`Machine` as JSON can hold it."""
    import clconv
    from clconv.bench import limits
    from clconv.discovery import beside

    queue = clconv.default_queue()
    info = limits.info_of(queue)
    caches = cache_bytes()
    units = info.compute_units
    # L1 and L2 belong to a core; what is larger is shared. Half of a level is filled, so that all of it stays there.
    holds = {"L1": caches["L1"] * units, "L2": caches["L2"] * units, "L3": caches["L3"]} if info.is_cpu else {}
    levels = [Level(name, size, limits.copy_gb_s(queue, size // 2, seconds)) for name, size in holds.items()]
    memory = min(256 * MIB, info.max_alloc_bytes)
    levels.append(Level("memory", math.inf, limits.copy_gb_s(queue, memory, seconds)))
    gflops = limits.multiply_add_gflops(queue, seconds)
    call_us = limits.empty_call_us(queue, seconds)
    second = beside(queue)
    caller_us = 0.0 if second is None else limits.empty_call_us(second, seconds)
    return Machine(info.name, info.platform, info.driver, units, gflops, tuple(levels), call_us, caller_us).record()


def versions(names: dict[str, str]) -> dict[str, str]:
    """Return the given versions with those of clconv, pyopencl and NumPy in front."""
    from importlib.metadata import PackageNotFoundError, version

    found = {OURS.name: OURS.version or "checkout"}
    for name in ("pyopencl", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {**found, **names}
