"""A kernel with its arguments set, but for those that each call brings: in a network, or where a crew runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyopencl as cl

from clconv.executable import constant
from clconv.plan import Launch
from clconv.runtime import Runtime

_enqueue = cl.enqueue_nd_range_kernel


class BoundLaunch:
    """A launch with its kernel; the arguments that a call brings are set anew each time.

    Parameters
    ----------
    runtime : Runtime
    launch : Launch
    buffers : mapping of str to pyopencl.Buffer or None
        The arguments that stay.
    external : mapping of str to int
        The arguments that a call brings, and the place of each among these.
    wide : bool
        Numbers are float64.

    Attributes
    ----------
    values : list
        What each argument is: a buffer or None, a number of NumPy's, local memory. None for those that a call brings.
    rebind : list of (int, int)
        The index of each argument that a call brings, and its place.
    """

    def __init__(
        self, runtime: Runtime, launch: Launch, buffers: Mapping[str, Any], external: Mapping[str, int], wide: bool
    ) -> None:
        self.launch = launch
        self.kernel = runtime.programs.kernel(launch)
        self.rebind: list[tuple[int, int]] = []
        self.values: list[Any] = []  # OpenCL does not keep the buffers of a kernel alive
        for index, argument in enumerate(launch.arguments):
            if isinstance(argument, str) and argument in external:
                self.rebind.append((index, external[argument]))
                self.values.append(None)
                continue
            value = buffers[argument] if isinstance(argument, str) else constant(argument, np.float64 if wide else np.float32)
            self.kernel.set_arg(index, value)
            self.values.append(value)
        self.tell(None, 0)  # nothing, until it is asked

    @property
    def rings(self) -> bool:
        """Whether the kernel has the two parameters of ``include/bell.clh``."""
        return bool(self.kernel.num_args > len(self.launch.arguments))

    def tell(self, memory: cl.Buffer | None, number: int) -> None:
        """Set these two, if it has them."""
        if self.rings:
            index = len(self.launch.arguments)
            self.kernel.set_arg(index, memory)
            self.kernel.set_arg(index + 1, np.int32(number))

    def enqueue(
        self, queue: cl.CommandQueue, external: Sequence[cl.Buffer], wait_for: Sequence[cl.Event] | None = None
    ) -> cl.Event:
        """Enqueue the kernel on buffers that a call brings."""
        for index, which in self.rebind:
            self.kernel.set_arg(index, external[which])
        return _enqueue(queue, self.kernel, self.launch.global_size, self.launch.local_size, wait_for=wait_for)
