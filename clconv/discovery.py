"""Which OpenCL devices there are, and which one is taken when the caller names none."""

from __future__ import annotations

import atexit
import ctypes
import importlib.util
import os
import shutil
import stat
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from clconv import caller
from clconv.device import DeviceInfo
from clconv.errors import DeviceError

if TYPE_CHECKING:
    import pyopencl as cl

_INTEL_LIBRARIES = ("libintlc.so.5", "libimf.so", "libsvml.so", "libirng.so", "libtbb.so.12", "libhwloc.so.15")
_lock = threading.RLock()
_problems: list[str] = []
_beside: dict[int, cl.CommandQueue] = {}  # by the default queue's address, which is kept
_contexts: list[cl.Context] = []  # of default queues: with Intel's runtime, a queue does not keep its context alive


class _Process:
    """Whether OpenCL was used here, and whether that was before this process was forked from another."""

    used = False
    forked = False


def _after_fork() -> None:
    _Process.forked = _Process.used


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def in_own_process() -> bool:
    """Whether the driver's threads are here, see :func:`require_own_process`."""
    return not _Process.forked


def require_own_process() -> None:
    """Raise a DeviceError in a process forked from one that used OpenCL: without the driver's threads it would never end."""
    if _Process.forked:
        raise DeviceError(
            "this process was forked from one that had used OpenCL, whose threads did not come along; start processes by "
            "'spawn' or 'forkserver' (multiprocessing.set_start_method), or before the first convolution"
        )
    _Process.used = True


def runtime_problems() -> tuple[str, ...]:
    """Return a sentence for each OpenCL runtime that pip installed here and that cannot be used."""
    _prepare_runtimes()
    return tuple(_problems)


@contextmanager
def _pinning() -> Iterator[None]:
    """Have PoCL bind each of its threads to a processor of its own, unless the user has decided. It starts them in here.

    Left to itself, the system at times wakes two of them on the same processor, and a kernel takes twice as long. Where
    this process may not use every processor, numbering them from 0 would be wrong, so nothing is done. Nor is it for child
    processes, which may use other processors than this one.
    """
    everywhere = hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) == os.cpu_count()
    if not everywhere or "POCL_AFFINITY" in os.environ:
        yield
        return
    os.environ["POCL_AFFINITY"] = "1"
    try:
        yield
    finally:
        del os.environ["POCL_AFFINITY"]


@cache
def _prepare_runtimes() -> None:
    """Make the OpenCL runtimes that pip put into this environment visible to the loader, before its first call.

    PoCL and Oclgrind are found by pyopencl itself. Intel's wheel names a path of its build machine in its .icd
    file and expects its libraries on the search path; both are mended here.
    """
    library = Path(sysconfig.get_path("data")) / "lib" / "libintelocl.so"
    if not sys.platform.startswith("linux") or not library.exists() or "OCL_ICD_VENDORS" in os.environ:
        return
    try:
        for name in _INTEL_LIBRARIES:
            ctypes.CDLL(str(library.parent / name), mode=ctypes.RTLD_GLOBAL)
        folder = Path(tempfile.gettempdir()) / f"clconv-icd-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise OSError(f"the folder {folder} belongs to another user")
        system = Path("/etc/OpenCL/vendors")
        lines = {"clconv-intel.icd": str(library)}
        for icd in sorted(system.glob("*.icd")) if system.is_dir() else ():
            lines[icd.name] = icd.read_text().strip()
        for name, line in lines.items():
            temporary = folder / f".{name}.{os.getpid()}"
            temporary.write_text(line + "\n")
            temporary.replace(folder / name)
        os.environ["OCL_ICD_VENDORS"] = str(folder)
    except OSError as error:
        _problems.append(
            f"Intel's OpenCL runtime is installed but cannot be loaded: {error}; "
            "reinstall it with: pip install --force-reinstall intel-opencl-rt intel-cmplr-lib-rt"
        )


def devices() -> list[cl.Device]:
    """Return every OpenCL device on this machine, simulators included, in the loader's order.

    A processor is there once: PoCL's device for the calling thread (see :mod:`clconv.caller`) if ``POCL_DEVICES`` names it.

    Returns
    -------
    list of pyopencl.Device
    """
    with _lock:
        require_own_process()
        _prepare_runtimes()
        import pyopencl as cl

        found: list[cl.Device] = []
        with _pinning(), caller.asking():
            try:
                platforms = cl.get_platforms()
            except cl.Error:  # the loader reports an empty list as an error
                return found
            for platform in platforms:
                try:
                    found.extend(platform.get_devices())
                except cl.Error:  # a platform without a device
                    continue
        caller.keep_choice_of_pyopencl(platforms)
        return [device for device in found if not caller.hidden(device)]


def choose_device(wish: str | None = None) -> cl.Device:
    """Return the device to use when the caller names none.

    Parameters
    ----------
    wish : str, optional
        ``"cpu"``, ``"gpu"``, or a part of a platform's or device's name; ``CLCONV_DEVICE`` if left out.

    Returns
    -------
    pyopencl.Device
        A GPU before a CPU; a simulator only if it is asked for by name.

    Raises
    ------
    DeviceError
        If there is no device, or none that fits the wish.
    """
    found = [(d, DeviceInfo.of(d)) for d in devices()]
    wish = os.environ.get("CLCONV_DEVICE", "") if wish is None else wish
    real = [(d, i) for d, i in found if not i.is_simulator]
    if wish.lower() in ("cpu", "gpu"):
        fitting = [(d, i) for d, i in real if i.is_cpu == (wish.lower() == "cpu")]
    elif wish:
        fitting = [(d, i) for d, i in found if wish.lower() in f"{i.platform} {i.name}".lower()]
        fitting.sort(key=lambda pair: pair[1].is_simulator)
    else:
        fitting = sorted(real, key=lambda pair: (pair[1].is_cpu, pair[1].is_pocl and not _linker()))
    if fitting:
        return fitting[0][0]
    if not found:
        raise DeviceError(
            'no OpenCL device was found; install PoCL for the CPU with: pip install "pyopencl[pocl]", '
            "or the OpenCL driver of your GPU's vendor"
        )
    names = "; ".join(f"{i.name} ({i.platform})" for _, i in found)
    if not wish:
        raise DeviceError(f"the only OpenCL device is a simulator, {names}; name it in CLCONV_DEVICE to use it anyway")
    where = "clconv --device or CLCONV_DEVICE"
    raise DeviceError(f"no OpenCL device fits the name {wish!r} ({where}); use cpu, gpu or a part of one of: {names}")


@cache
def _default_queue(choice: tuple[str | None, str | None]) -> cl.CommandQueue:
    """Queue per choice of the environment, so that a later change of the variables is honoured."""
    import pyopencl as cl

    clconv_device, pyopencl_ctx = choice
    if not clconv_device and pyopencl_ctx:
        _prepare_runtimes()
        try:
            with _pinning():
                chosen = cl.create_some_context(interactive=False).devices
        except (cl.Error, RuntimeError, ValueError) as error:
            raise DeviceError(
                f"PYOPENCL_CTX={pyopencl_ctx!r} chooses no OpenCL device ({error}); "
                "write it as pyopencl does, or unset it and name a device in CLCONV_DEVICE"
            ) from error
    else:
        chosen = [choose_device(clconv_device)]
    context = cl.Context(list(dict.fromkeys(caller.usual(device) for device in chosen)))
    _contexts.append(context)
    queue = cl.CommandQueue(context)
    second = caller.beside(queue.device)
    if second is not None:
        _contexts.append(cl.Context([second]))
        _beside[queue.int_ptr] = cl.CommandQueue(_contexts[-1])
    return queue


def queue_on(wish: str | None) -> cl.CommandQueue:
    """Return a queue that is kept, on the device that a wish chooses, see :func:`choose_device`; the default one for None."""
    return default_queue() if wish is None else _default_queue((wish, None))


def beside(queue: cl.CommandQueue) -> cl.CommandQueue | None:
    """Return where calls that wait may run in place of a default queue: in the thread that calls, see :mod:`clconv.caller`."""
    return _beside.get(queue.int_ptr)


def default_queue() -> cl.CommandQueue:
    """Return the queue that is used when a call names none; the same one every time.

    ``CLCONV_DEVICE`` chooses the device (see :func:`choose_device`), else ``PYOPENCL_CTX`` as in pyopencl.

    Returns
    -------
    pyopencl.CommandQueue
        An in-order queue.

    Raises
    ------
    DeviceError
        If there is no usable device.
    """
    with _lock:
        require_own_process()
        pyopencl_ctx = os.environ.get("PYOPENCL_CTX")
        return _default_queue((os.environ.get("CLCONV_DEVICE"), None if pyopencl_ctx == caller.USUAL else pyopencl_ctx))


def _linker() -> str | None:
    """Path of ``ld``, or of one that pip brought; None if there is neither."""
    found = shutil.which("ld")
    if found or importlib.util.find_spec("ziglang") is None:
        return found
    folder = Path(tempfile.mkdtemp(prefix="clconv-ld-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # programs that are saved at the end are linked before
    script = folder / "ld"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ziglang ld.lld "$@"\n')
    script.chmod(stat.S_IRWXU)
    os.environ["PATH"] = os.pathsep.join(filter(None, (os.environ.get("PATH", ""), str(folder))))
    return str(script)


def require_linker(device: DeviceInfo) -> None:
    """Raise a DeviceError before PoCL fails obscurely for want of the program ``ld``."""
    if device.is_pocl and device.is_cpu and _linker() is None:
        raise DeviceError(
            "PoCL links its kernels with the program ld, which is not on the PATH; install it with: "
            "apt-get install binutils (or pip install ziglang), or choose another device with CLCONV_DEVICE"
        )
