"""What PoCL compiles for where it does not know the processor.

PoCL 3.0 has its LLVM, of 2022, name the processor. AMD's processors that came later (Zen 5), and those of makers that LLVM does
not know, it calls "generic", which is no name of any processor in x86-64: clang refuses it, and no kernel compiles. There is no
option for another name. So the name is replaced in PoCL's own description of its device, by that of the level of x86-64 that
the processor reaches; clang and LLVM's back end both take it from there.
"""

from __future__ import annotations

import ctypes
import os
import struct
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from clconv import processor

if TYPE_CHECKING:
    import pyopencl as cl

_MEMORY = Path("/proc/self/mem")
_DESCRIPTION = 2048
"""Bytes from the begin of a device's description in which the two pointers lie: at 632 and 640 in PoCL 3.0."""
_TRIPLET, _UNKNOWN = b"x86_64-", b"generic"
_POINTER = struct.calcsize("P")
_seen: set[int] = set()  # addresses of descriptions, which stay where they are


def name_processor(device: cl.Device) -> bool:
    """Tell a device of PoCL what to compile for, if it does not know; to be called before its first program.

    Memory is read through the system, so that what is no pointer does no harm, and nothing is changed unless a pointer to
    "generic" follows one to the name of the platform, x86_64-unknown-linux-gnu.

    Parameters
    ----------
    device : pyopencl.Device

    Returns
    -------
    bool
        Whether it did not know, and does now.
    """
    level = processor.x86_level()
    if level is None or device.int_ptr in _seen or "Portable Computing" not in device.platform.name:
        return False
    _seen.add(device.int_ptr)
    try:
        memory = os.open(_MEMORY, os.O_RDONLY)
    except OSError:
        return False
    try:
        description = os.pread(memory, _DESCRIPTION, device.int_ptr)
        words = [word for (word,) in struct.iter_unpack("P", description[: len(description) // _POINTER * _POINTER])]
        for number, (first, second) in enumerate(pairwise(words), 1):
            if _begins(memory, first, _TRIPLET) and _begins(memory, second, _UNKNOWN + b"\0"):
                copy = ctypes.CDLL(None).strdup  # PoCL may free it, as it may what was there
                copy.restype = ctypes.c_void_p
                ctypes.c_void_p.from_address(device.int_ptr + number * _POINTER).value = copy(level.encode("ascii"))
                return True
    except OSError:  # the description ends before that
        pass
    finally:
        os.close(memory)
    return False


def _begins(memory: int, address: int, text: bytes) -> bool:
    """Whether an address is one, and this text lies there."""
    try:
        return os.pread(memory, len(text), address) == text
    except (OSError, OverflowError):
        return False
