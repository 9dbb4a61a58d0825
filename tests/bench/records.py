"""Made-up results, whose summary can be worked out by hand."""

from __future__ import annotations

from clconv.bench.machine import Level, Machine
from clconv.bench.results import LayerResult, Results, Timing
from clconv.bench.sweep import Point, distinct
from clconv.bench.workloads import distinct_layers

LEVELS = (Level("L1", 65536, 400.0), Level("L2", 2097152, 200.0), Level("memory", float("inf"), 40.0))
MACHINE = Machine("a device", "a platform", "1.0", 2, 200.0, LEVELS, 7.0)


def _timing(ms: float, error: float = 1e-7, note: str = "") -> Timing:
    """Return two rounds, the least of which is ``ms``."""
    return Timing([[ms, 1.1 * ms, 30], [1.01 * ms, 1.3 * ms, 20]], error, note)


def results(
    batch: int = 1, ratio: float = 2.0, networks: tuple[str, ...] = ("mobilenet_v1", "resnext50", "resnet50", "vgg16")
) -> Results:
    """Return results in which we take 1 ms for every GFLOP/100 and the best peer ``ratio`` times as long."""
    made = Results(
        batch=batch,
        threads=2,
        layouts=("NCHW", "NHWC"),
        rounds=3,
        seconds=0.1,
        date="2026-01-31",
        versions={"clconv": "1.2", "torch": "3.4"},
        machine=MACHINE,
    )
    for layer in distinct_layers(networks, batch):
        ms = layer.problem.flops / 1e8
        timings = {
            "clconv": {layout: _timing(ms, note="some/kernel") for layout in made.layouts},
            "torch": {"NCHW": _timing(3 * ratio * ms), "NCHW packed": _timing(ratio * ms), "NHWC": _timing(ratio * ms)},
            "ncnn": {"NCHW": _timing(0.1 * ms, error=1e-3)},  # fast and wrong
            "litert": {"NHWC": Timing(failed="NotImplementedError: no")},
        }
        made.layers[layer.name] = LayerResult(layer, timings)
    return made


def sweep_results(lines: dict[str, list[Point]]) -> Results:
    """Return results of a sweep in which every layer runs at 100 GFLOP/s."""
    made = results(networks=())
    for layer in distinct(lines):
        ms = layer.problem.flops / 1e8
        made.layers[layer.name] = LayerResult(layer, {"clconv": {layout: _timing(ms) for layout in made.layouts}})
    return made
