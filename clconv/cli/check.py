"""``clconv check``: the self-test on the user's device."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict

import click
import pyopencl as cl
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from clconv import selfcheck
from clconv.cli.options import listed, require_found
from clconv.device import DeviceInfo
from clconv.discovery import default_queue
from clconv.drivers import require_linker
from clconv.errors import DeviceError
from clconv.plan import Plan
from clconv.selfcheck import Outcome


@click.command()
@click.option(
    "--only", default="", callback=listed, help="Only algorithms whose name contains one of these: winograd,depthwise/."
)
@click.option("--thorough", is_flag=True, help="Every tile of every algorithm, not one for each problem.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(only: list[str], thorough: bool, as_json: bool) -> None:
    """Test every algorithm on the device: exact on integers, within its error bound on random numbers.

    It takes some minutes, most of them in the driver's compiler. Ctrl-C stops; the table then has what was tested.
    """
    queue = default_queue()
    info = DeviceInfo.of(queue.device)
    require_linker(info)
    plans = selfcheck.work(info, only, thorough=thorough)
    require_found(only, {plan.algorithm for plan in plans}, f"algorithm for {info.name}")
    outcomes, stopped = _outcomes(plans, queue, info)
    failed = [o for o in outcomes if not o.passed]
    left = len(plans) - len(outcomes)
    if as_json:
        rows = [
            {
                "algorithm": o.plan.algorithm,
                "tile": o.plan.tile,
                "problem": str(o.plan.problem),
                "passed": o.passed,
                "error_over_bound": o.error if math.isfinite(o.error) else None,
                "message": o.message,
            }
            for o in outcomes
        ]
        head = {"device": info.name, "platform": info.platform, "driver": info.driver}
        click.echo(json.dumps({**head, "outcomes": rows, "untested": left}, indent=1))
    else:
        Console().print(_table(info, outcomes))
        for o in failed[:20]:
            click.echo(f"{click.style('failed', fg='red')} {o.plan.algorithm} ({o.plan.tile}) on {o.plan.problem}: {o.message}")
    if stopped:
        click.echo(f"Stopped: {left} of {len(plans)} plans were not tested.", err=True)
        raise SystemExit(130)
    if left:
        raise DeviceError(
            f"after {failed[-1].plan.algorithm} failed, the driver of {info.name} refuses everything in this process, so that "
            f"{left} of {len(plans)} plans were not tested; report the plan that failed"
        )
    if failed:
        raise SystemExit(1)


def _outcomes(plans: list[Plan], queue: cl.CommandQueue, info: DeviceInfo) -> tuple[list[Outcome], bool]:
    """Test plans with a bar in a terminal, else a line for each algorithm; and say whether Ctrl-C came."""
    outcomes: list[Outcome] = []
    stderr = Console(stderr=True)
    counts = Counter(plan.algorithm for plan in plans)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as progress:
            task = progress.add_task(info.name, total=len(plans))
            for outcome in selfcheck.run(plans, queue):
                outcomes.append(outcome)
                name = outcome.plan.algorithm
                progress.update(task, advance=1, description=name)
                counts[name] -= 1
                if not counts[name] and not stderr.is_terminal:
                    of_it = [o.passed for o in outcomes if o.plan.algorithm == name]
                    click.echo(f"{name}: {sum(of_it)} of {len(of_it)} plans passed", err=True)
    except KeyboardInterrupt:
        return outcomes, True
    return outcomes, False


def _table(info: DeviceInfo, outcomes: list[Outcome]) -> Table:
    table = Table(title=escape(f"{info.name} ({info.platform}, {info.driver})"), title_justify="left")
    table.add_column("algorithm")
    for name in ("plans", "passed", "largest error / bound"):
        table.add_column(name, justify="right")
    by_name: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_name[outcome.plan.algorithm].append(outcome)
    for name, group in by_name.items():
        passed = sum(o.passed for o in group)
        style = "" if passed == len(group) else "red"
        table.add_row(name, str(len(group)), str(passed), f"{max(o.error for o in group):.2f}", style=style)
    return table
