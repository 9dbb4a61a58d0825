"""The child process of the search: builds, checks and times one plan after another.

A compiler that crashes takes this process down and not the user's; the parent starts a new one and goes on.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from clconv.plan import Plan
from clconv.problem import ConvProblem

if TYPE_CHECKING:
    import pyopencl as cl

BURST = 1e-3
"""Seconds that a plan runs before the yardstick has its turn: short beside the spells of a clock that rises and falls."""

STEADY = 1.05
"""Between two turns of the yardstick that differ by more, the machine changed; what ran between them tells nothing."""


BLAS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Threads of NumPy's products, with which results are checked. OpenBLAS's stay awake for a tenth of a second behind each, as
long as a plan is timed, and take the cores from PoCL's: of two cores one was left, and another plan was the fastest."""


class Verdict(NamedTuple):
    """What became of a plan: its least time in seconds, or the reason why it does not count.

    ``ratios`` are its times in those of the yardstick, which ran right before and after.
    """

    seconds: float
    reason: str = ""
    ratios: tuple[float, ...] = ()


class _WrongError(Exception):
    """A plan's result is not the oracle's."""


def measure(
    plan: Plan, seconds: float, data: dict[str, Any], device: str | None = None, yardstick: Plan | None = None
) -> Verdict:
    """Run a plan, compare its result with the oracle, and time it.

    Parameters
    ----------
    plan : Plan
    seconds : float
        How long to repeat it; it is timed once at least.
    data : dict
        Inputs and exact result of the plan's problem, and the yardstick; filled at the first plan of a problem. All plans write
        to one array, so that where results lie beside the image favours none.
    device : str, optional
        The device's name; ``CLCONV_DEVICE`` if left out.
    yardstick : Plan, optional
        Another plan of the same problem, with which the plan takes turns.
    """
    from clconv.discovery import queue_on
    from clconv.errors import ClconvError

    queue = queue_on(device)
    try:
        if data.get("problem") != plan.problem:
            data.clear()
            data.update(_inputs(plan.problem))
        run = _checked(plan, data, queue)
        if yardstick is None:
            return Verdict(_burst(run, seconds))
        if data.get("yardstick") != yardstick:
            data.update(yardstick=yardstick, run=_checked(yardstick, data, queue))
        return _in_turns(run, data["run"], seconds)
    except _WrongError:
        return Verdict(float("inf"), "its result is wrong")
    except (ClconvError, MemoryError) as error:
        return Verdict(float("inf"), str(error))


def _checked(plan: Plan, data: dict[str, Any], default: cl.CommandQueue) -> Callable[[], object]:
    """Return what runs the plan and waits for it, as a call on NumPy arrays does; its result has been found right."""
    from clconv.buffers import host_buffer
    from clconv.executable import Executable
    from clconv.invoke import Repeated
    from clconv.reference import error_bound
    from clconv.runtime import place, read_back, runtime_of, wait
    from clconv.together import together_of

    queue = place([plan], default)
    x, w, out = data["x"], data["w"], data["out"]
    out.fill(np.nan)
    runtime = runtime_of(queue)
    executable = Executable(plan, runtime)
    w_buffer = host_buffer(runtime, w)
    fixed = {"w": w_buffer, "packed": executable.pack(queue, w_buffer), "bias": None}
    y = host_buffer(runtime, out, output=True)
    buffers = {**fixed, "x": host_buffer(runtime, x), "residual": None, "y": y}
    read_back(runtime, queue, y, out, executable.run(queue, buffers))
    if not (np.abs(out - data["exact"]) <= error_bound(plan.problem, plan, x, w)).all():
        raise _WrongError
    if runtime.info.is_pocl:  # calls follow each other closely here, and threads stay at hand for them
        again = Repeated(executable, queue, fixed, x, out, together_of(executable, fixed, queue, default))
        return lambda: again.run(x, out)
    return lambda: wait(executable.run(queue, buffers), runtime)


def _burst(run: Callable[[], object], seconds: float) -> float:
    """Return the least time of a run, repeated for so many seconds."""
    least, end = float("inf"), time.perf_counter() + seconds
    while least == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - start)
    return least


def _in_turns(run: Callable[[], object], yardstick: Callable[[], object], seconds: float) -> Verdict:
    """Time a run between runs of the yardstick.

    The first run of each turn is left out, for the other one's filter and result lie in the caches.
    """
    least = float("inf")
    steady: list[float] = []
    all_: list[float] = []
    yardstick()
    before, end = _burst(yardstick, BURST), time.perf_counter() + seconds
    while not all_ or time.perf_counter() < end:
        run()
        between = _burst(run, BURST)
        yardstick()
        after = _burst(yardstick, BURST)
        least = min(least, between)
        all_.append(2 * between / (before + after))
        if max(before, after) <= STEADY * min(before, after):
            steady.append(all_[-1])
        before = after
    return Verdict(least, "", tuple(steady or all_))


def _inputs(problem: ConvProblem) -> dict[str, Any]:
    from clconv.reference import convolve
    from clconv.tensors import empty, numpy_dtype

    rng = np.random.default_rng(0)
    dtype = numpy_dtype(problem.dtype)
    x, w, out = (empty(s, dtype) for s in (problem.x_shape, problem.w_shape, problem.output_shape))  # as a network's images lie
    for array in (x, w):
        array[...] = rng.standard_normal(array.shape)
    return {"problem": problem, "x": x, "w": w, "out": out, "exact": convolve(problem, x, w)}


@contextmanager
def _one_thread(variables: tuple[str, ...]) -> Iterator[None]:
    """Have processes that begin meanwhile use one thread where these variables say how many, unless they say so already."""
    missing = [name for name in variables if name not in os.environ]
    os.environ.update(dict.fromkeys(missing, "1"))
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]


def serve(pipe: Connection) -> None:
    """Answer plans with verdicts until the pipe is closed."""
    data: dict[str, Any] = {}
    while True:
        try:
            plan, seconds, yardstick = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        pipe.send(measure(plan, seconds, data, yardstick=yardstick))


class Child:
    """A process that measures plans for us, replaced when it dies."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None
        self._pipe: Connection | None = None

    def measure(self, plan: Plan, seconds: float, yardstick: Plan | None = None, limit: float = 60.0) -> Verdict:
        """Return the verdict on a plan; one that crashes or hangs the process gets its reason."""
        if self._process is None or not self._process.is_alive():
            self._start()
        assert self._pipe is not None  # started just now
        try:
            self._pipe.send((plan, seconds, yardstick))
            if not self._pipe.poll(limit + seconds):
                self.close()
                return Verdict(float("inf"), f"it took over {limit:.0f} s to build and run")
            verdict = self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            code = self._process.exitcode
            self.close()
            return Verdict(float("inf"), f"the process that built it died (exit code {code})")
        assert isinstance(verdict, Verdict)  # serve sends nothing else
        return verdict

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(target=serve, args=(theirs,), daemon=True)
        with _one_thread(BLAS):
            self._process.start()
        theirs.close()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
