"""Searching for the fastest plan on a device, and remembering it."""

from __future__ import annotations

from clconv.device import DeviceInfo
from clconv.plan import Plan
from clconv.problem import ConvProblem


def recall(problem: ConvProblem, device: DeviceInfo, candidates: list[Plan]) -> Plan | None:
    """Return the candidate that a tuned record names for this device, or None."""
    return None
