"""A plan built for one context: kernels with bound arguments. It launches, and never copies or waits."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyopencl as cl

from clconv.algorithms.base import accumulator
from clconv.buffers import allocate
from clconv.codes import told
from clconv.errors import DeviceError
from clconv.plan import BUFFERS, Argument, Channels, Float, Int, Launch, Local, Plan
from clconv.runtime import QueueState, Runtime, require_own_turn

_enqueue = cl.enqueue_nd_range_kernel
_SCRATCH = frozenset(("scratch0", "scratch1", "scratch2"))
_LASTING = _SCRATCH | {"packed", "bias"}


class _Bound:
    """One launch with its kernel object; numbers are set once, buffers when they change."""

    def __init__(self, runtime: Runtime, launch: Launch, float_type: type, lasting: frozenset[str] = _LASTING) -> None:
        self.launch = launch
        self.kernel = runtime.programs.kernel(launch)
        self._set = self.kernel.set_arg
        self._lasting: list[tuple[int, str]] = []
        self._changing: list[tuple[int, str]] = []
        self._bound: dict[int, Any] = {}
        self._has_scratch = any(argument in _SCRATCH for argument in launch.arguments)
        self._caller: weakref.ref[object] | None = None  # who bound the changing ones, and comes again with the same
        for index, argument in enumerate(launch.arguments):
            if isinstance(argument, str):
                if argument not in BUFFERS:
                    raise ValueError(f"{argument!r} in a launch of {launch.kernel} is none of the buffers {BUFFERS}")
                (self._lasting if argument in lasting else self._changing).append((index, argument))
            else:
                self.kernel.set_arg(index, constant(argument, float_type))
        self.tells = self.kernel.num_args > len(launch.arguments)  # where its code is, if it is asked
        if self.tells:
            self.kernel.set_arg(len(launch.arguments), None)
            self.kernel.set_arg(len(launch.arguments) + 1, np.int32(0))

    def bind(self, buffers: Mapping[str, Any], again: object = None) -> None:
        """Set the buffers; those that live as long as the executable only when they change.

        Of a caller who was the last one here and comes with the same ones every time, ``again``, only scratch may differ.
        """
        if again is not None and self._caller is not None and self._caller() is again:
            if not self._has_scratch:
                return
        else:
            self._caller = None  # until all are set: an exception may come in between, as from Ctrl-C
            for index, name in self._changing:
                self._set(index, buffers[name])
        for index, name in self._lasting:
            buffer = buffers[name]
            if self._bound.get(index, self) is not buffer:
                self._set(index, buffer)
                self._bound[index] = buffer
        self._caller = None if again is None else weakref.ref(again)

    def enqueue(self, queue: cl.CommandQueue, wait_for: Sequence[cl.Event] | None) -> cl.Event:
        try:
            return _enqueue(queue, self.kernel, self.launch.global_size, self.launch.local_size, wait_for=wait_for)
        except cl.Error as error:
            raise DeviceError(
                f"the driver of {queue.device.name} does not run {self.launch.kernel} in work-groups of "
                f"{self.launch.local_size} work-items ({' '.join(str(error).split())}); choose another algorithm= or device"
            ) from error


def constant(argument: Argument, float_type: type) -> Any:
    """Return what a kernel is given for an argument that is no buffer.

    Parameters
    ----------
    argument : Int, Channels, Float or Local
    float_type : type
        NumPy's, of the kernel's numbers.
    """
    if isinstance(argument, Int | Channels):
        return np.int32(argument.value)
    if isinstance(argument, Float):
        with np.errstate(over="ignore"):  # what is beyond the element type's range is no limit and becomes infinite
            return float_type(argument.value)
    if isinstance(argument, Local):
        return cl.LocalMemory(argument.bytes)
    raise TypeError(f"{argument!r} is no kernel argument")


class Executable:
    """A plan on a context.

    Parameters
    ----------
    plan : Plan
    runtime : Runtime
        Of the context that it will run on.
    bias_stays : bool
        Calls come with the same bias, which is kept until another one comes.

    Attributes
    ----------
    lock : threading.RLock
        Held while a call is enqueued.
    launches, packing : list of Launch
        The plan's, as they are built: for every call, and for every filter.
    wide : bool
        Numbers are float64.
    tells : bool
        All kernels can tell where their code is.

    Notes
    -----
    Methods may be called from several threads. A call's kernels are enqueued without another call's in between, for all
    calls on a queue share its scratch.
    """

    def __init__(self, plan: Plan, runtime: Runtime, *, bias_stays: bool = True) -> None:
        self.plan = plan
        self.runtime = runtime
        self.lock = threading.RLock()
        self.wide = accumulator(plan.problem) == "float64"
        self._float = np.float64 if self.wide else np.float32
        self.launches = [told(launch, runtime.info) for launch in plan.launches]
        lasting = _LASTING if bias_stays else _LASTING - {"bias"}
        self._launches = [_Bound(runtime, launch, self._float, lasting) for launch in self.launches]
        self.packing = [] if plan.packing is None else [told(plan.packing.launch, runtime.info)]
        self._packing = [_Bound(runtime, launch, self._float) for launch in self.packing]
        self.tells = all(bound.tells for bound in self._launches)
        self._of_any_filter = plan.packing is not None and "w" not in plan.packing.launch.arguments
        self._kept: dict[int, cl.Buffer] = {}  # per queue, what is packed without reading a filter

    def pack(self, queue: cl.CommandQueue, w: cl.Buffer, wait_for: Sequence[cl.Event] | None = None) -> cl.Buffer:
        """Enqueue the packing of a filter into a new buffer, and return that; ``w`` itself if nothing is packed."""
        if not self._packing:
            return w
        self.runtime.dismiss()
        packed = allocate(self.runtime.context, self.plan.packed_bytes)
        state = self.runtime.queue_state(queue)
        require_own_turn(self.lock, state.lock)
        with self.lock, state.lock:
            try:
                self._enqueue(state, self._packing, {"w": w, "packed": packed}, wait_for)
                assert state.last is not None  # something was enqueued just now
                state.hold(state.last, (w, packed))
            except BaseException:
                state.hold_all((w, packed))
                raise
        return packed

    def kept(self, queue: cl.CommandQueue) -> cl.Buffer | None:
        """Return what calls that pack have packed for all later ones, since it depends on no filter; None if there is none."""
        return self._kept.get(queue.int_ptr)

    def run(
        self,
        queue: cl.CommandQueue,
        buffers: Mapping[str, Any],
        wait_for: Sequence[cl.Event] | None = None,
        *,
        pack: bool = False,
        again: object = None,
    ) -> cl.Event:
        """Enqueue one call and return the event of its last kernel.

        Parameters
        ----------
        queue : pyopencl.CommandQueue
        buffers : mapping of str to pyopencl.Buffer or None
            ``x``, ``y``, ``bias``, ``residual`` and ``w`` or ``packed``.
        wait_for : sequence of pyopencl.Event, optional
            The first kernel waits for these.
        pack : bool
            Pack ``w`` first, into scratch memory of the queue: for filters that change with every call. What does not depend
            on it (a row of zeros) is written once.
        again : object, optional
            Who calls, if always with the same ``buffers``: they are not set another time if no one else called in between.

        Raises
        ------
        DeviceError
            If the driver refuses to run a kernel, or this thread is in the middle of another call.
        """
        state = self.runtime.queue_state(queue)
        require_own_turn(self.lock, state.lock)
        self.runtime.dismiss()
        with self.lock, state.lock:
            if pack and self._packing:
                packed = self._kept.get(queue.int_ptr)
                buffers = {**buffers, "packed": self._place_of_packed(state) if packed is None else packed}
                if packed is None:
                    wait_for = self._enqueue(state, self._packing, buffers, wait_for)
                    if self._of_any_filter:
                        self._kept[queue.int_ptr] = buffers["packed"]
            self._enqueue(state, self._launches, buffers, wait_for, again)
            event = state.last
            assert event is not None  # a plan has at least one launch
            return event

    def _place_of_packed(self, state: QueueState) -> cl.Buffer:
        """Return memory of the queue's for a filter that is packed in each call, or memory that stays."""
        if self._of_any_filter:
            return allocate(self.runtime.context, self.plan.packed_bytes)
        sizes = (*self.plan.scratch_bytes, self.plan.packed_bytes)
        return state.scratch(self.runtime.context, sizes)[len(sizes) - 1]

    def _enqueue(
        self,
        state: QueueState,
        launches: list[_Bound],
        buffers: Mapping[str, Any],
        wait_for: Sequence[cl.Event] | None,
        again: object = None,
    ) -> Sequence[cl.Event] | None:
        if self.plan.scratch_bytes:
            scratch = state.scratch(self.runtime.context, self.plan.scratch_bytes)
            buffers = {**buffers, **{f"scratch{i}": b for i, b in enumerate(scratch)}}
        if not state.in_order and state.last is not None:
            wait_for = [*(wait_for or ()), state.last]
        for bound in launches:
            bound.bind(buffers, again)
            event = bound.enqueue(state.queue, wait_for)
            wait_for = None if state.in_order else [event]
            state.last = event
        return wait_for
