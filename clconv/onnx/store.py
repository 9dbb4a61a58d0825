"""Constants and packed filters of a network, on the device."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyopencl as cl

from clconv.bound import BoundLaunch
from clconv.buffers import host_buffer
from clconv.codes import told
from clconv.digest import digest
from clconv.onnx.arena import Arena
from clconv.onnx.graph import Array, own_memory
from clconv.onnx.problems import LAST_FILTER
from clconv.onnx.spill import Spill
from clconv.onnx.step import Plans
from clconv.plan import Packing
from clconv.runtime import Runtime, failed

_COPIED = 1 << 20  # bytes of a filter at a time


class Held:
    """A buffer, for as long as a program holds this object: OpenCL's own buffers cannot be referred to weakly."""

    def __init__(self, buffer: cl.Buffer) -> None:
        self.buffer = buffer


class Store:
    """Constants and packed filters on the device, shared by the programs of a network.

    Those that are the same for every shape stay; others, such as a table for one size of image, end with the last program that
    holds them.

    Parameters
    ----------
    runtime : Runtime
    queue : pyopencl.CommandQueue
        On which filters are packed.
    spill : Spill
        The file that large constants are read from.
    algorithm : {"auto", "direct"}
    """

    def __init__(self, runtime: Runtime, queue: cl.CommandQueue, spill: Spill, algorithm: str = "auto") -> None:
        self.runtime = runtime
        self.queue = queue
        self.spill = spill
        self.plans = Plans(runtime.info, algorithm)
        self.arena = Arena(runtime)
        self._held: weakref.WeakValueDictionary[Any, Held] = weakref.WeakValueDictionary()
        self._lasting: list[Held] = []
        self._place: Array = np.empty(0, np.uint8)

    def constant(self, name: str, array: Array, lasting: bool, turned: bool = False) -> Held:
        """Return the buffer of a constant; one that may differ between programs is told apart by its contents."""
        key = (self._key(name, array, lasting), turned)
        return self._once(key, lasting, lambda: self._upload(array.transpose(LAST_FILTER) if turned else array))

    def packed(self, packing: Packing, name: str, array: Array, lasting: bool, turned: bool, arena: Arena) -> Held:
        """Return a packed filter, packing it the first time; the filter itself is not kept on the device.

        One that does not last is put into the program's own arena.
        """

        def make() -> cl.Buffer:
            filt = array.transpose(LAST_FILTER) if turned else array
            if not filt.flags.c_contiguous:
                filt = self._in_place(filt)
            source = host_buffer(self.runtime, filt)
            packed = (self.arena if lasting else arena).allocate(packing.bytes)
            self._pack(packing, {"w": source, "packed": packed})
            self.spill.release()
            return packed

        return self._once((packing, self._key(name, array, lasting)), lasting, make)

    def _once(self, key: Any, lasting: bool, make: Callable[[], cl.Buffer]) -> Held:
        """Return what is held under a key, made the first time; what is interrupted while it is made is not held."""
        held = self._held.get(key)
        if held is None:
            held = Held(make())
            self._held[key] = held
            if lasting:
                self._lasting.append(held)
        return held

    def _key(self, name: str, array: Array, lasting: bool) -> Any:
        if lasting:
            return name
        where = self.spill.place(array)
        return where or (name, array.shape, digest(np.ascontiguousarray(array).data))

    def _in_place(self, array: Array) -> Array:
        """Return a contiguous copy in memory that the next one will use again, unless that is much smaller.

        It is made in pieces along the axis that comes first in the file, so that there is little of that in memory as well.
        """
        if not array.nbytes <= self._place.size <= 2 * array.nbytes:
            self._place = np.empty(0, np.uint8)
            self._place = own_memory((array.nbytes,), np.dtype(np.uint8))
        copy: Array = self._place[: array.nbytes].view(array.dtype).reshape(array.shape)
        axis = int(np.argmax(array.strides))
        to, source = np.moveaxis(copy, axis, 0), np.moveaxis(array, axis, 0)
        step = max(1, len(source) * _COPIED // array.nbytes)
        for start in range(0, len(source), step):
            to[start : start + step] = source[start : start + step]
            self.spill.release()
        return copy

    def finish(self) -> None:
        """Wait until filters are packed, and let go of what only packing needed."""
        try:
            self.queue.finish()
        except cl.Error as error:
            raise failed(self.runtime, error) from error
        state = self.runtime.queue_state(self.queue)
        with state.lock:
            state.let_go()
        self.spill.release()
        self.arena.settle()
        self._place = np.empty(0, np.uint8)

    def _pack(self, packing: Packing, buffers: Mapping[str, cl.Buffer]) -> None:
        self.runtime.dismiss()
        state = self.runtime.queue_state(self.queue)
        command = BoundLaunch(self.runtime, told(packing.launch, self.runtime.info), buffers, {}, wide=False)
        try:
            with state.lock:
                wait_for = None if state.in_order or state.last is None else [state.last]
                state.last = command.enqueue(self.queue, (), wait_for)
                state.hold(state.last, command)
                state.last.wait()  # so that there is one filter at a time in memory beside the packed ones
        except cl.Error as error:
            raise failed(self.runtime, error) from error

    def _upload(self, array: Array) -> cl.Buffer:
        flags = cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
        data = np.ascontiguousarray(array) if array.size else np.zeros(1, array.dtype)
        return cl.Buffer(self.runtime.context, flags, hostbuf=data)

    @property
    def bytes(self) -> int:
        """Memory of constants and packed filters, in bytes."""
        held = [reference() for reference in self._held.valuerefs()]  # a copy: another thread may add some meanwhile
        return sum(each.buffer.size for each in held if each is not None)
