"""``clconv check``: the self-test on the user's device."""

from __future__ import annotations

import json
import math
from collections import defaultdict

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from clconv import selfcheck
from clconv.device import DeviceInfo
from clconv.discovery import default_queue, require_linker
from clconv.errors import DeviceError
from clconv.selfcheck import Outcome


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(as_json: bool) -> None:
    """Test every algorithm on the device: exact on integers, within its error bound on random numbers."""
    queue = default_queue()
    info = DeviceInfo.of(queue.device)
    require_linker(info)
    plans = selfcheck.work(info)
    outcomes: list[Outcome] = []
    stderr = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True) as progress:
        task = progress.add_task(info.name, total=len(plans))
        for outcome in selfcheck.run(plans, queue):
            outcomes.append(outcome)
            progress.update(task, advance=1, description=outcome.plan.algorithm)
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
    if left:
        raise DeviceError(
            f"after {failed[-1].plan.algorithm} failed, the driver of {info.name} refuses everything in this process, so that "
            f"{left} of {len(plans)} plans were not tested; report the plan that failed"
        )
    if failed:
        raise SystemExit(1)


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
