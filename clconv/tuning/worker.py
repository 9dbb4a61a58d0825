"""The child process of the search: builds, checks and times one plan after another.

A compiler that crashes takes this process down and not the user's; the parent starts a new one and goes on.
"""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from clconv.plan import Plan
from clconv.problem import ConvProblem


class Verdict(NamedTuple):
    """What became of a plan: its least time in seconds, or the reason why it does not count."""

    seconds: float
    reason: str = ""


def measure(plan: Plan, seconds: float, data: dict[str, Any], device: str | None = None) -> Verdict:
    """Run a plan, compare its result with the oracle, and time it.

    Parameters
    ----------
    plan : Plan
    seconds : float
        How long to repeat it; it is timed once at least.
    data : dict
        Inputs and exact result of the plan's problem; filled at the first plan of a problem.
    device : str, optional
        The device's name; ``CLCONV_DEVICE`` if left out.
    """
    from clconv.buffers import host_buffer
    from clconv.discovery import queue_on
    from clconv.errors import ClconvError
    from clconv.executable import Executable
    from clconv.invoke import Repeated
    from clconv.reference import error_bound
    from clconv.runtime import place, read_back, runtime_of, wait
    from clconv.tensors import empty
    from clconv.together import together_of

    default = queue_on(device)
    queue = place([plan], default)  # as a call on NumPy arrays would do
    problem = plan.problem
    try:
        if data.get("problem") != problem:
            data.clear()
            data.update(_inputs(problem))
        x, w, out = data["x"], data["w"], empty(problem.output_shape, data["x"].dtype)
        out.fill(np.nan)
        runtime = runtime_of(queue)
        executable = Executable(plan, runtime)
        w_buffer = host_buffer(runtime, w)
        fixed = {"w": w_buffer, "packed": executable.pack(queue, w_buffer), "bias": None}
        y = host_buffer(runtime, out, output=True)
        buffers = {**fixed, "x": host_buffer(runtime, x), "residual": None, "y": y}
        read_back(runtime, queue, y, out, executable.run(queue, buffers))
        bound = error_bound(problem, plan, x, w)
        if not (np.abs(out - data["exact"]) <= bound).all():
            return Verdict(float("inf"), "its result is wrong")
        again = None
        if runtime.info.is_pocl:  # calls follow each other closely here, and threads stay at hand for them
            again = Repeated(executable, queue, fixed, x, out, together_of(executable, fixed, queue, default))
        least, end = float("inf"), time.perf_counter() + seconds
        while least == float("inf") or time.perf_counter() < end:
            start = time.perf_counter()
            if again is None:
                wait(executable.run(queue, buffers), runtime)
            else:
                again.run(x, out)
            least = min(least, time.perf_counter() - start)
    except (ClconvError, MemoryError) as error:
        return Verdict(float("inf"), str(error))
    return Verdict(least)


def _inputs(problem: ConvProblem) -> dict[str, Any]:
    from clconv.reference import convolve
    from clconv.tensors import empty, numpy_dtype

    rng = np.random.default_rng(0)
    dtype = numpy_dtype(problem.dtype)
    x, w = (empty(shape, dtype) for shape in (problem.x_shape, problem.w_shape))  # as a network's images lie
    for array in (x, w):
        array[...] = rng.standard_normal(array.shape)
    return {"problem": problem, "x": x, "w": w, "exact": convolve(problem, x, w)}


def serve(pipe: Connection) -> None:
    """Answer plans with verdicts until the pipe is closed."""
    data: dict[str, Any] = {}
    while True:
        try:
            plan, seconds = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        pipe.send(measure(plan, seconds, data))


class Child:
    """A process that measures plans for us, replaced when it dies."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None
        self._pipe: Connection | None = None

    def measure(self, plan: Plan, seconds: float, limit: float = 60.0) -> Verdict:
        """Return the verdict on a plan; one that crashes or hangs the process gets its reason."""
        if self._process is None or not self._process.is_alive():
            self._start()
        assert self._pipe is not None  # started just now
        try:
            self._pipe.send((plan, seconds))
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
