"""Short convolutions in the thread that calls, where the driver can do that and it takes less time.

PoCL has two devices for one processor. The usual one, ``pthread``, gives work-groups to threads of its own, which sleep when
there is nothing to do: 15 to 38 us pass until they are awake and the caller knows that they are done. The other one,
``basic``, runs a kernel inside of the call that enqueues it, on one core, and costs 1 us. A call on NumPy arrays waits for its
result anyway, so it may use either; calls on device arrays do not wait and always use the former.

PoCL decides which devices it has when OpenCL is used for the first time in a process, by the variable ``POCL_DEVICES``.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from clconv.device import DeviceInfo
from clconv.plan import Plan

if TYPE_CHECKING:
    import pyopencl as cl

NAMES = ("basic", "cpu-minimal")
"""What names of such devices begin with: PoCL's until version 3, and from 4 on."""

WAKING = 15e-6
"""Seconds from a call to the first work-group on PoCL's own threads and from the last one back; measured, at least."""

CLOSE = 1 << 20
"""Bytes that one core brings in before the others are awake, from a second cache or, where that is smaller, from the third."""

USUAL = ":pthread"
"""``PYOPENCL_CTX`` for the device that pyopencl would choose by itself if the other one were not there."""

_SYSTEM = Path("/etc/OpenCL/vendors")


class _State:
    asked = False  # by this module, in this process


def is_caller(device: cl.Device) -> bool:
    """Whether a device runs kernels in the thread that enqueues them."""
    return "Portable Computing" in device.platform.name and device.name.startswith(NAMES)


def hidden(device: cl.Device) -> bool:
    """Whether a device is only there since this library asked for it, and no one else needs to know."""
    return _State.asked and is_caller(device)


def usual(device: cl.Device) -> cl.Device:
    """Return a device, or in place of one that nobody else needs to know the one beside it."""
    return next(d for d in device.platform.get_devices() if not is_caller(d)) if hidden(device) else device


@contextmanager
def asking() -> Iterator[None]:
    """Ask PoCL for the second device, if OpenCL is used for the first time in here and nobody has decided otherwise.

    Only the PoCL that pip installs is asked: others may have more devices, which the variable would take away.
    """
    decided = any(os.environ.get(name) for name in ("POCL_DEVICES", "PYOPENCL_TEST", "OCL_ICD_VENDORS"))
    theirs = os.environ.get("PYOPENCL_CTX") not in (None, "", USUAL)
    system = _SYSTEM.is_dir() and any(_SYSTEM.glob("*pocl*"))
    if _State.asked or decided or theirs or system or importlib.util.find_spec("pocl_binary_distribution") is None:
        yield
        return
    _State.asked = True
    os.environ["POCL_DEVICES"] = "pthread basic"
    try:
        yield
    finally:
        del os.environ["POCL_DEVICES"]  # child processes decide for themselves


def keep_choice_of_pyopencl(platforms: Sequence[cl.Platform]) -> None:
    """See to it that ``pyopencl.create_some_context()`` still takes the device that it took without the second one."""
    if _State.asked and any(is_caller(d) for p in platforms[:1] for d in p.get_devices()):
        os.environ.setdefault("PYOPENCL_CTX", USUAL)


def beside(device: cl.Device) -> cl.Device | None:
    """Return the device that does a PoCL device's work in the thread that calls; None where there is none."""
    if "Portable Computing" not in device.platform.name or is_caller(device):
        return None
    return next((d for d in device.platform.get_devices() if is_caller(d)), None)


def is_faster(plan: Plan, info: DeviceInfo) -> bool:
    """Whether a plan for a device of PoCL takes less time in the thread that calls. Pure.

    Its work-groups follow each other there, from the caches of one core. The prediction of all of them is what the busiest
    unit has to do, times the units at work.
    """
    touched = plan.problem.bytes + plan.workspace + max(launch.local_bytes for launch in plan.launches)
    if touched > CLOSE:
        return False
    groups = max(math.prod(launch.global_size) // math.prod(launch.local_size) for launch in plan.launches)
    units = min(groups, info.compute_units)
    return (units - 1) * plan.seconds < WAKING
