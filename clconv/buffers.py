"""Memory of a device: empty, with a copy of an array, or over an array's own memory."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import pyopencl as cl

from clconv.errors import DeviceError
from clconv.fork import require_own_process

if TYPE_CHECKING:
    from clconv.runtime import Runtime


def allocate(context: cl.Context, size: int) -> cl.Buffer:
    """Return a buffer of ``size`` bytes.

    Raises
    ------
    DeviceError
        If the device cannot allocate it, with both numbers.
    """
    return _buffer(context, cl.mem_flags.READ_WRITE, size)


def copied(context: cl.Context, array: Any) -> cl.Buffer:
    """Return a buffer with a copy of a contiguous NumPy array.

    Raises
    ------
    DeviceError
        If the device cannot allocate it, with both numbers.
    """
    return _buffer(context, cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR, array.nbytes, array)


def _buffer(context: cl.Context, flags: int, size: int, array: Any = None) -> cl.Buffer:
    require_own_process()
    try:
        return cl.Buffer(context, flags, max(size, 1)) if array is None else cl.Buffer(context, flags, hostbuf=array)
    except cl.Error as error:
        limit = min(d.max_mem_alloc_size for d in context.devices)
        raise DeviceError(
            f"a buffer of {size} bytes cannot be allocated on {context.devices[0].name}, which gives {limit} bytes "
            f"at most in one piece ({' '.join(str(error).split())}); use a smaller batch or image"
        ) from error


def host_buffer(runtime: Runtime, array: Any, *, output: bool = False) -> cl.Buffer:
    """Return a buffer over a contiguous NumPy array: the array's own memory where device and host share it.

    Elsewhere the contents are copied in (inputs), or memory is allocated that the caller copies out of (outputs).
    """
    flags = cl.mem_flags
    if runtime.info.unified_memory:
        access = flags.WRITE_ONLY if output else flags.READ_ONLY
        return _buffer(runtime.context, access | flags.USE_HOST_PTR, array.nbytes, array)
    return allocate(runtime.context, array.nbytes) if output else copied(runtime.context, array)


def address_of(array: Any) -> int:
    """Return where a NumPy array is in memory."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # a quarter of the time
    except (TypeError, ValueError, BufferError):  # it is read-only, empty, or of a type that buffers do not have
        address: int = array.__array_interface__["data"][0]
        return address
