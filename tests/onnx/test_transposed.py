"""ConvTranspose: where its output's size is given or a multiple of its image's; phases and parts; what is fused into it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator
from pyopencl import CommandQueue

import clconv.onnx
from clconv.onnx.lower import transposed as lower
from clconv.onnx.phases import phases_of
from tests.onnx.models import Array, exact, model, node, numbers
from tests.onnx.nodes import BOUND, ELEMENT, guarded
from tests.onnx.test_on_gpus import taken_for_gpu


@pytest.mark.parametrize("padding", [[0, 0], [1, 1], [0, 1]])
@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("given", [{}, {"output_shape": [14, 18]}, {"output_shape": [15, 17]}])
@pytest.mark.parametrize("filt", [3, 4])
def test_output_padding_counts_where_the_size_is_known(filt: int, given: dict[str, Any], mode: str, padding: list[int]) -> None:
    spec = node("ConvTranspose", "x w", "y", auto_pad=mode, strides=[2, 2], output_padding=padding, **given)
    proto = model([spec], {"x": [1, 2, 7, 9]}, ["y"], {"w": numbers(2, 3, filt, filt, seed=1)}, opset=11)
    x = numbers(1, 2, 7, 9)
    outputs: Any = ReferenceEvaluator(proto).run(None, {"x": x})
    want = np.asarray(outputs[0])
    assert want.shape == (1, 3, *given.get("output_shape", [14, 18]))
    y = clconv.onnx.load(proto)(x)
    assert y.shape == want.shape
    np.testing.assert_allclose(y, want, rtol=0, atol=1e-5)


def test_a_size_without_auto_pad_by_hand() -> None:
    """Of 1 2 with a filter 1 1 1 and stride 2 come 1 1 3 2 2; of the one too many, a 0 behind included, the first goes."""
    spec = node("ConvTranspose", "x w", "y", strides=[2], output_padding=[1], output_shape=[5])
    proto = model([spec], {"x": [1, 1, 2]}, ["y"], {"w": np.ones((1, 1, 3), np.float32)}, opset=11)
    y = clconv.onnx.load(proto)(np.array([[[1, 2]]], np.float32))
    np.testing.assert_allclose(y[0, 0], [1, 3, 2, 2, 0], atol=1e-6)


def test_a_size_smaller_than_the_image() -> None:
    spec = node("ConvTranspose", "x w", "y", output_shape=[2])
    proto = model([spec], {"x": [1, 1, 3]}, ["y"], {"w": np.ones((1, 1, 3), np.float32)}, opset=11)
    y = clconv.onnx.load(proto)(np.array([[[1, 2, 3]]], np.float32))  # 1 3 6 5 3 without 2 before and 1 behind
    np.testing.assert_allclose(y[0, 0], [6, 5], atol=1e-6)


Spec = dict[str, Any]

CASES: dict[str, Spec] = {
    "2x2 s2": {"x": (2, 3, 5, 6), "w": (3, 4, 2, 2), "strides": [2, 2]},
    "4x4 s2 p1": {"x": (2, 3, 5, 6), "w": (3, 4, 4, 4), "strides": [2, 2], "pads": [1] * 4},
    "3x3 s2 p1": {"x": (2, 3, 5, 19), "w": (3, 4, 3, 3), "strides": [2, 2], "pads": [1] * 4},
    "3x3 s2 p1 o1": {"x": (1, 4, 6, 5), "w": (4, 3, 3, 3), "strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]},
    "3x3 s2 uneven": {"x": (1, 4, 6, 20), "w": (4, 3, 3, 3), "strides": [2, 2], "pads": [0, 1, 2, 0]},
    "5x3 s3,1": {"x": (1, 2, 4, 7), "w": (2, 3, 5, 3), "strides": [3, 1], "pads": [2, 0, 1, 2]},
    "9x9 s4 p4 o3": {"x": (1, 3, 4, 5), "w": (3, 1, 9, 9), "strides": [4, 4], "pads": [4] * 4, "output_padding": [3, 3]},
    "7x2 s2,4": {"x": (2, 2, 3, 4), "w": (2, 2, 7, 2), "strides": [2, 4], "pads": [3, 0, 2, 1]},
    "smaller than the stride": {"x": (1, 2, 3, 5), "w": (2, 3, 1, 2), "strides": [2, 3], "output_padding": [1, 2]},
    "outputs without taps": {"x": (1, 2, 3, 3), "w": (2, 3, 1, 1), "strides": [4, 3], "output_padding": [3, 2]},
    "no output with taps": {
        "x": (1, 2, 1, 3),
        "w": (2, 3, 1, 3),
        "strides": [4, 1],
        "pads": [1, 0, 0, 0],
        "output_padding": [3, 0],
    },
    "dilated by the stride": {
        "x": (1, 2, 5, 4),
        "w": (2, 3, 3, 3),
        "strides": [2, 2],
        "dilations": [2, 4],
        "pads": [1, 2, 3, 0],
    },
    "dilated otherwise": {"x": (1, 2, 5, 6), "w": (2, 3, 3, 2), "strides": [2, 4], "dilations": [3, 2], "pads": [2, 1, 0, 1]},
    "dilated without a stride": {"x": (2, 2, 5, 6), "w": (2, 3, 3, 2), "dilations": [2, 3], "pads": [1, 0, 4, 2]},
    "cropped beyond the filter": {"x": (1, 2, 7, 6), "w": (2, 3, 3, 2), "strides": [2, 1], "pads": [5, 2, 4, 1]},
    "of one pixel": {"x": (3, 5, 1, 1), "w": (5, 4, 4, 3)},
    "of one pixel, cropped": {"x": (2, 5, 1, 1), "w": (5, 4, 4, 3), "strides": [2, 3], "pads": [1, 1, 1, 0]},
    "of one row": {"x": (2, 3, 1, 6), "w": (3, 4, 2, 4), "strides": [2, 2], "pads": [0, 1, 0, 1]},
    "groups": {"x": (2, 6, 4, 5), "w": (6, 2, 3, 4), "group": 3, "strides": [2, 2], "pads": [1] * 4},
    "depthwise": {"x": (2, 5, 4, 9), "w": (5, 1, 4, 4), "group": 5, "strides": [2, 2], "pads": [1] * 4},
    "depthwise 16x16 s8 p4": {"x": (1, 3, 4, 5), "w": (3, 1, 16, 16), "group": 3, "strides": [8, 8], "pads": [4] * 4},
    "depthwise with a multiplier": {"x": (1, 3, 4, 5), "w": (3, 2, 3, 3), "group": 3, "strides": [3, 2]},
    "signal": {"x": (2, 3, 11), "w": (3, 4, 4), "strides": [2], "pads": [1, 1]},
    "signal s3 in groups": {"x": (2, 4, 7), "w": (4, 2, 5), "group": 2, "strides": [3], "pads": [1, 2], "output_padding": [2]},
    "vectors": {"x": (1, 3, 6, 40), "w": (3, 2, 3, 3), "strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]},
}
"""Shapes of image and filter, and attributes."""


def transposed(x: Array, w: Array, bias: Array, spec: Spec) -> Array:
    """Add each element's filter where it belongs, in float64, and crop."""
    axes = w.ndim - 2
    strides, dilations = (spec.get(name, [1] * axes) for name in ("strides", "dilations"))
    pads, more = spec.get("pads", [0] * 2 * axes), spec.get("output_padding", [0] * axes)
    groups = spec.get("group", 1)
    whole = [
        (s - 1) * st + (k - 1) * d + 1 + m
        for s, st, k, d, m in zip(x.shape[2:], strides, w.shape[2:], dilations, more, strict=True)
    ]
    y = np.zeros((x.shape[0], groups, w.shape[1], *whole))
    images = x.astype(np.float64).reshape(x.shape[0], groups, -1, *x.shape[2:])
    filters: Any = w.astype(np.float64).reshape(groups, -1, *w.shape[1:])
    for tap in np.ndindex(*w.shape[2:]):
        places: Any = [
            slice(k * d, k * d + (s - 1) * st + 1, st) for k, d, s, st in zip(tap, dilations, x.shape[2:], strides, strict=True)
        ]
        y[(..., *places)] += np.einsum("ngi...,gio->ngo...", images, filters[(..., *tap)])
    kept: Any = [slice(before, size - after) for before, after, size in zip(pads[:axes], pads[axes:], whole, strict=True)]
    y = y.reshape(x.shape[0], -1, *whole)[(..., *kept)]
    return np.asarray(y + bias.astype(np.float64).reshape(-1, *(1,) * axes))


def case_deviation(name: str, dtype: str, queue: Any = None) -> float:
    """Run a case with a bias and Relu; the largest deviation as a share of the largest output."""
    spec = CASES[name]
    x, w = (numbers(*spec[key], seed=seed).astype(dtype) for seed, key in enumerate("xw"))
    bias = numbers(w.shape[1] * spec.get("group", 1), seed=2).astype(dtype)
    attributes = {key: value for key, value in spec.items() if key not in ("x", "w")}
    nodes = [node("ConvTranspose", "x w b", "t", **attributes), node("Relu", "t", "y")]
    proto = model(nodes, {"x": [*x.shape]}, ["y"], {"w": w, "b": bias}, dtype=ELEMENT[dtype])
    net = clconv.onnx.load(proto, queue=queue)
    want = np.maximum(transposed(x, w, bias, spec), 0)
    y = guarded(net, {"x": x}, np.empty(want.shape, dtype))
    assert {step.op for step in net.explain().steps} <= {"ConvTranspose + relu", "put phases together", "cut"}
    return float(np.abs(y.astype(np.float64) - want).max() / max(np.abs(want).max(), 1e-3))


@pytest.fixture(params=["whole", "in parts"])
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a convolution more cost a second, or save one."""
    monkeypatch.setattr(lower, "launch_seconds", lambda _: 1.0 if request.param == "whole" else -1.0)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("cut")
def test_in_float32(name: str, queue: CommandQueue) -> None:
    assert case_deviation(name, "float32", queue) < BOUND["float32"]


@pytest.mark.parametrize("name", ["3x3 s2 p1", "vectors", "groups", "9x9 s4 p4 o3", "signal"])
@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.usefixtures("cut")
def test_in_other_types(dtype: str, name: str, queue: CommandQueue) -> None:
    assert case_deviation(name, dtype, queue) < BOUND[dtype]


@pytest.mark.parametrize("name", ["2x2 s2", "3x3 s2 p1", "3x3 s2 uneven", "9x9 s4 p4 o3", "groups", "signal s3 in groups"])
@pytest.mark.usefixtures("cut")
def test_on_gpus(name: str, queue: CommandQueue) -> None:
    with taken_for_gpu(queue):
        assert case_deviation(name, "float32", queue) < BOUND["float32"]


def test_a_bias_that_is_computed() -> None:
    spec: Spec = {"strides": [2, 2]}
    x, w, b = numbers(2, 3, 4, 5), numbers(3, 4, 3, 3, seed=1), numbers(4, seed=2)
    proto = model([node("ConvTranspose", "x w b", "y", **spec)], {"x": [*x.shape], "b": [4]}, ["y"], {"w": w})
    np.testing.assert_allclose(clconv.onnx.load(proto)(x, b), transposed(x, w, b, spec), atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2])
def test_normalisation_behind_it_is_folded(groups: int) -> None:
    x, w, b = numbers(2, 4, 4, 5), numbers(4, 3, 3, 3, seed=1), numbers(3 * groups, seed=2)
    spec: Spec = {"strides": [2, 2], "group": groups, "pads": [0, 1, 1, 0], "output_padding": [1, 1]}
    constants = {name: numbers(3 * groups, seed=i) for i, name in enumerate(("scale", "shift", "mean"), 3)}
    constants["var"] = np.abs(numbers(3 * groups, seed=6)) + 1
    factor = numbers(3 * groups, 1, 1, seed=7)
    nodes = [
        node("ConvTranspose", "x w b", "t", **spec),
        node("BatchNormalization", "t scale shift mean var", "n"),
        node("Mul", "n factor", "y"),
    ]
    proto = model(nodes, {"x": [*x.shape]}, ["y"], {"w": w, "b": b, "factor": factor, **constants})
    net = clconv.onnx.load(proto)
    assert {step.op for step in net.explain().steps} == {"ConvTranspose", "put phases together"}
    scale, shift, mean, var = (value.reshape(-1, 1, 1) for value in constants.values())
    want = factor * ((transposed(x, w, b, spec) - mean) / np.sqrt(var + 1e-5) * scale + shift)
    np.testing.assert_allclose(net(x), want, atol=1e-5)


def test_a_function_that_convolutions_do_not_know_stays_behind_it() -> None:
    x, w = numbers(1, 2, 3, 4), numbers(2, 3, 2, 2, seed=1)
    nodes = [node("ConvTranspose", "x w", "t", strides=[2, 2]), node("Erf", "t", "y")]
    proto = model(nodes, {"x": [*x.shape]}, ["y"], {"w": w})
    np.testing.assert_allclose(clconv.onnx.load(proto)(x), exact(proto, {"x": x})[0], atol=1e-5)


@pytest.mark.parametrize(
    ("facts", "count", "places", "window"),
    [
        ((8, 16, 2, 2, 1, 0), 2, 8, 1),
        ((8, 16, 4, 2, 1, 1), 2, 9, 2),  # 8 places would need 3 taps
        ((8, 16, 3, 2, 1, 1), 2, 8, 2),
        ((8, 64, 16, 8, 1, 4), 8, 9, 2),
        ((8, 10, 3, 1, 1, 0), 1, 10, 3),
        ((1, 4, 4, 1, 1, 0), 4, 1, 1),
        ((5, 9, 3, 2, 2, 2), 2, 5, 3),
    ],
)
def test_the_least_work(facts: tuple[int, ...], count: int, places: int, window: int) -> None:
    phases = phases_of(*facts)
    assert (phases.count, phases.places, len(phases.taps[0])) == (count, places, window)


def test_every_tap_is_in_one_part() -> None:
    phases = phases_of(8, 16, 3, 2, 1, 1)
    assert [part.taps for part in phases.parts()] == [((1,),), ((2, 0),)]
    assert phases_of(8, 16, 4, 2, 1, 1).parts() == (phases_of(8, 16, 4, 2, 1, 1),)  # both need two


def test_axes_at_random() -> None:
    """With whole numbers, without a device: the phases, and their parts, are the transposed convolution."""
    random = np.random.default_rng(0)
    for _ in range(1000):
        size, out, taps, stride, dilation = (int(random.integers(1, most + 1)) for most in (7, 20, 6, 5, 4))
        cut = int(random.integers(-2, 8))
        x, w = random.integers(-9, 10, size), np.append(random.integers(-9, 10, taps), 0)  # and no tap
        want = np.zeros(out, int)
        for i, k in np.ndindex(size, taps):
            o = i * stride + k * dilation - cut
            if 0 <= o < out:
                want[o] += x[i] * w[k]
        phases = phases_of(size, out, taps, stride, dilation, cut)
        for parts in ((phases,), phases.parts()):
            y: list[Any] = []
            for part in parts:
                before, after = part.reads(size)
                read = np.pad(x, (max(0, before), max(0, after)))[max(0, -before) :]
                windows = [read[t * part.step :][: part.places] for t in range(len(part.taps[0]))]
                y += [np.dot(w[list(taps)], windows) for taps in part.taps]
            np.testing.assert_array_equal(np.stack(y, 1).reshape(-1)[phases.begin :][:out], want)
