"""A kernel of a network with its arguments set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from clconv.executable import constant
from clconv.onnx.bell import Bell, ringing
from clconv.plan import Launch
from clconv.runtime import Runtime


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
    bell : Bell, optional
        What the kernel rings when it begins.
    flops : int
        Arithmetic, of which it depends whether threads stay awake behind it.
    """

    def __init__(
        self,
        runtime: Runtime,
        launch: Launch,
        buffers: Mapping[str, Any],
        external: Mapping[str, int],
        wide: bool,
        bell: Bell | None = None,
        flops: int = 0,
    ) -> None:
        self.kernel = runtime.programs.kernel(launch if bell is None else ringing(launch))
        self.global_size, self.local_size = launch.global_size, launch.local_size
        self.rebind: list[tuple[int, int]] = []
        self.step = 0
        self.held = buffers  # OpenCL does not keep the buffers of a kernel alive
        for index, argument in enumerate(launch.arguments):
            if isinstance(argument, str):
                if argument in external:
                    self.rebind.append((index, external[argument]))
                else:
                    self.kernel.set_arg(index, buffers[argument])
            else:
                self.kernel.set_arg(index, constant(argument, np.float64 if wide else np.float32))
        if bell is not None:
            self.step = bell.hang(self.kernel, len(launch.arguments), flops)
