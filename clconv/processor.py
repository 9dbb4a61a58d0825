"""What Linux tells of the processor and OpenCL does not: its level, its matrix unit, how wide its vector units are."""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_NEEDED = frozenset(("amx_tile", "amx_bf16", "avx512bw"))
_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18  # asm/unistd_64.h, asm/prctl.h; the component in XCR0
_HEAD = 1 << 14
"""Bytes of /proc/cpuinfo that hold what the first processor is; all of it may be long."""
_AMD, _ZEN5 = "AuthenticAMD", 0x1A
"""What AMD's processors say of their maker, and the family whose vector units take 64 bytes at once, but for laptops' ones."""
_LEVELS = (
    ("x86-64-v2", "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3"),
    ("x86-64-v3", "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"),
    ("x86-64-v4", "avx512f avx512bw avx512cd avx512dq avx512vl"),
)
"""Levels of x86-64 as compilers name them, and Linux's names of what each adds (the System V ABI, AMD64 supplement)."""


def is_x86() -> bool:
    """Tell whether the processor is one of Intel's or AMD's, in 64 bits."""
    return platform.machine().lower() in ("x86_64", "amd64")


@cache
def amx_granted() -> bool:
    """Tell whether the processor has AMX for bfloat16 and the system lets this process use it; asks for that at the first call.

    The permission is the process's, all threads' of it, and a child's after ``fork``. Tile registers are 8 KiB for
    the system to save when a thread is interrupted while it uses them, which is why it wants to be asked.
    """
    facts = _facts()
    if not facts or not _NEEDED.issubset(facts.get("flags", "").split()):
        return False
    syscall = ctypes.CDLL(None).syscall
    syscall.restype = ctypes.c_long
    return bool(syscall(*map(ctypes.c_long, (_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA))) == 0)


@cache
def full_avx512() -> bool:
    """Tell whether two vectors of 64 bytes are multiplied and added in each clock cycle, where AVX-512 is there at all.

    Intel's servers do so, and AMD's processors since Zen 5. Others take such a vector in halves, or one at a time.
    """
    facts = _facts()
    name, family = facts.get("model name", ""), facts.get("cpu family", "")
    if facts.get("vendor_id") == _AMD:
        return family.isdecimal() and int(family) >= _ZEN5 and "Ryzen AI" not in name
    return "Xeon" in name or "amx_tile" in facts.get("flags", "").split()


@cache
def moves_beside() -> bool:
    """Tell whether other vectors are moved and added while two of 64 bytes are multiplied: AMD has units of their own for that.

    Of Intel's, one of the two units that multiply is the one that moves.
    """
    return full_avx512() and _facts().get("vendor_id") == _AMD


@cache
def x86_level() -> str | None:
    """Name the highest level of x86-64 that the processor reaches, ``"x86-64"`` at least; None where Linux does not tell."""
    facts = _facts()
    if not facts:
        return None
    flags, reached = facts.get("flags", "").split(), "x86-64"
    for level, added in _LEVELS:
        if not set(added.split()).issubset(flags):
            break
        reached = level
    return reached


def _facts() -> dict[str, str]:
    """Return the lines of /proc/cpuinfo about the first processor, nothing where there are none."""
    if not sys.platform.startswith("linux") or not is_x86():
        return {}
    try:
        with _CPUINFO.open(encoding="ascii", errors="replace") as file:
            head = file.read(_HEAD).split("\n\n")[0]
    except OSError:
        return {}
    lines = (line.partition(":") for line in head.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}
