"""Which algorithm, under the caller's limits, and why."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import TypeAlias

from clconv.algorithms import ALGORITHMS, gpu
from clconv.algorithms.base import Algorithm
from clconv.arguments import shown
from clconv.device import DeviceInfo
from clconv.errors import DeviceError, ShapeError, UnsupportedError
from clconv.plan import Plan
from clconv.problem import ConvProblem

GPU_LANES = 32
"""Work-items that run in step on a GPU, at least."""

GPU_WAITS = 4.0
"""Clock cycles from an instruction of a GPU to the next one of the same work-item."""

Recall: TypeAlias = Callable[[ConvProblem, DeviceInfo, "list[Plan]"], "tuple[Plan, float] | None"]


@dataclass(frozen=True)
class Limits:
    """What the caller allows.

    Parameters
    ----------
    algorithm : str
        ``"auto"``, a family (``"direct"``, ``"winograd"``, ``"strassen"``, ``"split"``, ``"reference"``) or a name
        (``"pointwise/panel_simd"``).
    workspace : int, optional
        Most scratch memory of one call, in bytes.
    error_factor : float, optional
        Largest ``error_factor`` of a plan, see :class:`clconv.plan.Plan`; rules out Winograd, Strassen and split elements where
        they lose too much. (What very large, very small, infinite elements and NaN do to them: see :func:`clconv.conv2d`.)

    Raises
    ------
    ShapeError
        If the algorithm's name is unknown, or a limit is no number from 0 on.
    """

    algorithm: str = "auto"
    workspace: int | None = None
    error_factor: float | None = None

    def __post_init__(self) -> None:
        named(self.algorithm)
        for name, value in (("workspace", self.workspace), ("error_factor", self.error_factor)):
            if value is not None and (not isinstance(value, Real) or not value >= 0):
                raise ShapeError(f"{name}={shown(value)} must be None or a number that is not negative")
        if self.error_factor is not None:
            object.__setattr__(self, "error_factor", _as_float(self.error_factor))  # fractions and the like cannot be printed

    def __str__(self) -> str:
        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return ", ".join(f"{name}={value!r}" for name, value in given.items())


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # an integer or a fraction beyond all floats
        return math.inf


@dataclass(frozen=True)
class Choice:
    """The plan that was chosen, the runners-up, and the reasons against the others.

    Parameters
    ----------
    plan : Plan
    candidates : tuple of Plan
        By their predicted time.
    refused : tuple of (str, str)
        Algorithms and reasons.
    measured : float, optional
        Seconds that the plan took when it was found to be the fastest, if that is what a tuned record says.
    """

    plan: Plan
    candidates: tuple[Plan, ...]
    refused: tuple[tuple[str, str], ...]
    measured: float | None = None

    @property
    def tuned(self) -> bool:
        """Whether a record, not the rule, made the choice."""
        return self.measured is not None

    def fastest_with(self, cost: Callable[[Plan], float]) -> Plan:
        """Return the plan that is the fastest where every call takes longer than predicted, by what ``cost`` says in seconds.

        A tuned plan is the fastest without that.
        """
        least = min(plan.seconds for plan in self.candidates)
        times = [(plan.seconds + cost(plan), plan) for plan in self.candidates]
        if self.tuned:
            times.insert(0, (least + cost(self.plan), self.plan))
        return min(times, key=lambda item: item[0])[1]


def select(problem: ConvProblem, device: DeviceInfo, limits: Limits | None = None, recall: Recall | None = None) -> Choice:
    """Choose the plan for a problem on a device. Pure: the same arguments give the same plan.

    Parameters
    ----------
    problem : ConvProblem
    device : DeviceInfo
    limits : Limits, optional
    recall : callable, optional
        Given the candidates, returns the one that a tuned record names and the seconds it took, or None.

    Raises
    ------
    ShapeError
        If the batch is empty.
    UnsupportedError
        If no algorithm is left under the limits.
    """
    limits = limits or Limits()
    if problem.N == 0:
        raise ShapeError(f"the batch of {problem} is empty, so nothing runs; ask for at least one image")
    if problem.dtype == "float64" and not device.fp64:
        raise UnsupportedError(f"float64 is not offered by the device {device.name}; use float32, or another device")
    candidates: list[Plan] = []
    refused: list[tuple[str, str]] = []
    over: list[Plan] = []  # for which only the caller's limits are too tight
    for algorithm in named(limits.algorithm):
        reason = _too_large(problem, algorithm) or algorithm.supports(problem, device)
        if reason is not None:
            refused.append((algorithm.name, reason))
            continue
        plans = list(algorithm.plans(problem, device))
        if not plans:
            refused.append((algorithm.name, f"finds no cut of so large a problem that fits {device.name}"))
        for plan in plans:
            reason = over_limit(plan, device, limits)
            if reason is None:
                candidates.append(as_on_gpu(plan, device))
            elif (plan.algorithm, reason) not in refused:
                refused.append((plan.algorithm, reason))
            if reason is not None and over_limit(plan, device) is None:
                over.append(plan)
    if not candidates:
        raise UnsupportedError(f"no algorithm serves {problem} with {limits}: {_why_none(limits, over, refused)}")
    tuned = recall(problem, device, candidates) if recall is not None else None
    candidates.sort(key=lambda plan: plan.seconds)
    plan, measured = tuned or (candidates[0], None)
    return Choice(plan, tuple(candidates), tuple(refused), measured)


def _why_none(limits: Limits, over: list[Plan], refused: list[tuple[str, str]]) -> str:
    """Say what is too tight, where only the caller's limits are, and which limit would do; else all reasons."""
    if not over:
        return "; ".join(f"{name} {reason}" for name, reason in refused) + '; use algorithm="auto"'
    small = [plan for plan in over if limits.workspace is None or plan.workspace <= limits.workspace]
    plan = min(small or over, key=lambda plan: (plan.error_factor, plan.workspace))
    factor = math.ceil(100 * plan.error_factor) / 100  # not rounded down: it is to be passed as a limit
    if small:
        return f"the least error factor is {factor:.12g}, that of {plan.algorithm}; allow that"
    exact = [plan for plan in over if limits.error_factor is None or plan.error_factor <= limits.error_factor]
    if exact:
        plan = min(exact, key=lambda plan: plan.workspace)
        return f"the least scratch memory is {plan.workspace} bytes, that of {plan.algorithm}; allow that"
    return (
        f"{plan.algorithm} has an error factor of {factor:.12g} and needs {plan.workspace} bytes of scratch memory; allow both"
    )


def batch_parts(problem: ConvProblem, device: DeviceInfo) -> list[tuple[int, int]]:
    """Split the batch so that no tensor exceeds what the device allocates in one piece: (start, count) of each part.

    Raises
    ------
    DeviceError
        If a single image does not fit either, or the filter does not.
    """
    limit = device.max_alloc_bytes
    n = problem.N
    filter_bytes = problem.parameters * problem.itemsize
    if filter_bytes > limit:
        raise DeviceError(
            f"the filter of {problem} needs a buffer of {filter_bytes} bytes and {device.name} gives {limit} bytes "
            "at most in one piece; split the output channels, or choose another device with CLCONV_DEVICE"
        )
    per_image = max(math.prod(problem.x_shape), math.prod(problem.output_shape)) // max(n, 1) * problem.itemsize
    if per_image * n <= limit:
        return [(0, n)]
    fit = limit // per_image
    if fit == 0:
        raise DeviceError(
            f"one image of {problem} needs a buffer of {per_image} bytes and {device.name} gives {limit} bytes "
            "at most in one piece; cut the image into tiles, or choose another device with CLCONV_DEVICE"
        )
    return [(start, min(fit, n - start)) for start in range(0, n, fit)]


def _too_large(problem: ConvProblem, algorithm: Algorithm) -> str | None:
    """Kernels with tiles address tensors with 64 bits, but number the pixels of a batch with 32."""
    pixels = problem.N * max(problem.IH * problem.IW, problem.OH * problem.OW)
    if algorithm.family != "reference" and pixels >= 2**31:
        return f"numbers pixels with 32 bits, the images have {pixels}"
    return None


def named(name: str) -> tuple[Algorithm, ...]:
    """Return the algorithms that a caller's word stands for."""
    if not isinstance(name, str):
        raise ShapeError(f'algorithm is a {type(name).__name__}; pass "auto" or the name of an algorithm or a family')
    if name == "auto":
        return ALGORITHMS
    found = tuple(a for a in ALGORITHMS if name in (a.family, a.name))
    if not found:
        words = dict.fromkeys(["auto", *(a.family for a in ALGORITHMS), *(a.name for a in ALGORITHMS)])
        raise ShapeError(f"algorithm {name!r} is unknown; use one of {', '.join(words)}")
    return found


def as_on_gpu(plan: Plan, device: DeviceInfo) -> Plan:
    """Return a plan, on a GPU with its time corrected for idle lanes of work-groups and for the enqueuing of its kernels.

    The work-items of a GPU run in step, 32 or 64 at a time; a work-group of one, right for a CPU, pays for all of them, and
    its instructions wait for each other.
    """
    if device.is_cpu:
        return plan
    smallest, seconds = min(math.prod(launch.local_size) for launch in plan.launches), plan.seconds
    if smallest < GPU_LANES:
        seconds = gpu.LAUNCH + seconds * GPU_WAITS * GPU_LANES / smallest
    return replace(plan, seconds=gpu.enqueued(seconds, len(plan.launches)))


def over_limit(plan: Plan, device: DeviceInfo, limits: Limits | None = None) -> str | None:
    """Return None if a plan stays within the device's and the caller's limits, else the reason why not."""
    limits = limits or Limits()
    if limits.workspace is not None and plan.workspace > limits.workspace:
        return f"needs {plan.workspace} bytes of scratch, the limit is {limits.workspace}"
    if limits.error_factor is not None and plan.error_factor > limits.error_factor:
        return f"has an error factor of {plan.error_factor:g}, the limit is {limits.error_factor:g}"
    largest = max((*plan.scratch_bytes, plan.packed_bytes))
    if largest > device.max_alloc_bytes:
        return f"needs a buffer of {largest} bytes, the device allocates {device.max_alloc_bytes} at most"
    for launch in plan.every_launch:
        size = 1
        for n in launch.local_size:
            size *= n
        if size > device.max_work_group_size:
            return f"needs work-groups of {size} work-items, the device takes {device.max_work_group_size}"
        if launch.local_bytes > device.local_mem_bytes:
            return f"needs {launch.local_bytes} bytes of local memory, the device has {device.local_mem_bytes}"
    return None
