"""The table of whole networks: in the terminal with rich, and in Markdown for a README."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from clconv.bench.peers import OURS
from clconv.bench.summary import Cell
from clconv.bench.table import describe, ms, ratio_text
from clconv.bench.whole_results import TARGETS, NetworkResults, failures
from clconv.bench.workloads import TITLES

_TITLES = {
    **TITLES,
    "vgg16": "VGG-16, convolutions",
    "mobilenet_v2": "MobileNet V2",
    "shufflenet_v2": "ShuffleNet V2",
}


def cell_of(results: NetworkResults, network: str, batch: int) -> Cell:
    """Return the ratio of a network at a batch size with its target."""
    return Cell(results.ratio(network, batch), TARGETS.get((network, batch)))


def time_of(results: NetworkResults, network: str, batch: int, library: str) -> str:
    """Write a library's least milliseconds, ``-`` if there are none that count."""
    timing = results.of(network, batch, library)
    return ms(timing.min_ms) if timing is not None and timing.counts else "-"


def memory_of(results: NetworkResults, network: str, batch: int) -> str:
    """Write the peak of the process's memory in MiB, ours / ONNX Runtime's; ``-`` where one is not known."""
    timings = [results.of(network, batch, name) for name in (OURS.name, "onnxruntime")]
    return " / ".join("-" if t is None or not t.peak_mib else f"{t.peak_mib:.0f}" for t in timings)


def network_table(results: NetworkResults) -> Table:
    """Return least milliseconds, a row per network and batch, a column per library."""
    table = Table(title="forward pass, least milliseconds", title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
    table.add_column("network", no_wrap=True)
    others = [name for name in results.libraries if name != OURS.name]
    heads = ("batch", OURS.name, "median", *(("ratio", "target") if others else ()), *others, "peak MiB")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for network, batch in results.cases:
        ours = results.of(network, batch, OURS.name)
        median = ms(ours.median_ms) if ours is not None and ours.counts else "-"
        cells: list[str | Text] = [str(batch), time_of(results, network, batch, OURS.name), median]
        if others:
            cell = cell_of(results, network, batch)
            cells += [ratio_text(cell), "" if cell.target is None else f"{cell.target:g}"]
        times = [time_of(results, network, batch, name) for name in others]
        table.add_row(_TITLES[network], *cells, *times, memory_of(results, network, batch))
    return table


def report(results: NetworkResults) -> Group:
    """Return everything for a terminal."""
    parts: list[Text | Table] = [Text(describe(results), style="dim"), network_table(results)]
    parts.append(Text("peak MiB: memory of a process that loads and runs it, ours / ONNX Runtime's", style="dim"))
    if len(results.libraries) > 1:
        parts.append(Text("ratio: the best other library's time / ours; - is not measured, or does not count:", style="dim"))
    return Group(*parts, *(Text(f"  {line}", style="dim") for line in failures(results.timings)))


def markdown(results: NetworkResults) -> str:
    """Return the table in GitHub's Markdown, with the machine, the versions and the day below it."""
    others = [name for name in results.libraries if name != OURS.name]
    lines = [["forward pass, ms", "batch", OURS.name, "ratio", "target", *others, "peak MiB, ours / onnxruntime"]]
    lines.append(["---", *["---:"] * (len(lines[0]) - 1)])
    for network, batch in results.cases:
        cell = cell_of(results, network, batch)
        ratio = "" if cell.value is None else f"**{cell.value:.2f}**" if cell.reached else f"{cell.value:.2f}"
        target = "" if cell.target is None else f"{cell.target:g}"
        times = [time_of(results, network, batch, name) for name in (OURS.name, *others)]
        lines.append([_TITLES[network], str(batch), times[0], ratio, target, *times[1:], memory_of(results, network, batch)])
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return text + "".join(f"\n{line}  " for line in describe(results).splitlines()) + "\n"
