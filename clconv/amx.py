"""Whether this process may use the processor's matrix unit, AMX: Linux grants it on request."""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache
from pathlib import Path

_NEEDED = frozenset(("amx_tile", "amx_bf16", "avx512bw"))
_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18  # asm/unistd_64.h, asm/prctl.h; the component in XCR0
_HEAD = 1 << 14
"""Bytes of /proc/cpuinfo that hold the first processor's flags; all of it may be long."""


@cache
def granted() -> bool:
    """Tell whether the processor has AMX for bfloat16 and the system lets this process use it; asks for that at the first call.

    The permission is the process's, all threads' of it, and a child's after ``fork``. Tile registers are 8 KiB for
    the system to save when a thread is interrupted while it uses them, which is why it wants to be asked.
    """
    if not sys.platform.startswith("linux") or platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        with Path("/proc/cpuinfo").open(encoding="ascii", errors="replace") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    flags = next((line for line in head.splitlines() if line.startswith("flags")), "")
    if not _NEEDED.issubset(flags.split()):
        return False
    syscall = ctypes.CDLL(None).syscall
    syscall.restype = ctypes.c_long
    return bool(syscall(*map(ctypes.c_long, (_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA))) == 0)
