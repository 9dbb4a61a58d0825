"""Stand-ins for a library, to be loaded by a worker process: right, wrong, refusing, crashing."""

from __future__ import annotations

import os
import signal

import numpy as np

from clconv.bench.case import exact
from clconv.bench.loaders import Array, Runner, Setup


def load(setup: Setup) -> Runner:
    """Do what the second word of the variant says."""
    how = setup.variant.partition(" ")[2]
    print("a library that talks on standard output")  # noqa: T201 - it must not disturb the answers
    if how == "refuses":
        raise NotImplementedError("no such convolution here\nand a second line")
    if how == "silent":
        os._exit(3)
    y = exact(setup.problem).astype(np.float32)
    last: list[Array] = []

    def run() -> None:
        if how == "crashes" and last:  # at its second call
            os.kill(os.getpid(), signal.SIGSEGV)
        last[:] = [y + (1e-3 * np.abs(y).max() if how == "wrong" else 0)]

    return Runner(run, lambda: last[0], f"fake in {setup.threads} threads")
