"""Several kernels as one command: threads go from one to the next by themselves, see ``kernels/persistent.cl``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyopencl as cl

from clconv.bound import BoundLaunch
from clconv.codes import code_beside
from clconv.plan import Launch, Local
from clconv.runtime import Runtime
from clconv.tensors import empty

_enqueue = cl.enqueue_nd_range_kernel

EXTERNAL = 8
"""Arguments that a call brings, at most: parameters of the kernel."""

PLACES = 16
"""Of arguments whose addresses are written by others, those :data:`EXTERNAL` ones the first."""

PARTS = 8
"""In so many parts the work-groups of a step are dealt out at most: each thread looks at the counters of all."""

FILE = "persistent.cl"

_LINE = 16  # counters
_ALIGN = 128  # bytes, of local memory: a line, and the one that some processors fetch with it
_APART = 1 << 16  # bytes, untouched, on both sides of a thread's local memory
_RUN = Launch(FILE, "persistent", (), (), (1,), (1,))
_ADDRESS = Launch(FILE, "address_of", (), (), (1,), (1,))


class Persistent:
    """Kernels that follow each other, as one.

    Parameters
    ----------
    runtime : Runtime
        Of a device that :func:`clconv.codes.helps` says yes to; it works in the host's memory.
    queue : pyopencl.CommandQueue
        To ask kernels and buffers for their addresses.
    commands : sequence of BoundLaunch
        Of launches that are :func:`clconv.codes.addressed`, and whose kernels have the parameters for it.
    threads : int
        At most so many take part.

    Attributes
    ----------
    external : array
        The addresses of what a call brings, written before or by the call.

    Raises
    ------
    OSError
        If the code of a kernel is not found in the process.
    """

    def __init__(self, runtime: Runtime, queue: cl.CommandQueue, commands: Sequence[BoundLaunch], threads: int) -> None:
        self._runtime = runtime
        self._threads = threads
        self._parts = min(threads, PARTS)
        self._held: list[Any] = [commands]  # OpenCL does not keep what is behind addresses alive
        self.external = zeros(PLACES, np.uint64)
        self._local = self._local_memory(commands)
        self._rebind = sorted({which for command in commands for _, which in command.rebind})
        codes = codes_of(runtime, queue, commands)
        constant = [b for c in commands for b in c.values if isinstance(b, cl.Buffer)]
        where = dict(zip((b.int_ptr for b in constant), addresses_of(runtime, queue, constant), strict=True))
        self._steps = zeros((len(commands), 8), np.uint64)
        for step, command, code in zip(self._steps, commands, codes, strict=True):
            step[:7] = (code, *self._arguments(command, where), *self._sizes(command.launch))
        self._counters = zeros((1 + len(commands) * (self._parts + 1)) * _LINE, np.int32)
        self._kernel: cl.Kernel | None = None

    @staticmethod
    def launches() -> tuple[Launch, ...]:
        """Return what kernels will be asked for beside those that follow each other."""
        return _RUN, _ADDRESS

    def enqueue(
        self, queue: cl.CommandQueue, external: Sequence[cl.Buffer], wait_for: Sequence[cl.Event] | None = None
    ) -> cl.Event:
        """Enqueue all on buffers that a call brings, for the driver's threads. One call at a time."""
        if self._kernel is None:
            self._kernel = self._bound()
        for which in self._rebind:
            self._kernel.set_arg(5 + which, external[which])
        return _enqueue(queue, self._kernel, (self._threads,), (1,), wait_for=wait_for)

    @property
    def arguments(self) -> tuple[int, ...]:
        """The first arguments of the kernels of persistent.cl, arrays as addresses."""
        return self._steps.ctypes.data, len(self._steps), self._counters.ctypes.data, self._parts

    def _bound(self) -> cl.Kernel:
        kernel = self._runtime.programs.kernel(_RUN)
        steps, counters, external = arrays = [over(self._runtime, a) for a in (self._steps, self._counters, self.external)]
        self._held += arrays
        numbers = np.int32(len(self._steps)), np.int32(self._parts)
        kernel.set_args(steps, numbers[0], counters, numbers[1], external, *[None] * EXTERNAL)
        return kernel

    def _local_memory(self, commands: Sequence[BoundLaunch]) -> list[int]:
        """Return the address of local memory for each thread, enough for any of the kernels.

        A processor fetches ahead of what a thread reads, beyond the end of a filter or of its own memory, and so takes from
        another thread what that is writing there. On a Xeon 1x1, 256 to 512 channels at 14 x 14, took a sixth longer right
        behind its filter, and 3x3 with 32 groups of 4 channels at 56 x 56 a third with its threads side by side.
        """
        size = max(sum(_padded(a.bytes) for a in c.launch.arguments if isinstance(a, Local)) for c in commands)
        pitch = size + _APART
        memory = empty((self._threads * pitch + _APART + _ALIGN,), np.dtype(np.uint8))
        self._held.append(memory)
        first = _padded(memory.ctypes.data) + _APART
        return list(range(first, first + self._threads * pitch, pitch))

    def _arguments(self, command: BoundLaunch, where: dict[int, int]) -> tuple[int, int]:
        """Return the address of a kernel's arguments for the first thread, and the distance to the next one's."""
        arguments = command.launch.arguments
        local = any(isinstance(a, Local) for a in arguments)
        values = np.zeros((self._threads if local else 1, len(arguments) + 2), np.uint64)  # the bell is a null pointer
        for index, value in enumerate(command.values):
            if isinstance(value, cl.Buffer):
                values[:, index] = where[value.int_ptr]
            elif isinstance(value, np.generic):
                values[:, index] = int.from_bytes(value.tobytes(), "little")
        pointers = values.ctypes.data + 8 * np.arange(values.size, dtype=np.uint64).reshape(values.shape)
        for index, which in command.rebind:
            pointers[:, index] = self.external[which:].ctypes.data
        for row, start in zip(values if local else [], self._local, strict=False):
            for index, argument in enumerate(arguments):
                if isinstance(argument, Local):
                    row[index] = start
                    start += _padded(argument.bytes)
        self._held += [values, pointers]
        return pointers.ctypes.data, pointers.strides[0] if local else 0

    def _sizes(self, launch: Launch) -> tuple[int, ...]:
        """Return the address of a kernel's context, all of its work-groups, and those along the first two dimensions."""
        rest = (1,) * (3 - len(launch.global_size))
        groups = [g // n for g, n in zip(launch.global_size, launch.local_size, strict=True)]
        context = np.zeros(16, np.uint64)
        context[:3] = (*groups, *rest)
        context[6:9] = (*launch.local_size, *rest)
        self._held.append(context)
        return context.ctypes.data, int(context[:3].prod()), int(context[0]), int(context[1])


def zeros(shape: int | tuple[int, ...], dtype: type) -> Any:
    """Return an array that begins where a line of the cache does, and shares none with others."""
    whole = shape if isinstance(shape, tuple) else (shape,)
    size = math.prod(whole) * np.dtype(dtype).itemsize
    memory = np.zeros(_padded(size) + _ALIGN, np.uint8)
    first = _padded(memory.ctypes.data) - memory.ctypes.data
    return memory[first : first + size].view(dtype).reshape(whole)


def over(runtime: Runtime, array: Any) -> cl.Buffer:
    """Return a buffer over an array's own memory, to be read and written."""
    return cl.Buffer(runtime.context, cl.mem_flags.READ_WRITE | cl.mem_flags.USE_HOST_PTR, hostbuf=array)


def addresses_of(runtime: Runtime, queue: cl.CommandQueue, buffers: Iterable[cl.Buffer]) -> list[int]:
    """Return where the device sees buffers."""
    asked = list(buffers)
    found = np.zeros(max(len(asked), 1), np.uint64)
    kernel, into = runtime.programs.kernel(_ADDRESS), over(runtime, found)
    for place, buffer in enumerate(asked):
        kernel.set_args(buffer, into, np.int32(place))
        _enqueue(queue, kernel, (1,), (1,))
    queue.finish()
    return [int(address) for address in found[: len(asked)]]


def _padded(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def codes_of(runtime: Runtime, queue: cl.CommandQueue, commands: Sequence[BoundLaunch]) -> list[int]:
    """Return the address of each kernel's code, which the process then keeps.

    Raises
    ------
    OSError
        If one is not found.
    """
    beside = np.zeros(len(commands), np.uint64)
    buffer = over(runtime, beside)
    for place, command in enumerate(commands):
        for index, _ in command.rebind:
            command.kernel.set_arg(index, None)
        command.tell(buffer, place)
        _enqueue(queue, command.kernel, command.launch.global_size, command.launch.local_size)
        command.tell(None, 0)
    queue.finish()
    return [code_beside(int(a), c.launch.entry) for a, c in zip(beside, commands, strict=True)]
