"""``clconv bench``: the command line of the benchmark."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console

from clconv.bench import peers
from clconv.bench.layers import INTERRUPTED, bench_layers
from clconv.bench.readme import place
from clconv.bench.whole_command import LAYERS_ONLY, bench_networks
from clconv.bench.workloads import NETWORKS
from clconv.cli.options import PICTURES, Seconds, drawable, listed, writable
from clconv.errors import ClconvError, ShapeError
from clconv.select import named

FILE: Any = click.Path(dir_okay=False, path_type=Path)
README: Any = click.Path(exists=True, dir_okay=False, writable=True, path_type=Path)


def _sizes(_context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> list[int]:
    lists = [[part.strip() for part in text.split(",") if part.strip()] for text in value]
    parts = [part for each in lists for part in each]
    if not all(lists) or not all(re.fullmatch(r"0*[1-9][0-9]{0,8}", part) for part in parts):
        raise click.BadParameter(f"{', '.join(value)} is no list of batch sizes; use numbers from 1 on, as in 1,8")
    return [int(part) for part in parts]


def _algorithms(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    names = listed(context, parameter, value)
    if not names:
        raise click.BadParameter("it names no algorithm; use auto, a family, names, or none")
    for name in names:
        try:
            named("auto" if name == "none" else name)
        except ShapeError as error:
            raise click.BadParameter(f"{error}, or none") from error
    return names


def _threads(_context: click.Context, _parameter: click.Parameter, value: int) -> int:
    processors = os.cpu_count()
    if processors is not None and value > processors:
        raise click.BadParameter(f"{value} is more than this machine has processors; use 1 to {processors}")
    return value


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@click.command("bench")
@click.option(
    "--against",
    default=",".join(peers.PEERS),
    show_default=True,
    callback=listed,
    help="Libraries to measure against, those that are installed; or the JSON file of an earlier run; or none.",
)
@click.option("--networks", "whole", is_flag=True, help="Time whole networks instead of their layers.")
@click.option(
    "--of",
    "networks",
    default="",
    callback=listed,
    help=f"Whose layers ({', '.join(NETWORKS)}), or which networks; all if left out.",
)
@click.option("--only", default="", callback=listed, help="Only layers whose name contains one of these: cv3x3,g32,dw.")
@click.option(
    "--layout",
    type=click.Choice(["NCHW", "NHWC", "both"], case_sensitive=False),
    default="both",
    show_default=True,
    help="Of the layers.",
)
@click.option(
    "--algorithm",
    default="auto",
    show_default=True,
    callback=_algorithms,
    help="Ours: auto, a family, names (compared), or none.",
)
@click.option("--batch", "batches", multiple=True, callback=_sizes, help="1 for layers, 1,8 for networks if left out.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=_cores,
    show_default="all cores",
    callback=_threads,
    help="For every library.",
)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Times through all of them.")
@click.option("--seconds", type=Seconds(), help="Per library, layer and round: 0.1, networks 1 if left out.")
@click.option("--budget", type=Seconds(), help="Stop after this many seconds and keep what is measured.")
@click.option(
    "--function",
    is_flag=True,
    help="Give the filter to each call: conv2d, and PyTorch's.",
)
@click.option("--sweep", is_flag=True, help="Instead, our own speed over channels, groups, filters, strides, ...")
@click.option("--json", "json_file", type=FILE, callback=writable, help="Keep the results, after each layer or round.")
@click.option("--resume", is_flag=True, help="Go on with what --json's file lacks; more --rounds add to it.")
@click.option("--picture", type=FILE, callback=drawable, help=f"Draw the ratios (or the sweep): {PICTURES}.")
@click.option(
    "--readme",
    type=README,
    callback=writable,
    help="Put the table into this file, between <!-- bench:begin --> (networks:begin) and :end -->.",
)
@click.pass_context
def bench_command(
    context: click.Context,
    against: list[str],
    whole: bool,
    networks: list[str],
    only: list[str],
    layout: str,
    algorithm: list[str],
    batches: list[int],
    threads: int,
    rounds: int,
    seconds: float | None,
    budget: float | None,
    function: bool,
    sweep: bool,
    json_file: Path | None,
    resume: bool,
    picture: Path | None,
    readme: Path | None,
) -> None:
    """Time the convolution layers of known networks, or the networks, here and in other libraries, on this machine.

    Each library runs in a process of its own with the same number of threads, in float32, with a constant filter; they
    take turns layer by layer. Results that are off by more than 1e-4 of the largest output do not count. Ctrl-C keeps
    what was measured.

    In a hurry:  clconv bench --only g32,dw --against none

    One network:  clconv bench --networks --of mobilenet_v1 --batch 1
    """
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 200)  # a file has room
    try:
        if sweep and readme is not None:
            raise click.UsageError("a sweep has no table for a README; leave out --readme, --json and --picture keep the sweep")
        if resume and json_file is None:
            raise click.UsageError("--resume goes on with the file of --json; name that too")
        if function and not whole:
            _refuse(context, ("algorithm", "sweep"), "means nothing to --function, which times conv2d as it is; leave it out")
        if sweep and not whole:
            _refuse(
                context,
                ("against", "networks"),
                "means nothing to a sweep, which is our own over problems of its own; leave it out",
            )
        if readme is not None:
            place(readme, "networks" if whole else "bench")  # before a measurement, not after it
        if whole:
            _refuse(context, LAYERS_ONLY, "is for layers; leave it out, or leave out --networks")
            ended = bench_networks(
                networks,
                batches,
                against,
                threads=threads,
                rounds=rounds,
                seconds=seconds or 1.0,
                json_file=json_file,
                resume=resume,
                readme=readme,
                console=console,
            )
        else:
            if len(batches) > 1:
                raise click.UsageError(f"layers are timed at one batch size, --batch names {len(batches)}; run once for each")
            ended = bench_layers(
                networks or list(NETWORKS),
                batches[0] if batches else 1,
                against,
                only=only,
                layouts=("NCHW", "NHWC") if layout == "both" else (layout.upper(),),
                algorithms=algorithm,
                function=function,
                threads=threads,
                rounds=rounds,
                seconds=seconds or 0.1,
                budget=budget,
                sweep=sweep,
                json_file=json_file,
                resume=resume,
                picture=picture,
                readme=readme,
                console=console,
            )
    except ClconvError as error:
        raise click.ClickException(str(error)) from error
    if ended:
        console.print(ended, style="yellow")
    if ended.startswith(INTERRUPTED):
        raise SystemExit(130)


def _refuse(context: click.Context, names: tuple[str, ...], why: str) -> None:
    """Refuse options that were given and that mean nothing here."""
    given = [name for name in names if context.get_parameter_source(name) == ParameterSource.COMMANDLINE]
    if given:
        option = next(p.opts[0] for p in context.command.params if p.name == given[0])
        raise click.UsageError(f"{option} {why}")
