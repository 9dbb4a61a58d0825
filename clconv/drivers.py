"""What drivers need before their first use: runtimes that pip brought, threads that stay where they are, a linker, advice."""

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
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from clconv.device import DeviceInfo
from clconv.errors import DeviceError

_INTEL_LIBRARIES = ("libintlc.so.5", "libimf.so", "libsvml.so", "libirng.so", "libtbb.so.12", "libhwloc.so.15")
_problems: list[str] = []


def runtime_problems() -> tuple[str, ...]:
    """Return a sentence for each OpenCL runtime that pip installed here and that cannot be used."""
    prepare_runtimes()
    return tuple(_problems)


@cache
def prepare_runtimes() -> None:
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


@contextmanager
def pinning() -> Iterator[None]:
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


_SPECIALIZE = "POCL_WORK_GROUP_SPECIALIZATION"


def compile_once() -> None:
    """Have PoCL compile a kernel once, for grids of any size, unless the user has decided.

    Left to itself, it compiles a kernel anew for each size of work-groups, and for larger grids, and yet another time for a
    program's binary. Our kernels say how large their work-groups are; what PoCL makes of them is as fast without knowing more.
    It looks at the variable whenever a kernel runs, so it stays set, for kernels of others in this process as well.
    """
    os.environ.setdefault(_SPECIALIZE, "0")


def compiles_once() -> bool:
    """Whether :func:`compile_once` is in force."""
    return os.environ.get(_SPECIALIZE) == "0"


def linker() -> str | None:
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
    if device.is_pocl and device.is_cpu and linker() is None:
        raise DeviceError(
            "PoCL links its kernels with the program ld, which is not on the PATH; install it with: "
            "apt-get install binutils (or pip install ziglang), or choose another device with CLCONV_DEVICE"
        )
