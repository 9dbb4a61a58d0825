"""One call: tensors of the caller in, an executable run, the result out in the caller's kind of array."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyopencl as cl

from clconv.executable import Executable
from clconv.runtime import allocate, host_buffer, read_back
from clconv.tensors import Tensor, check_context, device_buffer, empty, is_device_array


def run_numpy(
    executable: Executable,
    queue: cl.CommandQueue,
    fixed: Mapping[str, Any],
    x: np.ndarray[Any, Any],
    residual: np.ndarray[Any, Any] | None,
    out: np.ndarray[Any, Any],
    *,
    wait_for: list[cl.Event] | None = None,
    pack: bool = False,
) -> None:
    """Run on NumPy arrays and wait until ``out`` is written. Where device and host share memory, nothing is copied."""
    runtime = executable.runtime
    y = host_buffer(runtime, out, output=True)
    buffers = {
        **fixed,
        "x": host_buffer(runtime, x),
        "residual": None if residual is None else host_buffer(runtime, residual),
        "y": y,
    }
    event = executable.run(queue, buffers, wait_for or None, pack=pack)
    read_back(runtime, queue, y, out, event)


def run_device(
    executable: Executable,
    queue: cl.CommandQueue,
    fixed: Mapping[str, Any],
    x: Any,
    residual: Any,
    out: Any,
    *,
    wait_for: list[cl.Event] | None = None,
    pack: bool = False,
) -> None:
    """Enqueue a run on device arrays: their events are waited for by the device, and ``out`` gets the run's event."""
    runtime = executable.runtime
    state = runtime.queue_state(queue)
    wait = list(wait_for or ())
    buffers = dict(fixed)
    copy_out = False
    for name, array in (("x", x), ("residual", residual), ("out", out)):
        if array is not None:
            check_context(array, name, runtime.context)
    for name, array in (("x", x), ("residual", residual), ("y", out)):
        if array is None:
            buffers[name] = None
            continue
        wait.extend(array.events)
        buffers[name], temporary = device_buffer(array, queue, output=name == "y")
        if temporary and not state.in_order:
            wait.append(cl.enqueue_marker(queue))
        copy_out = temporary
    event = executable.run(queue, buffers, wait or None, pack=pack)
    if copy_out:  # y is the last of the three
        event = cl.enqueue_copy(
            queue, out.base_data, buffers["y"], byte_count=out.nbytes, dst_offset=out.offset, wait_for=[event]
        )
    out.add_event(event)
    state.hold(event, (executable, buffers, x, residual, out))


def empty_like_input(x: Tensor, shape: tuple[int, ...], queue: cl.CommandQueue) -> Tensor:
    """Return an uninitialised array of the kind of ``x``."""
    if is_device_array(x):
        import pyopencl.array

        return pyopencl.array.Array(queue, shape, x.dtype, data=allocate(queue.context, math.prod(shape) * x.dtype.itemsize))
    return empty(shape, x.dtype)
