"""A profile beside calls of the same program, whose buffers it uses."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pyopencl as cl
import pyopencl.array
import pytest

import clconv.onnx
from tests.onnx.models import model, node, numbers


def test_a_profile_waits_for_calls_that_are_not_done() -> None:
    nodes = [node("Conv", "x w", "a", pads=[1, 1, 1, 1]), node("MaxPool", "a", "y", kernel_shape=[2, 2])]
    net = clconv.onnx.load(model(nodes, {"x": ["N", 3, 8, 8]}, ["y"], {"w": numbers(4, 3, 3, 3)}))
    x = numbers(1, 3, 8, 8)
    want = net(x)
    on_device = pyopencl.array.to_device(net.queue, x)
    gate = cl.UserEvent(net.queue.context)
    profile = threading.Thread(target=net.profile, args=(numbers(1, 3, 8, 8, seed=1),))
    try:
        on_device.add_event(gate)
        y = net(on_device)
        profile.start()
        profile.join(0.5)
        assert profile.is_alive()
    finally:
        gate.set_status(cl.command_execution_status.COMPLETE)
    profile.join()
    np.testing.assert_array_equal(y.get(), want)


@pytest.mark.parametrize("rounds", [0, -1, 1.5, "a", None])
def test_rounds_are_a_whole_number(rounds: Any) -> None:
    net = clconv.onnx.load(model([node("Relu", "x", "y")], {"x": [1, 3]}, ["y"]))
    with pytest.raises(clconv.ShapeError, match=f"rounds={rounds!r} measures nothing; use a whole number from 1 on"):
        net.profile(numbers(1, 3), rounds=rounds)
