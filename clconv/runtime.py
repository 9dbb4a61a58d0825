"""What is kept per context: its programs, and per queue: scratch memory and what running kernels still need."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pyopencl as cl

from clconv import caller
from clconv.buffers import allocate
from clconv.device import DeviceInfo
from clconv.discovery import beside
from clconv.errors import DeviceError
from clconv.fork import in_own_process, require_own_process
from clconv.plan import Plan
from clconv.programs import Programs

if TYPE_CHECKING:
    from clconv.crew import Crew

_COMPLETE = cl.command_execution_status.COMPLETE
_give_up_processor = getattr(os, "sched_yield", lambda: time.sleep(0))
_LOOKS = 200


class QueueState:
    """Scratch buffers of one queue, shared by everything that runs on it, and the tensors of commands in flight.

    Commands of one queue that use the same scratch follow each other; on an out-of-order queue each waits for
    the one before. OpenCL implementations do not keep the buffers of a running kernel alive, so this does.
    """

    def __init__(self, queue: cl.CommandQueue) -> None:
        self.queue = queue
        self.lock = threading.RLock()
        self.in_order = not (queue.properties & cl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE)
        self.last: cl.Event | None = None
        self._scratch: list[cl.Buffer] = []
        self._in_flight: deque[tuple[cl.Event, object]] = deque()

    def scratch(self, context: cl.Context, sizes: Sequence[int]) -> list[cl.Buffer]:
        """Return buffers of at least these sizes in bytes, larger ones made as needed.

        They become larger by half at least: executables keep those that they used last, which are little in all then.
        """
        for index, size in enumerate(sizes):
            if index == len(self._scratch):
                self._scratch.append(allocate(context, size))
            elif (old := self._scratch[index]).size < size:
                if self.last is not None:
                    self.hold(self.last, old)
                half_more = min(old.size * 3 // 2, *(d.max_mem_alloc_size for d in context.devices))
                self._scratch[index] = allocate(context, max(size, half_more))
        return self._scratch

    def is_done(self) -> bool:
        """Whether what was enqueued last is complete."""
        if self.last is not None and self.last.command_execution_status > _COMPLETE:
            return False
        self.last = None  # so that it is not asked again
        return True

    def finish(self) -> None:
        """Wait for what was enqueued last."""
        with self.lock:
            if self.last is not None:
                self.last.wait()

    @property
    def scratch_bytes(self) -> int:
        """Scratch memory held for this queue, in bytes."""
        return sum(b.size for b in self._scratch)

    def hold(self, event: cl.Event, things: object) -> None:
        """Keep things alive until the event is complete; let go of what has completed.

        For a caller that comes again with the very same things only the event is exchanged: commands complete in the order
        in which they were enqueued, and to ask the driver about the one before can take longer than to enqueue this one.
        """
        pending = self._in_flight
        with self.lock:
            if len(pending) == 1 and pending[0][1] is things:
                pending[0] = event, things
                return
            self.let_go()
            pending.append((event, things))

    def hold_all(self, things: object) -> None:
        """Keep things alive until all that is enqueued now is complete, for an exception came before its event was known."""
        if in_own_process():  # others have no threads of the driver, and nothing in flight
            with contextlib.suppress(cl.Error):  # of a queue that takes nothing any more; the exception on its way says more
                self.hold(cl.enqueue_marker(self.queue), things)

    def let_go(self) -> None:
        """Forget the things whose events are complete."""
        pending = self._in_flight
        if not pending:
            return
        with self.lock:
            while pending and pending[0][0].command_execution_status <= _COMPLETE:
                pending.popleft()


def require_own_turn(lock: Any, of_queue: Any) -> None:
    """Raise a DeviceError if this thread holds one of the locks already, under which a call's kernels are enqueued.

    Then a finalizer or a handler of a signal calls in the middle of another call, whose arguments and scratch it would mix up.
    """
    if lock._is_owned() or of_queue._is_owned():
        raise DeviceError(
            "a convolution was called in the middle of another call of the same thread, by a finalizer or a signal's handler; "
            "let that only note what is to be done, and call from the program's own flow"
        )


class Runtime:
    """Programs of one context and the state of its queues.

    Attributes
    ----------
    programs : Programs
    in_caller : bool
        The device runs kernels in the thread that enqueues them; what was enqueued is done.
    crew : Crew, optional
        The driver's threads that are kept at hand between calls, if there are such.
    """

    def __init__(self, context: cl.Context, device: cl.Device) -> None:
        self.context = context
        self.device = device
        self.info = DeviceInfo.of(device)
        self.lock = threading.RLock()
        self.programs = Programs(context, device, self.info)
        self._queues: dict[int, QueueState] = {}
        self.in_caller = caller.is_caller(device)
        self.crew: Crew | None = None

    def dismiss(self) -> None:
        """Let threads go that are kept at hand: the driver has other work for them."""
        if self.crew is not None:
            self.crew.dismiss()

    def queue_state(self, queue: cl.CommandQueue) -> QueueState:
        """Return the state of a queue of this context."""
        require_own_process()
        key = queue.int_ptr
        state = self._queues.get(key)
        if state is None:
            with self.lock:
                state = self._queues.setdefault(key, QueueState(queue))
        return state


_runtimes: dict[tuple[int, int], Runtime] = {}  # of a context and a device: a context may have several
_by_queue: dict[int, Runtime] = {}
_lock = threading.Lock()


def runtime_of(queue: cl.CommandQueue) -> Runtime:
    """Return the runtime of a queue's context, the same one every time."""
    key = getattr(queue, "int_ptr", 0)
    found = _by_queue.get(key)
    if found is not None:
        return found
    if not isinstance(queue, cl.CommandQueue):
        raise DeviceError(f"queue is a {type(queue).__name__}; pass a pyopencl.CommandQueue, or None for the default one")
    require_own_process()
    context, device = queue.context, queue.device
    with _lock:
        runtime = _runtimes.get((context.int_ptr, device.int_ptr))
        if runtime is None:
            runtime = _runtimes[context.int_ptr, device.int_ptr] = Runtime(context, device)
        runtime.queue_state(queue)  # holds the queue, so that its address stays its own
        _by_queue[key] = runtime
        return runtime


def place(plans: Iterable[Plan], queue: cl.CommandQueue) -> cl.CommandQueue:
    """Return where to run plans that are waited for: the queue or, beside a default one, the thread that calls if faster."""
    second = beside(queue)
    return second if second is not None and all(caller.is_faster(p, runtime_of(queue).info) for p in plans) else queue


def wait(event: cl.Event, runtime: Runtime) -> None:
    """Wait for an event of a CPU device: look at it for a while, letting others run, before going to sleep.

    Waking a thread that sleeps takes longer than a small convolution. The processor is given up before each look, so that
    the device's own threads are not kept from it, and twice, for a look holds them up as well: of calls that take 45 us,
    the median is 10 us less than with a look at first and after each time. What ran in this thread is done at the first look.
    """
    if runtime.in_caller and event.command_execution_status == _COMPLETE:
        return
    for _ in range(_LOOKS):
        _give_up_processor()
        _give_up_processor()
        if event.command_execution_status == _COMPLETE:
            return
    event.wait()


def settle(queue: cl.CommandQueue) -> None:
    """Wait, before an exception goes on, until kernels are done with arrays of the host, which may be freed behind it.

    It may be any, also from Ctrl-C or from another handler of a signal: those come between two steps of Python, so not in here.
    """
    if in_own_process():  # others have no threads of the driver, and would wait for ever
        with contextlib.suppress(cl.Error):  # the exception on its way says more
            queue.finish()


def failed(runtime: Runtime, error: cl.Error) -> DeviceError:
    """Return what to raise where the driver reports that a command which it had accepted went wrong."""
    return DeviceError(
        f"the device {runtime.info.name} failed in a computation ({' '.join(str(error).split())}), after which its driver may "
        "refuse all others in this process; start a new one, and find the algorithms that fail on the device with: clconv check"
    )


def read_back(runtime: Runtime, queue: cl.CommandQueue, buffer: cl.Buffer, array: Any, event: cl.Event) -> None:
    """Wait until ``event`` is complete and ``array`` holds what the device wrote into the buffer made over it.

    Raises
    ------
    DeviceError
        If that is never so, for a kernel failed on the device.
    """
    try:
        if not runtime.info.unified_memory:
            cl.enqueue_copy(queue, array, buffer, wait_for=[event])
        elif runtime.info.is_pocl:
            wait(event, runtime)  # PoCL works on the array's memory itself
        else:
            event.wait()
            # Only mapping makes the host's view of the memory current.
            view, _ = cl.enqueue_map_buffer(queue, buffer, cl.map_flags.READ, 0, array.shape, array.dtype)
            view.base.release(queue)
            queue.finish()
    except cl.Error as error:
        raise failed(runtime, error) from error
