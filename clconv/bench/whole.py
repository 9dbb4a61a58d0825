"""Whole networks, here and in other libraries: least and median milliseconds of a forward pass.

python -m clconv.bench.whole --networks mobilenet_v1,resnext50 --batches 1,8 --against onnxruntime,litert
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from clconv.bench import case, peers
from clconv.bench.process import Process, WorkerDiedError
from clconv.errors import ClconvError, ShapeError
from clconv.networks import NETWORKS

_OURS = peers.OURS.name
_FILE: Any = click.Path(dir_okay=False, path_type=Path)


@dataclass
class NetworkTiming:
    """A network at one batch size in one library."""

    network: str
    batch: int
    library: str
    min_ms: float = float("inf")
    medians: list[float] = field(default_factory=list)
    error: float = 0.0
    failed: str = ""

    @property
    def median_ms(self) -> float:
        """Median of the rounds' medians."""
        return statistics.median(self.medians) if self.medians else float("inf")

    @property
    def counts(self) -> bool:
        """Whether there is a time, and the result is right."""
        return not self.failed and bool(self.medians) and self.error <= case.TOLERANCE


def whole_network_benchmark(
    networks: Sequence[str],
    batches: Sequence[int],
    libraries: Iterable[peers.Peer],
    *,
    threads: int,
    rounds: int = 3,
    seconds: float = 1.0,
    tell: Callable[[str], None] = lambda _: None,
) -> list[NetworkTiming]:
    """Time networks in this library and in others, each in a process of its own, taking turns in every round.

    Every result is compared with ONNX Runtime's where that takes part, else with this library's; what is off by more than
    1e-4 of the largest output does not count.

    Parameters
    ----------
    networks : sequence of str
        Some of :data:`clconv.networks.NETWORKS`.
    batches : sequence of int
    libraries : iterable of Peer
        What to measure against.
    threads, rounds : int
    seconds : float
        Per round.
    tell : callable
        Told what is going on, between measurements.

    Raises
    ------
    ShapeError
        If a network is unknown.
    """
    unknown = [name for name in networks if name not in NETWORKS]
    if unknown:
        raise ShapeError(f"network {unknown[0]!r} is unknown; use some of {', '.join(NETWORKS)}")
    everyone = sorted([peers.OURS, *libraries], key=lambda peer: peer.name != "onnxruntime")
    results: list[NetworkTiming] = []
    with tempfile.TemporaryDirectory(prefix="clconv-bench-") as folder:
        for network in networks:
            for batch in batches:
                results += _measure(network, batch, everyone, threads, rounds, seconds, Path(folder), tell)
    return results


def _measure(
    network: str,
    batch: int,
    everyone: Sequence[peers.Peer],
    threads: int,
    rounds: int,
    seconds: float,
    folder: Path,
    tell: Callable[[str], None],
) -> list[NetworkTiming]:
    reference = str(folder / f"{network}-{batch}.npy")
    runs = [(NetworkTiming(network, batch, peer.name), Process(peer, threads)) for peer in everyone]
    for number in range(rounds):
        for timing, process in runs:
            if timing.failed:
                continue
            tell(f"{network}, batch {batch}: round {number + 1} of {rounds}, {timing.library}")
            try:
                if not number:
                    _ask(process, "load_network", network=network, batch=batch, variant=network)
                    answer = _ask(process, "check_network", variant=network, reference=reference)
                    timing.error = float(answer["error"])
                answer = _ask(process, "time", variant=network, seconds=seconds)
            except (WorkerDiedError, _FailedError) as error:
                timing.failed = str(error)
                continue
            timing.min_ms = min(timing.min_ms, answer["min_ms"])
            timing.medians.append(answer["median_ms"])
    for _, process in runs:
        process.close()
    return [timing for timing, _ in runs]


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


def ratio(results: Sequence[NetworkTiming], network: str, batch: int) -> float | None:
    """Return the best other library's least time over ours, None if either is missing."""
    times = {t.library: t.min_ms for t in results if (t.network, t.batch) == (network, batch) and t.counts}
    ours = times.pop(_OURS, None)
    return min(times.values()) / ours if ours and times else None


def table(results: Sequence[NetworkTiming]) -> Table:
    """Return least milliseconds, a row per network and batch, a column per library."""
    libraries = list(dict.fromkeys([_OURS, *(t.library for t in results)]))
    made = Table("network", "batch", *libraries, "best other / ours", title="least milliseconds of a forward pass")
    for network, batch in dict.fromkeys((t.network, t.batch) for t in results):
        cells = []
        for library in libraries:
            found = next((t for t in results if (t.network, t.batch, t.library) == (network, batch, library)), None)
            cells.append(
                "" if found is None else f"{found.min_ms:.2f}" if found.counts else "wrong" if not found.failed else "-"
            )
        r = ratio(results, network, batch)
        made.add_row(network, str(batch), *cells, "" if r is None else f"{r:.2f}")
    return made


def _list(_context: click.Context, _parameter: click.Parameter, value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


@click.command("networks")
@click.option("--networks", default=",".join(NETWORKS), show_default=True, callback=_list)
@click.option("--batches", default="1,8", show_default=True, callback=_list)
@click.option("--against", default=",".join(peers.PEERS), show_default=True, callback=_list, help="Other libraries, or none.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="Per round.")
@click.option("--json", "json_file", type=_FILE, help="Keep the results.")
def networks_command(
    networks: list[str],
    batches: list[str],
    against: list[str],
    threads: int,
    rounds: int,
    seconds: float,
    json_file: Path | None,
) -> None:
    """Time whole networks, here and in other libraries, on this machine."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 160)  # a file has room
    try:
        found, missing = peers.chosen([name for name in against if name != "none"])
        if missing:
            console.print(f"not installed, left out: {', '.join(missing)}")
        sizes = [int(b) for b in batches]
        results = whole_network_benchmark(networks, sizes, found, threads=threads, rounds=rounds, seconds=seconds)
    except (ClconvError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    console.print(table(results))
    for timing in results:
        if timing.failed:
            console.print(f"{timing.library}, {timing.network}, batch {timing.batch}: {timing.failed}")
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(t) for t in results], indent=1))


if __name__ == "__main__":
    networks_command()
