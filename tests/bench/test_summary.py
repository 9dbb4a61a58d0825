from __future__ import annotations

import dataclasses

import pytest

from clconv.bench.machine import Level, Machine, cache_bytes
from clconv.bench.results import Results
from clconv.bench.roofline import least_seconds, peak_share, real_flops, share
from clconv.bench.summary import CLASSES, Row, class_of, network_sum, summarize
from clconv.bench.workloads import conv, distinct_layers
from tests.bench.records import MACHINE, results


def _row(made: Results, start: str) -> Row:
    (row,) = [r for r in summarize(made) if r.title.startswith(start)]
    return row


def test_every_layer_belongs_to_exactly_one_class() -> None:
    for layer in distinct_layers():
        assert sum(c.contains(layer.problem) for c in CLASSES) == 1, layer.name


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("cv3x3s1_64_64_56", "3x3 stride 1, dense"),
        ("cv3x3s1_512_512_14", "3x3 stride 1, dense"),
        ("cv3x3s1_512_512_7", "other dense"),
        ("cv3x3s1_3_64_224", "other dense"),
        ("cv3x3s2_128_128_56", "other dense"),
        ("cv7x7s2_3_64_224", "other dense"),
        ("g32_3x3s1_128_128_56", "grouped 3x3, 4"),
        ("g32_3x3s1_256_256_28", "grouped 3x3, 8"),
        ("g32_3x3s2_1024_1024_14", "grouped 3x3, 8"),
        ("g32_3x3s1_1024_1024_7", "grouped 3x3, 16 and 32"),
        ("dw3x3s2_64_64_112", "depthwise"),
        ("pw1x1s2_256_512_56", "pointwise"),
    ],
)
def test_classes_of_known_layers(name: str, title: str) -> None:
    (layer,) = distinct_layers(only=[name])
    found = class_of(layer.problem)
    assert found is not None
    assert found.title.startswith(title)


def test_worst_mean_and_sums_by_hand() -> None:
    made = results(ratio=2.0)
    slow = made.layers["dw3x3s1_512_512_14"]
    for one in slow.timings["clconv"]["NCHW"].rounds:
        one[0] *= 8  # ratio 2 becomes 1/4
    row = _row(made, "depthwise")
    assert row.cells["NCHW"].value == pytest.approx(0.25)
    assert row.cells["NCHW"].detail == "dw3x3s1_512_512_14"
    assert row.cells["NCHW"].reached is False
    assert row.cells["NHWC"].value == pytest.approx(2.0)
    assert row.cells["NHWC"].reached is True
    assert _row(made, "worst single layer").cells["NCHW"].value == pytest.approx(0.25)
    layers = len(made.layers)
    assert _row(made, "geometric mean").cells["NCHW"].value == pytest.approx(2.0 * 8 ** (-1 / layers))
    # In VGG-16, which has no depthwise layer, nothing changed; MobileNet V1 contains the layer five times.
    assert _row(made, "sum over VGG-16, against torch").cells["NCHW"].value == pytest.approx(2.0)
    total = sum(r.layer.problem.flops * dict(r.layer.counts).get("mobilenet_v1", 0) for r in made.layers.values()) / 1e8
    extra = 5 * 7 * slow.layer.problem.flops / 1e8
    assert _row(made, "sum over MobileNet V1, against torch").cells["NCHW"].value == pytest.approx(2 * total / (total + extra))


def test_targets_are_those_of_batch_one_and_ease_for_larger_batches() -> None:
    one, eight = results(1), results(8)
    assert _row(one, "grouped 3x3, 4").cells["NCHW"].target == 1.8
    assert _row(one, "grouped 3x3, 4").cells["NHWC"].target == 1.6
    assert _row(one, "sum over ResNet-50, against torch").cells["NCHW"].target == 1.15
    assert _row(eight, "grouped 3x3, 4").cells["NCHW"].target == 0.9
    assert _row(eight, "geometric mean").cells["NCHW"].target is None


def test_a_function_has_no_targets() -> None:
    made = dataclasses.replace(results(), function=True)
    assert all(cell.target is None for row in summarize(made) for cell in row.cells.values())


def test_an_incomplete_network_has_no_sum() -> None:
    made = results(networks=("vgg16",))
    assert network_sum(made, "vgg16", "torch", "NCHW") is not None
    assert network_sum(made, "resnet50", "torch", "NCHW") is None
    assert network_sum(made, "vgg16", "ncnn", "NCHW") is None  # never right
    del made.layers["cv3x3s1_3_64_224"]
    assert network_sum(made, "vgg16", "torch", "NCHW") is None
    assert not [r for r in summarize(made) if r.title.startswith("sum over")]


def test_without_peers_only_the_peak_is_judged() -> None:
    made = results()
    for r in made.layers.values():
        r.timings = {"clconv": r.timings["clconv"]}
    titles = [r.title for r in summarize(made) if r.cells["NCHW"].value is not None]
    assert titles == ["pointwise, share of the multiply-add peak from 128 channels on"]
    # 100 GFLOP/s on a machine of 200
    assert _row(made, "pointwise, share").cells["NCHW"].value == pytest.approx(0.5)


def test_taps_on_padding_are_no_work() -> None:
    p = conv(2, 3, 5, 3)  # 3 x 3 image, 3 x 3 filter: 2 + 3 + 2 taps along each axis
    assert real_flops(p) == 2 * 5 * 2 * 7 * 7
    assert real_flops(conv(2, 3, 5, 1)) == conv(2, 3, 5, 1).flops


def test_the_roofline_is_the_slower_of_computing_and_moving() -> None:
    small, large = conv(8, 7, 8, 1), conv(8, 224, 8, 1)
    assert least_seconds(small, MACHINE) == max(small.flops / 200e9, small.bytes / 400e9)
    assert least_seconds(large, MACHINE) == large.bytes / 40e9 > large.flops / 200e9
    busy = conv(512, 14, 512, 1)
    assert least_seconds(busy, MACHINE) == busy.flops / 200e9
    assert share(busy, MACHINE, busy.flops / 200e9 * 2e3) == pytest.approx(0.5)
    assert peak_share(busy, MACHINE, busy.flops / 200e9 * 1e3) == pytest.approx(1.0)


def test_of_two_measurements_of_a_machine_the_faster_numbers_stay() -> None:
    again = Machine("a device", "a platform", "1.0", 2, 190.0, (Level("L1", 65536, 500.0), *MACHINE.levels[1:]))
    again = dataclasses.replace(again, call_us=6.0)
    joined = again.faster(MACHINE)
    assert joined.call_us == 6.0
    assert joined.gflops == 200.0
    assert [level.gb_s for level in joined.levels] == [500.0, 200.0, 40.0]
    assert Machine.of(joined.record()) == joined
    assert MACHINE.faster(None) is MACHINE


def test_caches_are_ordered() -> None:
    sizes = cache_bytes()
    assert 1024 <= sizes["L1"] < sizes["L2"] < sizes["L3"]
