"""Exceptions that come from outside, as Ctrl-C does: nothing may go on in memory that is no longer the call's."""

from __future__ import annotations

import gc
import signal
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pyopencl as cl
import pyopencl.array as cla
import pytest

import clconv
from clconv.buffers import host_buffer
from clconv.executable import Executable, _Bound
from clconv.onnx.program import Program
from clconv.runtime import runtime_of
from tests.harness import integers

# Some milliseconds of work in some hundred lines of Python.
X, W = np.ones((4, 64, 112, 112), "f"), np.ones((64, 64, 3, 3), "f")
_COMPLETE = cl.command_execution_status.COMPLETE


class Interrupt(BaseException):
    """What a handler of a signal raises."""


def interrupt_after(method: Callable[..., Any], owner: type, monkeypatch: pytest.MonkeyPatch) -> list[cl.Event]:
    """Let an exception come between a method's enqueueing and its return; the events that got lost."""
    lost: list[cl.Event] = []

    def interrupted(*args: Any, **kwargs: Any) -> None:
        result = method(*args, **kwargs)
        if isinstance(result, cl.Event):
            lost.append(result)
        raise Interrupt

    monkeypatch.setattr(owner, method.__name__, interrupted)
    return lost


def test_a_call_on_numpy_arrays_ends_after_its_kernels(queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    import clconv.onnx
    from tests.onnx.models import model, node

    proto = model([node("Conv", "x w", "y", pads=[1, 1, 1, 1])], {"x": [*X.shape]}, ["y"], {"w": W})
    conv, net, out = clconv.Convolution(W, padding=1, queue=queue), clconv.onnx.load(proto, queue=queue), np.empty_like(X)
    calls: tuple[Callable[[], Any], ...] = (
        lambda: conv(X),
        lambda: clconv.conv2d(X, W, padding=1, queue=queue),
        lambda: net(X),
        lambda: conv(X, out=out),
    )
    for call in calls:
        call()
    for _ in range(3):
        conv(X, out=out)
    events = interrupt_after(Executable.run, Executable, monkeypatch)
    events_of_net = interrupt_after(Program.run, Program, monkeypatch)
    for call in calls:
        with pytest.raises(Interrupt):
            call()
        event = (events or events_of_net).pop()
        assert event.command_execution_status == _COMPLETE


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no timers that send signals")
def test_no_array_of_others_is_written_after_a_signal(queue: cl.CommandQueue) -> None:
    def interrupted(*_: object) -> None:
        raise Interrupt

    conv = clconv.Convolution(W, padding=1, queue=queue)
    conv(X)
    before = signal.signal(signal.SIGALRM, interrupted)
    caught = 0
    try:
        for k in range(20):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-4 + 2e-5 * k)
                conv(X)
                signal.setitimer(signal.ITIMER_REAL, 0)  # in here, for the signal may come behind the call as well
            except Interrupt:
                caught += 1
                state = runtime_of(queue).queue_state(queue)
                assert state.last is None or state.last.command_execution_status == _COMPLETE
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert caught


@pytest.mark.parametrize("times", [0, 3])
def test_device_arrays_live_until_their_kernels_are_done(
    times: int, queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = cl.CommandQueue(queue.context)
    conv = clconv.Convolution(integers(6, 4, 3, 3), queue=own)
    x = cla.to_device(own, integers(1, 4, 8, 8))
    out = conv(x)
    for _ in range(times):
        conv(x, out=out)
    state = runtime_of(own).queue_state(own)
    own.finish()
    state.let_go()
    gate = cl.UserEvent(queue.context)
    try:
        x.add_event(gate)
        interrupt_after(Executable.run, Executable, monkeypatch)
        with pytest.raises(Interrupt):
            conv(x, out=out)
        monkeypatch.undo()
        alive = weakref.ref(out)
        del conv, x, out
        gc.collect()
        assert alive() is not None
    finally:
        gate.set_status(_COMPLETE)
    own.finish()
    state.let_go()
    gc.collect()
    assert alive() is None


def test_a_filter_lives_until_it_is_packed(queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    own = cl.CommandQueue(queue.context)
    x = integers(1, 64, 8, 8)
    state = runtime_of(own).queue_state(own)
    interrupt_after(Executable._enqueue, Executable, monkeypatch)
    conv = clconv.Convolution(integers(64, 64, 3, 3), padding=1, algorithm="winograd", queue=own)
    monkeypatch.setattr(type(state), "let_go", lambda _: None)  # whatever is done already
    with pytest.raises(Interrupt):
        conv(x)
    [(_, held)] = state._in_flight
    assert all(isinstance(buffer, cl.Buffer) for buffer in held)  # type: ignore[attr-defined]


def bound_by(call: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> _Bound:
    """Return the first launch whose buffers a call sets."""
    seen: list[_Bound] = []
    bind = _Bound.bind

    def noting(self: _Bound, *args: Any) -> None:
        seen.append(self)
        bind(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(_Bound, "bind", noting)
        call()
    return seen[0]


def test_buffers_are_set_again_after_an_exception_between_them(queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    conv, runtime = clconv.Convolution(W, padding=1, algorithm="direct", queue=queue), runtime_of(queue)
    want, out, lost = conv(X), np.zeros_like(X), np.zeros_like(X)
    bound = bound_by(lambda: conv(X, out=out), monkeypatch)
    conv(X, out=out)  # from the next one on, what was made over the arrays is there

    def interrupted(*_: object) -> None:
        raise Interrupt

    with monkeypatch.context() as patch:
        patch.setattr(bound, "_set", interrupted)
        with pytest.raises(Interrupt):
            conv(X, out=out)
    left = {"x": host_buffer(runtime, X), "y": host_buffer(runtime, lost, output=True)}  # as by a call before
    for name, buffer in left.items():
        bound._set(bound.launch.arguments.index(name), buffer)
    out[...] = 0
    conv(X, out=out)
    np.testing.assert_array_equal(out, want)


def test_a_call_in_the_middle_of_another_is_refused(queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer may be called between any two steps of Python: it would mix up arguments, or wait for ever."""
    import clconv.onnx
    from tests.onnx.models import model, node

    x, w = integers(1, 4, 8, 8), integers(4, 4, 3, 3)
    proto = model([node("Conv", "x w", "y", pads=[1, 1, 1, 1])], {"x": [*x.shape]}, ["y"], {"w": w})
    calls = clconv.Convolution(w, padding=1, queue=queue), clconv.Convolution(-w, padding=1, queue=queue)
    calls = (*calls, clconv.onnx.load(proto, queue=queue))  # type: ignore[assignment]  # anything that can be called
    want = [call(x) for call in calls]
    bind, refused = _Bound.bind, []

    def finalizer(self: _Bound, *args: Any) -> None:
        monkeypatch.undo()
        for call in calls:
            with pytest.raises(clconv.DeviceError, match="in the middle of another") as error:
                call(x)
            refused.append(error)
        bind(self, *args)

    monkeypatch.setattr(_Bound, "bind", finalizer)
    np.testing.assert_array_equal(calls[0](x), want[0])
    assert len(refused) == len(calls)
    for call, y in zip(calls, want, strict=True):
        np.testing.assert_array_equal(call(x), y)
