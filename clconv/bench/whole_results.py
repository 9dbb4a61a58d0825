"""What was measured of whole networks, in memory and as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from clconv.bench.case import TOLERANCE
from clconv.bench.machine import Machine
from clconv.bench.peers import OURS
from clconv.bench.resume import adopted_versions
from clconv.errors import ClconvError
from clconv.files import write_whole

FORMAT = 1

TARGETS = {
    ("mobilenet_v1", 1): 1.05,
    ("mobilenet_v2", 1): 1.05,
    ("resnext50", 1): 1.05,
    ("resnet50", 1): 1.15,
    ("vgg16", 1): 1.05,
    **dict.fromkeys([(name, 8) for name in ("mobilenet_v1", "mobilenet_v2", "resnext50", "resnet50", "vgg16")], 1.0),
}
"""Least ratio of the best other library's time to ours that is aimed at, by network and batch."""


@dataclass
class NetworkTiming:
    """A network at one batch size in one library: milliseconds of a forward pass, least and median of each round.

    ``peak_mib`` is the most memory of a process that loads and runs it, 0 if that was not measured.
    """

    network: str
    batch: int
    library: str
    min_ms: float = math.inf
    medians: list[float] = field(default_factory=list)
    error: float = 0.0
    failed: str = ""
    peak_mib: float = 0.0

    @property
    def median_ms(self) -> float:
        """Median of the rounds' medians."""
        return statistics.median(self.medians) if self.medians else math.inf

    @property
    def counts(self) -> bool:
        """Whether there is a time, and the result is right."""
        return not self.failed and bool(self.medians) and self.error <= TOLERANCE


@dataclass
class NetworkResults:
    """A run: how it was measured, and the time of each network at each batch size in each library."""

    threads: int
    rounds: int
    seconds: float
    date: str
    versions: dict[str, str]
    machine: Machine | None = None
    timings: list[NetworkTiming] = field(default_factory=list)

    @property
    def cases(self) -> list[tuple[str, int]]:
        """Networks and batch sizes, in the order in which they were measured."""
        return list(dict.fromkeys((t.network, t.batch) for t in self.timings))

    @property
    def batch(self) -> str:
        """The batch sizes, for people."""
        return " and ".join(str(batch) for batch in dict.fromkeys(batch for _, batch in self.cases)) or "-"

    @property
    def libraries(self) -> list[str]:
        """Every library that was asked, ours first."""
        return list(dict.fromkeys([OURS.name, *(t.library for t in self.timings)]))

    def of(self, network: str, batch: int, library: str) -> NetworkTiming | None:
        """Return what one library took, None if it was not asked."""
        wanted = (network, batch, library)
        return next((t for t in self.timings if (t.network, t.batch, t.library) == wanted), None)

    def asked(self, network: str, batch: int, library: str) -> NetworkTiming:
        """Return the timing of a library that is about to be measured, with the rounds that there are."""
        timing = self.of(network, batch, library)
        if timing is None:
            timing = NetworkTiming(network, batch, library)
            self.timings.append(timing)
        return timing

    def best_other(self, network: str, batch: int) -> NetworkTiming | None:
        """Return the fastest other library whose result is right, None if there is none."""
        others = [t for t in self.timings if (t.network, t.batch) == (network, batch) and t.library != OURS.name and t.counts]
        return min(others, key=lambda t: t.min_ms, default=None)

    def ratio(self, network: str, batch: int) -> float | None:
        """Return the best other library's least time over ours, None if either is missing."""
        ours, best = self.of(network, batch, OURS.name), self.best_other(network, batch)
        return best.min_ms / ours.min_ms if ours is not None and ours.counts and best is not None else None

    def adopt(self, earlier: NetworkResults) -> None:
        """Take other libraries' times from an earlier run, for what this one measured of ours and not of them."""
        for t in earlier.timings:
            if t.library != OURS.name and (t.network, t.batch) in self.cases and self.of(t.network, t.batch, t.library) is None:
                self.timings.append(t)
                self.versions = adopted_versions(earlier, self, [t.library]) | self.versions

    def save(self, path: Path) -> None:
        """Write JSON, see :func:`write_whole`."""
        record = {"format": FORMAT, "networks": True, **dataclasses.asdict(self)}
        record["machine"] = None if self.machine is None else self.machine.record()
        for timing in record["timings"]:
            timing["min_ms"] = timing["min_ms"] if math.isfinite(timing["min_ms"]) else None
        write_whole(path, json.dumps(record, indent=1))

    @classmethod
    def load(cls, path: Path) -> NetworkResults:
        """Read results.

        Raises
        ------
        ClconvError
            If the file holds something else.
        """
        try:
            record = json.loads(path.read_text())
            if (record.pop("format"), record.pop("networks")) != (FORMAT, True):
                raise ValueError("another format")
            machine, timings = record.pop("machine"), record.pop("timings")
            found = cls(**record, machine=None if machine is None else Machine.of(machine))
            found.timings = [NetworkTiming(**{**t, "min_ms": t["min_ms"] or math.inf}) for t in timings]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ClconvError(f"{path} is not a record of clconv bench --networks ({error}); measure anew") from error
        return found


def failures(timings: Iterable[NetworkTiming]) -> list[str]:
    """Say of each time that does not count why not."""
    lines = []
    for t in timings:
        if not t.counts:
            why = t.failed or (f"off by {t.error:.0e} of the largest output" if t.medians else "not measured")
            lines.append(f"{t.library}, {t.network}, batch {t.batch}: {why}")
    return lines
