"""What networks wait for on queues that keep no order."""

from __future__ import annotations

import numpy as np
import pyopencl as cl
import pyopencl.array as cla

import clconv.onnx
from clconv import networks
from tests.gates import closed, give_time, is_pending, late, loose
from tests.onnx.models import model, node, numbers


def test_the_same_numbers_on_an_out_of_order_queue() -> None:
    queue = loose(clconv.default_queue())
    proto = networks.mobilenet_v1(size=32, classes=10, width=0.25)
    x = numbers(1, 3, 32, 32)
    net, want = clconv.onnx.load(proto, queue=queue), clconv.onnx.load(proto)(x)
    np.testing.assert_array_equal(net(x), want)
    behind = cla.to_device(queue, np.concatenate([np.full(1, np.nan, np.float32), x.ravel()]))[1:].reshape(x.shape)
    np.testing.assert_array_equal(net(behind).get(), want)  # an offset that no sub-buffer can have


def test_a_network_waits_for_its_input_and_for_the_call_before(queue: cl.CommandQueue) -> None:
    other = loose(queue)
    nodes = [node("Conv", f"c{i} w{i}", f"c{i + 1}", pads=[1] * 4) for i in range(3)]
    constants = {f"w{i}": numbers(8, 8, 3, 3, seed=i, scale=0.2) for i in range(3)}
    net = clconv.onnx.load(model(nodes, {"c0": [1, 8, 12, 12]}, ["c3"], constants), queue=other)
    x, ready = numbers(1, 8, 12, 12), cla.to_device(other, numbers(1, 8, 12, 12, seed=5))
    wants = [net(x), net(ready.get(other))]
    with closed(queue) as gate:
        results = [net(late(gate, x, queue)), net(ready)]
        give_time(other)
        for y in results:
            assert [is_pending(event) for event in y.events] == [True]
    for y, want in zip(results, wants, strict=True):
        np.testing.assert_array_equal(y.get(other), want)
