"""One layer, once around: every library in a process of its own, taking turns."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clconv.bench import machine
from clconv.bench.case import encode, exact
from clconv.bench.process import Process, WorkerDiedError
from clconv.bench.results import LayerResult, Timing
from clconv.bench.workloads import Layer
from clconv.errors import ClconvError

Tell = Callable[[str], None]
_MACHINE_SECONDS = 0.15


def measure_machine(
    process: Process, earlier: machine.Machine | None = None, others: Iterable[machine.Machine | None] = ()
) -> machine.Machine:
    """Measure the device's limits in our process; of two measurements the faster numbers are nearer to the truth.

    Raises
    ------
    ClconvError
        If there is no device, its limits cannot be measured, or an earlier run was made on another.
    """
    try:
        answer = process.ask("machine", seconds=_MACHINE_SECONDS)
    except WorkerDiedError as death:
        raise ClconvError(f"the device's limits cannot be measured ({death}); see clconv devices") from death
    if "failed" in answer:
        raise ClconvError(f"the device's limits cannot be measured ({answer['failed']}); see clconv devices")
    found = machine.Machine.of(answer)
    for run in (earlier, *others):
        if run is not None and run.device != found.device:
            raise ClconvError(
                f"the earlier run was made on {run.device}, this one is on {found.device}; measure both on one device"
            )
    return found.faster(earlier)


def measure_round(result: LayerResult, processes: Iterable[tuple[Process, Sequence[str]]], seconds: float, tell: Tell) -> None:
    """Add one round to a layer's result: each variant of each process is loaded, then each is timed, all within seconds.

    Slow spells of a machine last longer than that and fall on all libraries alike; rounds that lie minutes apart find its
    fast spells. In its first round a variant is also compared with the exact result. One that failed is left out later.

    Parameters
    ----------
    result : LayerResult
        Changed only when the round is complete.
    processes : iterable of (Process, variants)
    seconds : float
        Time per variant.
    tell : callable
        Told what is going on, in a few words, between measurements only.
    """
    layer = result.layer
    turns = []
    for process, variants in processes:
        earlier = result.timings.get(process.peer.name, {})
        live = [v for v in variants if v not in earlier or not earlier[v].failed]
        if live:
            turns.append(_Turn(process, live, {v: earlier.get(v, Timing()) for v in live}, layer))
    with tempfile.TemporaryDirectory(prefix="clconv-bench-") as folder:
        reference = Path(folder) / "reference.npy"
        if any(turn.unchecked() for turn in turns):
            tell(f"{layer.name}: exact result")
            np.save(reference, exact(layer.problem))
        for turn in turns:
            tell(f"{layer.name}: load {turn.process.peer.name}")
            turn.load()
        for turn in turns:
            tell(f"{layer.name}: {turn.process.peer.name}")
            turn.time(seconds)
        for turn in turns:
            turn.check(str(reference))
            turn.drop()
    for turn in turns:
        result.timings.setdefault(turn.process.peer.name, {}).update(turn.timings())


class _Turn:
    """One round of a layer in one process. A variant that fails, or kills the process, is left out from then on."""

    def __init__(self, process: Process, variants: Sequence[str], earlier: dict[str, Timing], layer: Layer) -> None:
        self.process = process
        self.layer = layer
        self.variants = variants
        self.earlier = earlier
        self.loaded: dict[str, str] = {}
        self.rounds: dict[str, list[float]] = {}
        self.errors = {v: t.error for v, t in earlier.items() if t.rounds}
        self.failed: dict[str, str] = {}

    def unchecked(self) -> list[str]:
        """Return the variants that were never compared with the exact result."""
        return [v for v in self.variants if v not in self.errors and v not in self.failed]

    def _live(self) -> list[str]:
        return [v for v in self.variants if v not in self.failed]

    def _ask(self, variant: str, do: str, **arguments: Any) -> dict[str, Any] | None:
        try:
            answer = self.process.ask(do, variant=variant, **arguments)
        except WorkerDiedError as death:
            self.failed[variant] = str(death)
            self.loaded.clear()
            self.load()
            return None
        if "failed" in answer:
            self.failed[variant] = answer["failed"]
            return None
        return answer

    def load(self) -> None:
        """Load every variant that has not failed and is not there; after a death that is all of them."""
        for variant in self._live():
            if variant not in self.loaded:
                answer = self._ask(variant, "load", problem=encode(self.layer.problem))
                if answer is not None:
                    self.loaded[variant] = answer["note"]

    def time(self, seconds: float) -> None:
        """Time each variant once."""
        for variant in self._live():
            answer = self._ask(variant, "time", seconds=seconds)
            if answer is not None:
                self.rounds[variant] = [answer["min_ms"], answer["median_ms"], answer["samples"]]

    def check(self, reference: str) -> None:
        """Compare results that were never compared with the exact one."""
        for variant in self.unchecked():
            answer = self._ask(variant, "check", reference=reference)
            if answer is not None:
                self.errors[variant] = answer["error"]

    def drop(self) -> None:
        """Free the layer's memory in the process."""
        with contextlib.suppress(WorkerDiedError):  # the next request starts a new process, with nothing loaded
            self.process.ask("drop")

    def timings(self) -> dict[str, Timing]:
        """Return the earlier timings with this round added, by variant."""
        joined = {}
        for v in self.variants:
            before = self.earlier[v]
            rounds = [*before.rounds, self.rounds[v]] if v not in self.failed else before.rounds
            note = self.loaded.get(v, before.note)
            joined[v] = Timing(rounds, self.errors.get(v, 0.0), note, self.failed.get(v, ""))
        return joined
