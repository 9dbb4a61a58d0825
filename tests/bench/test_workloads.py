from __future__ import annotations

import itertools

import pytest

from clconv import ShapeError
from clconv.bench.workloads import NETWORKS, TITLES, conv, distinct_layers, layer_name

# Weights without biases, batch normalisation and fully connected layers, from the published totals:
# torchvision ResNet-50 25557032 - 53120 - 2049000, ResNeXt-50 25028904 - 68224 - 2049000, VGG-16 features 14714688 - 4224,
# Keras MobileNet 3228864 - 43776 (without top). Multiply-adds as the papers round them.
PUBLISHED = {
    "mobilenet_v1": (27, 3185088, 0.57),
    "resnext50": (53, 22911680, 4.2),
    "resnet50": (53, 23454912, 4.1),
    "vgg16": (13, 14710464, 15.3),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_has_the_published_size(network: str) -> None:
    problems = list(NETWORKS[network](1))
    layers, parameters, giga_multiply_adds = PUBLISHED[network]
    assert len(problems) == layers
    assert sum(p.parameters for p in problems) == parameters
    assert sum(p.flops for p in problems) / 2e9 == pytest.approx(giga_multiply_adds, rel=0.02)


@pytest.mark.parametrize("network", NETWORKS)
def test_counts_add_up_and_names_are_distinct(network: str) -> None:
    layers = distinct_layers([network])
    assert sum(dict(layer.counts)[network] for layer in layers) == PUBLISHED[network][0]
    assert len({layer.name for layer in layers}) == len(layers)


def test_networks_share_layers() -> None:
    together, alone = distinct_layers(), [distinct_layers([n]) for n in NETWORKS]
    assert len({layer.name for layer in together}) == len(together) < sum(map(len, alone))
    stem = next(layer for layer in together if layer.name == "cv7x7s2_3_64_224")
    assert dict(stem.counts) == {"resnext50": 1, "resnet50": 1}


def test_each_layer_fits_the_one_before() -> None:
    for network in ("mobilenet_v1", "vgg16"):
        problems = list(NETWORKS[network](1))
        for before, after in itertools.pairwise(problems):
            assert after.IC == before.OC
            assert after.IH in (before.OH, before.OH // 2)  # a pool may stand between


def test_only_and_batch() -> None:
    layers = distinct_layers(batch=8, only=["g32_", "dw"])
    assert layers
    assert {layer.problem.kind for layer in layers} == {"grouped", "depthwise"}
    assert {layer.problem.N for layer in layers} == {8}


def test_the_other_layout_is_the_same_convolution() -> None:
    for layer in distinct_layers():
        a, b = layer.problem_in("NCHW"), layer.problem_in("NHWC")
        assert (a.flops, a.bytes, a.parameters, a.kind, a.padding) == (b.flops, b.bytes, b.parameters, b.kind, b.padding)
        assert b.output_shape == (a.N, a.OH, a.OW, a.OC)


def test_names_tell_everything_that_differs() -> None:
    assert layer_name(conv(64, 56, 64, 3)) == "cv3x3s1_64_64_56"
    assert layer_name(conv(128, 56, 128, 3, 2, 32)) == "g32_3x3s2_128_128_56"
    assert layer_name(conv(32, 28, 32, 5, 1, 32, dilation=2)) == "dw5x5s1d2_32_32_28"
    assert layer_name(conv(8, 7, 16, 1)) == "pw1x1s1_8_16_7"


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ShapeError, match="'lenet' is unknown; use some of mobilenet_v1"):
        distinct_layers(["lenet"])
    assert set(TITLES) == set(NETWORKS)
