"""Devices and tools that the tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyopencl as cl
import pytest

import clconv
from clconv.algorithms.reasons import not_cpu
from clconv.device import DeviceInfo

# Programs are built from their sources here, and the user's are left alone; test_binaries.py has a folder of its own.
os.environ["CLCONV_CACHE"] = "off"


def find_devices(*, simulator: bool) -> list[cl.Device]:
    """Real devices, or simulators."""
    return [d for d in clconv.devices() if DeviceInfo.of(d).is_simulator == simulator]


_contexts: dict[int, cl.Context] = {}  # with Intel's runtime, a queue does not keep its context alive
_queues: dict[int, cl.CommandQueue] = {}


def queue_on(device: cl.Device) -> cl.CommandQueue:
    """One queue per device for the whole run, so that programs are built once."""
    if device.int_ptr not in _queues:
        context = _contexts[device.int_ptr] = cl.Context([device])
        _queues[device.int_ptr] = cl.CommandQueue(context)
    return _queues[device.int_ptr]


def name_of(device: cl.Device) -> str:
    """Short name for a test's id."""
    return device.platform.name.split()[0].lower()


@pytest.fixture(params=find_devices(simulator=False), ids=name_of, scope="session")
def queue(request: pytest.FixtureRequest) -> cl.CommandQueue:
    """An in-order queue on each real device."""
    return queue_on(request.param)


@pytest.fixture(scope="session")
def cpu_queue(queue: cl.CommandQueue) -> cl.CommandQueue:
    """The same where the device is a CPU, for kernels that are offered nowhere else."""
    reason = not_cpu(DeviceInfo.of(queue.device))
    if reason is not None:
        pytest.skip(f"the kernel {reason}")
    return queue


@pytest.fixture
def fill_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Once called, no text finds room on the disk but for its first character."""
    plain = Path.write_text

    def write(path: Path, text: str, **options: Any) -> None:
        plain(path, text[:1], **options)
        raise OSError(28, "No space left on device")

    return lambda: monkeypatch.setattr(Path, "write_text", write)
