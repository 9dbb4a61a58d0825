"""Threads of PoCL that ran out of a kernel's work-groups are kept from going to sleep until the next kernel begins."""

from __future__ import annotations

import numpy as np
import pyopencl as cl

from clconv.device import DeviceInfo
from clconv.plan import Launch
from clconv.runtime import Runtime, allocate

_enqueue = cl.enqueue_nd_range_kernel

LOOKS = 10_000
"""How often a thread looks whether the next kernel has begun, before it goes to sleep: some 0.2 to 0.5 ms.

Measured on two threads of an EPYC with AVX2, time of ShuffleNet V2 and MobileNet V2: with 100 looks 1.00 and 1.00, with 1000
0.90 and 0.97, with 3000 0.87 and 0.95, with 10000 0.87 and 0.92. Networks of larger kernels gain less than can be measured.
"""

BRIEF = 1e-3
"""Seconds that a step takes at most, at the device's peak, for threads to stay awake behind it: others gain 1 % at most."""


def ringing(launch: Launch) -> Launch:
    """Return a launch whose kernel says when it begins, in two parameters more: see ``include/bell.clh``."""
    return Launch(
        launch.kernel,
        launch.entry,
        (*launch.macros, ("HAS_BELL", 1)),
        launch.arguments,
        launch.global_size,
        launch.local_size,
    )


class Bell:
    """A word in memory that says which kernel of a network began last, and kernels beside the network's that look at it.

    A network of one image is some thirty to a hundred kernels of 20 to 500 us, each of which needs the one before. The
    thread that first finds no work-group any more goes to sleep, and is awake again 15 to 30 us after the other one has
    begun with the next kernel. In its place it takes ``network/stay_awake.cl``, which is enqueued beside each kernel on
    a queue of its own and comes to an end when the next kernel rings, or after :data:`LOOKS`. No result depends on it.

    Parameters
    ----------
    runtime : Runtime
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._queue = cl.CommandQueue(runtime.context, runtime.device)
        self._word = allocate(runtime.context, 64)  # a cache line, that of nothing else
        self._threads = (max(1, runtime.info.compute_units - 1),)
        self._launch = Launch("network/stay_awake.cl", "stay_awake", (("LOOKS", LOOKS),), (), self._threads, (1,))
        self._last: cl.Event | None = None
        self._kernels: list[cl.Kernel | None] = []  # of each step; None where it does not pay

    @staticmethod
    def helps(device: DeviceInfo) -> bool:
        """Whether threads of the driver sleep between two kernels, and there are several."""
        return device.is_pocl and device.is_cpu and not device.is_simulator and device.compute_units > 1

    def hang(self, kernel: cl.Kernel, index: int, flops: int) -> int:
        """Set the two arguments from ``index`` on of the kernel of the next step, whose number is returned.

        The reference and the kernels for GPUs do not have them, and nobody is to wait for what does not ring.
        """
        step = len(self._kernels) + 1
        if kernel.num_args == index:
            if self._kernels:
                self._kernels[-1] = None
            self._kernels.append(None)
            return step
        kernel.set_arg(index, self._word)
        kernel.set_arg(index + 1, np.int32(step))
        awake = self._runtime.kernel(self._launch) if flops < BRIEF * self._runtime.info.peak_flops else None
        if awake is not None:
            awake.set_arg(0, self._word)
            awake.set_arg(1, np.int32(step))
        self._kernels.append(awake)
        return step

    def stay_awake(self, step: int, before: cl.Event | None) -> None:
        """Enqueue what a thread does that is done with a step; ``before`` is the event that the step waits for."""
        kernel = self._kernels[step - 1]
        if kernel is not None and step < len(self._kernels):  # the last one has nothing behind it
            self._last = _enqueue(self._queue, kernel, self._threads, (1,), wait_for=None if before is None else [before])

    def finish(self) -> None:
        """Wait for what was enqueued here: OpenCL does not keep the word alive."""
        if self._last is not None:
            self._last.wait()
