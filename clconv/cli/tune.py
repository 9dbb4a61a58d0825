"""``clconv tune``: search for the fastest plans on this device and keep them."""

from __future__ import annotations

import math
from pathlib import Path

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from clconv.bench.workloads import NETWORKS, distinct_layers
from clconv.cli.options import Seconds, listed, require_found
from clconv.device import DeviceInfo
from clconv.discovery import default_queue
from clconv.errors import ClconvError, ShapeError
from clconv.folders import tuning_file
from clconv.notation import parse
from clconv.plan import Plan
from clconv.problem import ConvProblem
from clconv.tuning.search import Finding, candidates, looked_up, search
from clconv.tuning.store import device_key, load, make_folder, problem_key
from clconv.tuning.worker import Verdict


@click.command()
@click.argument("problem", nargs=-1)
@click.option(
    "--networks",
    default=",".join(NETWORKS),
    show_default=True,
    callback=listed,
    help="Whose layers, when no PROBLEM is given.",
)
@click.option("--only", default="", callback=listed, help="Only layers whose name contains one of these: cv3x3,g32,dw.")
@click.option("--batch", type=click.IntRange(1), help="Images at once, in place of PROBLEM's; 1 for layers if left out.")
@click.option(
    "--layout",
    type=click.Choice(["NCHW", "NHWC", "both"], case_sensitive=False),
    help="Of the networks' layers, both if left out; PROBLEM names its own.",
)
@click.option("--seconds", type=Seconds(), default=0.1, show_default=True, help="Per candidate.")
@click.option("--again", is_flag=True, help="Search also what the store has already.")
@click.option("--thorough", is_flag=True, help="Try also plans that are predicted to be slow.")
@click.option(
    "--store", type=click.Path(path_type=Path), help="The file of records; else CLCONV_TUNING or the user's data folder."
)
def tune(
    problem: tuple[str, ...],
    networks: list[str],
    only: list[str],
    batch: int | None,
    layout: str | None,
    seconds: float,
    again: bool,
    thorough: bool,
    store: Path | None,
) -> None:
    """Search for the fastest plan of PROBLEM, or of every layer of known networks.

    Each candidate is built in a child process, so that a compiler that crashes costs nothing; its result is checked
    before its time counts. Ctrl-C stops; what was found is kept, and the next call goes on from there.
    """
    device = DeviceInfo.of(default_queue().device)
    path = store or tuning_file()
    if path is None:
        raise ClconvError("there is no home folder for tuning records; name a file with --store or CLCONV_TUNING")
    if problem:
        named = click.get_current_context().get_parameter_source("networks") == ParameterSource.COMMANDLINE
        if layout is not None or only or named:
            raise ShapeError(
                "--networks, --layout and --only choose among networks' layers; PROBLEM names its own layout, leave them out"
            )
        parsed = parse(" ".join(problem))
        problems = [parsed if batch is None else parsed.with_batch(batch)]
    else:
        layouts = ("NCHW", "NHWC") if layout in (None, "both") else (layout.upper(),)
        networks = networks or list(NETWORKS)
        layers = distinct_layers(networks, batch or 1, only)
        require_found(only, [layer.name for layer in layers], f"layer of {', '.join(networks)}")
        problems = [layer.problem_in(name) for layer in layers for name in layouts]
    problems = list(dict.fromkeys(part for whole in problems for part in looked_up(whole, device)))
    make_folder(path)
    done = load(path).get(device_key(device), {})
    left = [p for p in problems if again or problem_key(p) not in done]
    console = Console()
    console.print(f"{device.name}: {len(left)} of {len(problems)} problems to search, records in {path}")
    if problems and not left:
        console.print("each has a record; --again searches anew")
    findings: list[Finding] = []
    stopped = False
    failures: dict[ConvProblem, str] = {}  # of each problem the first one: that of the rule's choice
    total = sum(len(candidates(p, device, thorough=thorough)) for p in left)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("starting", total=total)

            def tell(plan: Plan, verdict: Verdict) -> None:
                progress.update(task, advance=1, description=plan.algorithm)
                if verdict.reason:
                    failures.setdefault(plan.problem, f"with {plan.algorithm}, {verdict.reason}")

            for finding in search(left, device, path, seconds=seconds, again=again, thorough=thorough, tell=tell):
                findings.append(finding)
                failures.pop(finding.problem, None)
                progress.console.print(_line(finding))
    except KeyboardInterrupt:
        console.print("Stopped; what was found is kept.")
        failures.clear()  # the last problem was not done
        stopped = True
    if findings:
        console.print(_table(findings))
    if stopped:
        raise SystemExit(130)
    for failed, reason in failures.items():
        raise ClconvError(
            f"nothing could be measured for {len(failures)} of {len(left)} problems, {_short(failed)} the first ({reason}); "
            "give fewer or smaller images, or find the algorithms that fail on the device with: clconv check"
        )


def _short(problem: ConvProblem) -> str:
    return str(problem).replace(" float32", "")


def _line(f: Finding) -> str:
    failed = f", {len(f.failures)} candidates failed" if f.failures else ""
    return f"{_short(f.problem)}: {f.seconds * 1e3:.3f} ms with {f.best.algorithm} ({f.best.tile}){failed}"


def _table(findings: list[Finding]) -> Table:
    table = Table(title="The rule's choice against the best that was found", title_justify="left")
    table.add_column("problem")
    for name in ("rule ms", "best ms", "gain"):
        table.add_column(name, justify="right")
    table.add_column("best plan")
    for f in findings:
        same = f.best == f.rule
        row = (_short(f.problem), f"{f.rule_seconds * 1e3:.3f}", f"{f.seconds * 1e3:.3f}", f"{f.gain:.2f}")
        table.add_row(*row, "the rule's" if same else f"{f.best.algorithm} ({f.best.tile})")
    mean = math.exp(sum(math.log(f.gain) for f in findings) / len(findings))
    table.add_section()
    table.add_row("geometric mean, worst", "", "", f"{mean:.2f}, {max(f.gain for f in findings):.2f}", "")
    return table
