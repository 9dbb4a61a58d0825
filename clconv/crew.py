"""PoCL's threads, kept at hand between calls that follow each other closely, as every library with threads of its own does.

PoCL lets its threads sleep when there is nothing to do, and 15 to 60 us pass until they are awake again and the caller, who
sleeps meanwhile, is told that they are done. Many a layer takes no longer. Here the threads stay at a desk for about a
millisecond behind a call: the next one is done by the thread that calls and by theirs, and nobody is woken for it. See
``kernels/persistent.cl``.

Only calls on NumPy arrays and the default queue of a PoCL whose kernels can be called like that take part.
``CLCONV_STAY_AWAKE=0`` lets all threads sleep.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pyopencl as cl

from clconv.bound import BoundLaunch
from clconv.codes import addressed, helps
from clconv.discovery import beside
from clconv.fork import in_own_process
from clconv.persistent import FILE, Persistent, codes_of, over, zeros
from clconv.plan import Int, Launch
from clconv.runtime import runtime_of

_enqueue = cl.enqueue_nd_range_kernel
_COMPLETE = cl.command_execution_status.COMPLETE

VARIABLE = "CLCONV_STAY_AWAKE"

LOOKS = 100_000
"""How often a thread looks for a next call, each time for 12 to 40 ns, before it goes to sleep."""

CLOSE = 1e-3
"""Seconds from the end of one call to the beginning of the next, at most, for threads to wait for another one."""

BRIEF = 1e-3
"""Seconds for which a call may keep Python's lock: to get it back may take five times as long."""

SEVERAL = 8
"""Calls close behind each other before threads are woken for the next one."""

_PRESENT, _QUIT, _WORDS = 16, 24, 32  # places on the desk, and how many there are
_CREW = Launch(FILE, "crew", (), (), (1,), (1,))

_crews: dict[int, Crew | None] = {}
_lock = threading.RLock()


def crew_of(queue: cl.CommandQueue) -> Crew | None:
    """Return the crew of a default queue; None where there is none."""
    if beside(queue) is None:
        return None
    key = queue.int_ptr  # of a queue that is there for ever
    with _lock:
        if key not in _crews:
            info = runtime_of(queue).info
            wanted = os.environ.get(VARIABLE) != "0" and info.compute_units > 1 and helps(info)
            _crews[key] = Crew(queue) if wanted else None
        return _crews[key]


def _after_fork() -> None:
    """Forget the threads, which did not come along; a call then ends as any does in such a process."""
    for crew in _crews.values():
        if crew is not None:
            crew.desk.fill(0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Crew:
    """Threads of a driver that are at hand, and the desk that work is laid out on.

    Parameters
    ----------
    queue : pyopencl.CommandQueue
        A default one.

    Attributes
    ----------
    words : memoryview
        What lies on the desk, see the kernels.
    number : int
        Of the last threads that were called to it.
    """

    def __init__(self, queue: cl.CommandQueue) -> None:
        self.threads = runtime_of(queue).info.compute_units
        self._runtime = runtime_of(queue)
        self.desk = zeros(_WORDS, np.uint64)
        self.words = memoryview(self.desk)
        self._there = over(self._runtime, self.desk)
        self._queue = cl.CommandQueue(self._runtime.context, self._runtime.device)
        self._kernel: cl.Kernel | None = None
        self.number = 0
        self._event: cl.Event | None = None
        self._left = -CLOSE  # when the last call ended
        self._calls = 0  # one close behind the other, without a crew
        self.lock = threading.Lock()
        self._runtime.crew = self
        atexit.register(self._go)

    @property
    def present(self) -> bool:
        """Whether threads are at the desk and stay there."""
        words = self.words
        return bool(words[_PRESENT]) and words[_QUIT] < self.number

    def muster(self, event: cl.Event | None) -> None:
        """Let threads come to the desk if calls follow each other closely, when what they are at is done.

        Parameters
        ----------
        event : pyopencl.Event, optional
            Of that; None if they are asleep: then only the :data:`SEVERAL`-th such call wakes them, which takes its time.
        """
        close = time.perf_counter() - self._left < CLOSE
        self._calls = self._calls + 1 if close else 0
        if self._calls < (SEVERAL if event is None else 1) or not self.lock.acquire(blocking=False):
            return
        try:
            if self._event is not None and self._event.command_execution_status != _COMPLETE:
                return
            if self._kernel is None:
                kernel = self._runtime.programs.kernel(_CREW)
                kernel.set_arg(0, self._there)
                kernel.set_arg(2, np.int32(LOOKS))
                self._kernel = kernel
            self.number += 1
            self._kernel.set_arg(1, np.int32(self.number))
            self._event = _enqueue(
                self._queue, self._kernel, (self.threads - 1,), (1,), wait_for=None if event is None else [event]
            )
        finally:
            self.lock.release()

    def dismiss(self) -> None:
        """Let the threads go, for the driver has other work for them."""
        self.words[_QUIT] = self.number

    def left(self) -> None:
        """Note that a call has ended."""
        self._left = time.perf_counter()

    @cached_property
    def lead_code(self) -> int:
        """Address of the code of ``lead``."""
        runtime = self._runtime
        arguments = ("steps", Int(0), "counters", Int(0), Int(0), "desk")
        launch = addressed(Launch(FILE, "lead", (), arguments, (1,), (1,)))
        command = BoundLaunch(runtime, launch, dict.fromkeys(a for a in arguments if isinstance(a, str)), {}, wide=False)
        (code,) = codes_of(runtime, self._queue, [command])
        return code

    def _go(self) -> None:
        """Let the threads go before Python ends, and with it the desk."""
        if self._event is not None and in_own_process():
            self.dismiss()
            with contextlib.suppress(cl.Error):
                self._event.wait()


class Led:
    """Steps that a crew can be led through, by a call of compiled code: no command of OpenCL's is quick enough.

    Parameters
    ----------
    crew : Crew
    steps : Persistent
    seconds : float
        That they take, roughly: Python's lock is kept meanwhile if that is little.
    """

    def __init__(self, crew: Crew, steps: Persistent, seconds: float) -> None:
        self._crew = crew
        self._words = memoryview(steps.external)
        self._placed: Sequence[int] = ()
        numbers = (*steps.arguments, crew.threads, crew.desk.ctypes.data, 0, 0)  # and it is not to tell where its code is
        values = np.array(numbers, np.uint64)
        pointers = values.ctypes.data + 8 * np.arange(len(values), dtype=np.uint64)
        context = np.array([1, 1, 1, 0, 0, 0, 1, 1, 1] + [0] * 7, np.uint64)
        self._held = steps, values, pointers, context
        kind = ctypes.PYFUNCTYPE if seconds < BRIEF else ctypes.CFUNCTYPE
        self._code = kind(None)(crew.lead_code)
        # It never asks which work-group it is, the other three arguments of compiled kernels: each would take 40 ns.
        self._arguments = ctypes.c_size_t(pointers.ctypes.data), ctypes.c_size_t(context.ctypes.data)

    def place(self, index: int, address: int) -> None:
        """Say where an argument is that is not given in each call. Under the crew's lock."""
        self._words[index] = address

    def run(self, addresses: Sequence[int]) -> bool:
        """Run the steps on arrays, and return when they are done; False if no crew is there, or busy, and nothing was done.

        Addresses that are the same object as the last time, if those steps are run in no other way, are there already.
        """
        crew = self._crew
        words = crew.words
        if not words[_PRESENT] or words[_QUIT] >= crew.number or not crew.lock.acquire(False):  # a keyword takes 70 ns
            return False
        try:
            if addresses is not self._placed:
                self._placed = ()  # until all are there: an exception may come in between, as from Ctrl-C
                for index, address in enumerate(addresses):
                    self._words[index] = address
                self._placed = addresses
            code, context = self._arguments
            self._code(code, context)
        finally:
            crew.lock.release()
        return True
