"""Compiled programs, kept between processes for PoCL.

PoCL has a cache of its own, but goes there by way of the source: it runs Clang's preprocessor and reads the intermediate
code, 20 ms and 1.5 MiB a program that then stay in memory. From the binary of a program it takes 1.5 ms and a third of
that. Making the binary takes 2 ms where all kernels of the program have run. Those that have not are compiled then, and all are
where the user has PoCL compile them for each size of work-groups (:func:`clconv.drivers.compile_once`); so it is done when
Python ends and nobody waits for a result, for a second at most, and what is left over by a later process.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pyopencl as cl

from clconv.device import DeviceInfo
from clconv.digest import BYTES as DIGEST_BYTES
from clconv.digest import digest
from clconv.folders import cache_folder
from clconv.fork import in_own_process

SECONDS = 1.0
"""How long the end of Python may be put off."""
MOST = 1000
"""Files to keep; the oldest half goes when there are more."""

_MARK = b"clconv program 2\n"
_NO_CODE = b"/program.bc" + bytes(4)
"""In a binary without the program's intermediate code: its name, and 0 for its bytes. PoCL crashes when it needs that code."""

_one_at_a_time = threading.RLock()
_unsaved: dict[Path, tuple[cl.Program, float]] = {}  # and the seconds that building it took


def folder() -> Path | None:
    """Return where binaries are kept; None where they are not."""
    place = cache_folder()
    return None if place is None else place / "programs"


def place(device: cl.Device, info: DeviceInfo, source: str, options: Sequence[str]) -> Path | None:
    """Return the file for a program's binary, whether it exists or not; None where none is kept.

    Parameters
    ----------
    device : pyopencl.Device
    info : DeviceInfo
        Of that device. Other drivers than PoCL keep binaries themselves.
    source : str
        With its includes expanded.
    options : sequence of str
        For the compiler.
    """
    where = folder() if info.is_pocl else None
    if where is None:
        return None
    parts = (device.platform.version, device.version, info.driver, info.name, *options, source)
    return where / digest("\0".join(parts).encode()).hex()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ignore what a driver says while it builds a program, unless that is an error.

    One program at a time: Python has one list of filters for all threads, and another thread's would come back behind ours.
    """
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.CompilerWarning)
        yield


def load(path: Path, context: cl.Context, device: cl.Device, options: Sequence[str]) -> cl.Program | None:
    """Return the program whose binary is in a file; None if there is none that is whole and that the driver takes."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    binary = content[len(_MARK) + DIGEST_BYTES :]
    if content[: len(_MARK) + DIGEST_BYTES] != _head(path, binary) or _NO_CODE in binary:
        with contextlib.suppress(OSError):  # a folder that is not ours to write to
            path.unlink()
        return None
    try:
        with quiet():
            program = cl.Program(context, [device], [binary])
            program.build(list(options), devices=[device])
    except cl.Error:  # made for another processor, which shares this folder
        return None
    return program


def save_later(path: Path, program: cl.Program, seconds: float) -> None:
    """Write the binary of a program, which took so many seconds to build from its source, when Python ends."""
    if not _unsaved:
        atexit.register(save)
    _unsaved[path] = program, seconds


def save(seconds: float = SECONDS) -> int:
    """Write the binaries of programs that were built from source in this process, and return of how many.

    Parameters
    ----------
    seconds : float
        None is begun that would not be done by then: making one takes about as long as building the program did.
    """
    if not in_own_process():  # the one that it was forked from asks the driver, whose threads and locks are there
        return 0
    end = time.monotonic() + seconds
    saved = 0
    try:
        while _unsaved and time.monotonic() < end:
            path, (program, needed) = _unsaved.popitem()
            if time.monotonic() + needed > end:
                continue
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.exists():  # another process was faster
                continue
            binary: bytes = cast("Any", program).get_info(cl.program_info.BINARIES)[0]  # pyopencl's types say object
            if _NO_CODE in binary:  # somebody has emptied PoCL's own cache folder, where it reads that code again
                continue
            _write(path, _head(path, binary) + binary)
            saved += 1
        if saved:
            _prune(path.parent)
    except (OSError, cl.Error, KeyboardInterrupt):  # nothing is lost but time
        _unsaved.clear()
    return saved


def _head(path: Path, binary: bytes) -> bytes:
    """Return what a file begins with, by which it is known to be whole and this program's."""
    return _MARK + digest(path.name.encode(), binary)


def _write(path: Path, content: bytes) -> None:
    """Write a file so that others see all of it or nothing."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _prune(where: Path) -> None:
    files = [path for path in where.iterdir() if re.match("[0-9a-f]{64}", path.name)]  # others are somebody else's
    if len(files) > MOST:
        for path in sorted(files, key=lambda p: p.stat().st_mtime)[: len(files) - MOST // 2]:
            path.unlink(missing_ok=True)
