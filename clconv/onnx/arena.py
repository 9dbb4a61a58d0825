"""Memory of a network's tensors and filters: many buffers in few large pieces."""

from __future__ import annotations

import contextlib
import mmap
from typing import Any

import numpy as np
import pyopencl as cl

from clconv.buffers import allocate
from clconv.runtime import Runtime

_HUGE = 2 << 20
_PIECE = 64 << 20  # addresses; memory comes when they are written to, and what is never used takes none
UNIT = 128
"""Buffers that are cut begin at multiples of so many bytes: two lines of the cache."""


class Arena:
    """Gives buffers that live as long as a network, and takes none back.

    Where the device computes in the host's memory, buffers are cut from large pieces for which the system is asked for huge
    pages: filters and tensors of several MiB otherwise cost a look into the page tables for every 4 KiB, which was measured
    as 1.5 to 3 % of a network's time. Elsewhere each is a buffer of its own.

    Parameters
    ----------
    runtime : Runtime
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._pieces = self.cuts(runtime)
        self._free: Any = np.empty(0, np.uint8)
        self._map: mmap.mmap | None = None  # the piece that the free memory is the end of

    @staticmethod
    def cuts(runtime: Runtime) -> bool:
        """Whether buffers are cut from larger pieces, so that one may be a part of another."""
        return hasattr(mmap, "MADV_HUGEPAGE") and runtime.info.is_pocl and runtime.info.unified_memory

    def allocate(self, size: int) -> cl.Buffer:
        """Return a buffer of ``size`` bytes, whose contents are not defined."""
        if not self._pieces:
            return allocate(self._runtime.context, size)
        size = max(size, 1)
        need = -(-size // UNIT) * UNIT
        if need > self._free.size:
            fresh, memory = piece(max(need, _PIECE))
            if fresh.size - need < self._free.size:  # the rest of the old piece is larger
                return self._buffer(fresh[:size])
            self._free, self._map = fresh, memory
        given, self._free = self._free[:size], self._free[need:]
        return self._buffer(given)

    def within(self, buffer: cl.Buffer, at: int, size: int) -> cl.Buffer:
        """Return the buffer of ``size`` bytes behind the first ``at`` of another one, if buffers are cut."""
        memory: Any = buffer.hostbuf
        return self._buffer(memory[at : at + size])

    def settle(self) -> None:
        """Take no memory for what is left of the last huge page, 1 MiB on average. More may still be allocated there."""
        if self._map is None or not self._free.size:
            return
        begin, free = np.frombuffer(self._map, np.uint8).ctypes.data, self._free.ctypes.data
        page = free // _HUGE * _HUGE
        first, end = max(page, begin), min(page + _HUGE, begin + len(self._map))
        small = -(-free // mmap.PAGESIZE) * mmap.PAGESIZE
        with contextlib.suppress(OSError):  # a system without huge pages
            self._map.madvise(mmap.MADV_NOHUGEPAGE, first - begin, end - first)
            if small < end:
                self._map.madvise(mmap.MADV_DONTNEED, small - begin, end - small)

    def _buffer(self, memory: Any) -> cl.Buffer:
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.USE_HOST_PTR
        return cl.Buffer(self._runtime.context, flags, hostbuf=memory)


def piece(size: int) -> tuple[Any, mmap.mmap]:
    """Return bytes that no file stands behind, in huge pages if the system has them, as an array and as what maps them."""
    size = -(-size // _HUGE) * _HUGE
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8), memory
