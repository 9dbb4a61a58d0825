"""What the notebooks share: building and showing kernels, timing, the machine's limits, a look at machine code."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import listing
import matplotlib.image
import numpy as np
import numpy.typing as npt
import pyopencl as cl
import pyopencl.array as cl_array
from matplotlib import cbook

import clconv
from clconv.bench.limits import copy_gb_s, multiply_add_gflops
from clconv.device import DeviceInfo
from clconv.source import BUILD_OPTIONS, KERNEL_DIR

FAST = os.environ.get("CLCONV_NOTEBOOK_FAST") == "1"
"""Short measurements: the tests run the notebooks to see that they work, not to learn how fast."""

warnings.filterwarnings("ignore", category=cl.CompilerWarning)  # drivers chatter; errors are raised


def where() -> str:
    """Say on which device, with which driver, and on which day a notebook measures."""
    device = clconv.default_queue().device
    driver = f"{device.platform.name} {device.driver_version}"
    lanes = DeviceInfo.of(device).lanes(4)
    units = f"{device.max_compute_units} compute units, {device.max_clock_frequency} MHz, vectors of {lanes} floats"
    return " | ".join((device.name.strip(), driver, units, f"clconv {clconv.__version__}", f"{date.today()}"))


# kernels

kernel_path, show = listing.kernel_path, listing.show


def build(context: cl.Context, name: str, **macros: object) -> cl.Program:
    """Compile a kernel file as the library does: float32, its build options, ``-DNAME=value`` for each macro."""
    unaligned = int(DeviceInfo.of(context.devices[0]).unaligned_vectors)
    macros = {"REAL_FLOAT32": 1, "UNALIGNED_VECTORS": unaligned, "AVX512": 0, **macros}
    source = f'#line 1 "{name}"\n' + kernel_path(name).read_text(encoding="utf-8")
    options = [*BUILD_OPTIONS, "-I", str(KERNEL_DIR), *(f"-D{k}={v}" for k, v in macros.items())]
    return cl.Program(context, source).build(options)


def upload(context: cl.Context, array: npt.ArrayLike) -> cl.Buffer:
    """Copy an array into a new buffer, as float32 in C order."""
    flags = cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
    return cl.Buffer(context, flags, hostbuf=np.ascontiguousarray(array, np.float32))


def room(context: cl.Context, *shape: int) -> cl.Buffer:
    """Make a buffer for float32 elements of this shape."""
    return cl.Buffer(context, cl.mem_flags.READ_WRITE, 4 * int(np.prod(shape)))


def download(queue: cl.CommandQueue, buffer: cl.Buffer, *shape: int) -> npt.NDArray[np.float32]:
    """Copy a buffer into a new array."""
    array = np.empty(shape, np.float32)
    cl.enqueue_copy(queue, array, buffer)
    return array


# timing


@dataclass(frozen=True)
class Timing:
    """Seconds of one call, measured again and again."""

    samples: tuple[float, ...]

    @property
    def least(self) -> float:
        """The run that was disturbed least."""
        return min(self.samples)

    @property
    def median(self) -> float:
        """Half of the runs were faster."""
        return statistics.median(self.samples)


def measure(run: Callable[[], Any], finish: Callable[[], Any] = lambda: None, seconds: float = 0.4) -> Timing:
    """Time ``run()``, which may only enqueue; ``finish()`` waits until everything enqueued is done.

    Runs are taken in batches of at least a millisecond, so that neither the clock nor the launch is what is measured.
    """
    seconds = 0.02 if FAST else seconds

    def batch(n: int) -> float:
        start = time.perf_counter()
        for _ in range(n):
            run()
        finish()
        return (time.perf_counter() - start) / n

    batch(1)  # builds, first touches of memory
    n = max(1, int(1e-3 / max(batch(1), 1e-9)))
    batch(n)
    samples, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(samples) < 3:
        samples.append(batch(n))
    return Timing(tuple(samples))


# the machine's limits


@dataclass(frozen=True)
class Machine:
    """What the device can do at best, measured: FLOP/s of multiply-adds, bytes/s of a copy from memory and from cache."""

    peak: float
    memory: float
    cache: float

    def attainable(self, flops: float, nbytes: float) -> float:
        """Return the roofline: the most FLOP/s for this much work on this much data from memory."""
        return min(self.peak, self.memory * flops / nbytes)


@cache
def machine(queue: cl.CommandQueue) -> Machine:
    """Measure the device once, with kernels/bench/*.cl; notebook 06 explains how."""
    seconds = 0.5 if FAST else 1.0  # the first launch, which compiles, counts in
    large = 8 << 20 if FAST else 256 << 20
    return Machine(
        peak=multiply_add_gflops(queue, seconds) * 1e9,
        memory=copy_gb_s(queue, large, seconds) * 1e9,
        cache=copy_gb_s(queue, 1 << 20, seconds) * 1e9,
    )


# convolutions of the library


def time_convolution(conv: clconv.Convolution, x: npt.NDArray[Any], seconds: float = 0.4) -> Timing:
    """Time calls of a convolution on arrays that stay on the device."""
    queue = conv.queue
    on_device = cl_array.to_device(queue, x)
    out = conv(on_device)
    return measure(lambda: conv(on_device, out=out), queue.finish, seconds)


def random(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return float32 numbers from the standard normal distribution."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


# machine code


def keep_machine_code() -> None:
    """Let PoCL write what it compiles to a fresh folder; call it before anything else touches OpenCL."""
    os.environ["POCL_CACHE_DIR"] = tempfile.mkdtemp(prefix="clconv-notebook-")


@dataclass(frozen=True)
class InnerLoop:
    """The innermost loop of a kernel that holds the most arithmetic, in machine code."""

    lines: tuple[str, ...]

    def count(self, pattern: str) -> int:
        """Count the instructions that match a regular expression."""
        return sum(bool(re.search(pattern, line)) for line in self.lines)

    @property
    def multiply_adds(self) -> int:
        """Scalar multiply-adds of one round: an instruction on 256 bits holds 8, one on 512 bits 16."""
        total = 0
        for line in self.lines:
            if match := re.match(r"v?(?:fn?m(?:add|sub)|mul)\w*([sp])s\b", line):
                wide = 16 if "%zmm" in line else 8 if "%ymm" in line else 4
                total += 1 if match[1] == "s" else wide
        return total

    @property
    def calls(self) -> int:
        """Function calls; each one spills the vector registers."""
        return self.count(r"^call")

    @property
    def stack(self) -> int:
        """Accesses to the stack: registers that did not suffice."""
        return self.count(r"\(%rsp|\(%rbp")

    def __str__(self) -> str:
        per = self.multiply_adds / len(self.lines)
        return (
            f"{len(self.lines):3d} instructions, {self.multiply_adds:3d} multiply-adds ({per:.2f} each), "
            f"{self.calls} calls, {self.stack:3d} stack accesses"
        )

    def listing(self, most: int = 40) -> str:
        """Return the instructions, at most so many."""
        more = [f"... {len(self.lines) - most} more"] if len(self.lines) > most else []
        return "\n".join([*self.lines[:most], *more])


def inner_loop(entry: str) -> InnerLoop | None:
    """Disassemble a kernel that has run and return its innermost loop; None where PoCL or objdump is missing."""
    folder = os.environ.get("POCL_CACHE_DIR", "")
    found = sorted(Path(folder).rglob(f"{entry}*.so"), key=lambda p: p.stat().st_mtime) if folder else []
    if not found:
        return None
    command = ["objdump", "-d", "--no-show-raw-insn", str(found[-1])]
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    loops = [loop for function in text.split("\n\n") for loop in _innermost(function)]
    return max((InnerLoop(tuple(loop)) for loop in loops), key=lambda x: x.multiply_adds, default=None)


def _innermost(function: str) -> list[list[str]]:
    """Loops of one function that hold no other loop: from the target of backward jumps to the last of them."""
    code = [(int(a, 16), i) for a, i in re.findall(r"^\s+([0-9a-f]+):\t(.+?)\s*$", function, re.MULTILINE)]
    loops: dict[int, int] = {}
    for address, instruction in code:
        jump = re.match(r"j\w+\s+([0-9a-f]+)", instruction)
        if jump and int(jump[1], 16) <= address:
            loops[int(jump[1], 16)] = address
    inner = [(a, b) for a, b in loops.items() if not any(a < c and d <= b for c, d in loops.items())]
    return [[re.sub(r"\s+", " ", i) for at, i in code if a <= at <= b] for a, b in inner]


def photograph(size: int = 320) -> npt.NDArray[np.float32]:
    """Return a colour photograph, (3, size, size) with values from 0 to 1: Grace Hopper, who ships with matplotlib."""
    image = np.asarray(matplotlib.image.imread(cbook.get_sample_data("grace_hopper.jpg")), np.float32) / 255
    top, left = 8, 102  # the face in the middle
    return np.ascontiguousarray(image[top : top + size, left : left + size].transpose(2, 0, 1))
