"""Steps of a network as one kernel: the driver's threads go from one to the next by themselves."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyopencl as cl

from clconv import processor
from clconv.device import DeviceInfo
from clconv.onnx.bound import BoundLaunch
from clconv.plan import Launch, Local
from clconv.runtime import Runtime
from clconv.tensors import empty

_enqueue = cl.enqueue_nd_range_kernel

EXTERNAL = 8
"""Inputs and outputs of a network at most."""

PARTS = 8
"""In so many parts the work-groups of a step are dealt out at most: each thread looks at the counters of all."""

_DRIVERS = ("3.0",)  # whose compiled kernels are known to be called as network/persistent.cl does
_LINE = 16  # counters
_ALIGN = 128  # bytes, of local memory

_FILE = "network/persistent.cl"
_RUN = Launch(_FILE, "persistent", (), (), (1,), (1,))
_ADDRESS = Launch(_FILE, "address_of", (), (), (1,), (1,))


class _Symbol(ctypes.Structure):
    """What ``dladdr`` tells of an address."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def addressed(launch: Launch) -> Launch:
    """Return a launch whose kernel can tell where its code is, in two parameters more: see ``include/bell.clh``."""
    return replace(launch, macros=(*launch.macros, ("HAS_BELL", 2)))


class Persistent:
    """Kernels of a network that follow each other, as one command: see ``network/persistent.cl``.

    Parameters
    ----------
    runtime : Runtime
        Of a device that :meth:`helps` says yes to; it works in the host's memory.
    queue : pyopencl.CommandQueue
        To ask kernels and buffers for their addresses.
    commands : sequence of BoundLaunch
        Of launches that are :func:`addressed`, and whose kernels have the parameters for it.

    Raises
    ------
    OSError
        If the code of a kernel is not found in the process.
    """

    def __init__(self, runtime: Runtime, queue: cl.CommandQueue, commands: Sequence[BoundLaunch]) -> None:
        self._runtime = runtime
        self._threads = runtime.info.compute_units
        self._parts = min(self._threads, PARTS)
        self._held: list[Any] = [commands]  # OpenCL does not keep what is behind addresses alive
        self._external = np.zeros((self._threads, EXTERNAL), np.uint64)
        self._local = self._local_memory(commands)
        codes = _codes(runtime, queue, commands)
        where = _addresses(runtime, queue, (b for c in commands for b in c.values if isinstance(b, cl.Buffer)))
        steps = np.zeros((len(commands), 8), np.uint64)
        for step, command, code in zip(steps, commands, codes, strict=True):
            step[:7] = (code, *self._arguments(command, where), *self._sizes(command.launch))
        counters = np.zeros((1 + len(commands) * (self._parts + 1)) * _LINE, np.int32)
        self.kernel = runtime.programs.kernel(_RUN)
        numbers = np.int32(len(commands)), np.int32(self._parts)
        arrays = [self._buffer(array) for array in (steps, self._external, counters)]
        self.kernel.set_args(arrays[0], numbers[0], arrays[1], arrays[2], numbers[1], *[None] * EXTERNAL)
        self._rebind = sorted({which for command in commands for _, which in command.rebind})

    @staticmethod
    def helps(device: DeviceInfo) -> bool:
        """Whether a device's driver is one whose compiled kernels can be called from another."""
        known = device.is_pocl and device.is_cpu and not device.is_simulator and device.driver.startswith(_DRIVERS)
        return known and processor.is_x86() and sys.platform == "linux"

    @staticmethod
    def launches() -> tuple[Launch, ...]:
        """Return what kernels will be asked for beside the network's."""
        return _RUN, _ADDRESS

    def enqueue(
        self, queue: cl.CommandQueue, external: Sequence[cl.Buffer], wait_for: Sequence[cl.Event] | None = None
    ) -> cl.Event:
        """Enqueue all steps on buffers that a call brings. One call at a time."""
        for which in self._rebind:
            self.kernel.set_arg(5 + which, external[which])
        return _enqueue(queue, self.kernel, (self._threads,), (1,), wait_for=wait_for)

    def _buffer(self, array: Any) -> cl.Buffer:
        buffer = over(self._runtime, array)
        self._held += [array, buffer]
        return buffer

    def _local_memory(self, commands: Sequence[BoundLaunch]) -> list[int]:
        """Return the address of local memory for each thread, enough for any of the kernels."""
        size = max(sum(_padded(a.bytes) for a in c.launch.arguments if isinstance(a, Local)) for c in commands)
        blocks = [empty((size + _ALIGN,), np.dtype(np.uint8)) for _ in range(self._threads)]
        self._held += blocks
        return [_padded(block.ctypes.data) for block in blocks]

    def _arguments(self, command: BoundLaunch, where: dict[int, int]) -> tuple[int, int]:
        """Return the address of a kernel's arguments for the first thread, and the distance to the next one's."""
        arguments = command.launch.arguments
        own = bool(command.rebind) or any(isinstance(a, Local) for a in arguments)
        values = np.zeros((self._threads if own else 1, len(arguments) + 2), np.uint64)  # the bell is a null pointer
        for index, value in enumerate(command.values):
            if isinstance(value, cl.Buffer):
                values[:, index] = where[value.int_ptr]
            elif isinstance(value, np.generic):
                values[:, index] = int.from_bytes(value.tobytes(), "little")
        pointers = values.ctypes.data + 8 * np.arange(values.size, dtype=np.uint64).reshape(values.shape)
        for thread in range(len(values) if own else 0):
            local = self._local[thread]
            for index, argument in enumerate(arguments):
                if isinstance(argument, Local):
                    values[thread, index] = local
                    local += _padded(argument.bytes)
            for index, which in command.rebind:
                pointers[thread, index] = self._external[thread, which:].ctypes.data
        self._held += [values, pointers]
        return pointers.ctypes.data, pointers.strides[0] if own else 0

    def _sizes(self, launch: Launch) -> tuple[int, ...]:
        """Return the address of a kernel's context, all of its work-groups, and those along the first two dimensions."""
        rest = (1,) * (3 - len(launch.global_size))
        groups = [g // n for g, n in zip(launch.global_size, launch.local_size, strict=True)]
        context = np.zeros(16, np.uint64)
        context[:3] = (*groups, *rest)
        context[6:9] = (*launch.local_size, *rest)
        self._held.append(context)
        return context.ctypes.data, int(context[:3].prod()), int(context[0]), int(context[1])


def over(runtime: Runtime, array: Any) -> cl.Buffer:
    """Return a buffer over an array's own memory, to be read and written."""
    return cl.Buffer(runtime.context, cl.mem_flags.READ_WRITE | cl.mem_flags.USE_HOST_PTR, hostbuf=array)


def _padded(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _codes(runtime: Runtime, queue: cl.CommandQueue, commands: Sequence[BoundLaunch]) -> list[int]:
    """Return the address of each kernel's code, which the process then keeps."""
    beside = np.zeros(len(commands), np.uint64)
    buffer = over(runtime, beside)
    for place, command in enumerate(commands):
        for index, _ in command.rebind:
            command.kernel.set_arg(index, None)
        command.tell(buffer, place)
        _enqueue(queue, command.kernel, command.launch.global_size, command.launch.local_size)
        command.tell(None, 0)
    queue.finish()
    return [_code(int(a), c.launch.entry) for a, c in zip(beside, commands, strict=True)]


def _code(beside: int, entry: str) -> int:
    """Return the address of a kernel's code from one in the same file, of which PoCL has made a library."""
    dladdr: Callable[..., int] = ctypes.CDLL(None).dladdr
    symbol = _Symbol()
    if not dladdr(ctypes.c_void_p(beside), ctypes.byref(symbol)):
        raise OSError(f"no library of this process holds the code of {entry}")
    library = ctypes.CDLL(os.fsdecode(symbol.file))  # PoCL lets go of libraries; this one stays
    try:
        code = ctypes.cast(getattr(library, f"_pocl_kernel_{entry}_workgroup"), ctypes.c_void_p).value
    except AttributeError as error:
        raise OSError(str(error)) from error
    assert code is not None  # the library has the symbol
    return code


def _addresses(runtime: Runtime, queue: cl.CommandQueue, buffers: Iterable[cl.Buffer]) -> dict[int, int]:
    """Return where the device sees buffers, by their handles."""
    each = {buffer.int_ptr: buffer for buffer in buffers}
    found = np.zeros(max(len(each), 1), np.uint64)
    kernel, buffer = runtime.programs.kernel(_ADDRESS), over(runtime, found)
    for place, asked in enumerate(each.values()):
        kernel.set_args(asked, buffer, np.int32(place))
        _enqueue(queue, kernel, (1,), (1,))
    queue.finish()
    return {handle: int(address) for handle, address in zip(each, found, strict=False)}
