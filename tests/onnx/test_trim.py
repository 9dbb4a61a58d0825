"""Filters that are shortened to the taps which meet the image."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import clconv.onnx
from clconv.onnx.graph import Graph
from clconv.onnx.infer import specialise
from clconv.onnx.read import graph_of
from clconv.onnx.trim import trim_filters
from tests.onnx.models import exact, model, node, numbers


def trimmed(shape: tuple[int, ...], filt: tuple[int, ...], **attributes: Any) -> Graph:
    proto = model([node("Conv", "x w", "y", **attributes)], {"x": list(shape)}, ["y"], {"w": numbers(*filt)})
    return trim_filters(specialise(graph_of(proto), {"x": shape}))


def taps(graph: Graph) -> tuple[int, ...]:
    (conv,) = graph.nodes
    return graph.constants[conv.inputs[1]].shape[2:]


@pytest.mark.parametrize(
    ("size", "filt", "attributes", "left"),
    [
        ((14, 14), (3, 3), {"dilations": [24, 24], "pads": [24] * 4}, (1, 1)),
        ((14, 14), (3, 3), {"dilations": [12, 12], "pads": [12] * 4}, (3, 3)),
        ((14, 30), (3, 3), {"dilations": [24, 24], "pads": [24] * 4}, (1, 3)),
        ((1, 1), (3, 3), {"strides": [2, 2], "pads": [1] * 4}, (1, 1)),
        ((1, 2), (5, 5), {"pads": [2] * 4}, (1, 3)),
        ((1, 1), (3, 3), {"auto_pad": "SAME_UPPER"}, (1, 1)),
        ((2, 2), (2, 2), {}, (2, 2)),
        ((7, 7), (3, 3), {"pads": [1] * 4}, (3, 3)),
        ((3,), (9,), {"pads": [4, 4]}, (5,)),
    ],
)
def test_taps_that_are_left(size: tuple[int, ...], filt: tuple[int, ...], attributes: Any, left: tuple[int, ...]) -> None:
    graph = trimmed((1, 2, *size), (2, 2, *filt), **attributes)
    assert taps(graph) == left
    assert bool(graph.notes) == (left != filt)


def test_every_small_row() -> None:
    """Rows of 1 to 3 pixels under filters of up to 5 taps: the middle taps of the filter, and the same outputs."""
    fewer = 0
    for size, count, stride, dilation, front, back in itertools.product(
        (1, 2, 3), (2, 3, 5), (1, 2, 3), (1, 3), (0, 2, 5), (0, 3)
    ):
        if size + front + back < (count - 1) * dilation + 1:
            continue
        attributes: dict[str, Any] = {"strides": [1, stride], "dilations": [1, dilation], "pads": [0, front, 0, back]}
        proto = model([node("Conv", "x w", "y", **attributes)], {"x": [1, 1, 2, size]}, ["y"], {"w": numbers(1, 1, 1, count)})
        feeds = {"x": numbers(1, 1, 2, size, seed=1)}
        graph = trim_filters(specialise(graph_of(proto), {"x": (1, 1, 2, size)}))
        (conv,) = graph.nodes
        kept = {a: conv.get(a, attributes.get(a)) for a in ("strides", "dilations", "pads")}
        again = model([node("Conv", "x w", "y", **kept)], {"x": [1, 1, 2, size]}, ["y"], {"w": graph.constants[conv.inputs[1]]})
        fewer += taps(graph)[1] < count
        for y, want in zip(exact(again, feeds), exact(proto, feeds), strict=True):
            np.testing.assert_allclose(y, want, rtol=0, atol=1e-6)
    assert fewer >= 50


@pytest.mark.parametrize("groups", [1, 2])
def test_a_network_of_two_sizes(groups: int) -> None:
    """Each size of image has a filter of its own, and both are right."""
    conv = node("Conv", "x w b", "y", dilations=[9, 9], pads=[9] * 4, group=groups)
    constants = {"w": numbers(6, 4 // groups, 3, 3, seed=1), "b": numbers(6)}
    proto = model([conv], {"x": ["N", 4, "H", "W"]}, ["y"], constants)
    net = clconv.onnx.load(proto)
    for shape in ((1, 4, 7, 7), (2, 4, 12, 5), (1, 4, 20, 20), (1, 4, 7, 7)):
        x = numbers(*shape, seed=2)
        (want,) = exact(proto, {"x": x})
        np.testing.assert_allclose(net(x), want, rtol=0, atol=2e-5 * np.abs(want).max())
    assert "trim filters: 8 taps" in str(net.explain((1, 4, 7, 7)))
    assert "trim filters" not in str(net.explain((1, 4, 20, 20)))
