"""Where the code of compiled kernels is, so that another kernel can call it: see ``kernels/persistent.cl``."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import replace

from clconv import processor
from clconv.device import DeviceInfo
from clconv.plan import Launch, Plan

_DRIVERS = ("3.0",)  # whose compiled kernels are known to be called as persistent.cl does


class _Symbol(ctypes.Structure):
    """What ``dladdr`` tells of an address."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def helps(device: DeviceInfo) -> bool:
    """Whether a device's driver is one whose compiled kernels can be called from another."""
    known = device.is_pocl and device.is_cpu and not device.is_simulator and device.driver.startswith(_DRIVERS)
    return known and processor.is_x86() and sys.platform == "linux"


def addressed(launch: Launch) -> Launch:
    """Return a launch whose kernel can tell where its code is, in two parameters more: see ``include/bell.clh``."""
    return replace(launch, macros=(*launch.macros, ("HAS_BELL", 2)))


def told(launch: Launch, device: DeviceInfo) -> Launch:
    """Return a launch as it is built for a device: :func:`addressed` where that helps.

    Those that pack filters as well: they share a program with those that read them, and a crew packs for ``conv2d``.
    """
    return addressed(launch) if helps(device) else launch


def launches_of(plan: Plan, device: DeviceInfo) -> list[Launch]:
    """Return all kernels of a plan as they are built: those of each call, and that of each filter."""
    launches = plan.launches if plan.packing is None else (*plan.launches, plan.packing.launch)
    return [told(launch, device) for launch in launches]


def code_beside(beside: int, entry: str) -> int:
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
