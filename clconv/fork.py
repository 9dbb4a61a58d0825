"""A process that was forked from one that had used OpenCL, whose threads did not come along."""

from __future__ import annotations

import os
from pathlib import Path

from clconv.errors import DeviceError


class _Process:
    """Whether OpenCL was used here, and whether that was before this process was forked from another."""

    used = False
    forked = False


_DRIVERS = (b"libpocl", b"libintelocl", b"libnvidia-opencl", b"libamdocl")


def _after_fork() -> None:
    _Process.forked = _Process.used or _driver_is_there()


def _driver_is_there() -> bool:
    """Whether somebody else in this process, as pyopencl alone, has brought a driver into memory."""
    try:
        mapped = Path("/proc/self/maps").read_bytes()
    except OSError:  # another system
        return False
    return any(driver in mapped for driver in _DRIVERS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def in_own_process() -> bool:
    """Whether the driver's threads are here, see :func:`require_own_process`."""
    return not _Process.forked


def require_own_process() -> None:
    """Raise a DeviceError in a process forked from one that used OpenCL: without the driver's threads it would never end.

    To be called before a lock is taken: another thread may have held it when the process was forked, and did not come along.
    """
    if _Process.forked:
        raise DeviceError(
            "this process was forked from one that had used OpenCL, whose threads did not come along; start processes by "
            "'spawn' or 'forkserver' (multiprocessing.set_start_method), or before the first convolution"
        )
    _Process.used = True
