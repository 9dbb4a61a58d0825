"""One call: tensors of the caller in, an executable run, the result out in the caller's kind of array."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyopencl as cl

from clconv.buffers import address_of, allocate, host_buffer
from clconv.executable import Executable
from clconv.runtime import QueueState, Runtime, failed, read_back, settle, wait
from clconv.tensors import Tensor, check_context, empty, input_buffer, is_device_array, output_buffer

if TYPE_CHECKING:
    from clconv.crew import Crew
    from clconv.together import Together

_Array: TypeAlias = np.ndarray[Any, Any]


def run_numpy(
    executable: Executable,
    queue: cl.CommandQueue,
    fixed: Mapping[str, Any],
    x: _Array,
    residual: _Array | None,
    out: _Array,
    *,
    wait_for: list[cl.Event] | None = None,
    pack: bool = False,
    crew: Crew | None = None,
) -> None:
    """Run on NumPy arrays and wait until ``out`` is written. Where device and host share memory, nothing is copied.

    A crew may come together behind it.
    """
    buffers = _host_buffers(executable.runtime, fixed, x, residual, out)
    try:
        event = executable.run(queue, buffers, wait_for or None, pack=pack)
        if crew is not None:
            crew.muster(None if executable.runtime.in_caller else event)
        read_back(executable.runtime, queue, buffers["y"], out, event)
        executable.runtime.queue_state(queue).let_go()  # of a filter that was packed before; there may be no next time
    except BaseException:
        settle(queue)
        raise
    if crew is not None:
        crew.left()


def _host_buffers(
    runtime: Runtime, fixed: Mapping[str, Any], x: _Array, residual: _Array | None, out: _Array
) -> dict[str, Any]:
    return {
        **fixed,
        "x": host_buffer(runtime, x),
        "residual": None if residual is None else host_buffer(runtime, residual),
        "y": host_buffer(runtime, out, output=True),
    }


class Repeated:
    """A call on NumPy arrays that are passed again and again: what was made over their memory stays, and keeps them alive.

    Only for PoCL, which works on the arrays' own memory: other drivers may have copied ``x`` when its buffer was made.
    """

    __slots__ = (
        "__weakref__",
        "_addresses",
        "_at_once",
        "_buffers",
        "_executable",
        "_facts",
        "_out",
        "_queue",
        "_together",
        "_x",
    )

    def __init__(
        self,
        executable: Executable,
        queue: cl.CommandQueue,
        fixed: Mapping[str, Any],
        x: _Array,
        out: _Array,
        together: Together | None,
    ) -> None:
        self._together = together
        self._addresses = address_of(x), address_of(out)
        self._executable, self._queue, self._x, self._out = executable, queue, x, out
        self._buffers = _host_buffers(executable.runtime, fixed, x, None, out)
        self._facts = (x.shape, x.dtype, x.flags.num, out.shape, out.dtype, out.flags.num)
        self._at_once: Callable[[Sequence[int]], bool] | None = None

    def run(self, x: Any, out: Any) -> bool:
        """Run, and wait until ``out`` is written; False if these are others, or more than their elements has changed."""
        if x is not self._x or out is not self._out:
            return False
        if (x.shape, x.dtype, x.flags.num, out.shape, out.dtype, out.flags.num) != self._facts:  # in place: a call takes 50 ns
            return False
        if self._at_once is None or not self._at_once(self._addresses):
            self._run()
        return True

    def _run(self) -> None:
        together = self._together
        try:
            if together is not None and together.run(self._addresses):
                self._at_once = together.at_once
                return
            event = self._executable.run(self._queue, self._buffers, again=self)
            if together is not None:
                together.crew.muster(None if self._executable.runtime.in_caller else event)
            wait(event, self._executable.runtime)
        except BaseException as error:
            settle(self._queue)
            if isinstance(error, cl.Error):
                raise failed(self._executable.runtime, error) from error
            raise
        if together is not None:
            together.crew.left()


def run_device(
    executable: Executable,
    queue: cl.CommandQueue,
    fixed: Mapping[str, Any],
    x: Any,
    residual: Any,
    out: Any,
    *,
    wait_for: list[cl.Event] | None = None,
    pack: bool = False,
) -> None:
    """Enqueue a run on device arrays: their events are waited for by the device, and ``out`` gets the run's event."""
    runtime = executable.runtime
    before = list(wait_for or ())
    buffers = dict(fixed)
    for name, array in (("x", x), ("residual", residual), ("out", out)):
        if array is not None:
            check_context(array, name, runtime.context)
    for name, array in (("x", x), ("residual", residual)):
        buffers[name], ready = (None, []) if array is None else input_buffer(array, queue)
        before.extend(ready)
    before.extend(out.events)
    buffers["y"], copy_out = output_buffer(out, queue)
    state, held = runtime.queue_state(queue), (executable, buffers, x, residual, out)
    try:
        event = executable.run(queue, buffers, _not_last(before, state), pack=pack)
        if copy_out:
            event = cl.enqueue_copy(
                queue, out.base_data, buffers["y"], byte_count=out.nbytes, dst_offset=out.offset, wait_for=[event]
            )
        out.events[:] = [event]  # after all that were there
        state.hold(event, held)
    except BaseException:
        state.hold_all(held)
        raise


def _not_last(events: list[cl.Event], state: QueueState) -> list[cl.Event] | None:
    """Return what is to be waited for, without the command before on a queue that keeps the order: no driver waits for free."""
    return [e for e in events if not (state.in_order and e is state.last)] or None


class RepeatedOnDevice:
    """A call on device arrays that are passed again and again, of which nothing needs to be checked or made any more."""

    __slots__ = ("__weakref__", "_buffers", "_executable", "_facts", "_held", "_out", "_state", "_x")

    def __init__(self, executable: Executable, queue: cl.CommandQueue, fixed: Mapping[str, Any], x: Any, out: Any) -> None:
        self._executable, self._x, self._out = executable, x, out
        self._state = executable.runtime.queue_state(queue)
        self._buffers = {**fixed, "x": x.base_data, "residual": None, "y": out.base_data}
        self._facts = _facts(x), _facts(out)
        self._held = (executable, self._buffers, x, out)

    @staticmethod
    def takes(x: Any, out: Any) -> bool:
        """Whether both arrays begin where their buffers do."""
        return bool(x.offset == 0 and out.offset == 0)

    def run(self, x: object, out: object) -> bool:
        """Enqueue the run; False if these are other arrays, or have other memory by now."""
        if x is not self._x or out is not self._out or (_facts(self._x), _facts(self._out)) != self._facts:
            return False
        self._run()
        return True

    def _run(self) -> None:
        out = self._out
        before = _not_last([*self._x.events, *out.events], self._state)
        try:
            event = self._executable.run(self._state.queue, self._buffers, before, again=self)
            out.events[:] = [event]  # after all that were there
            self._state.hold(event, self._held)
        except BaseException:
            self._state.hold_all(self._held)
            raise


def _facts(array: Any) -> tuple[object, ...]:
    """Return what makes two uses of a device array the same."""
    return id(array.base_data), array.offset, array.shape, array.strides, array.dtype


def empty_like_input(x: Tensor, shape: tuple[int, ...], queue: cl.CommandQueue) -> Tensor:
    """Return an uninitialised array of the kind of ``x``."""
    if is_device_array(x):
        import pyopencl.array

        return pyopencl.array.Array(queue, shape, x.dtype, data=allocate(queue.context, math.prod(shape) * x.dtype.itemsize))
    return empty(shape, x.dtype)
