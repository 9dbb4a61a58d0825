"""The tables: in the terminal with rich, and in Markdown for a README."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from clconv.bench.peers import OURS, layout_of
from clconv.bench.results import LayerResult, Results, Timing
from clconv.bench.roofline import share
from clconv.bench.summary import Cell, Row, class_of, summarize
from clconv.bench.whole_results import NetworkResults

WIDE = 150
"""Columns from which on a terminal shows every library's times."""


def describe(results: Results | NetworkResults) -> str:
    """Say on which device, with which versions, on which day."""
    m = results.machine
    lines = []
    if m is not None:
        lines.append(f"{m.device}, {m.platform} {m.driver}, {results.threads} threads, batch {results.batch}")
        speeds = ", ".join(f"{level.name} {level.gb_s:.0f}" for level in m.levels)
        lines.append(f"limits measured in this run: {m.gflops:.0f} GFLOP/s multiply-add, copies at {speeds} GB/s,")
        lines[-1] += f" an empty kernel {m.call_us:.0f} us"
        if m.caller_us:
            lines[-1] += f", {m.caller_us:.1f} us in the thread that calls"
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    lines.append(f"{versions}; {results.date}")
    if isinstance(results, Results) and results.function:
        lines.append("each call was given its filter")
    return "\n".join(lines)


def layer_table(results: Results, layout: str, wide: bool = True) -> Table:
    """Return the layers in one layout: our milliseconds and speed, the best peer, and, if wide, every library's time."""
    peers = [p for p in results.peers if any(r.of(p, layout) for r in results.layers.values())]
    table = Table(title=f"{layout}, least milliseconds", title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
    table.add_column("layer", no_wrap=True)
    for head in ("MFLOP", "ms", "median", "GFLOP/s", "roofline"):
        table.add_column(head, justify="right", no_wrap=True)
    if peers:
        table.add_column("best peer", no_wrap=True)
        table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("algorithm", no_wrap=True)
    for peer in peers if wide else ():
        table.add_column(peer, justify="right", no_wrap=True)
    for r in results.layers.values():
        table.add_row(*list(_layer_cells(results, r, layout, peers))[: len(table.columns)])
    return table


def _layer_cells(results: Results, r: LayerResult, layout: str, peers: list[str]) -> Iterator[str | Text]:
    p, ours = r.layer.problem, r.of(OURS.name, layout)
    yield r.layer.name
    yield f"{p.flops / 1e6:.1f}"
    if ours is None:
        yield from ("-", "-", "-", "-")
    else:
        yield ms(ours.min_ms)
        yield ms(ours.median_ms)
        yield f"{p.flops / ours.min_ms / 1e6:.0f}"
        yield f"{share(p, results.machine, ours.min_ms):.0%}" if results.machine else "-"
    if peers:
        best, ratio = r.best_peer(layout), r.ratio(layout)
        wanted = class_of(p)
        yield f"{best[0]} {ms(best[1].min_ms)}" if best else "-"
        yield ratio_text(Cell(ratio, wanted.targets[layout] if wanted and results.single else None))
    variants = [t for v, t in r.timings.get(OURS.name, {}).items() if layout_of(v) == layout]
    yield Text("; ").join(_note(t, len(variants) > 1) for t in sorted(variants, key=lambda t: t.min_ms))
    for peer in peers:
        theirs = r.of(peer, layout)
        yield ms(theirs.min_ms) if theirs else "-"


def _note(timing: Timing, several: bool) -> Text:
    """Write the algorithm that ran, with its time where there were several, and what is wrong with it in red."""
    if timing.failed:
        return Text(timing.failed, style="red")
    if not timing.counts:
        return Text(f"{timing.note} WRONG by {timing.error:.1e}", style="bold red")
    return Text(f"{timing.note} {ms(timing.min_ms)}" if several else timing.note, style="dim")


def ms(value: float) -> str:
    """Write milliseconds with three digits or so."""
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def ratio_text(cell: Cell) -> Text:
    """Write a ratio, green where it reaches its target and red where not."""
    if cell.value is None:
        return Text("-")
    style = {True: "green", False: "red", None: ""}[cell.reached]
    return Text(f"{cell.value:.2f}", style=style)


def summary_table(rows: list[Row], layouts: tuple[str, ...], wide: bool = True) -> Table:
    """Return the summary: the least ratio of each class beside its target, and, if wide, where it is."""
    table = Table(title="best peer's time / ours", title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
    table.add_column("layers")
    table.add_column("n", justify="right")
    for layout in layouts:
        table.add_column(layout, justify="right", no_wrap=True)
        table.add_column("target", justify="right")
        if wide:
            table.add_column("at", style="dim", no_wrap=True)
    for row in rows:
        cells: list[str | Text] = [row.title, str(row.layers)]
        for layout in layouts:
            cell = row.cells.get(layout, Cell())
            cells += [ratio_text(cell), f"{cell.target:g}" if cell.target is not None else "", *([cell.detail] if wide else [])]
        table.add_row(*cells)
    return table


def failures(results: Results) -> Table | None:
    """Return what does not count: results that are off, and layers that a library does not take."""
    seen: dict[tuple[str, str, str], list[str]] = {}
    for r in results.layers.values():
        for peer, variants in r.timings.items():
            for variant, t in variants.items():
                if not t.counts:
                    why = t.failed or f"off by {t.error:.0e} of the largest output"
                    seen.setdefault((peer, variant, why), []).append(r.layer.name)
    if not seen:
        return None
    table = Table(title="does not count", title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
    for head in ("library", "variant", "why", "layers"):
        table.add_column(head)
    for (peer, variant, why), names in seen.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        table.add_row(peer, variant, why, ", ".join(names[:3]) + more)
    return table


def report(results: Results, width: int) -> Group:
    """Return everything for a terminal of this many columns."""
    parts: list[Text | Table] = [Text(describe(results), style="dim")]
    parts += [layer_table(results, layout, width >= WIDE) for layout in results.layouts]
    rows = summarize(results)
    if results.peers and rows:
        parts.append(summary_table(rows, results.layouts, width >= WIDE))
    wrong = failures(results)
    return Group(*parts, *([wrong] if wrong else []))
