"""``clconv bench``: the command line of the benchmark."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from clconv.bench import machine, peers, table
from clconv.bench.process import Process, WorkerDied
from clconv.bench.results import Results
from clconv.bench.timing import measure_layers
from clconv.bench.workloads import NETWORKS, Layer, distinct_layers
from clconv.errors import ClconvError

Split = Callable[[click.Context, click.Parameter, str], list[str]]
MACHINE_SECONDS = 0.15


def _names(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@click.command("bench")
@click.option(
    "--against",
    default=",".join(peers.PEERS),
    show_default=True,
    callback=_names,
    help="Libraries to measure against, those that are installed; or the JSON file of an earlier run; or none.",
)
@click.option("--networks", default=",".join(NETWORKS), show_default=True, callback=_names, help="Whose layers.")
@click.option("--only", default="", callback=_names, help="Only layers whose name contains one of these: cv3x3,g32,dw.")
@click.option("--layout", type=click.Choice(["NCHW", "NHWC", "both"], case_sensitive=False), default="both", show_default=True)
@click.option("--algorithm", default="auto", show_default=True, callback=_names, help="Ours: auto, a family, names (several are compared), or none.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=_cores, show_default="all cores", help="For every library.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Turns that each library gets per layer.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=0.1, show_default=True, help="Per turn.")
@click.option("--budget", type=float, help="Stop after this many seconds and keep what is measured.")
@click.option("--sweep", is_flag=True, help="Our own speed over channels, groups, filters, strides, dilations, images, instead.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Keep the results, after each layer.")
@click.option("--resume", is_flag=True, help="Go on with the layers that --json's file lacks.")
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Draw the ratios (or the sweep): .png, .svg, .pdf.")
@click.option("--readme", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Put the table between this file's markers.")
def bench_command(
    against: list[str],
    networks: list[str],
    only: list[str],
    layout: str,
    algorithm: list[str],
    batch: int,
    threads: int,
    rounds: int,
    seconds: float,
    budget: float | None,
    sweep: bool,
    json_file: Path | None,
    resume: bool,
    picture: Path | None,
    readme: Path | None,
) -> None:
    """Time the convolution layers of known networks, here and in other libraries, on this machine.

    Each library runs in a process of its own with the same number of threads, in float32, with a constant filter; they
    take turns layer by layer. Results that are off by more than 1e-4 of the largest output do not count. Ctrl-C keeps
    what was measured.

    In a hurry:  clconv bench --only g32,dw --against none
    """
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 200)  # a file has room
    layouts = ("NCHW", "NHWC") if layout == "both" else (layout.upper(),)
    try:
        names, earlier = _against(against)
        found, missing = peers.chosen(names)
        layers = distinct_layers(networks, batch, only)
        if not layers:
            raise click.BadParameter(f"no layer of {', '.join(networks)} contains {' or '.join(only)} in its name", param_hint="--only")
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
        )
        if resume:
            if json_file is None:
                raise click.UsageError("--resume goes on with the file of --json; name that too")
            if json_file.exists():
                results = _resumed(Results.load(json_file), results)
        ours = tuple(lay if a == "auto" else f"{lay} {a}" for a in algorithm for lay in layouts if a != "none")
        interrupted = _measure(results, layers, found, ours, budget, json_file, console)
        for record in earlier:
            results.adopt(record)
    except ClconvError as error:
        raise click.ClickException(str(error)) from error
    console.print(table.report(results, console.width))
    if interrupted:
        console.print(interrupted, style="yellow")
        raise SystemExit(130 if interrupted.startswith("interrupted") else 0)


def _against(against: list[str]) -> tuple[list[str], list[Results]]:
    """Tell library names from files of earlier runs."""
    files = [name for name in against if name.endswith(".json")]
    return [n for n in against if n not in files and n != "none"], [Results.load(Path(f)) for f in files]


def _resumed(earlier: Results, now: Results) -> Results:
    """Return the earlier results, to go on with, if they were measured in the same way.

    Raises
    ------
    ClconvError
        If they were not.
    """
    for what in ("batch", "threads", "layouts", "versions"):
        before, after = getattr(earlier, what), getattr(now, what)
        if before != after:
            raise ClconvError(f"the earlier run has {what} {before}, this one {after}; start anew without --resume")
    return earlier


def _measure(
    results: Results,
    layers: list[Layer],
    found: list[peers.Peer],
    ours: tuple[str, ...],
    budget: float | None,
    json_file: Path | None,
    console: Console,
) -> str:
    """Measure the layers that are missing, into ``results``; return why it ended early, or an empty string."""
    todo = [layer for layer in layers if layer.name not in results.layers]
    end = time.monotonic() + budget if budget else float("inf")
    columns = (TextColumn("{task.description:<50}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # No refresh from a thread of its own: that would run beside what is measured.
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(*columns, console=console, auto_refresh=False, transient=True))
        task = progress.add_task("start", total=len(layers), completed=len(layers) - len(todo))

        def tell(text: str) -> None:
            progress.update(task, description=text)
            progress.refresh()

        us = stack.enter_context(Process(peers.OURS, results.threads))
        processes = [(us, ours)]
        processes += [(stack.enter_context(Process(p, results.threads)), p.variants_in(results.layouts)) for p in found]
        try:
            tell("limits of the device")
            results.machine = measure_machine(us, results.machine)
            for result in measure_layers(todo, processes, rounds=results.rounds, seconds=results.seconds, tell=tell):
                results.layers[result.layer.name] = result
                if json_file is not None:
                    results.save(json_file)
                progress.advance(task)
                if time.monotonic() > end and len(results.layers) < len(layers):
                    return f"the budget is spent: {len(results.layers)} of {len(layers)} layers"
        except KeyboardInterrupt:
            return f"interrupted: {len(results.layers)} of {len(layers)} layers"
    return ""


def measure_machine(process: Process, earlier: machine.Machine | None = None) -> machine.Machine:
    """Measure the device's limits in our process; of two measurements the faster numbers are nearer to the truth.

    Raises
    ------
    ClconvError
        If there is no device, or its limits cannot be measured.
    """
    try:
        answer = process.ask("machine", seconds=MACHINE_SECONDS)
    except WorkerDied as death:
        raise ClconvError(f"the device's limits cannot be measured ({death}); see clconv devices") from death
    if "failed" in answer:
        raise ClconvError(f"the device's limits cannot be measured ({answer['failed']}); see clconv devices")
    return machine.Machine.of(answer).faster(earlier)
