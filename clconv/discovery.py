"""Which OpenCL devices there are, and which one is taken when the caller names none."""

from __future__ import annotations

import os
import threading
from functools import cache
from typing import TYPE_CHECKING

from clconv import caller
from clconv.device import DeviceInfo
from clconv.drivers import linker, pinning, prepare_runtimes
from clconv.errors import DeviceError
from clconv.fork import require_own_process
from clconv.target import name_processor

if TYPE_CHECKING:
    import pyopencl as cl

_lock = threading.RLock()
_beside: dict[int, cl.CommandQueue] = {}  # by the default queue's address, which is kept
_contexts: list[cl.Context] = []  # of default queues: with Intel's runtime, a queue does not keep its context alive


def devices() -> list[cl.Device]:
    """Return every OpenCL device on this machine, simulators included, in the loader's order.

    A processor is there once: PoCL's device for the calling thread (see :mod:`clconv.caller`) if ``POCL_DEVICES`` names it.

    Returns
    -------
    list of pyopencl.Device
    """
    require_own_process()
    with _lock:
        prepare_runtimes()
        import pyopencl as cl

        found: list[cl.Device] = []
        with pinning(), caller.asking():
            try:
                platforms = cl.get_platforms()
            except cl.Error:  # the loader reports an empty list as an error
                return found
            for platform in platforms:
                try:
                    found.extend(platform.get_devices())
                except cl.Error:  # a platform without a device
                    continue
        for device in found:  # not only for our own programs: whoever takes a device from here may compile others
            name_processor(device)
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
        A GPU before a CPU, PoCL, for which the kernels were made, before other drivers of it; a simulator only if it is named.

    Raises
    ------
    DeviceError
        If there is no device, or none that fits the wish.
    """
    found = [(d, DeviceInfo.of(d)) for d in devices()]
    wish = os.environ.get("CLCONV_DEVICE", "") if wish is None else wish
    real = [(d, i) for d, i in found if not i.is_simulator]
    real.sort(key=lambda pair: (pair[1].is_cpu, pair[1].is_pocl and not linker(), not pair[1].is_pocl))
    if wish.lower() in ("cpu", "gpu"):
        fitting = [(d, i) for d, i in real if i.is_cpu == (wish.lower() == "cpu")]
    elif wish:
        fitting = [(d, i) for d, i in found if wish.lower() in f"{i.platform} {i.name}".lower()]
        fitting.sort(key=lambda pair: pair[1].is_simulator)
    else:
        fitting = real
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
        prepare_runtimes()
        try:
            with pinning():
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
    require_own_process()
    with _lock:
        pyopencl_ctx = os.environ.get("PYOPENCL_CTX")
        return _default_queue((os.environ.get("CLCONV_DEVICE"), None if pyopencl_ctx == caller.USUAL else pyopencl_ctx))
