"""Judgement: classes of layers with the ratio that each is to reach, means, and sums over networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from clconv.bench.peers import OURS
from clconv.bench.results import LayerResult, Results
from clconv.bench.roofline import peak_share
from clconv.bench.workloads import NETWORKS, TITLES
from clconv.problem import ConvProblem

LAYOUTS = ("NCHW", "NHWC")


def _winograd_class(p: ConvProblem) -> bool:
    """3x3 stride 1, dense, 14 x 14 and larger, 64 channels and more."""
    return (
        p.kind == "standard"
        and (p.KH, p.KW) == (3, 3)
        and p.stride == (1, 1)
        and min(p.OH, p.OW) >= 14
        and min(p.IC, p.OC) >= 64
    )


def _grouped(p: ConvProblem) -> bool:
    return p.kind == "grouped" and (p.KH, p.KW) == (3, 3)


@dataclass(frozen=True)
class Class:
    """Layers of one sort, and the least ratio that each is to reach at batch 1, by layout."""

    title: str
    contains: Callable[[ConvProblem], bool]
    targets: dict[str, float]


CLASSES = (
    Class(
        "3x3 stride 1, dense, 14 x 14 and larger, 64 channels and more",
        _winograd_class,
        {"NCHW": 1.0, "NHWC": 1.0},
    ),
    Class(
        "other dense: 3x3 stride 2, 512 channels at 7 x 7, the stems",
        lambda p: p.kind == "standard" and not _winograd_class(p),
        {"NCHW": 0.97, "NHWC": 0.97},
    ),
    Class(
        "grouped 3x3, 4 channels a group",
        lambda p: _grouped(p) and p.ICG == 4 and p.stride == (1, 1),
        {"NCHW": 1.8, "NHWC": 1.6},
    ),
    Class(
        "grouped 3x3, 8 channels a group, and stride 2",
        lambda p: _grouped(p) and (p.ICG == 8 or p.stride != (1, 1)),
        {"NCHW": 1.3, "NHWC": 1.1},
    ),
    Class(
        "grouped 3x3, 16 and 32 channels a group",
        lambda p: _grouped(p) and p.ICG in (16, 32) and p.stride == (1, 1),
        {"NCHW": 1.0, "NHWC": 1.0},
    ),
    Class(
        "depthwise 3x3, stride 1 and 2",
        lambda p: p.kind == "depthwise",
        {"NCHW": 1.4, "NHWC": 1.15},
    ),
    Class(
        "pointwise",
        lambda p: p.kind == "pointwise",
        {"NCHW": 1.03, "NHWC": 0.97},
    ),
)
MEAN_TARGETS = {"NCHW": 1.2, "NHWC": 1.1}
WORST_TARGETS = {"NCHW": 0.93, "NHWC": 0.93}
PEAK_TARGET = 0.95
NETWORK_TARGETS = {"mobilenet_v1": 1.05, "resnext50": 1.05, "resnet50": 1.15, "vgg16": 1.0}
BATCH_WORST_TARGET = 0.9
"""For larger batches: no layer below this, and nothing else is asked."""


def class_of(problem: ConvProblem) -> Class | None:
    """Return the class of a layer."""
    return next((c for c in CLASSES if c.contains(problem)), None)


@dataclass(frozen=True)
class Cell:
    """A number with the least value that it should have; None where nothing is measured, or asked."""

    value: float | None = None
    target: float | None = None
    detail: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None if there is no number or no target."""
        if self.value is None or self.target is None:
            return None
        return self.value >= self.target


@dataclass(frozen=True)
class Row:
    """A line of the summary: a title, how many layers it covers, and a cell per layout."""

    title: str
    layers: int
    cells: dict[str, Cell]


def summarize(results: Results) -> list[Row]:
    """Return the rows: classes, the peak of pointwise, the geometric mean, the worst layer, the networks."""
    first, rest = results.single, None if results.function else BATCH_WORST_TARGET
    layers = list(results.layers.values())
    rows = []
    for c in CLASSES:
        members = [r for r in layers if class_of(r.layer.problem) is c]
        if members:
            cells = {lay: _worst(members, lay, c.targets[lay] if first else rest) for lay in results.layouts}
            rows.append(Row(c.title, len(members), cells))
        if c.title == "pointwise" and members:
            rows += _peak_row(results, members)
    if any(r.ratio(lay) for r in layers for lay in results.layouts):
        mean = {lay: _mean(layers, lay, MEAN_TARGETS[lay] if first else None) for lay in results.layouts}
        rows.append(Row("geometric mean over all distinct layers", len(layers), mean))
        target = WORST_TARGETS if first else dict.fromkeys(LAYOUTS, rest)
        rows.append(Row("worst single layer", len(layers), {lay: _worst(layers, lay, target[lay]) for lay in results.layouts}))
    return rows + _network_rows(results)


def _ratios(members: Iterable[LayerResult], layout: str) -> list[tuple[float, str]]:
    return [(ratio, r.layer.name) for r in members if (ratio := r.ratio(layout)) is not None]


def _worst(members: Iterable[LayerResult], layout: str, target: float | None) -> Cell:
    ratios = _ratios(members, layout)
    if not ratios:
        return Cell(target=target)
    value, name = min(ratios)
    return Cell(value, target, name)


def _mean(members: Iterable[LayerResult], layout: str, target: float | None) -> Cell:
    ratios = _ratios(members, layout)
    if not ratios:
        return Cell(target=target)
    return Cell(math.exp(sum(math.log(r) for r, _ in ratios) / len(ratios)), target)


def _peak_row(results: Results, members: Iterable[LayerResult]) -> list[Row]:
    """Return the least share of the multiply-add peak over pointwise layers with 128 channels and more."""
    if results.machine is None:
        return []
    wide = [r for r in members if min(r.layer.problem.IC, r.layer.problem.OC) >= 128]
    cells = {}
    for layout in results.layouts:
        shares = [
            (peak_share(r.layer.problem, results.machine, t.min_ms), r.layer.name)
            for r in wide
            if (t := r.of(OURS.name, layout)) is not None
        ]
        target = PEAK_TARGET if layout == "NCHW" and results.single else None
        cells[layout] = Cell(*min(shares)[:1], target, min(shares)[1]) if shares else Cell(target=target)
    return [Row("pointwise, share of the multiply-add peak from 128 channels on", len(wide), cells)] if wide else []


def network_sum(results: Results, network: str, peer: str, layout: str) -> float | None:
    """Return the milliseconds of all convolutions of a network, one after another; None unless each was measured."""
    total, complete = 0.0, 0
    for r in results.layers.values():
        count = dict(r.layer.counts).get(network, 0)
        if count:
            timing = r.of(peer, layout)
            if timing is None:
                return None
            total += count * timing.min_ms
            complete += count
    expected = sum(1 for _ in NETWORKS[network](results.batch))
    return total if complete == expected else None


def _network_rows(results: Results) -> list[Row]:
    rows = []
    for network, title in TITLES.items():
        for peer in results.peers:
            cells = {}
            for layout in results.layouts:
                ours = network_sum(results, network, OURS.name, layout)
                theirs = network_sum(results, network, peer, layout)
                if ours and theirs:
                    target = NETWORK_TARGETS[network] if layout == "NCHW" and results.single else None
                    cells[layout] = Cell(theirs / ours, target, f"{theirs:.2f} / {ours:.2f} ms")
            if cells:
                layers = sum(1 for r in results.layers.values() if dict(r.layer.counts).get(network))
                rows.append(Row(f"sum over {title}, against {peer}", layers, cells))
    return rows
