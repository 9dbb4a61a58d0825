"""``clconv bench`` for layers: measure, keep, show."""

from __future__ import annotations

import datetime
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from clconv.bench import machine, peers, table
from clconv.bench import sweep as sweeps
from clconv.bench.picture import draw_ratios, draw_sweep
from clconv.bench.process import Process
from clconv.bench.readme import write as write_readme
from clconv.bench.results import LayerResult, Results
from clconv.bench.resume import require_alike, resumed
from clconv.bench.timing import measure_machine, measure_round
from clconv.bench.workloads import Layer, distinct_layers
from clconv.cli.options import require_found
from clconv.errors import ClconvError

INTERRUPTED = "interrupted"


def bench_layers(
    networks: list[str],
    batch: int,
    against: list[str],
    *,
    only: list[str],
    layouts: tuple[str, ...],
    algorithms: list[str],
    function: bool,
    threads: int,
    rounds: int,
    seconds: float,
    budget: float | None,
    sweep: bool,
    json_file: Path | None,
    resume: bool,
    picture: Path | None,
    readme: Path | None,
    console: Console,
) -> str:
    """Do what the options of ``clconv bench`` of the same names say; return what ended it early, or an empty string.

    Raises
    ------
    ClconvError
        If a name is unknown, a file is no record, or there is no device.
    """
    lines = sweeps.series(batch) if sweep else {}
    names, earlier = _against([] if sweep else against)
    found, missing = peers.chosen(names)
    if function:
        found = [peer for peer in found if peer.takes_filter]
    layers = list(sweeps.distinct(lines, only)) if sweep else distinct_layers(networks, batch, only)
    require_found(only, [layer.name for layer in layers], f"layer of {'the sweep' if sweep else ', '.join(networks)}")
    if missing:
        console.print(f"not installed, left out: {', '.join(missing)} (pip install 'clconv\\[bench]')")
    results = Results(
        batch=batch,
        threads=threads,
        layouts=layouts,
        rounds=rounds,
        seconds=seconds,
        date=datetime.date.today().isoformat(),
        versions=machine.versions({p.name: p.version for p in found}),
        function=function,
    )
    for record in earlier:
        require_alike(record, results, ("batch", "threads", "function"), "measure both alike")
    if resume and json_file is not None and json_file.exists():
        results = resumed(Results.load(json_file), results, ("batch", "threads", "layouts", "versions", "function"))
    if function:
        algorithms = ["function"]
    ours = tuple(lay if a == "auto" else f"{lay} {a}" for a in algorithms for lay in layouts if a != "none")
    on = [record.machine for record in earlier]
    ended = _measure(results, layers, found, ours, on, budget, json_file, console)
    for record in earlier:
        results.adopt(record)
    if sweep:
        _show_sweep(lines, results, picture, console)
    else:
        _show(results, picture, readme, console)
    return ended


def _show(results: Results, picture: Path | None, readme: Path | None, console: Console) -> None:
    console.print(table.report(results, console.width))
    if picture is not None:
        draw_ratios(results, picture)
        console.print(f"picture: {picture}")
    if readme is not None:
        write_readme(readme, results)
        console.print(f"table: {readme}")


def _show_sweep(lines: dict[str, list[sweeps.Point]], results: Results, picture: Path | None, console: Console) -> None:
    lines = sweeps.judge(lines, results)
    console.print(table.describe(results), style="dim")
    for part in sweeps.tables(lines, results):
        console.print(part)
    flagged, measured = sweeps.count_flags(lines)
    what = f"take over {sweeps.CLIFF:g}x a neighbour's time per FLOP, or are slower than dense"
    console.print(f"{flagged} of {measured} points {what}")
    if picture is not None:
        draw_sweep(lines, results.layouts, picture)
        console.print(f"picture: {picture}")


def _against(against: list[str]) -> tuple[list[str], list[Results]]:
    """Tell library names from files of earlier runs."""
    files = [name for name in against if name.endswith(".json")]
    return [n for n in against if n not in files and n != "none"], [Results.load(Path(f)) for f in files]


def _measure(
    results: Results,
    layers: list[Layer],
    found: list[peers.Peer],
    ours: tuple[str, ...],
    on: list[machine.Machine | None],
    budget: float | None,
    json_file: Path | None,
    console: Console,
) -> str:
    """Measure the rounds that are missing, into ``results``; return why it ended early, or an empty string."""
    todo = [layer for number in range(results.rounds) for layer in layers if _rounds_of(results, layer) <= number]
    end = time.monotonic() + budget if budget else float("inf")
    columns = (TextColumn("{task.description:<50}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # No refresh from a thread of its own: that would run beside what is measured.
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(*columns, console=console, auto_refresh=False, transient=True))
        whole = len(layers) * results.rounds
        done = whole - len(todo)
        task = progress.add_task("start", total=whole, completed=done)

        def tell(text: str) -> None:
            progress.update(task, description=f"round {done // len(layers) + 1}, {text}", completed=done)
            progress.refresh()

        us = stack.enter_context(Process(peers.OURS, results.threads))
        processes = [(us, ours)]
        for peer in found:
            process = stack.enter_context(Process(peer, results.threads))
            processes.append((process, peer.variants_in(results.layouts, results.function)))
        try:
            tell("limits of the device")
            results.machine = measure_machine(us, results.machine, on)
            for layer in todo:
                if time.monotonic() > end:
                    return f"the budget is spent after {done} of {whole} visits to a layer"
                result = results.layers.get(layer.name, LayerResult(layer))
                measure_round(result, processes, results.seconds, tell)
                results.layers[layer.name] = result
                if json_file is not None:
                    results.save(json_file)
                done += 1
            if todo:
                tell("limits of the device")
                with suppress(ClconvError):  # those of the beginning are there
                    results.machine = measure_machine(us, results.machine, on)
                    if json_file is not None:
                        results.save(json_file)
        except KeyboardInterrupt:
            return f"{INTERRUPTED} after {done} of {whole} visits to a layer"
    return ""


def _rounds_of(results: Results, layer: Layer) -> int:
    return results.layers[layer.name].rounds if layer.name in results.layers else 0
