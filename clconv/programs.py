"""The compiled programs of one context: built once each, from a kept binary or from their source."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import pyopencl as cl

from clconv import binaries, source
from clconv.device import DeviceInfo
from clconv.drivers import compile_once, require_linker
from clconv.errors import DeviceError, KernelBuildError
from clconv.fork import require_own_process
from clconv.plan import Launch
from clconv.source import located, options
from clconv.target import name_processor

Key: TypeAlias = "tuple[str, tuple[str, ...]]"
"""What a program is: the file of its kernels, and the build options."""


class Programs:
    """Programs of a context for one of its devices.

    Parameters
    ----------
    context : pyopencl.Context
    device : pyopencl.Device
    info : DeviceInfo
        Of that device.

    Attributes
    ----------
    info : DeviceInfo
    """

    def __init__(self, context: cl.Context, device: cl.Device, info: DeviceInfo) -> None:
        self._context = context
        self._device = device
        self.info = info
        self._lock = threading.RLock()
        self._built: dict[Key, cl.Program] = {}
        if info.is_pocl:
            compile_once()
            name_processor(device)

    def kernel(self, launch: Launch) -> cl.Kernel:
        """Return a fresh kernel object for a launch, building its program if this is the first.

        Raises
        ------
        KernelBuildError
            If the driver does not compile it.
        DeviceError
            In a process forked from one that used OpenCL, where the driver would fail obscurely.
        """
        require_own_process()
        key = _key(launch)
        with self._lock:
            program = self._built.get(key)
            if program is None:
                program = self._built[key] = self._build(key)
            try:
                return cl.Kernel(program, launch.entry)  # one for each executable, which sets arguments on it
            except RuntimeError as error:  # Python's, of platformdirs
                raise DeviceError(
                    f"pyopencl keeps files in the user's folder and finds none ({error}); name one with XDG_CACHE_HOME"
                ) from error

    def unknown(self, launches: Iterable[Launch]) -> list[Key]:
        """Return the programs of launches that would be built from their source, and kept as binaries later."""
        with self._lock:
            keys = [key for key in dict.fromkeys(map(_key, launches)) if key not in self._built]
        return [key for key in keys if (kept := self._kept(key)) is not None and not kept.exists()]

    def keep(self, key: Key) -> None:
        """Build a program and write its binary, for other processes.

        Raises
        ------
        KernelBuildError
            If the driver does not compile it.
        """
        self._build(key)
        binaries.save(float("inf"))

    def _kept(self, key: Key) -> Path | None:
        """Return the file of a program's binary, whether it exists or not; None where none are kept."""
        return binaries.place(self._device, self.info, *source.program(*key, self.info))

    def _build(self, key: Key) -> cl.Program:
        require_linker(self.info)
        kernel, _ = key
        text, opts = source.program(*key, self.info)
        kept = self._kept(key)
        if kept is not None and (found := binaries.load(kept, self._context, self._device, opts)) is not None:
            return found
        start = time.monotonic()
        try:
            with binaries.quiet():
                program = cl.Program(self._context, text)
                program.build(list(opts), devices=[self._device])
        except cl.Error as error:
            log = str(error)
            first = next((line for line in log.splitlines() if "error:" in line), "the driver's log has no error line").strip()
            raise KernelBuildError(
                f"the kernel {kernel} does not build on {self.info.name} with {' '.join(opts)}: {located(first, text)}; "
                "see .log and .source of this error",
                source=text,
                options=opts,
                log=log,
                device=self.info.name,
            ) from error
        if kept is not None:
            binaries.save_later(kept, program, time.monotonic() - start)
        return program


def _key(launch: Launch) -> Key:
    return launch.kernel, options(launch)
