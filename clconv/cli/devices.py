"""``clconv devices``: the facts about each device, as the library uses them."""

from __future__ import annotations

import dataclasses
import json

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from clconv.device import DeviceInfo
from clconv.discovery import default_queue
from clconv.discovery import devices as all_devices
from clconv.drivers import require_linker, runtime_problems
from clconv.errors import DeviceError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def devices(as_json: bool) -> None:
    """List the OpenCL devices; the one that is used by default is marked."""
    found = all_devices()
    infos = [DeviceInfo.of(d) for d in found]
    trouble: str | None = None
    try:
        default = found.index(default_queue().device)
    except DeviceError as error:
        default, trouble = -1, str(error)
    problems = [*runtime_problems(), *_without_linker(infos), *([trouble] if trouble else [])]
    if as_json:
        rows = [{**dataclasses.asdict(i), "default": k == default} for k, i in enumerate(infos)]
        click.echo(json.dumps({"devices": rows, "problems": problems}, indent=1))
    else:
        console = Console()
        if infos:
            console.print(_table(infos, default))
        for problem in problems:
            click.secho(problem, fg="yellow")
    if trouble:
        raise SystemExit(1)


def _without_linker(infos: list[DeviceInfo]) -> list[str]:
    """Say what a device of PoCL lacks, in the sentence that a call would end with."""
    for info in infos:
        try:
            require_linker(info)
        except DeviceError as error:
            return [str(error)]
    return []


def _avx512(info: DeviceInfo) -> str:
    if not info.avx512:
        return "none that is asked for"
    if not info.full_avx512:
        return "one vector a clock cycle"
    return "two vectors a clock cycle, others are moved beside" if info.moves_beside else "two vectors a clock cycle"


def _table(infos: list[DeviceInfo], default: int) -> Table:
    table = Table("", *("default" * (k == default) for k in range(len(infos))), show_header=True)
    facts: dict[str, list[str]] = {
        "device": [i.name for i in infos],
        "platform": [i.platform for i in infos],
        "driver": [i.driver for i in infos],
        "type": ["simulator" if i.is_simulator else "CPU" if i.is_cpu else "GPU" for i in infos],
        "compute units": [f"{i.compute_units} at {i.clock_mhz} MHz" for i in infos],
        "vector registers": [f"{i.vector_registers} of {i.vector_bytes} bytes" for i in infos],
        "work-group, local memory": [f"{i.max_work_group_size} work-items, {i.local_mem_bytes >> 10} KiB" for i in infos],
        "memory, largest buffer": [f"{i.global_mem_bytes >> 20} MiB, {i.max_alloc_bytes >> 20} MiB" for i in infos],
        "shares the host's memory": ["yes" if i.unified_memory else "no" for i in infos],
        "float64": ["yes" if i.fp64 else "no" for i in infos],
        "float16": ["stored, computed in float32" for _ in infos],
        "AVX-512": [_avx512(i) for i in infos],
        "matrix unit": ["AMX, for bfloat16" if i.amx else "none that is used" for i in infos],
        "vectors are read": ["through pointers" if i.unaligned_vectors else "with vload" for i in infos],
    }
    for name, values in facts.items():
        table.add_row(name, *map(escape, values))
    return table
