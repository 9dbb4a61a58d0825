"""The table in the README, between markers, written by the command and never by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from clconv.bench.peers import OURS
from clconv.bench.results import LayerResult, Results
from clconv.bench.roofline import share
from clconv.bench.summary import Cell, summarize
from clconv.bench.table import describe, ms
from clconv.errors import ClconvError
from clconv.files import write_whole


def write(path: Path, results: Results) -> None:
    """Put the table of layers where a file has a place for it.

    Raises
    ------
    ClconvError
        If it has none.
    """
    replace(path, "bench", markdown(results))


def replace(path: Path, name: str, content: str) -> None:
    """Replace what stands between the markers of this name in a file.

    Raises
    ------
    ClconvError
        If the file cannot be read or written, or lacks the markers.
    """
    before, after = place(path, name)
    write_whole(path, f"{before}\n{content}{after}")


def place(path: Path, name: str) -> tuple[str, str]:
    """Return what stands before and behind the place for a table, with the markers; for checks before a measurement, too.

    Raises
    ------
    ClconvError
        If the file cannot be read or lacks the markers.
    """
    first, last = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    try:
        before, begin, rest = path.read_text(encoding="utf-8").partition(first)
    except (OSError, UnicodeDecodeError) as error:
        raise ClconvError(f"{path} cannot be read as text ({error}); name a text file with --readme") from error
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ClconvError(f"{path} has no place for the table; put the lines {first} and {last} where it belongs")
    return before + begin, end + after


def markdown(results: Results) -> str:
    """Return the summary, and the layers folded away, in GitHub's Markdown."""
    layouts = results.layouts
    text = "Best other library's time divided by ours (above 1 we are faster), the least of each class, and its target:\n\n"
    head = ["layers", "n", *(cell for lay in layouts for cell in (lay, "target"))]
    rows = []
    for row in summarize(results):
        cells = [row.cells.get(lay, Cell()) for lay in layouts]
        rows.append([row.title, str(row.layers), *(text for cell in cells for text in (_ratio(cell), _target(cell)))])
    text += _table(head, rows)
    for line in describe(results).splitlines():
        text += f"\n{line}  "
    for layout in layouts:
        text += f"\n\n<details><summary>Every layer in {layout}, least milliseconds</summary>\n\n"
        text += _table(*_layers(results, layout)) + "\n</details>"
    return text + "\n"


def _layers(results: Results, layout: str) -> tuple[list[str], list[list[str]]]:
    peers = [p for p in results.peers if any(r.of(p, layout) for r in results.layers.values())]
    head = ["layer", "ms", "GFLOP/s", "roofline", "algorithm", "ratio", *peers]
    return head, [_layer(results, r, layout, peers) for r in results.layers.values()]


def _layer(results: Results, r: LayerResult, layout: str, peers: Iterable[str]) -> list[str]:
    p, ours, ratio = r.layer.problem, r.of(OURS.name, layout), r.ratio(layout)
    speed = f"{p.flops / ours.min_ms / 1e6:.0f}" if ours else "-"
    roofline = f"{share(p, results.machine, ours.min_ms):.0%}" if ours and results.machine else "-"
    theirs = [r.of(peer, layout) for peer in peers]
    return [
        f"`{r.layer.name}`",
        ms(ours.min_ms) if ours else "-",
        speed,
        roofline,
        ours.note if ours else "-",
        f"{ratio:.2f}" if ratio else "-",
        *(ms(t.min_ms) if t else "-" for t in theirs),
    ]


def _ratio(cell: Cell) -> str:
    if cell.value is None:
        return ""
    return f"**{cell.value:.2f}**" if cell.reached else f"{cell.value:.2f}"


def _target(cell: Cell) -> str:
    return "" if cell.target is None else f"{cell.target:g}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
