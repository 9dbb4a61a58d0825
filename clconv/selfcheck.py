"""A self-test of every algorithm on a user's device: exact on integers, within the error bound on random numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyopencl as cl

from clconv.algorithms import ALGORITHMS
from clconv.buffers import host_buffer
from clconv.device import DeviceInfo
from clconv.errors import ClconvError, DeviceError
from clconv.executable import Executable
from clconv.invoke import run_numpy
from clconv.notation import parse
from clconv.plan import Plan
from clconv.problem import ConvProblem
from clconv.reference import Array, error_bound, reference
from clconv.runtime import runtime_of
from clconv.select import over_limit
from clconv.tensors import numpy_dtype

CASES = (
    "3x3 16->32 @14 batch 2 bias relu",
    "3x3 5->7 @9x11 residual",
    "7x7 3->20 @33x35 stride 2",
    "3x3 512->24 @7",
    "3x3 4->8 @18x13 dilation 2 pad 3",
    "1x1 32->48 @14 bias hardswish",
    "1x1 13->19 @7x5 stride 2",
    "3x3 32->32 @13x17 groups 8",
    "3x3 64->64 @14 groups 4 stride 2",
    "5x5 9->15 @12x20 groups 3 bias residual relu6",
    "3x3 12->12 @14x15 depthwise bias relu6",
    "3x3 33->33 @7 depthwise",
    "5x5 8->16 @17x16 depthwise stride 2",
    "13x13 5->5 @15x20 depthwise bias residual relu6",
)
"""Problems of every kind, in words; each is checked in both layouts."""


@dataclass(frozen=True)
class Outcome:
    """What became of one plan on one problem."""

    plan: Plan
    passed: bool
    error: float
    message: str = ""


def work(info: DeviceInfo, only: Sequence[str] = (), *, thorough: bool = False) -> list[Plan]:
    """Return the plans to check on a device, algorithm by algorithm: one in float32 and one in float16 for each problem.

    Parameters
    ----------
    info : DeviceInfo
    only : sequence of str
        Parts of names of algorithms; all if there is none.
    thorough : bool
        Every tile in float32. Of a kernel for a matrix unit that the device does not have, one tile for each way to split the
        elements stands for all: what the unit does is emulated number by number, which takes very long.
    """
    problems = [
        parse(f"{case} {layout} {dtype}") for case in CASES for layout in ("nchw", "nhwc") for dtype in ("float32", "float16")
    ]
    plans: list[Plan] = []
    for algorithm in ALGORITHMS:
        if only and not any(part in algorithm.name for part in only):
            continue
        emulated = algorithm.name.endswith("_matrix") and not info.amx
        for problem in problems:
            if algorithm.supports(problem, info) is None:
                fitting = [p for p in algorithm.plans(problem, info) if over_limit(p, info) is None]
                if emulated:
                    fitting = list({plan.error_factor: plan for plan in reversed(fitting)}.values())
                plans += fitting if thorough and problem.dtype == "float32" else fitting[:1]
    return plans


def run(plans: list[Plan], queue: cl.CommandQueue) -> Iterator[Outcome]:
    """Run plans one by one; an error of the library counts as a failure of its plan.

    What fails on the device may leave a context behind in which everything fails, so that the plans that follow get a new
    one. Where the driver makes none any more, there are no further outcomes.
    """
    for plan in plans:
        try:
            yield _check(plan, queue)
        except ClconvError as error:
            yield Outcome(plan, False, float("inf"), str(error))
            if isinstance(error, DeviceError):
                try:
                    queue = _working_queue(queue.device)
                except cl.Error:
                    return


def _working_queue(device: cl.Device) -> cl.CommandQueue:
    """Return a queue in a context of its own, on which something was done already."""
    context = cl.Context([device])
    queue = cl.CommandQueue(context)
    runtime_of(queue)  # keeps the context, which not every driver's queues do
    number = np.ones(1, np.int32)
    cl.enqueue_copy(queue, np.empty_like(number), cl.Buffer(context, cl.mem_flags.COPY_HOST_PTR, hostbuf=number))
    return queue


def _check(plan: Plan, queue: cl.CommandQueue) -> Outcome:
    problem = plan.problem
    rng = np.random.default_rng(1)
    worst = 0.0
    for integers in (True, False):
        x, w, bias, residual = _data(problem, rng, integers=integers)
        y = execute(plan, queue, x, w, bias, residual).astype(np.float64)
        want = reference(problem, x, w, bias, residual)
        if not np.isfinite(y).all():
            return Outcome(plan, False, float("inf"), "outputs that are not finite")
        exact = integers and not plan.winograd and problem.activation.kind in ("identity", "relu", "relu6")
        if exact and not np.array_equal(y, want):
            return Outcome(plan, False, float("inf"), f"{np.count_nonzero(y != want)} integers of {y.size} are wrong")
        ratio = float((np.abs(y - want) / error_bound(problem, plan, x, w, bias, residual)).max())
        worst = max(worst, ratio)
        if ratio > 1:
            return Outcome(plan, False, ratio, f"the error is {ratio:.3g} times its bound")
    return Outcome(plan, True, worst)


def _data(problem: ConvProblem, rng: np.random.Generator, *, integers: bool) -> tuple[Array, Array, Array | None, Array | None]:
    dtype = numpy_dtype(problem.dtype)

    def make(shape: tuple[int, ...]) -> Array:
        return (rng.integers(-1, 2, shape) if integers else rng.standard_normal(shape)).astype(dtype)

    return (
        make(problem.x_shape),
        make(problem.w_shape),
        make((problem.OC,)) if problem.bias else None,
        make(problem.output_shape) if problem.residual else None,
    )


def execute(
    plan: Plan, queue: cl.CommandQueue, x: Array, w: Array, bias: Array | None = None, residual: Array | None = None
) -> Array:
    """Run one given plan on NumPy arrays and return its result."""
    problem = plan.problem
    runtime = runtime_of(queue)
    executable = Executable(plan, runtime)
    out = np.full(problem.output_shape, np.nan).astype(x.dtype)
    fixed = {"w": host_buffer(runtime, w), "bias": None if bias is None else host_buffer(runtime, bias)}
    run_numpy(executable, queue, fixed, x, residual, out, pack=True)
    return out
