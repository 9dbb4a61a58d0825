"""Pictures: the ratio of every layer, by class, and the curves of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clconv.bench.results import Results
from clconv.bench.summary import CLASSES, class_of
from clconv.errors import ClconvError

if TYPE_CHECKING:
    from clconv.bench.sweep import Point


TICKS = (0.1, 0.2, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise ClconvError("a picture needs matplotlib, which is not installed; run: pip install matplotlib") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise ClconvError(f"the picture cannot be written to {path} ({error}); name another file with --picture") from error


def draw_ratios(results: Results, path: Path) -> None:
    """Draw one bar per layer and layout: the best peer's time over ours, on a logarithmic axis around 1.

    Raises
    ------
    ClconvError
        If matplotlib is missing, no layer has a ratio, or the picture cannot be written.
    """
    order = {id(c): i for i, c in enumerate(CLASSES)}
    layers = [r for r in results.layers.values() if any(r.ratio(lay) for lay in results.layouts)]
    if not layers:
        raise ClconvError("there is no ratio to draw; measure against at least one other library")
    layers.sort(key=lambda r: order.get(id(class_of(r.layer.problem)), len(order)))
    plt = _pyplot()
    figure, axes = plt.subplots(
        1, len(results.layouts), figsize=(5.5 * len(results.layouts) + 2, 0.19 * len(layers) + 1.6), sharey=True, squeeze=False
    )
    colours = [f"C{order.get(id(class_of(r.layer.problem)), len(order))}" for r in layers]
    for axis, layout in zip(axes[0], results.layouts, strict=True):
        ratios = [r.ratio(layout) for r in layers]
        widths = [ratio - 1 if ratio else 0 for ratio in ratios]
        axis.barh(range(len(layers)), widths, left=1, color=colours, height=0.8)
        for y, (r, ratio) in enumerate(zip(layers, ratios, strict=True)):
            best = r.best_peer(layout)
            if ratio and best:
                axis.annotate(
                    f" {ratio:.2f} {best[0]} ",
                    (ratio, y),
                    ha="left" if ratio >= 1 else "right",
                    va="center",
                    fontsize=6,
                )
        axis.axvline(1, color="black", linewidth=0.8)
        known = [ratio for ratio in ratios if ratio] or [1.0]
        low, high = min(0.7, min(known) * 0.6), max(1.5, max(known) * 1.7)
        axis.set_xscale("log")
        axis.set_xticks([t for t in TICKS if low < t < high], [f"{t:g}" for t in TICKS if low < t < high])
        axis.set_xticks([], minor=True)
        axis.set_xlim(low, high)
        axis.set_title(f"{layout}: best other library's time / clconv's")
        axis.grid(axis="x", alpha=0.3)
    axes[0][0].set_yticks(range(len(layers)), [r.layer.name for r in layers], fontsize=6.5)
    axes[0][0].set_ylim(len(layers) - 0.4, -0.6)
    device = results.machine.device if results.machine else "unknown device"
    figure.supxlabel(f"{device}, {results.threads} threads, batch {results.batch}, {results.date}", fontsize=8)
    figure.tight_layout()
    _save(figure, path)
    plt.close(figure)


def draw_sweep(series: Mapping[str, Sequence[Point]], layouts: Sequence[str], path: Path) -> None:
    """Draw GFLOP/s along each series of a sweep; points that fall off a cliff get a red ring.

    Raises
    ------
    ClconvError
        If matplotlib is missing, or the picture cannot be written.
    """
    plt = _pyplot()
    columns = 3
    rows = -(-len(series) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.6 * columns, 2.9 * rows), squeeze=False)
    for axis in axes.flat[len(series) :]:
        axis.remove()
    for axis, (title, points) in zip(axes.flat, series.items(), strict=False):
        for layout in layouts:
            known = [(i, p.gflops(layout)) for i, p in enumerate(points) if layout in p.ms]
            if known:
                axis.plot(*zip(*known, strict=True), marker=".", label=layout)
            off = [(i, p.gflops(layout)) for i, p in enumerate(points) if layout in p.flags]
            if off:
                axis.plot(*zip(*off, strict=True), "o", markersize=10, markerfacecolor="none", color="red")
        axis.set_xticks(range(len(points)), [p.label for p in points], fontsize=6, rotation=45)
        axis.set_ylim(bottom=0)
        axis.set_title(title, fontsize=9)
        axis.set_ylabel("GFLOP/s", fontsize=8)
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    _save(figure, path)
    plt.close(figure)
