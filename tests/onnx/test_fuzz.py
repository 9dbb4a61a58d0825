"""Random networks: whatever the passes make of one, it computes what ONNX's reference does."""

from __future__ import annotations

import numpy as np
import onnx
import pyopencl as cl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import clconv.onnx
from clconv.onnx import gates, layout, separable
from tests.onnx.grammar import networks
from tests.onnx.models import exact

BOUND = 1e-4
"""Largest deviation as a share of the largest element of an output, or of 1, as large as numbers in these networks are."""


def check(proto: onnx.ModelProto, batch: int, queue: cl.CommandQueue, *, fused: bool) -> None:
    """Compare every output of a network with that of the reference in float64.

    Where ``fused``, images are stored in N H W C, depthwise and pointwise convolutions become one step, and filters are weighed
    in place of images, wherever they can, not where it is faster alone.
    """
    size = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim][1:]
    x = np.random.default_rng(batch).uniform(-1, 1, (batch, *size)).astype(np.float32)
    want = exact(proto, {"x": x})
    with pytest.MonkeyPatch.context() as patch:
        if fused:
            patch.setattr(layout, "_gain", lambda *_: 1.0)
            patch.setattr(separable, "launch_seconds", lambda _: 1.0)
            patch.setattr(gates, "STEP", 0)
            patch.setattr(gates, "TIMES", 0)
        found = clconv.onnx.load(proto, queue=queue)(x)
    outputs = found if isinstance(found, tuple) else (found,)
    for port, y, exact_y in zip(proto.graph.output, outputs, want, strict=True):
        assert y.shape == exact_y.shape, onnx.printer.to_text(proto)
        assert y.dtype == np.float32
        wrong = np.abs(y - exact_y).max() / max(np.abs(exact_y).max(), 1)
        assert wrong <= BOUND, f"{port.name} is wrong by {wrong} of {onnx.printer.to_text(proto)}"


fuzz = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@settings(max_examples=40, derandomize=True, **fuzz)  # type: ignore[arg-type]  # a dict of mixed options
@given(proto=networks(), batch=st.integers(1, 2), fused=st.booleans())
def test_random_networks(proto: onnx.ModelProto, batch: int, fused: bool, queue: cl.CommandQueue) -> None:
    check(proto, batch, queue, fused=fused)


@pytest.mark.slow
@settings(max_examples=1000, **fuzz)  # type: ignore[arg-type]  # a dict of mixed options
@given(proto=networks(), batch=st.integers(1, 3), fused=st.booleans())
def test_many_random_networks(proto: onnx.ModelProto, batch: int, fused: bool, queue: cl.CommandQueue) -> None:
    check(proto, batch, queue, fused=fused)
