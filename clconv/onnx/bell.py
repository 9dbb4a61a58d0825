"""Threads of PoCL that ran out of a kernel's work-groups are kept from going to sleep until the next kernel begins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyopencl as cl

from clconv.bound import BoundLaunch
from clconv.device import DeviceInfo
from clconv.plan import Launch
from clconv.runtime import Runtime

_enqueue = cl.enqueue_nd_range_kernel

LOOKS = 10_000
"""How often a thread looks whether the next kernel has begun, before it goes to sleep: some 0.2 to 0.5 ms.

Measured on two threads of an EPYC with AVX2, time of ShuffleNet V2 and MobileNet V2: with 100 looks 1.00 and 1.00, with 1000
0.90 and 0.97, with 3000 0.87 and 0.95, with 10000 0.87 and 0.92. Networks of larger kernels gain less than can be measured.
"""

BRIEF = 1e-3
"""Seconds that a step takes at most, at the device's peak, for threads to stay awake behind it: others gain 1 % at most."""

_ENOUGH = 100  # threads that stayed awake, before it is looked at whether they did so in vain
_ITEMS = 64  # of the words' memory: two cache lines and what is around them


def ringing(launch: Launch) -> Launch:
    """Return a launch whose kernel says when it begins, in two parameters more: see ``include/bell.clh``."""
    return replace(launch, macros=(*launch.macros, ("HAS_BELL", 1)))


class Bell:
    """A word in memory that says which kernel of a network began last, and kernels beside the network's that look at it.

    A network of one image is some thirty to a hundred kernels of 20 to 500 us, each of which needs the one before. The
    thread that first finds no work-group any more goes to sleep, and is awake again 15 to 30 us after the other one has
    begun with the next kernel. In its place it takes ``network/stay_awake.cl``, which is enqueued beside each kernel on
    a queue of its own and comes to an end when the next kernel rings, or after :data:`LOOKS`. No result depends on it.

    It counts on a driver whose threads take kernels in the order in which they became ready. Where the next kernel begins
    only behind ``stay_awake``, all looks are in vain: if three of four threads found so, no more of it is enqueued.

    Parameters
    ----------
    runtime : Runtime
        Of a device that :meth:`helps` says yes to; it works in the host's memory.

    Attributes
    ----------
    launch : Launch
        Of ``stay_awake``.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._queue = cl.CommandQueue(runtime.context, runtime.device)
        self._words = np.zeros(_ITEMS, np.int32)  # the step that began last, and how many threads looked in vain
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.USE_HOST_PTR
        self._memory = cl.Buffer(runtime.context, flags, hostbuf=self._words)
        self._threads = runtime.info.compute_units - 1  # while one at least has work
        self.launch = Launch("network/stay_awake.cl", "stay_awake", (("LOOKS", LOOKS),), (), (self._threads,), (1,))
        self._kernels: list[cl.Kernel | None] = []  # of each step; None where it does not pay
        self._stayed = 0
        self._last: cl.Event | None = None

    @staticmethod
    def helps(device: DeviceInfo) -> bool:
        """Whether threads of the driver sleep between two kernels, and there are several."""
        return device.is_pocl and device.is_cpu and not device.is_simulator and device.compute_units > 1

    def hang(self, command: BoundLaunch, flops: int) -> None:
        """Let the kernel of the next step, of so much arithmetic, ring when it begins.

        The reference and the kernels for GPUs do not, and nobody is to wait for what does not ring.
        """
        step = len(self._kernels) + 1
        if not command.rings:
            if self._kernels:
                self._kernels[-1] = None
            self._kernels.append(None)
            return
        command.tell(self._memory, step)
        kernel = None
        if flops < BRIEF * self._runtime.info.peak_flops:
            kernel = self._runtime.programs.kernel(self.launch)
            kernel.set_args(self._memory, np.int32(step))
        self._kernels.append(kernel)

    @property
    def in_vain(self) -> bool:
        """Whether staying awake did not help where it was tried."""
        return bool(self._stayed >= _ENOUGH and 4 * self._words[1] > 3 * self._stayed)

    def stay_awake(self, step: int, before: cl.Event | None) -> None:
        """Enqueue what a thread does that is done with a step; ``before`` is the event that the step waits for."""
        kernel = self._kernels[step - 1]
        if kernel is not None and step < len(self._kernels) and not self.in_vain:  # the last one has nothing behind it
            wait_for = None if before is None else [before]
            self._last = _enqueue(self._queue, kernel, (self._threads,), (1,), wait_for=wait_for)
            self._stayed += self._threads

    def wait(self) -> None:
        """Wait for what was enqueued here: OpenCL does not keep the words alive."""
        if self._last is not None:
            self._last.wait()
