"""The most memory that a process takes which loads a network from a file and runs it.

This file is run as a script, not as a module of the package, and imports nothing but NumPy and the library itself: so that no
library is charged with what another one imports.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RUNS = 3
"""The least of so many processes counts: the first ones fill caches."""
SECONDS = 300.0


def peak_mib(library: str, model: Path, batch: int, threads: int) -> float:
    """Return the peak of a process's resident memory in MiB; 0 where it is not known.

    Parameters
    ----------
    library : str
        One of :data:`LOADERS`; 0 for others.
    model : Path
        An ONNX file with one input, N x 3 x 224 x 224.
    batch, threads : int
    """
    if library not in LOADERS or not sys.platform.startswith("linux"):
        return 0.0
    command = [sys.executable, "-P", __file__, library, str(model), str(batch), str(threads)]
    peaks = []
    for _ in range(RUNS):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
            peaks.append(float(json.loads(done.stdout.splitlines()[-1])["peak_mib"]))
        except (OSError, subprocess.SubprocessError, ValueError, LookupError):
            return 0.0
    return min(peaks)


def _clconv(model: str, _threads: int) -> Callable[[Any], object]:
    import clconv.onnx

    network: Callable[[Any], object] = clconv.onnx.load(model)
    return network


def _onnxruntime(model: str, threads: int) -> Callable[[Any], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {session.get_inputs()[0].name: x})


LOADERS = {"clconv": _clconv, "onnxruntime": _onnxruntime}


def main() -> None:
    """Load, run three times, and print the peak as JSON."""
    library, model, batch, threads = sys.argv[1:]
    run = LOADERS[library](model, int(threads))
    x = np.random.default_rng(2).standard_normal((int(batch), 3, 224, 224), dtype=np.float32)
    for _ in range(3):
        run(x)
    # Of this program alone; what getrusage tells begins with the process that started it.
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    sys.stdout.write(json.dumps({"peak_mib": int(line.split()[1]) / 1024}) + "\n")


if __name__ == "__main__":
    main()
