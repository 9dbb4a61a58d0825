"""Large constants kept in a file instead of in memory, from where the few that are needed again come back by themselves."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from clconv.onnx.graph import Array

LEAST = 1 << 16
"""Arrays of fewer bytes stay in memory."""
_ALIGN = 64


class Spill:
    """Arrays in a file without a name, which nobody else can change and which ends with the process.

    A network packs its filters once, in an order of its own; the originals are needed again only for input sizes that
    want another packing. In memory they would double what a network takes.

    Parameters
    ----------
    arrays : mapping of str to array
        Those that are small, or all of them where no file can be written, are taken as they are.

    Attributes
    ----------
    arrays : dict of str to array
        The same contents, read-only where they are in the file.
    bytes : int
        Size of the file.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = dict(arrays)
        self.bytes = 0
        self._map: mmap.mmap | None = None
        large = {n: np.ascontiguousarray(a) for n, a in arrays.items() if a.nbytes >= LEAST and a.dtype != object}
        if not large:
            return
        try:
            with tempfile.TemporaryFile(prefix="clconv-", dir=_folder()) as file:
                places = {name: _append(file, array) for name, array in large.items()}
                file.flush()
                self.bytes = file.tell()
                self._map = mmap.mmap(file.fileno(), self.bytes, access=mmap.ACCESS_READ)
        except OSError:  # no space, or no folder to write to
            self.bytes = 0
            return
        for name, start in places.items():
            array = large[name]
            self.arrays[name] = np.frombuffer(self._map, array.dtype, array.size, start).reshape(array.shape)

    def place(self, array: Array) -> tuple[object, ...] | None:
        """Return what tells a view of the file from all others; None for an array that is elsewhere.

        The file does not change, so equal places are equal contents.
        """
        if self._map is None:
            return None
        start = array.ctypes.data - np.frombuffer(self._map, np.uint8).ctypes.data
        return (start, array.shape, array.strides, array.dtype.str) if 0 <= start < self.bytes else None

    def release(self) -> None:
        """Give the memory back that holds what was read of the file; it is read again where that is needed."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def _folder() -> str | None:
    """Return where to put the file: ``/tmp`` is memory on many systems, ``/var/tmp`` is not."""
    disk = "/var/tmp"
    return disk if "TMPDIR" not in os.environ and os.access(disk, os.W_OK) else None


def _append(file: IO[Any], array: Array) -> int:
    """Write an array and return where it starts."""
    start = -(-file.tell() // _ALIGN) * _ALIGN
    file.seek(start)
    array.tofile(file)
    return start
