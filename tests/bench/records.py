"""Made-up results, whose summary can be worked out by hand."""

from __future__ import annotations

from clconv.bench.machine import Level, Machine
from clconv.bench.results import LayerResult, Results, Timing
from clconv.bench.workloads import distinct_layers

MACHINE = Machine(
    "a device", "a platform", "1.0", 2, 200.0, (Level("L1", 65536, 400.0), Level("L2", 2097152, 200.0), Level("memory", float("inf"), 40.0))
)


def results(batch: int = 1, ratio: float = 2.0, networks: tuple[str, ...] = ("mobilenet_v1", "resnext50", "resnet50", "vgg16")) -> Results:
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
            "clconv": {layout: Timing(ms, 1.1 * ms, 30, 1e-7, "some/kernel") for layout in made.layouts},
            "torch": {
                "NCHW": Timing(3 * ratio * ms, 4 * ratio * ms, 30, 1e-7),
                "NCHW packed": Timing(ratio * ms, 1.2 * ratio * ms, 30, 1e-7),
                "NHWC": Timing(ratio * ms, 1.2 * ratio * ms, 30, 1e-7),
            },
            "ncnn": {"NCHW": Timing(0.1 * ms, 0.1 * ms, 30, 1e-3)},  # fast and wrong
            "litert": {"NHWC": Timing(failed="NotImplementedError: no")},
        }
        made.layers[layer.name] = LayerResult(layer, timings)
    return made
