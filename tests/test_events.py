"""What calls on device arrays wait for, and what is kept while they run: with commands that are held back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyopencl as cl
import pyopencl.array as cla
import pytest

import clconv
import clconv.onnx
from clconv.buffers import copied
from clconv.executable import Executable
from clconv.runtime import runtime_of
from clconv.tensors import input_buffer
from tests.calls import assert_same, expected
from tests.gates import closed, fill_behind, give_time, is_pending, late, loose
from tests.harness import integers
from tests.onnx.models import model, node, numbers

STEPS = "standard/winograd_simt"
"""An algorithm with several launches, which meet in scratch memory."""


@pytest.mark.parametrize("name", ["x", "w", "residual", "out"])
def test_events_of_every_array_are_waited_for(name: str, queue: cl.CommandQueue) -> None:
    other = loose(queue)
    x, w, r = integers(1, 2, 5, 5), integers(3, 2, 3, 3), integers(1, 3, 3, 3)
    arrays = {"x": x, "w": w, "residual": r, "out": np.full((1, 3, 3, 3), np.nan, np.float32)}
    with closed(queue) as gate:
        given = {n: late(gate, a, queue) if n == name else cla.to_device(other, a) for n, a in arrays.items()}
        y = clconv.conv2d(given["x"], given["w"], residual=given["residual"], out=given["out"], queue=other)
        give_time(other)
    assert_same(y.get(other), expected(x, w, residual=r))


@pytest.mark.parametrize("name", ["x", "out"])
def test_events_of_arrays_that_are_passed_again_are_waited_for(name: str, queue: cl.CommandQueue) -> None:
    other = loose(queue)
    x, w = integers(1, 2, 5, 5), integers(3, 2, 3, 3)
    conv = clconv.Convolution(w, queue=other)
    arrays = {"x": cla.to_device(other, x), "out": cla.empty(other, (1, 3, 3, 3), np.float32)}
    for _ in range(3):
        conv(arrays["x"], out=arrays["out"]).get(other)
    with closed(queue) as gate:
        fill_behind(gate, arrays[name], -x if name == "x" else np.full((1, 3, 3, 3), np.nan, np.float32), queue)
        y = conv(arrays["x"], out=arrays["out"])
        give_time(other)
    assert_same(y.get(other), expected(-x if name == "x" else x, w))


def test_a_misaligned_input_may_be_read_after_its_copy(queue: cl.CommandQueue) -> None:
    other = loose(queue)
    base = cla.to_device(other, np.arange(101, dtype=np.float32))
    part = base[1:]
    with closed(queue) as gate:
        part.add_event(gate)
        buffer, events = input_buffer(part, other)
        assert [event.command_type for event in events] == [cl.command_type.COPY_BUFFER]
        assert is_pending(events[0])
    copy = np.empty(100, np.float32)
    cl.enqueue_copy(other, copy, buffer, wait_for=events)
    np.testing.assert_array_equal(copy, np.arange(1, 101))


def test_the_copy_into_a_misaligned_output_waits_for_the_kernel(queue: cl.CommandQueue) -> None:
    other = loose(queue)
    x, w = integers(1, 2, 5, 5), integers(3, 2, 3, 3)
    out = cla.to_device(queue, np.full(30, np.nan, np.float32))[1:28].reshape(1, 3, 3, 3)
    with closed(queue) as gate:
        y = clconv.conv2d(late(gate, x, queue), cla.to_device(other, w), out=out, queue=other)
        give_time(other)
    assert_same(y.get(other), expected(x, w))


def test_launches_of_a_call_follow_each_other_on_an_out_of_order_queue(queue: cl.CommandQueue) -> None:
    other = loose(queue)
    x, w = integers(1, 8, 12, 12), integers(8, 8, 3, 3)
    conv = clconv.Convolution(w, padding=1, queue=other, algorithm=STEPS)
    assert len(conv.explain(x.shape).plan.launches) > 1
    conv(cla.to_device(other, x)).get(other)
    with closed(queue) as gate:
        y = conv(late(gate, x, queue))
        give_time(other)
        assert is_pending(y.events[-1])
    assert_same(y.get(other), expected(x, w, padding=1))


def test_calls_that_share_scratch_follow_each_other_on_an_out_of_order_queue(queue: cl.CommandQueue) -> None:
    other = loose(queue)
    x, w, ready = integers(1, 8, 12, 12), integers(8, 8, 3, 3), cla.to_device(other, integers(1, 8, 12, 12))
    conv = clconv.Convolution(w, padding=1, queue=other, algorithm=STEPS)
    conv(ready).get(other)
    with closed(queue) as gate:
        first, second = conv(late(gate, x, queue)), conv(ready)
        give_time(other)
        assert is_pending(second.events[-1])
    assert_same(first.get(other), expected(x, w, padding=1))
    assert_same(second.get(other), expected(ready.get(other), w, padding=1))


def kept(queue: cl.CommandQueue, since: int = 0) -> list[object]:
    """Everything that a queue keeps for commands in flight, but for the first ones."""

    def walk(thing: object) -> Iterator[object]:
        yield thing
        parts = thing.values() if isinstance(thing, dict) else thing if isinstance(thing, (tuple, list)) else ()
        for part in parts:
            yield from walk(part)

    return [part for _, things in list(runtime_of(queue).queue_state(queue)._in_flight)[since:] for part in walk(things)]


def test_arrays_of_calls_in_flight_are_kept(queue: cl.CommandQueue) -> None:
    """Drivers do not keep them. Of first calls, of those that are passed again, and of networks."""
    other = cl.CommandQueue(queue.context)
    w = integers(3, 2, 3, 3)
    conv = clconv.Convolution(w, queue=other)
    proto = model([node("Conv", "x w", "y")], {"x": [1, 2, 5, 5]}, ["y"], {"w": numbers(3, 2, 3, 3)})
    net = clconv.onnx.load(proto, queue=other)
    x, out = cla.to_device(other, integers(1, 2, 5, 5)), cla.empty(other, (1, 3, 3, 3), np.float32)
    net(x).get()
    for _ in range(3):
        conv(x, out=out)
    other.finish()
    state = runtime_of(other).queue_state(other)
    state.let_go()
    calls: list[Any] = [lambda: conv(x), *[lambda: conv(x, out=out)] * 3, lambda: net(x)]
    with closed(queue) as gate:
        x.add_event(cl.enqueue_marker(other, wait_for=[gate]))
        for call in calls:
            before = len(state._in_flight)
            call()
            assert any(thing is x for thing in kept(other, before))


def test_scratch_of_a_call_in_flight_outlives_larger_calls(queue: cl.CommandQueue) -> None:
    other = cl.CommandQueue(queue.context)
    w = integers(8, 8, 3, 3)
    conv = clconv.Convolution(w, padding=1, queue=other, algorithm=STEPS)
    x, large = integers(1, 8, 12, 12), cla.to_device(other, integers(1, 8, 60, 60))
    conv(cla.to_device(other, x)).get()
    state = runtime_of(other).queue_state(other)
    with closed(queue) as gate:
        y = conv(late(gate, x, other))
        before = list(state._scratch)
        conv(large)
        replaced = [buffer for buffer in before if all(buffer is not now for now in state._scratch)]
        assert replaced
        assert all(any(thing is buffer for thing in kept(other)) for buffer in replaced)
    assert_same(y.get(), expected(x, w, padding=1))


def test_filters_are_kept_while_they_are_packed(queue: cl.CommandQueue) -> None:
    other = cl.CommandQueue(queue.context)
    w = integers(8, 8, 3, 3)
    plan = clconv.Convolution(w, padding=1, queue=other, algorithm=STEPS).explain((1, 8, 12, 12)).plan
    executable = Executable(plan, runtime_of(other))
    with closed(queue) as gate:
        filters = copied(other.context, w)
        packed = executable.pack(other, filters, [gate])
        assert packed is not filters
        for buffer in (filters, packed):
            assert any(thing is buffer for thing in kept(other))
