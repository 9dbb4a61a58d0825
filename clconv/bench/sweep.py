"""A search for cliffs: our own speed along channels, groups, filters, strides, dilations and image sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from rich.table import Table

from clconv.bench.peers import OURS
from clconv.bench.results import Results
from clconv.bench.roofline import share
from clconv.bench.table import ms
from clconv.bench.workloads import Layer, conv, layer_name
from clconv.problem import ConvProblem

CLIFF = 1.5
"""A point is flagged when it takes more than this many times its nicest neighbour's time per operation.

What an empty kernel takes is added to the allowance: a convolution of a few microseconds is mostly call.
"""

IMAGES = (7, 8, 10, 13, 14, 16, 20, 27, 28, 32, 48, 55, 56, 57, 64, 96, 112, 150, 224)
CHANNELS = (8, 12, 16, 24, 31, 32, 48, 63, 64, 65, 96, 128, 192, 256, 384, 512)


@dataclass(frozen=True)
class Point:
    """A point of a series: what is varied, the layer, and after the run milliseconds and complaints by layout."""

    label: str
    layer: Layer
    ms: dict[str, float] = field(default_factory=dict)
    flags: dict[str, str] = field(default_factory=dict)

    def gflops(self, layout: str) -> float:
        """Return the speed, counting a direct convolution."""
        return self.layer.problem.flops / self.ms[layout] / 1e6


def _points(pairs: Iterable[tuple[object, ConvProblem]]) -> list[Point]:
    return [Point(str(label), Layer(layer_name(p), p)) for label, p in pairs]


def series(batch: int = 1) -> dict[str, list[Point]]:
    """Return the series by title. Neighbours in a list are neighbours for the search."""

    def c(ic: int, image: int, oc: int, k: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> ConvProblem:
        return conv(ic, image, oc, k, stride, groups, batch, dilation)

    return {
        "channels, dense 3x3 at 28": _points((n, c(n, 28, n, 3)) for n in CHANNELS),
        "channels, pointwise at 28": _points((n, c(n, 28, n, 1)) for n in CHANNELS),
        "channels, depthwise 3x3 at 28": _points((n, c(n, 28, n, 3, groups=n)) for n in CHANNELS),
        "channels a group, 32 groups 3x3 at 14": _points(
            (n, c(32 * n, 14, 32 * n, 3, groups=32)) for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
        ),
        "output channels, 64 in, dense 3x3 at 28": _points(
            (n, c(64, 28, n, 3)) for n in (1, 2, 4, 7, 8, 10, 16, 21, 32, 64, 100, 128)
        ),
        "groups, 128 channels, 3x3 at 28": _points((g, c(128, 28, 128, 3, groups=g)) for g in (1, 2, 4, 8, 16, 32, 64, 128)),
        "groups, 96 channels, 3x3 at 28": _points((g, c(96, 28, 96, 3, groups=g)) for g in (1, 2, 3, 6, 12, 24, 32, 48, 96)),
        "filter, dense 64 channels at 28": _points((k, c(64, 28, 64, k)) for k in range(1, 8)),
        "filter, 16 groups of 4 at 28": _points((k, c(64, 28, 64, k, groups=16)) for k in range(1, 8)),
        "filter, depthwise 64 channels at 56": _points((k, c(64, 56, 64, k, groups=64)) for k in range(1, 8)),
        "stride, dense 3x3, 64 channels at 56": _points((s, c(64, 56, 64, 3, s)) for s in (1, 2, 3, 4)),
        "stride, pointwise, 128 channels at 56": _points((s, c(128, 56, 128, 1, s)) for s in (1, 2, 3, 4)),
        "stride, depthwise 3x3, 128 channels at 56": _points((s, c(128, 56, 128, 3, s, 128)) for s in (1, 2, 3, 4)),
        "stride, 32 groups of 4, 3x3 at 56": _points((s, c(128, 56, 128, 3, s, 32)) for s in (1, 2, 3, 4)),
        "dilation, dense 3x3, 64 channels at 56": _points((d, c(64, 56, 64, 3, dilation=d)) for d in (1, 2, 3, 4, 8)),
        "dilation, depthwise 3x3, 64 channels at 56": _points(
            (d, c(64, 56, 64, 3, groups=64, dilation=d)) for d in (1, 2, 3, 4, 8)
        ),
        "dilation, 16 groups of 4, 3x3 at 56": _points((d, c(64, 56, 64, 3, groups=16, dilation=d)) for d in (1, 2, 3, 4, 8)),
        "image, dense 3x3, 64 channels": _points((n, c(64, n, 64, 3)) for n in IMAGES),
        "image, pointwise, 64 channels": _points((n, c(64, n, 64, 1)) for n in IMAGES),
        "image, depthwise 3x3, 64 channels": _points((n, c(64, n, 64, 3, groups=64)) for n in IMAGES),
        "image, 16 groups of 4, 3x3": _points((n, c(64, n, 64, 3, groups=16)) for n in IMAGES),
    }


def distinct(lines: dict[str, list[Point]], only: Iterable[str] = ()) -> Iterator[Layer]:
    """Yield each layer of the series once, for some belong to two; those whose name contains one of ``only``."""
    wanted, seen = tuple(only), set()
    for point in (p for points in lines.values() for p in points):
        name = point.layer.name
        if name not in seen and (not wanted or any(part in name for part in wanted)):
            seen.add(name)
            yield point.layer


def judge(lines: dict[str, list[Point]], results: Results) -> dict[str, list[Point]]:
    """Return the measured points with their times; cliffs, and grouped slower than dense, are flagged."""
    judged = {}
    allowance = results.machine.call_us / 1e3 if results.machine else 0.0
    times = {p.layer.name: _times(p, results) for points in lines.values() for p in points if p.layer.name in results.layers}
    every = [replace(p, ms=times[p.layer.name]) for points in lines.values() for p in points if p.layer.name in times]
    for title, points in lines.items():
        measured = [replace(p, ms=times[p.layer.name], flags={}) for p in points if p.layer.name in times]
        for layout in results.layouts:
            known = [p for p in measured if layout in p.ms]
            _flag_cliffs(known, layout, allowance)
            _flag_groups(known, every, layout, allowance)
        if measured:
            judged[title] = measured
    return judged


def _times(point: Point, results: Results) -> dict[str, float]:
    timings = {layout: results.layers[point.layer.name].of(OURS.name, layout) for layout in results.layouts}
    return {layout: t.min_ms for layout, t in timings.items() if t}


def _flag_cliffs(points: list[Point], layout: str, allowance: float) -> None:
    for i, point in enumerate(points):
        around = [q.gflops(layout) for q in points[max(i - 1, 0) : i] + points[i + 1 : i + 2]]
        if around:
            neighbourly = point.layer.problem.flops / max(around) / 1e6
            if point.ms[layout] > CLIFF * neighbourly + allowance:
                point.flags[layout] = f"{point.ms[layout] / neighbourly:.1f}x its neighbour's time per FLOP"


def _flag_groups(points: list[Point], every: list[Point], layout: str, allowance: float) -> None:
    """Compare grouped points with a dense one of the same channels, filter and image, in whatever series."""

    def size(p: ConvProblem) -> tuple[object, ...]:
        return (p.x_shape, p.OC, p.KH, p.KW, p.stride, p.dilation)

    dense = {size(q.layer.problem): q.ms[layout] for q in every if q.layer.problem.G == 1 and layout in q.ms}
    for point in points:
        p = point.layer.problem
        if p.G > 1 and size(p) in dense and point.ms[layout] > dense[size(p)] + allowance:
            point.flags[layout] = f"slower than dense by {point.ms[layout] / dense[size(p)]:.2f}"


def tables(lines: dict[str, list[Point]], results: Results) -> Iterator[Table]:
    """Yield a table per series: speed, share of the roofline, and what is wrong."""
    for title, points in lines.items():
        table = Table(title=title, title_justify="left", pad_edge=False, box=None)
        table.add_column("layer", no_wrap=True)
        for layout in results.layouts:
            table.add_column(f"{layout} ms", justify="right")
            table.add_column("GFLOP/s", justify="right")
            table.add_column("roofline", justify="right")
            table.add_column("", style="red", no_wrap=True)
        for point in points:
            table.add_row(point.layer.name, *(cell for lay in results.layouts for cell in _cells(point, lay, results)))
        yield table


def _cells(point: Point, layout: str, results: Results) -> tuple[str, str, str, str]:
    if layout not in point.ms:
        return ("-", "-", "-", "")
    time = point.ms[layout]
    roofline = f"{share(point.layer.problem, results.machine, time):.0%}" if results.machine else "-"
    return (ms(time), f"{point.gflops(layout):.1f}", roofline, point.flags.get(layout, ""))


def count_flags(lines: dict[str, list[Point]]) -> tuple[int, int]:
    """Return how many point-and-layout pairs are flagged, and how many were measured."""
    everything = [p for points in lines.values() for p in points]
    return sum(len(p.flags) for p in everything), sum(len(p.ms) for p in everything)
