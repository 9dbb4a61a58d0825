"""Programs of a network, or of a convolution for many shapes, built by several processes at once.

PoCL builds one program at a time in a process, whatever its threads, and takes 0.2 to 1 s for each; a network has some twenty
of them. So other processes of this Python build them first, when several are unknown, and leave them where
:mod:`clconv.binaries` finds them. If they cannot be started, or fail, the caller builds for itself what is not there.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from clconv.device import DeviceInfo
from clconv.drivers import compiles_once
from clconv.errors import ClconvError, DeviceError
from clconv.plan import Launch
from clconv.programs import Key, Programs

VARIABLE = "CLCONV_BUILDERS"
MOST = 8
"""Processes, where the variable names no number: each takes 250 MB."""
EACH = 3
"""Programs for a process at least: before its first one it starts Python and reads PoCL's library, each 0.5 s."""

_START = "import sys; sys.path[:] = sys.argv[1:]; from clconv.builders import serve; serve()"
_Process: TypeAlias = "subprocess.Popen[bytes]"


def build_ahead(programs: Programs, launches: Iterable[Launch]) -> int:
    """Build the programs of launches in other processes, where there are enough to build, and wait for that.

    Parameters
    ----------
    programs : Programs
        Which ask for a kernel of each launch next.
    launches : iterable of Launch

    Returns
    -------
    int
        How many programs were given to others; 0 if it was not worth while.

    Raises
    ------
    DeviceError
        If the variable ``CLCONV_BUILDERS`` holds no number.
    """
    most = builders() if compiles_once() else 0  # else PoCL would compile the kernels in here all the same
    if most < 2:
        return 0
    unknown = programs.unknown(launches)
    count = min(most, len(unknown) // EACH)
    if count < 2:
        return 0
    todo, processes = deque(unknown), []
    try:
        for _ in range(count):
            processes.append(_start(programs.info))
        with ThreadPoolExecutor(count) as pool:
            try:
                done = sum(pool.map(_feed, processes, [todo] * count))
            finally:  # before the pool waits for its threads
                _stop(processes)
    except (OSError, RuntimeError):  # no more processes, or threads: at the end of Python, say
        return 0
    finally:
        _stop(processes)
    return done


def builders() -> int:
    """Return the number of processes that build programs: ``CLCONV_BUILDERS``, else one per processor, 8 at most."""
    wish = os.environ.get(VARIABLE, "").strip()
    if wish:
        if not wish.isdecimal():
            raise DeviceError(f"{VARIABLE}={wish!r} is no number of processes; use 1 to build all programs in this process")
        return int(wish)
    python = "python" in Path(sys.executable or "").name.lower() and not getattr(sys, "frozen", False)
    if not python:  # a program that Python is built into, which would be started once more
        return 1
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(mine, MOST)


def _start(device: DeviceInfo) -> _Process:
    process = subprocess.Popen(
        [sys.executable, "-c", _START, *sys.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    _tell(process, asdict(device))
    return process


def _tell(process: _Process, message: Any) -> None:
    assert process.stdin is not None  # a pipe
    with contextlib.suppress(BrokenPipeError):  # told by its silence
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()


def _feed(process: _Process, todo: deque[Key]) -> int:
    """Give a process one program after the other until it is gone or there are no more; return how many it was given."""
    assert process.stdout is not None  # a pipe
    given = 0
    with contextlib.suppress(IndexError):  # no more
        while process.stdout.readline():
            _tell(process, todo.popleft())
            given += 1
    return given


def _stop(processes: Iterable[_Process]) -> None:
    for process in processes:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def serve() -> None:
    """Build the programs that standard input names, until it ends: the device's facts, then a program in each line.

    A line is written when it is ready for the first one and after each, whatever became of it: the other process sees for
    itself what is there, and tells the user why a program cannot be built.
    """
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a driver says is no answer
    import pyopencl as cl

    from clconv.discovery import devices

    device = json.loads(sys.stdin.readline())
    mine = next((d for d in devices() if asdict(DeviceInfo.of(d)) == device), None)
    if mine is None:
        return
    programs = Programs(cl.Context([mine]), mine, DeviceInfo.of(mine))
    answers.write(b"ready\n")
    for line in sys.stdin:
        kernel, options = json.loads(line)
        with contextlib.suppress(ClconvError):
            programs.keep((kernel, tuple(options)))
        answers.write(b"done\n")
