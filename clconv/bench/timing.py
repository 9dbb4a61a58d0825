"""The interleaved rounds: every library in a process of its own, one layer at a time, taking turns."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clconv.bench.case import encode, exact
from clconv.bench.process import Process, WorkerDiedError
from clconv.bench.results import LayerResult, Timing
from clconv.bench.workloads import Layer

Tell = Callable[[str], None]


def measure_layers(
    layers: Iterable[Layer],
    processes: Sequence[tuple[Process, Sequence[str]]],
    *,
    rounds: int,
    seconds: float,
    tell: Tell,
) -> Iterator[LayerResult]:
    """Time each layer in every variant of every process, and yield its result as soon as it is complete.

    A layer is loaded everywhere before its first round. In each round every variant is timed for ``seconds``, so a slow
    spell of the machine falls on all of them alike.

    Parameters
    ----------
    layers : iterable of Layer
    processes : sequence of (Process, variants)
    rounds : int
    seconds : float
        Per round and variant.
    tell : callable
        Told what is going on, in a few words, between measurements only.
    """
    with tempfile.TemporaryDirectory(prefix="clconv-bench-") as folder:
        reference = Path(folder) / "reference.npy"
        for layer in layers:
            tell(f"{layer.name}: exact result")
            np.save(reference, exact(layer.problem))
            runs = [_LayerRun(process, variants, layer) for process, variants in processes if variants]
            for run in runs:
                tell(f"{layer.name}: load {run.process.peer.name}")
                run.load()
            for number in range(rounds):
                for run in runs:
                    tell(f"{layer.name}: round {number + 1} of {rounds}, {run.process.peer.name}")
                    run.time(seconds)
            for run in runs:
                run.check(str(reference))
                run.drop()
            yield LayerResult(layer, {run.process.peer.name: run.timings() for run in runs})


class _LayerRun:
    """One layer in one process. A variant that fails, or kills the process, is left out from then on."""

    def __init__(self, process: Process, variants: Sequence[str], layer: Layer) -> None:
        self.process = process
        self.layer = layer
        self.variants = list(variants)
        self.rounds: dict[str, list[dict[str, Any]]] = {v: [] for v in variants}
        self.notes: dict[str, str] = {}
        self.errors: dict[str, float] = {}
        self.failed: dict[str, str] = {}

    def _live(self) -> list[str]:
        return [v for v in self.variants if v not in self.failed]

    def _ask(self, variant: str, do: str, **arguments: Any) -> dict[str, Any] | None:
        try:
            answer = self.process.ask(do, variant=variant, **arguments)
        except WorkerDiedError as death:
            self.failed[variant] = str(death)
            self.load(again=True)
            return None
        if "failed" in answer:
            self.failed[variant] = answer["failed"]
            return None
        return answer

    def load(self, again: bool = False) -> None:
        """Load every variant that has not failed; all of them again in a new process after a death."""
        for variant in self._live():
            if again or variant not in self.notes:
                answer = self._ask(variant, "load", problem=encode(self.layer.problem))
                if answer is not None:
                    self.notes[variant] = answer["note"]

    def time(self, seconds: float) -> None:
        """Time each variant once."""
        for variant in self._live():
            answer = self._ask(variant, "time", seconds=seconds)
            if answer is not None:
                self.rounds[variant].append(answer)

    def check(self, reference: str) -> None:
        """Compare each variant's result with the exact one."""
        for variant in self._live():
            answer = self._ask(variant, "check", reference=reference)
            if answer is not None:
                self.errors[variant] = answer["error"]

    def drop(self) -> None:
        """Free the layer's memory in the process."""
        with contextlib.suppress(WorkerDiedError):  # the next request starts a new process, with nothing loaded
            self.process.ask("drop")

    def timings(self) -> dict[str, Timing]:
        """Return what was measured, by variant."""
        return {
            v: Timing(failed=self.failed[v], note=self.notes.get(v, ""))
            if v in self.failed
            else Timing.of_rounds(self.rounds[v], self.errors[v], self.notes[v])
            for v in self.variants
        }
