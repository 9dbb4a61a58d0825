"""What was measured, in memory and as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from clconv.bench.case import TOLERANCE, decode, encode
from clconv.bench.machine import Machine
from clconv.bench.peers import OURS, layout_of
from clconv.bench.resume import adopted_versions
from clconv.bench.workloads import Layer
from clconv.errors import ClconvError
from clconv.files import write_whole

FORMAT = 1


@dataclass
class Timing:
    """One variant of one library on one layer.

    Parameters
    ----------
    rounds : list of [least, median, samples]
        Milliseconds of a call in each round, and how many calls there were.
    error : float
        Largest deviation as a share of the largest output.
    note : str
        The algorithm, where known.
    failed : str
        Why there are no (more) rounds.
    """

    rounds: list[list[float]] = field(default_factory=list)
    error: float = 0.0
    note: str = ""
    failed: str = ""

    @property
    def min_ms(self) -> float:
        """Least of all rounds."""
        return min((least for least, _, _ in self.rounds), default=math.inf)

    @property
    def median_ms(self) -> float:
        """Median of the rounds' medians."""
        return statistics.median(median for _, median, _ in self.rounds) if self.rounds else math.inf

    @property
    def counts(self) -> bool:
        """Whether there is a time and the result is right."""
        return bool(self.rounds) and self.error <= TOLERANCE


@dataclass
class LayerResult:
    """A layer and its timings by library and variant."""

    layer: Layer
    timings: dict[str, dict[str, Timing]] = field(default_factory=dict)

    @property
    def rounds(self) -> int:
        """How many rounds were measured."""
        return max((len(t.rounds) for variants in self.timings.values() for t in variants.values()), default=0)

    def of(self, peer: str, layout: str) -> Timing | None:
        """Return the fastest right timing of a library in a layout."""
        found = [t for v, t in self.timings.get(peer, {}).items() if layout_of(v) == layout and t.counts]
        return min(found, key=lambda t: t.min_ms, default=None)

    def best_peer(self, layout: str) -> tuple[str, Timing] | None:
        """Return the fastest other library in a layout, and its timing."""
        found = [(name, t) for name in self.timings if name != OURS.name and (t := self.of(name, layout))]
        return min(found, key=lambda pair: pair[1].min_ms, default=None)

    def ratio(self, layout: str) -> float | None:
        """Return the best peer's least time over ours: above 1 we are faster. None if either is missing."""
        ours, best = self.of(OURS.name, layout), self.best_peer(layout)
        return best[1].min_ms / ours.min_ms if ours and best else None


@dataclass
class Results:
    """A run: where, when, with what, and the layers in their order; ``function`` says that each call was given its filter."""

    batch: int
    threads: int
    layouts: tuple[str, ...]
    rounds: int
    seconds: float
    date: str
    versions: dict[str, str]
    machine: Machine | None = None
    layers: dict[str, LayerResult] = field(default_factory=dict)
    function: bool = False

    @property
    def single(self) -> bool:
        """Whether this is the run that single images have targets for: with a constant filter."""
        return self.batch == 1 and not self.function

    @property
    def peers(self) -> list[str]:
        """Every other library that was measured, in order."""
        return list(dict.fromkeys(p for r in self.layers.values() for p in r.timings if p != OURS.name))

    def of(self, names: Iterable[str]) -> list[LayerResult]:
        """Return the results of these layers, those that there are."""
        return [self.layers[n] for n in names if n in self.layers]

    def adopt(self, earlier: Results) -> None:
        """Take the other libraries' timings of an earlier run for the layers of this one."""
        for name, result in self.layers.items():
            if name in earlier.layers:
                old = earlier.layers[name].timings
                result.timings.update({p: t for p, t in old.items() if p != OURS.name and p not in result.timings})
        self.versions |= adopted_versions(earlier, self, earlier.versions.keys() - self.versions.keys())

    def save(self, path: Path) -> None:
        """Write JSON, see :func:`write_whole`."""
        record = dataclasses.asdict(dataclasses.replace(self, layers={}, machine=None))
        record["machine"] = self.machine.record() if self.machine else None
        record["format"] = FORMAT
        record["layers"] = {
            name: {
                "problem": encode(r.layer.problem),
                "counts": dict(r.layer.counts),
                "timings": {p: {v: dataclasses.asdict(t) for v, t in ts.items()} for p, ts in r.timings.items()},
            }
            for name, r in self.layers.items()
        }
        write_whole(path, json.dumps(record, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ClconvError
            If the file is not the record of a benchmark.
        """
        try:
            record = json.loads(path.read_text())
            if record.pop("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            machine, layers = record.pop("machine"), record.pop("layers")
            results = cls(**record, machine=Machine.of(machine) if machine else None)
            results.layouts = tuple(results.layouts)
            for name, r in layers.items():
                layer = Layer(name, decode(r["problem"]), tuple(r["counts"].items()))
                timings = {p: {v: Timing(**t) for v, t in ts.items()} for p, ts in r["timings"].items()}
                results.layers[name] = LayerResult(layer, timings)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ClconvError(f"{path} is not a record of clconv bench ({error}); give a file that --json wrote") from error
        return results
