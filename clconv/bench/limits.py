"""The two kernels behind :mod:`machine`: kernels/bench/multiply_add.cl and kernels/bench/copy.cl. This module needs OpenCL."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import pyopencl as cl

from clconv.buffers import allocate
from clconv.device import DeviceInfo
from clconv.plan import Launch
from clconv.runtime import runtime_of

STEPS = 1 << 20
"""Steps of each multiply-add chain in one launch: some milliseconds, so that the launch does not show."""

CHAINS = (8, 10, 12)
"""Numbers of independent chains to try: enough to hide the latency, few enough to stay in registers."""


def info_of(queue: cl.CommandQueue) -> DeviceInfo:
    """Return the facts about a queue's device."""
    return runtime_of(queue).info


def _times(queue: cl.CommandQueue, kernel: cl.Kernel, items: int, group: int, seconds: float) -> list[float]:
    """Return the seconds of each launch, after a warm-up, for at least three launches and ``seconds``."""
    times: list[float] = []
    for _ in range(3):
        cl.enqueue_nd_range_kernel(queue, kernel, (items,), (group,)).wait()
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        cl.enqueue_nd_range_kernel(queue, kernel, (items,), (group,)).wait()
        times.append(time.perf_counter() - start)
    return times


def _kernel(queue: cl.CommandQueue, name: str, wide: bool = False, **macros: int) -> tuple[cl.Kernel, int, int, int]:
    """Build a kernel, with AVX-512 if ``wide``; return it with its vector length, its work-items and its work-group size."""
    runtime = runtime_of(queue)
    info = runtime.info
    lanes = 16 if wide else min(16, info.lanes(4))
    group = 1 if info.is_cpu else 64
    items = info.compute_units if info.is_cpu else info.compute_units * 64 * 16
    fixed = {"REAL_FLOAT32": 1, "VEC": lanes, "UNALIGNED_VECTORS": int(info.unaligned_vectors), "AVX512": int(wide)}
    launch = Launch(f"bench/{name}.cl", name, tuple({**fixed, **macros}.items()), (), (items,), (group,))
    return runtime.programs.kernel(launch), lanes, items, group


def multiply_add_gflops(queue: cl.CommandQueue, seconds: float) -> float:
    """Return the peak of the multiply-add units, in 1e9 operations per second."""
    best = 0.0
    ways = [(wide, chains) for wide in ((False, True) if info_of(queue).avx512 else (False,)) for chains in CHAINS]
    for wide, chains in ways:
        kernel, lanes, items, group = _kernel(queue, "multiply_add", wide, CHAINS=chains)
        y = allocate(queue.context, 4 * lanes * items)
        kernel.set_args(y, np.float32(0.999), np.float32(0.001), np.int32(STEPS))
        fastest = min(_times(queue, kernel, items, group, seconds / len(ways)))
        best = max(best, 2e-9 * lanes * chains * STEPS * items / fastest)
    return best


def empty_call_us(queue: cl.CommandQueue, seconds: float) -> float:
    """Return the median microseconds of a kernel that does next to nothing, enqueued and waited for."""
    kernel, lanes, items, group = _kernel(queue, "multiply_add", CHAINS=CHAINS[0])
    y = allocate(queue.context, 4 * lanes * items)  # OpenCL does not keep it alive: this name does
    kernel.set_args(y, np.float32(0), np.float32(0), np.int32(0))
    return 1e6 * statistics.median(_times(queue, kernel, items, group, seconds))


def copy_gb_s(queue: cl.CommandQueue, size: int, seconds: float) -> float:
    """Return the bytes read and written per second, in 1e9, when source and target together take ``size`` bytes."""
    cpu: Any = info_of(queue).is_cpu
    kernel, lanes, items, group = _kernel(queue, "copy", BLOCKED=int(cpu))
    vectors = max(1, size // 2 // (4 * lanes) // items)
    half = vectors * items * 4 * lanes
    times = max(2, (64 << 20) // (2 * half))  # many copies a launch, so that its cost does not show
    a, b = allocate(queue.context, half), allocate(queue.context, half)
    for buffer in (a, b):
        cl.enqueue_fill_buffer(queue, buffer, np.ones(1, np.float32), 0, half).wait()
    kernel.set_args(a, b, np.int32(vectors), np.int32(times))
    return 2e-9 * half * times / min(_times(queue, kernel, items, group, seconds))
