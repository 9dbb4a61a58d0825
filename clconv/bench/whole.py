"""Time whole networks, here and in other libraries, each in a process of its own, taking turns in every round."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from clconv.bench import case, memory
from clconv.bench.peers import Peer
from clconv.bench.process import Process, WorkerDiedError
from clconv.bench.whole_loaders import options_of
from clconv.bench.whole_results import NetworkResults, NetworkTiming
from clconv.errors import ShapeError
from clconv.networks import NETWORKS, build


def cases_of(networks: Sequence[str], batches: Sequence[int]) -> list[tuple[str, int]]:
    """Return every network at every batch size.

    Raises
    ------
    ShapeError
        If a network is unknown.
    """
    unknown = [name for name in networks if name not in NETWORKS]
    if unknown:
        raise ShapeError(f"network {unknown[0]!r} is unknown; use some of {', '.join(NETWORKS)}")
    return [(network, batch) for network in networks for batch in batches]


def measure(
    results: NetworkResults,
    cases: Sequence[tuple[str, int]],
    everyone: Sequence[Peer],
    tell: Callable[[str, int], None] = lambda _text, _done: None,
    keep: Callable[[], None] = lambda: None,
) -> None:
    """Time networks in libraries, into ``results``: the rounds that are missing there.

    Every result is compared with ONNX Runtime's where that takes part, else with the first library's; what is off by more
    than 1e-4 of the largest output does not count. What was measured when it is interrupted stays in ``results``.

    Parameters
    ----------
    results : NetworkResults
        Says how many rounds of how many seconds, with how many threads.
    cases : sequence of (network, batch)
    everyone : sequence of Peer
    tell : callable
        Told what is going on between measurements, and how many of ``len(cases) * rounds * len(everyone)`` are done.
    keep : callable
        Called after each round.
    """
    everyone = sorted(everyone, key=lambda peer: peer.name != "onnxruntime")
    with tempfile.TemporaryDirectory(prefix="clconv-bench-") as folder:
        for index, (network, batch) in enumerate(cases):
            reference = Path(folder) / f"{network}-{batch}.npy"
            _measure(results, network, batch, everyone, reference, index * results.rounds * len(everyone), tell, keep)
            reference.unlink(missing_ok=True)


def _measure(
    results: NetworkResults,
    network: str,
    batch: int,
    everyone: Sequence[Peer],
    reference: Path,
    done: int,
    tell: Callable[[str, int], None],
    keep: Callable[[], None],
) -> None:
    runs = [_Run(results.asked(network, batch, peer.name), Process(peer, results.threads), reference) for peer in everyone]
    try:
        for number in range(results.rounds):
            missing = [run for run in runs if not run.timing.failed and len(run.timing.medians) <= number]
            if missing:
                runs[0].load()  # with whose result the others' are compared
            for run in runs:
                tell(f"{network}, batch {batch}: {run.timing.library}", done)
                done += 1
                if run in missing:
                    run.time(results.seconds)
            if missing:
                keep()
    finally:
        for run in runs:
            run.process.close()
    tell(f"{network}, batch {batch}: memory", done)
    _weigh([run.timing for run in runs], reference.with_suffix(".onnx"), results.threads)
    keep()


def _weigh(timings: Sequence[NetworkTiming], model: Path, threads: int) -> None:
    """Find the memory that each library takes, where it is measured."""
    wanted = [t for t in timings if t.counts and not t.peak_mib and t.library in memory.LOADERS]
    if wanted:
        network = wanted[0].network
        onnx.save(build(network, **options_of(network)), model)
    for timing in wanted:
        timing.peak_mib = memory.peak_mib(timing.library, model, timing.batch, threads)
    model.unlink(missing_ok=True)


class _Run:
    """A network in a library's process. One that fails is left out from then on, with what was measured before.

    Parameters
    ----------
    timing : NetworkTiming
    process : Process
    reference : Path
        The first library's result, written by it.
    """

    def __init__(self, timing: NetworkTiming, process: Process, reference: Path) -> None:
        self.timing = timing
        self.process = process
        self._reference = reference
        self._loaded = False

    def load(self) -> None:
        """Load the network and check its result, unless that is done."""
        timing = self.timing
        if self._loaded or timing.failed:
            return
        if self._ask("load_network", network=timing.network, batch=timing.batch) is None:
            return
        answer = self._ask("check_network", reference=str(self._reference))
        if answer is not None:
            timing.error = answer["error"]
            self._loaded = True

    def time(self, seconds: float) -> None:
        """Add a round."""
        self.load()
        answer = self._ask("time", seconds=seconds)
        if answer is not None:
            self.timing.min_ms = min(self.timing.min_ms, answer["min_ms"])
            self.timing.medians.append(answer["median_ms"])

    def _ask(self, do: str, **arguments: Any) -> dict[str, Any] | None:
        if self.timing.failed:
            return None
        try:
            answer = self.process.ask(do, variant=self.timing.network, **arguments)
        except WorkerDiedError as death:
            answer = {"failed": str(death)}
        if "failed" in answer:
            self.timing.failed = answer["failed"]
            return None
        return answer


def check_network(value: np.ndarray[Any, Any], reference: Path) -> float:
    """Compare a result with the first library's; that one's becomes the reference."""
    if not reference.exists():
        np.save(reference, value)
        return 0.0
    return case.relative_error(value.reshape(np.load(reference).shape), np.load(reference))
