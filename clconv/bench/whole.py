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
    """Time networks in libraries, into ``results``.

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
        Called after each case.
    """
    everyone = sorted(everyone, key=lambda peer: peer.name != "onnxruntime")
    with tempfile.TemporaryDirectory(prefix="clconv-bench-") as folder:
        for index, (network, batch) in enumerate(cases):
            reference = Path(folder) / f"{network}-{batch}.npy"
            _measure(results, network, batch, everyone, reference, index * results.rounds * len(everyone), tell)
            keep()


def _measure(
    results: NetworkResults,
    network: str,
    batch: int,
    everyone: Sequence[Peer],
    reference: Path,
    done: int,
    tell: Callable[[str, int], None],
) -> None:
    runs = [(NetworkTiming(network, batch, peer.name), Process(peer, results.threads)) for peer in everyone]
    results.timings += [timing for timing, _ in runs]
    try:
        for _ in range(results.rounds):
            for timing, process in runs:
                tell(f"{network}, batch {batch}: {timing.library}", done)
                done += 1
                _round(timing, process, results.seconds, reference)
    finally:
        for _, process in runs:
            process.close()
    tell(f"{network}, batch {batch}: memory", done)
    _weigh([timing for timing, _ in runs], reference.with_suffix(".onnx"), results.threads)


def _weigh(timings: Sequence[NetworkTiming], model: Path, threads: int) -> None:
    """Find the memory that each library takes, where it is measured."""
    wanted = [t for t in timings if t.counts and t.library in memory.LOADERS]
    if wanted:
        network = wanted[0].network
        onnx.save(build(network, **options_of(network)), model)
    for timing in wanted:
        timing.peak_mib = memory.peak_mib(timing.library, model, timing.batch, threads)
    model.unlink(missing_ok=True)


def _round(timing: NetworkTiming, process: Process, seconds: float, reference: Path) -> None:
    """Time a library once, after loading and checking it the first time; one that fails is left out from then on."""
    network = timing.network
    if timing.failed:
        return
    try:
        if not timing.medians:
            _ask(process, "load_network", network=network, batch=timing.batch, variant=network)
            timing.error = _ask(process, "check_network", variant=network, reference=str(reference))["error"]
        answer = _ask(process, "time", variant=network, seconds=seconds)
    except (WorkerDiedError, _FailedError) as error:
        timing.failed = str(error)
        return
    timing.min_ms = min(timing.min_ms, answer["min_ms"])
    timing.medians.append(answer["median_ms"])


class _FailedError(Exception):
    """A worker's answer that something went wrong."""


def _ask(process: Process, do: str, **arguments: Any) -> dict[str, Any]:
    answer = process.ask(do, **arguments)
    if "failed" in answer:
        raise _FailedError(answer["failed"])
    return answer


def check_network(value: np.ndarray[Any, Any], reference: Path) -> float:
    """Compare a result with the first library's; that one's becomes the reference."""
    if not reference.exists():
        np.save(reference, value)
        return 0.0
    return case.relative_error(value.reshape(np.load(reference).shape), np.load(reference))
