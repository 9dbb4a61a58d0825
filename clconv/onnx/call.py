"""One call of a network: its inputs and outputs as buffers, and what waits for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyopencl as cl

from clconv.buffers import address_of, allocate, host_buffer
from clconv.errors import ShapeError
from clconv.onnx.program import Program
from clconv.runtime import read_back, settle
from clconv.tensors import check_context, check_out, empty, input_buffer, output_buffer


def outputs_of(out: Any, program: Program, tensors: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Return what a caller passed for the outputs, as a list.

    Parameters
    ----------
    out : array or sequence of arrays
    program : Program
    tensors : sequence of array
        The inputs.
    names : sequence of str
        Of the outputs.

    Raises
    ------
    ShapeError
        If one cannot take the result.
    """
    given = list(out) if isinstance(out, (tuple, list)) else [out]
    if len(given) != len(names):
        wanted = ", ".join(map(repr, names))
        raise ShapeError(f"out has {len(given)} arrays and the network {len(names)} outputs; pass one for each of {wanted}")
    first = tensors[0] if tensors else np.empty(0, np.uint8)
    facts = zip(given, names, program.output_shapes, program.output_dtypes, strict=True)
    for index, (array, name, shape, dtype) in enumerate(facts):
        check_out(array, first, shape, dtype.name, (*tensors[1:], *given[:index]), like=f"the output {name!r}")
    return given


def run_on_host(program: Program, queue: cl.CommandQueue, tensors: Sequence[Any], results: list[Any] | None) -> list[Any]:
    """Run on NumPy arrays and wait; return the results, which are made here if there is nothing to write them to."""
    runtime = program.runtime
    if results is None:
        results = [empty(s, d) for s, d in zip(program.output_shapes, program.output_dtypes, strict=True)]
    arrays = [a if a.size else np.empty(1, a.dtype) for a in (*tensors, *results)]
    try:
        if program.run_together(queue, [address_of(a) for a in arrays]):
            return results
    except BaseException:
        settle(queue)
        raise
    # Held until the results are read: OpenCL does not keep the buffers of a running kernel alive.
    into = [host_buffer(runtime, a, output=True) for a in arrays[len(tensors) :]]
    external = [*(host_buffer(runtime, a) for a in arrays[: len(tensors)]), *into]
    try:
        event = program.run(queue, external)
        if event is not None:
            if program.crew is not None:
                program.crew.muster(event)
            for buffer, result in zip(into, results, strict=True):
                if result.size:
                    read_back(runtime, queue, buffer, result, event)
    except BaseException:
        settle(queue)
        raise
    if program.crew is not None:
        program.crew.left()
    return results


def run_on_device(program: Program, queue: cl.CommandQueue, tensors: Sequence[Any], results: list[Any] | None) -> list[Any]:
    """Run on device arrays; the events of the results, see :func:`run_on_host`, say when they are there."""
    import pyopencl.array

    runtime = program.runtime
    wait: list[cl.Event] = []
    external: list[Any] = []
    for name, tensor in zip(program.external, tensors, strict=False):  # the outputs follow
        check_context(tensor, f"the input {name!r}", runtime.context)
        buffer, events = input_buffer(tensor, queue)
        external.append(buffer)
        wait.extend(events)
    if results is None:
        results = [pyopencl.array.Array(queue, s, d) for s, d in zip(program.output_shapes, program.output_dtypes, strict=True)]
    copied: list[tuple[Any, cl.Buffer]] = []
    for result in results:
        check_context(result, "out", runtime.context)
        wait.extend(result.events)
        into, copy_out = output_buffer(result, queue) if result.size else (allocate(runtime.context, 1), False)
        external.append(into)
        if copy_out:
            copied.append((result, into))
    try:
        event = program.run(queue, external, wait or None)
        if event is not None:
            for result, source in copied:
                where = {"byte_count": result.nbytes, "dst_offset": result.offset}
                event = cl.enqueue_copy(queue, result.base_data, source, **where, wait_for=[event])
            for result in results:
                result.events[:] = [event]  # after all that were there
            runtime.queue_state(queue).hold(event, (tensors, external))
    except BaseException:
        runtime.queue_state(queue).hold_all((program, tensors, external, results))
        raise
    return results
