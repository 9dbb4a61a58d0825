"""MobileNet V2's blocks in one kernel: what is fused, and that it computes the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from pyopencl import CommandQueue

from clconv.onnx import inverted, layout
from clconv.onnx.inverted import fuse_inverted
from tests.onnx.fused import deviation, left
from tests.onnx.models import model, node, numbers
from tests.onnx.nodes import BOUND, SPLIT_BOUND


def block(
    x: tuple[int, int, int, int],
    wide: int,
    oc: int,
    *,
    side: int = 3,
    stride: int = 1,
    dilation: int = 1,
    pads: list[int] | None = None,
    act: str = "Clip",
    biases: bool = True,
    residual: bool = False,
) -> onnx.ModelProto:
    """A pointwise, a depthwise and a pointwise convolution, the first two with activations, and perhaps a residual."""
    ic = x[1]
    constants = {
        "expand": numbers(wide, ic, 1, 1, seed=1, scale=0.5),
        "lift": numbers(wide, seed=2, scale=0.3),
        "taps": numbers(wide, 1, side, side, seed=3, scale=0.3),
        "shift": numbers(wide, seed=4, scale=0.3),
        "w": numbers(oc, wide, 1, 1, seed=5, scale=0.3),
        "bias": numbers(oc, seed=6),
        "low": np.array(-0.25, np.float32),
        "high": np.array(0.5, np.float32),
    }
    if not biases:
        constants = {name: value for name, value in constants.items() if name not in ("lift", "shift", "bias")}
    own = [f" {name}" if biases else "" for name in ("lift", "shift", "bias")]
    pads = pads or [dilation * (side // 2)] * 4
    window: dict[str, Any] = {"pads": pads, "strides": [stride] * 2, "dilations": [dilation] * 2, "group": wide}
    e, d = ("e0", "d0") if act else ("e", "d")
    limits = " low high" if act == "Clip" else ""
    nodes = [
        node("Conv", f"x expand{own[0]}", e),
        node("Conv", f"e taps{own[1]}", d, **window),
        node("Conv", f"d w{own[2]}", "p" if residual else "y"),
    ]
    if act:
        nodes[2:2] = [node(act, f"{d}{limits}", "d")]
        nodes[1:1] = [node(act, f"{e}{limits}", "e")]
    if residual:
        nodes.append(node("Add", "p x", "y"))
    return model(nodes, {"x": list(x)}, ["y"], constants)


def bound_of(form: object) -> float:
    """Largest deviation that a form may have."""
    return SPLIT_BOUND if form is inverted.matrix_form else BOUND["float32"]


def models() -> dict[str, onnx.ModelProto]:
    """Models by what is special about them."""
    blocks = {
        "residual": block((2, 24, 7, 9), 96, 24, residual=True),
        "tails": block((2, 5, 6, 11), 19, 37),
        "stride 2": block((1, 8, 9, 15), 33, 18, stride=2, act="Relu"),
        "stride 2, even, padding at the end": block((1, 8, 12, 14), 40, 16, stride=2, pads=[0, 0, 1, 1]),
        "dilation 2": block((1, 8, 9, 12), 32, 17, dilation=2),
        "5x5": block((1, 6, 13, 9), 35, 12, side=5),
        "5x5, stride 2": block((1, 6, 13, 9), 35, 12, side=5, stride=2),
        "one pixel": block((1, 16, 1, 1), 40, 40),
        "one row": block((1, 4, 1, 29), 16, 4),
        "without biases": block((1, 16, 7, 7), 64, 32, biases=False),
        "without clamps": block((1, 8, 7, 7), 24, 8, act=""),
    }
    return {f"inverted residual, {name}": proto for name, proto in blocks.items()}


def kernel_of(form: object) -> str:
    """Name of a form's kernel."""
    return "network/block_matrix" if form is inverted.matrix_form else "network/inverted_residual"


@pytest.mark.parametrize("form", inverted.FORMS)
@pytest.mark.parametrize("name", models())
def test_the_same_as_apart(name: str, form: Any, cpu_queue: CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_gain", lambda *_: 1.0)
    monkeypatch.setattr(inverted, "FORMS", (form,))
    assert deviation(models()[name], kernel_of(form), cpu_queue) < bound_of(form)


def test_fused_where_it_is_faster() -> None:
    proto = block((1, 8, 14, 14), 32, 8, residual=True)
    assert left(proto, fuse_inverted, 1.0) == ["InvertedResidual"]
    assert left(proto, fuse_inverted, -1.0) == ["Conv", "Conv", "Conv"]


@pytest.mark.parametrize("change", [{"act": "HardSwish"}, {"stride": 4}], ids=str)
def test_what_the_kernel_does_not_serve_stays_apart(change: dict[str, Any]) -> None:
    assert left(block((1, 8, 14, 14), 32, 8, **change), fuse_inverted, 1.0).count("Conv") == 3


def test_rows_too_large_for_the_local_memory_stay_apart() -> None:
    assert left(block((1, 8, 14, 112), 256, 8), fuse_inverted, 1.0).count("Conv") == 3


@pytest.mark.parametrize("value", ["e", "d"])
def test_a_value_between_that_is_read_twice_stays(value: str) -> None:
    proto = block((1, 16, 14, 14), 16, 16)
    nodes = [*proto.graph.node, node("Add", f"y {value}", "z")]
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    assert left(model(nodes, {"x": [1, 16, 14, 14]}, ["z"], constants), fuse_inverted, 1.0).count("Conv") == 3
