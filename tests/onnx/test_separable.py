"""Depthwise and pointwise convolutions in one kernel: what is fused, and that it computes the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from pyopencl import CommandQueue

import clconv.onnx
from clconv.device import DeviceInfo
from clconv.notation import parse
from clconv.onnx import layout, separable
from clconv.onnx.bands import mean_of_bands
from clconv.onnx.separable import fuse_separable
from clconv.problem import ConvProblem
from tests.onnx.fused import deviation, left
from tests.onnx.models import exact, model, node, numbers
from tests.onnx.nodes import BOUND, SPLIT_BOUND

SHAPES = {
    "7x7": (1, 32, 7, 7, 16),
    "tails": (2, 19, 6, 11, 37),
    "narrow": (1, 8, 5, 3, 5),
    "one pixel": (1, 16, 1, 1, 40),
    "rows of two tiles": (1, 16, 9, 20, 33),
    "halves of vectors": (2, 64, 4, 9, 70),
    "halves, few pixels": (1, 32, 3, 2, 129),
}
"""Batch, input channels, height, width, output channels."""


def pair(
    shape: tuple[int, int, int, int, int],
    *,
    stride: int = 1,
    dilation: int = 1,
    act: str = "Clip",
    residual: bool = False,
    last: str = "Relu",
) -> onnx.ModelProto:
    """A depthwise 3x3 with an activation, a pointwise convolution, and perhaps the addition of a third one."""
    n, ic, h, w, oc = shape
    constants = {
        "taps": numbers(ic, 1, 3, 3, seed=1, scale=0.3),
        "shift": numbers(ic, seed=2, scale=0.3),
        "w": numbers(oc, ic, 1, 1, seed=3, scale=0.3),
        "bias": numbers(oc, seed=4),
        "low": np.array(-0.25, np.float32),
        "high": np.array(0.5, np.float32),
    }
    window: dict[str, Any] = {"pads": [dilation] * 4, "strides": [stride] * 2, "dilations": [dilation] * 2, "group": ic}
    nodes = [
        node("Conv", "x taps shift", "d", **window),
        node(act, "d low high" if act == "Clip" else "d", "a"),
        node("Conv", "a w bias", "p"),
    ]
    if residual:
        constants["w2"] = numbers(oc, ic, 1, 1, seed=5, scale=0.3)
        nodes += [node("Conv", "x w2", "r", strides=[stride] * 2), node("Add", "p r", "s"), node("Relu", "s", "y")]
    else:
        nodes.append(node(last, "p", "y"))
    return model(nodes, {"x": [n, ic, h, w]}, ["y"], constants)


def pointwise_part(proto: onnx.ModelProto) -> ConvProblem:
    """The pointwise part of a model, with one row of pixels."""
    w = next(t for t in proto.graph.initializer if t.name == "w")
    oc, ic = w.dims[:2]
    return parse(f"1x1 {ic}->{oc} @1x7 nhwc")


def serves(form: separable.Form, proto: onnx.ModelProto, device: DeviceInfo) -> bool:
    """Whether a form covers a model on a device."""
    return form is not separable.strassen_form or separable._strassen(pointwise_part(proto), device, 1) is not None


def kernel_of(form: separable.Form) -> str:
    """Name of a form's kernel."""
    return "network/block_matrix" if form is separable.matrix_form else "network/separable"


def bound_of(form: object) -> float:
    """Largest deviation that a form may have."""
    return SPLIT_BOUND if form is separable.matrix_form else BOUND["float32"]


def models() -> dict[str, onnx.ModelProto]:
    """Models by what is special about them."""
    made = {f"separable {name}": pair(shape, residual=name == "tails") for name, shape in SHAPES.items()}
    made["separable stride 2"] = pair((1, 16, 9, 15, 18), stride=2, act="Relu")
    made["separable dilation 2"] = pair((1, 8, 9, 12, 17), dilation=2)
    return made


@pytest.mark.parametrize("form", separable.FORMS)
@pytest.mark.parametrize("name", models())
def test_the_same_as_apart(name: str, form: Any, cpu_queue: CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    proto = models()[name]
    if not serves(form, proto, DeviceInfo.of(cpu_queue.device)):
        pytest.skip("the channels are no halves of whole vectors")
    monkeypatch.setattr(layout, "_gain", lambda *_: 1.0)
    monkeypatch.setattr(separable, "FORMS", (form,))
    assert deviation(proto, kernel_of(form), cpu_queue) < bound_of(form)


def test_a_last_activation_that_takes_shorter_vectors(queue: CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A built-in function of vectors cannot have AVX-512, for which the taps of the first part are packed: they stay apart."""
    monkeypatch.setattr(layout, "_gain", lambda *_: 1.0)
    monkeypatch.setattr(separable, "launch_seconds", lambda _: 1.0)
    proto = pair((1, 32, 14, 14, 64), last="Sigmoid")
    x = numbers(1, 32, 14, 14, seed=7)
    want = exact(proto, {"x": x})[0]
    assert np.abs(clconv.onnx.load(proto, queue=queue)(x) - want).max() < SPLIT_BOUND


def test_both_forms_are_chosen() -> None:
    """The product of halves for many channels, the direct one for few."""
    info = DeviceInfo("made up", "Portable Computing Language", unaligned_vectors=True, avx512=True, local_mem_bytes=1 << 20)
    chosen = []
    for channels in (512, 16):
        first = parse(f"3x3 {channels}->{channels} @14 depthwise bias relu nhwc")
        plan = separable.plan_separable(first, parse(f"1x1 {channels}->{channels} @14 bias relu nhwc"), info)
        assert plan is not None
        chosen.append(dict(plan.launch.macros)["STRASSEN"])
    assert chosen == [1, 0]


@pytest.mark.parametrize("bands", [1, 2, 3, 5, 9])
def test_any_number_of_bands(bands: int, cpu_queue: CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine rows in bands whose heights differ by one row: no row is left out, and local memory holds the highest."""
    monkeypatch.setattr(layout, "_gain", lambda *_: 1.0)
    monkeypatch.setattr(separable, "_bands", lambda *_: [bands])
    for form in (separable.direct_form, separable.strassen_form):
        monkeypatch.setattr(separable, "FORMS", (form,))
        proto = pair((2, 64, 9, 15, 70))
        assert deviation(proto, "network/separable", cpu_queue) < bound_of(form)


def test_bands_of_the_busiest_unit() -> None:
    """Fourteen rows for two units: in four bands, or in six, each has seven."""
    assert mean_of_bands(14, 2, 2, 2, float) == 7
    assert mean_of_bands(14, 4, 4, 2, float) == 3.5
    assert mean_of_bands(14, 6, 6, 2, lambda rows: 3.0 * rows) == 7
    assert mean_of_bands(7, 2, 2, 2, float) == 4  # one unit has the higher band
    assert mean_of_bands(7, 3, 3, 2, float) == 2.5  # 3 and 2 rows
    assert mean_of_bands(7, 2, 16, 2, float) == 3.5  # eight images


def test_fused_where_it_is_faster() -> None:
    proto = pair((1, 32, 14, 14, 64))
    assert left(proto, fuse_separable, 1.0) == ["Separable"]
    assert left(proto, fuse_separable, -1.0) == ["Conv", "Conv"]


def test_only_in_channels_last() -> None:
    assert left(pair((1, 32, 14, 14, 64)), fuse_separable, 1.0, last=2.0) == ["Conv", "Conv"]


def test_an_activation_that_is_no_clamp_stays_apart() -> None:
    assert left(pair((1, 32, 14, 14, 64), act="HardSwish"), fuse_separable, 1.0) == ["Conv", "Conv"]


def test_a_depthwise_result_that_is_read_twice_stays() -> None:
    constants = {"taps": numbers(8, 1, 3, 3), "w": numbers(8, 8, 1, 1)}
    nodes = [
        node("Conv", "x taps", "d", pads=[1] * 4, group=8),
        node("Conv", "d w", "p"),
        node("Add", "p d", "y"),
    ]
    proto = model(nodes, {"x": [1, 8, 9, 9]}, ["y"], constants)
    assert left(proto, fuse_separable, 1.0) == ["Conv", "Conv"]


def test_a_depthwise_part_with_a_residual_stays_apart() -> None:
    constants = {"taps": numbers(8, 1, 3, 3), "w": numbers(8, 8, 1, 1)}
    nodes = [
        node("Conv", "x taps", "d", pads=[1] * 4, group=8),
        node("Add", "d x", "s"),
        node("Relu", "s", "r"),
        node("Conv", "r w", "y"),
    ]
    assert left(model(nodes, {"x": [1, 8, 9, 9]}, ["y"], constants), fuse_separable, 1.0) == ["Conv", "Conv"]


def test_a_step_more_costs_less_where_threads_go_on_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    device = DeviceInfo("made up", "Portable Computing Language")
    costs = []
    for answer in (True, False):
        monkeypatch.setattr(separable, "helps", lambda _, answer=answer: answer)
        costs.append(separable.launch_seconds(device))
    assert costs[0] < costs[1]
