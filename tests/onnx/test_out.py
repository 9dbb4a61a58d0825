"""Arrays that a caller passes for a network's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pyopencl as cl
import pyopencl.array as cla
import pytest

import clconv.onnx
from tests.gates import closed, give_time, is_pending, late, loose
from tests.onnx.models import model, node, numbers

X = numbers(2, 8, 12, 12)


def network(queue: cl.CommandQueue) -> clconv.onnx.Network:
    nodes = [node("Conv", "x w", "c", pads=[1] * 4), node("Relu", "c", "y"), node("MaxPool", "y", "z", kernel_shape=[2, 2])]
    proto = model(nodes, {"x": [1, 8, 12, 12]}, ["y", "z"], {"w": numbers(8, 8, 3, 3, seed=1, scale=0.2)})
    return clconv.onnx.load(proto, queue=queue)


def test_results_are_written_where_the_caller_says(queue: cl.CommandQueue) -> None:
    net = network(queue)
    wants = net(X)
    host = [np.full_like(want, np.nan) for want in wants]
    assert all(a is b for a, b in zip(net(X, out=host), host, strict=True))
    x = cla.to_device(queue, X)
    device = [cla.to_device(queue, np.full_like(want, np.nan)) for want in wants]
    assert all(a is b for a, b in zip(net(x, out=device), device, strict=True))
    for want, a, b in zip(wants, host, device, strict=True):
        np.testing.assert_array_equal(a, want)
        np.testing.assert_array_equal(b.get(), want)


def test_an_offset_that_no_part_of_a_buffer_can_have(queue: cl.CommandQueue) -> None:
    net = network(queue)
    wants = net(X)
    x = cla.to_device(queue, X)
    whole = [cla.to_device(queue, np.full(want.size + 2, np.nan, np.float32)) for want in wants]
    net(x, out=[w[1:-1].reshape(want.shape) for w, want in zip(whole, wants, strict=True)])
    for w, want in zip(whole, wants, strict=True):
        queue.finish()
        np.testing.assert_array_equal(w.get()[1:-1].reshape(want.shape), want)
        assert np.isnan(w.get()[[0, -1]]).all()


def test_a_call_waits_for_what_still_uses_the_output(queue: cl.CommandQueue) -> None:
    other = cl.CommandQueue(queue.context)
    net = network(other)
    wants = net(X)
    x = cla.to_device(other, X)
    with closed(queue) as gate:
        out = [late(gate, np.zeros_like(want), loose(queue)) for want in wants]
        results = net(x, out=out)
        give_time(other)
        assert [[is_pending(event) for event in y.events] for y in results] == [[True], [True]]
    for y, want in zip(results, wants, strict=True):
        np.testing.assert_array_equal(y.get(other), want)


def test_nothing_is_allocated_for_arrays_that_are_passed_again(queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(queue)
    x = cla.to_device(queue, X)
    out = net(x)
    wants = [y.get() for y in out]
    with monkeypatch.context() as patch:
        patch.setattr(cl, "Buffer", lambda *_, **__: pytest.fail("memory is allocated"))
        for _ in range(3):
            net(x, out=out)
    for y, want in zip(out, wants, strict=True):
        np.testing.assert_array_equal(y.get(), want)


def test_what_cannot_take_a_result_is_refused(queue: cl.CommandQueue) -> None:
    net = network(queue)
    y, z = net(X)
    for out, message in (
        (y, "out has 1 arrays and the network 2 outputs; pass one for each of 'y', 'z'"),
        ([y, y], r"out has the shape \(2, 8, 12, 12\); it must be \(2, 8, 11, 11\)"),
        ([y.astype(np.float16), z], "out has elements of the type float16 and the output 'y' of float32"),
        ([y, cla.to_device(queue, z)], "out is a Array; it must be a numpy.ndarray, as the inputs are"),
        ([y[::-1], z], "it must be contiguous"),
        ([X, z], "out shares memory with an input or another output"),
        ([y, y.reshape(-1)[: z.size].reshape(z.shape)], "out shares memory with an input or another output"),
    ):
        refused: Any = out
        with pytest.raises(clconv.ShapeError, match=message):
            net(X, out=refused)


def test_an_input_of_that_name(queue: cl.CommandQueue) -> None:
    net = clconv.onnx.load(model([node("Relu", "out", "y")], {"out": [1, 3]}, ["y"]), queue=queue)
    x = np.array([[-1, 0, 2]], np.float32)
    want = np.maximum(x, 0)
    np.testing.assert_array_equal(net({"out": x}), want)
    y = np.empty_like(x)
    np.testing.assert_array_equal(net(x, out=y), want)


def test_indices_and_truth_values_are_written_there_too(queue: cl.CommandQueue) -> None:
    nodes = [node("ArgMax", "x", "i", axis=1), node("Greater", "x zero", "t")]
    proto = model(nodes, {"x": [*X.shape]}, ["i", "t"], {"zero": np.zeros((), np.float32)})
    for output, kind in zip(proto.graph.output, (onnx.TensorProto.INT64, onnx.TensorProto.BOOL), strict=True):
        output.type.tensor_type.elem_type = kind
    net = clconv.onnx.load(proto, queue=queue)
    wants = net(X)
    assert [want.dtype for want in wants] == [np.int64, np.bool_]
    host = [np.zeros_like(want) for want in wants]
    net(X, out=host)
    device = [cla.to_device(queue, np.zeros_like(want)) for want in wants]
    net(cla.to_device(queue, X), out=device)
    for want, a, b in zip(wants, host, device, strict=True):
        np.testing.assert_array_equal(a, want)
        np.testing.assert_array_equal(b.get(), want)
    with pytest.raises(
        clconv.ShapeError, match="out has elements of the type int32 and the output 'i' of int64; pass an array"
    ):
        net(X, out=[host[0].astype(np.int32), host[1]])
    with pytest.raises(clconv.ShapeError, match="out has elements of the type float32 and the output 'i' of int64"):
        net(X, out=[host[0].astype(X.dtype), host[1]])  # half as long, and of the input's type
