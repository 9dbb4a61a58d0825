"""``clconv bench --networks``: whole networks instead of layers."""

from __future__ import annotations

import datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from clconv.bench import machine, peers
from clconv.bench.process import Process
from clconv.bench.readme import replace
from clconv.bench.resume import require_alike, resumed
from clconv.bench.timing import measure_machine
from clconv.bench.whole import cases_of, measure
from clconv.bench.whole_results import NetworkResults
from clconv.bench.whole_table import markdown, report
from clconv.networks import NETWORKS

BATCHES = (1, 8)
LAYERS_ONLY = ("only", "layout", "algorithm", "function", "sweep", "picture", "budget")
"""Options of ``clconv bench`` that have to do with layers."""


def bench_networks(
    networks: list[str],
    batches: list[int],
    against: list[str],
    *,
    threads: int,
    rounds: int,
    seconds: float,
    json_file: Path | None,
    resume: bool,
    readme: Path | None,
    console: Console,
) -> str:
    """Measure whole networks, show and keep the results; return what ended it early, or an empty string.

    Parameters
    ----------
    networks : list of str
        All of :data:`clconv.networks.NETWORKS` if empty.
    batches : list of int
        1 and 8 if empty.
    against : list of str
        Libraries, and files of earlier runs whose times stand for libraries that are not measured now.
    threads, rounds : int
    seconds : float
        Per library and round.
    json_file : Path, optional
    resume : bool
        Measure what this file lacks.
    readme : Path, optional
    console : rich.console.Console

    Raises
    ------
    ClconvError
        If a name is unknown, a file is no record or of another run than this, or there is no device.
    """
    cases = cases_of(networks or NETWORKS, batches or BATCHES)
    earlier = [NetworkResults.load(Path(name)) for name in against if name.endswith(".json")]
    found, missing = peers.chosen([name for name in against if not name.endswith(".json") and name != "none"])
    if missing:
        console.print(f"not installed, left out: {', '.join(missing)} (pip install 'clconv\\[bench]')")
    results = NetworkResults(
        threads=threads,
        rounds=rounds,
        seconds=seconds,
        date=datetime.date.today().isoformat(),
        versions=machine.versions({peer.name: peer.version for peer in found}),
    )
    for record in earlier:
        require_alike(record, results, ("threads",), "measure both alike")
    if resume and json_file is not None and json_file.exists():
        results = resumed(NetworkResults.load(json_file), results, ("threads", "versions"))
    on = [record.machine for record in earlier]
    ended = _measure(results, cases, [peers.OURS, *found], on, json_file, console)
    for record in earlier:
        results.adopt(record)
    console.print(report(results))
    if readme is not None:
        replace(readme, "networks", markdown(results))
        console.print(f"table: {readme}")
    return ended


def _measure(
    results: NetworkResults,
    cases: list[tuple[str, int]],
    everyone: list[peers.Peer],
    on: list[machine.Machine | None],
    json_file: Path | None,
    console: Console,
) -> str:
    def keep() -> None:
        if json_file is not None:
            results.save(json_file)

    whole = len(cases) * results.rounds * len(everyone)
    done = 0
    columns = (TextColumn("{task.description:<40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # No refresh from a thread of its own: that would run beside what is measured.
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as progress:
        task = progress.add_task("limits of the device", total=whole)

        def tell(text: str, now: int) -> None:
            nonlocal done
            done = now
            progress.update(task, description=text, completed=now)
            progress.refresh()

        progress.refresh()
        try:
            with Process(peers.OURS, results.threads) as us:
                results.machine = measure_machine(us, results.machine, on)
            measure(results, cases, everyone, tell, keep)
        except KeyboardInterrupt:
            results.timings = [t for t in results.timings if t.medians or t.failed]
            keep()
            return f"interrupted after {done} of {whole} measurements"
    return ""
