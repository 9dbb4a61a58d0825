"""Every kernel in a simulator that reports accesses out of bounds, data races, uninitialised reads, divergent barriers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clconv.algorithms import ALGORITHMS
from clconv.algorithms.base import Algorithm
from clconv.device import DeviceInfo
from tests.conftest import find_devices
from tests.shapes import SMALL, problem_of

ROOT = Path(__file__).parents[2]
CHECKS = {
    "OCLGRIND_DATA_RACES": "1",
    "OCLGRIND_UNINITIALIZED": "1",
    "OCLGRIND_CHECK_API": "1",
    "OCLGRIND_UNIFORM_WRITES": "1",
    # The optimiser emits an instruction (freeze) that the checker of uninitialised reads does not know.
    "OCLGRIND_BUILD_OPTIONS": "-cl-opt-disable",
    "PYOPENCL_NO_CACHE": "1",  # pyopencl keeps binaries, and would not see that these options are others
}

needs_simulator = pytest.mark.skipif(not find_devices(simulator=True), reason="Oclgrind is not installed on this platform")


def run_in_simulator(*command: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the simulator's checks on; an empty variable takes one away."""
    environment = {name: value for name, value in {**os.environ, **CHECKS, **changes}.items() if value or name not in changes}
    return subprocess.run(
        [sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False
    )


def findings(stderr: str) -> str:
    """What the simulator reports, without pyopencl's own questions for facts that a 1.2 device does not know."""
    asked = re.compile(r"\s*Oclgrind - OpenCL runtime error detected\n\tFunction: clGetDeviceInfo\n(\t.*\n)+")
    return asked.sub("", stderr).strip()


def tiles_for_avx512(algorithm: Algorithm) -> bool:
    """Whether a processor with AVX-512 gets kernels of its own."""
    info = DeviceInfo("made up", "Portable Computing Language", avx512=True)
    problems = (problem_of(shape, layout=layout) for shape in SMALL for layout in ("NCHW", "NHWC"))
    plans = (p for problem in problems if algorithm.supports(problem, info) is None for p in algorithm.plans(problem, info))
    return any(("AVX512", 1) in launch.macros for plan in plans for launch in plan.launches)


def assert_no_finding(done: subprocess.CompletedProcess[str]) -> None:
    """Plans ran to their end, with results within their bounds, and the simulator had nothing to say."""
    assert done.returncode == 0, done.stderr[-3000:]
    assert not findings(done.stderr), f"Oclgrind found:\n{findings(done.stderr)[:3000]}"
    match = re.search(r"(\d+) plans ran", done.stdout)
    assert match is not None
    assert int(match[1]) > 0


@needs_simulator
@pytest.mark.parametrize("name", [a.name for a in ALGORITHMS])
def test_no_finding(name: str) -> None:
    assert_no_finding(run_in_simulator("-W", "error", "-m", "tests.oclgrind_worker", name))


@pytest.mark.slow
@needs_simulator
@pytest.mark.parametrize("name", [a.name for a in ALGORITHMS])
def test_no_finding_on_every_small_shape(name: str) -> None:
    """Those too that take a simulator long, for they are computed by many work-items or by a matrix unit's."""
    assert_no_finding(run_in_simulator("-W", "error", "-m", "tests.oclgrind_worker", name, "every"))


@needs_simulator
@pytest.mark.parametrize("name", [a.name for a in ALGORITHMS if tiles_for_avx512(a)])
def test_no_finding_in_tiles_for_avx512(name: str) -> None:
    """Their loops and indices, compiled for any device: the simulator knows no instructions of a processor."""
    # With vectors of 64 bytes the checker of uninitialised reads crashes, or calls the identity of a vector uninitialised.
    done = run_in_simulator("-W", "error", "-m", "tests.oclgrind_worker", name, "avx512", OCLGRIND_UNINITIALIZED="")
    assert_no_finding(done)


@needs_simulator
@pytest.mark.parametrize(
    ("body", "finding"),
    [
        ("y[get_global_id(0) + 1] = x[0];", "Invalid write"),
        ("y[get_global_id(0)] = x[get_global_id(0) + 1];", "Invalid read"),
        ("y[0] = get_global_id(0);", "race"),
        ("float v[2]; v[0] = 1; y[get_global_id(0)] = v[get_global_id(0) & 1];", "Uninitialized"),
    ],
)
def test_the_simulator_would_tell(body: str, finding: str) -> None:
    program = f"""
import numpy as np, pyopencl as cl
from tests.conftest import find_devices, queue_on
queue = queue_on(find_devices(simulator=True)[0])
x, y = (cl.Buffer(queue.context, cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR, hostbuf=np.ones(4, "f")) for _ in "xy")
text = "__kernel void k(__global const float *x, __global float *y) {{ {body} }}"
kernel = cl.Kernel(cl.Program(queue.context, text).build(), "k")
kernel.set_args(x, y)
cl.enqueue_nd_range_kernel(queue, kernel, (4,), (4,)).wait()
"""
    assert finding in run_in_simulator("-c", program).stderr
