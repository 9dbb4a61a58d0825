"""What a kernel costs on a GPU: a model fitted to 4600 measurements of 66 layers on an NVIDIA H100.

A work-group alone on a compute unit waits for memory most of the time; several that are resident together share the unit's
instructions. So a round of them takes as long as one alone, or as all their instructions, whichever is more. Constants are in
clock cycles and instructions, so that they carry over to other GPUs. The predictions for the H100 are 9 % off in the mean, and
the plan that is predicted to be the fastest takes 6 % longer than the fastest one.
"""

from __future__ import annotations

from clconv.algorithms.base import ceil_div
from clconv.device import DeviceInfo

LANES = 128
"""Instructions of work-items that a compute unit issues in one clock cycle."""

LAUNCH = 4.4e-6
"""Seconds from one kernel to the next of a queue."""

ENQUEUE = 9e-6
"""Seconds that the host needs to enqueue a kernel: 8.4 to 9 through pyopencl and NVIDIA's driver, an H200 beside a Xeon."""

CACHED = 1.4
"""How many times faster than DeviceInfo.bandwidth says what the last kernel wrote is read: it is in the second cache."""

_REGISTERS = 65536
_ITEMS = 2048
_GROUPS = 32
_CLOCK = 0.89  # the clock at work, of the one that the device reports


def resident(items: int, registers: int) -> int:
    """Work-groups that a compute unit holds at a time, of so many work-items with so many registers each."""
    return max(1, min(_REGISTERS // (items * registers), _ITEMS // items, _GROUPS))


def enqueued(seconds: float, launches: int) -> float:
    """Return what a call takes from host to end: its time on the device, or to enqueue its kernels, whichever is more.

    Networks and calls in a row are enqueued ahead of the device, and most layers of one image are shorter there than that. A
    little of the lesser one remains, so that of plans with as many kernels the shortest comes first.
    """
    return float((seconds**4 + (launches * ENQUEUE) ** 4) ** 0.25)


def seconds(device: DeviceInfo, groups: int, together: int, alone: float, each: float, start: float = 0.0) -> float:
    """Predict the time of a launch.

    Parameters
    ----------
    device : DeviceInfo
    groups : int
        Work-groups in all.
    together : int
        Those that a compute unit holds at a time.
    alone : float
        Clock cycles of one that has a compute unit to itself.
    each : float
        Clock cycles of its instructions, where nothing waits.
    start : float
        Clock cycles of a round of work-groups that no other one hides.
    """
    full, rest = divmod(ceil_div(groups, device.compute_units), together)
    cycles = full * (max(alone, together * each) + start)
    if rest:
        cycles += max(alone, rest * each) + start
    return LAUNCH + cycles / (_CLOCK * device.clock_mhz * 1e6)
