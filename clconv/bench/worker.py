"""One library in a process of its own: it reads one JSON request a line and answers with one JSON line.

    python -m clconv.bench.worker MODULE:FUNCTION THREADS

Requests (``do``): ``load`` a layer in one variant, ``time`` it for some seconds, ``check`` it against a reference file,
``drop`` it, and ``machine`` to measure the device's limits (in clconv's own process). An answer holds the results or
``failed``, one sentence. Answers go out on a descriptor of their own, for libraries print what they like.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from clconv.bench import case
from clconv.bench.loaders import Runner, Setup

WARM_SECONDS = 0.02
LEAST_SAMPLES = 3
MOST_SAMPLES = 20000


def sample(run: Callable[[], object], seconds: float) -> list[float]:
    """Return the seconds that each call took, after a warm-up, for at least three calls and ``seconds``."""
    clock = time.perf_counter
    end = clock() + WARM_SECONDS
    run()
    while clock() < end:
        run()
    times: list[float] = []
    end = clock() + seconds
    while len(times) < LEAST_SAMPLES or (clock() < end and len(times) < MOST_SAMPLES):
        start = clock()
        run()
        times.append(clock() - start)
    return times


class Worker:
    """The layers that are loaded, by variant."""

    def __init__(self, loader: str, threads: int) -> None:
        module, _, function = loader.partition(":")
        self.load_layer: Callable[[Setup], Runner] = getattr(importlib.import_module(module), function)
        self.library = function
        self.threads = threads
        # With their setups, whose tensors a library may read in place without owning them.
        self.loaded: dict[str, tuple[Runner, Setup | None]] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request asks for; what goes wrong becomes part of the answer."""
        try:
            method: Callable[..., dict[str, Any]] = getattr(self, f"do_{request['do']}")
            return method(**{key: value for key, value in request.items() if key != "do"})
        except Exception as error:  # any library may raise anything; the run goes on without this layer
            lines = str(error).strip().splitlines() or [""]
            return {"failed": f"{type(error).__name__}: {lines[0]}"[:300]}

    def do_load(self, problem: dict[str, Any], variant: str) -> dict[str, Any]:
        """Set a layer up and run it once."""
        p = case.decode(problem)
        setup = Setup(p, *case.tensors(p), variant, self.threads)
        runner = self.load_layer(setup)
        runner.run()
        self.loaded[variant] = (runner, setup)
        return {"note": runner.note}

    def do_load_network(self, network: str, batch: int, variant: str) -> dict[str, Any]:
        """Set a whole network up and run it once."""
        from clconv.bench.whole_loaders import load

        runner = load(self.library, network, batch, self.threads)
        runner.run()
        self.loaded[variant] = (runner, None)
        return {"note": runner.note}

    def do_check_network(self, variant: str, reference: str) -> dict[str, Any]:
        """Compare the last result of a whole network with the first library's."""
        from clconv.bench.whole import check_network

        return {"error": check_network(self.loaded[variant][0].result(), Path(reference))}

    def do_time(self, variant: str, seconds: float) -> dict[str, Any]:
        """Time a layer."""
        runner = self.loaded[variant][0]
        times = [total / runner.calls for total in sample(runner.run, seconds)]
        return {"min_ms": min(times) * 1e3, "median_ms": statistics.median(times) * 1e3, "samples": len(times)}

    def do_check(self, variant: str, reference: str) -> dict[str, Any]:
        """Compare the last result with a reference."""
        return {"error": case.relative_error(self.loaded[variant][0].result(), np.load(reference, mmap_mode="r"))}

    def do_drop(self) -> dict[str, Any]:
        """Forget all layers."""
        self.loaded.clear()
        gc.collect()
        return {}

    def do_machine(self, seconds: float) -> dict[str, Any]:
        """Measure the limits of the device that clconv runs on."""
        from clconv.bench.machine import measure

        return measure(seconds)


def serve(worker: Worker, requests: TextIO, answers: TextIO) -> None:
    """Answer requests until there are no more."""
    for line in requests:
        answers.write(json.dumps(worker.answer(json.loads(line))) + "\n")
        answers.flush()


def _die_with_parent() -> None:
    """Ask Linux to end this process with its parent, even while it is stopped."""
    if sys.platform.startswith("linux"):
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main() -> None:
    """Run a worker on standard input and output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal group; the parent decides
    _die_with_parent()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(Worker(sys.argv[1], int(sys.argv[2])), sys.stdin, answers)


if __name__ == "__main__":
    main()
