"""Commands that wait until a test lets them go, and queues on which nothing but events keeps an order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyopencl as cl
import pyopencl.array as cla

_sources: list[Any] = []
"""What pending copies read: drivers do not all keep it."""


@contextmanager
def closed(queue: cl.CommandQueue) -> Iterator[cl.UserEvent]:
    """An event that is complete behind the block, also if that fails: what waits for it would never end."""
    gate = cl.UserEvent(queue.context)
    try:
        yield gate
    finally:
        gate.set_status(cl.command_execution_status.COMPLETE)


def loose(queue: cl.CommandQueue) -> cl.CommandQueue:
    """Another queue of the same context, which keeps no order."""
    return cl.CommandQueue(queue.context, properties=cl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE)


def fill_behind(gate: cl.Event, array: cla.Array, values: np.ndarray[Any, Any], queue: cl.CommandQueue) -> None:
    """Write values into an array once the gate opens; only the array's events tell when."""
    source: Any = cla.to_device(queue, values).base_data
    target: Any = array.base_data
    _sources.append(source)
    array.add_event(cl.enqueue_copy(queue, target, source, wait_for=[gate]))
    queue.flush()


def late(gate: cl.Event, values: np.ndarray[Any, Any], queue: cl.CommandQueue) -> cla.Array:
    """An array of NaN that gets its values once the gate opens."""
    array = cla.to_device(queue, np.full_like(values, np.nan))
    fill_behind(gate, array, values, queue)
    return array


def give_time(queue: cl.CommandQueue) -> None:
    """Let run what does not wait, though it should."""
    queue.flush()
    time.sleep(0.1)


def is_pending(event: cl.Event) -> bool:
    """Whether a command is not complete yet."""
    return bool(event.command_execution_status != cl.command_execution_status.COMPLETE)
