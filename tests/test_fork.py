"""Processes that were forked while another thread held a lock, which nobody there will ever release."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.test_discovery import run_python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")

CALLS = """
import contextlib, os, signal, threading
import numpy as np, pyopencl as cl
import clconv, clconv.onnx
from clconv import binaries, discovery, functional, runtime
from tests.onnx.models import model, node

queue = clconv.default_queue()
unknown = cl.CommandQueue(queue.context)
ones = lambda *shape: np.ones(shape, "f")
x, out = ones(1, 4, 8, 8), ones(1, 4, 6, 6)
conv = clconv.Convolution(ones(4, 4, 3, 3))
for _ in range(3):
    conv(x, out=out)
clconv.conv2d(x, ones(4, 4, 3, 3))
net = clconv.onnx.load(model([node("Conv", "x w", "y")], {"x": [None, 4, 8, 8]}, ["y"], {"w": ones(4, 4, 3, 3)}))
net(x)

used = runtime.runtime_of(queue)
locks = [discovery._lock, functional._lock, runtime._lock, binaries._one_at_a_time, conv._lock, net._lock]
locks += [used.lock, used.programs._lock, used.queue_state(queue).lock, *(p.lock for p in net._programs.values())]
locks += [e.lock for p in functional._executables.values() for _, _, e in p.parts]
locks += [e.lock for r in conv._ready.values() for _, _, e, _ in r.parts]
held, enough = threading.Event(), threading.Event()

def hold():
    with contextlib.ExitStack() as stack:
        for lock in locks:
            stack.enter_context(lock)
        held.set()
        enough.wait()

threading.Thread(target=hold).start()
held.wait()
if os.fork() == 0:
    signal.alarm(20)
    for call in (
        clconv.default_queue,
        clconv.devices,
        lambda: conv(x, out=out),
        lambda: conv(x),
        lambda: conv(ones(2, 4, 9, 9)),
        lambda: clconv.conv2d(x, ones(4, 4, 3, 3)),
        lambda: clconv.conv2d(x, ones(4, 4, 3, 3), queue=queue),
        lambda: clconv.conv2d(x, ones(5, 4, 3, 3), queue=queue),
        lambda: clconv.conv2d(x, ones(5, 4, 3, 3), queue=unknown),
        lambda: clconv.separable_conv2d(x, ones(4, 1, 3, 3), ones(3, 4), queue=queue),
        lambda: clconv.Convolution(ones(4, 4, 3, 3), queue=queue),
        lambda: clconv.Convolution(ones(4, 4, 3, 3), queue=unknown),
        lambda: net(x),
        lambda: net(ones(3, 4, 8, 8)),
        lambda: net.explain((3, 4, 8, 8)),
        lambda: net.profile(x),
    ):
        try:
            call()
        except clconv.DeviceError as error:
            assert "forked" in str(error)
        else:
            os._exit(1)
    os._exit(0)
status = os.wait()[1]
enough.set()
raise SystemExit(os.waitstatus_to_exitcode(status))
"""


def test_a_lock_that_another_thread_held_is_not_waited_for() -> None:
    done = run_python(CALLS)
    assert done.returncode == 0, done.stderr


def test_the_first_use_of_opencl_counts_from_its_beginning() -> None:
    """With a queue of the caller's: nothing of clconv's was called before."""
    code = """
import os, signal, threading
import pyopencl as cl
from clconv import DeviceError, runtime

device = next(d for p in cl.get_platforms() for d in p.get_devices())
queue = cl.CommandQueue(cl.Context([device]))
begun, enough = threading.Event(), threading.Event()

def slow(*_):
    begun.set()
    enough.wait()
    os._exit(status)

runtime.Runtime = slow
threading.Thread(target=runtime.runtime_of, args=(queue,)).start()
begun.wait()
if os.fork() == 0:
    signal.alarm(20)
    try:
        runtime.runtime_of(queue)
    except DeviceError as error:
        os._exit("forked" not in str(error))
status = os.waitstatus_to_exitcode(os.wait()[1])
enough.set()
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not say what lies in memory")
def test_opencl_that_was_used_without_clconv_counts() -> None:
    code = """
import os, signal
import numpy as np, pyopencl as cl
import clconv

x, w = np.ones((1, 1, 5, 5), "f"), np.ones((1, 1, 3, 3), "f")
clconv.folders  # imported, and not used
cl.CommandQueue(cl.Context([next(d for p in cl.get_platforms() for d in p.get_devices())])).finish()
if os.fork() == 0:
    signal.alarm(20)
    try:
        clconv.conv2d(x, w)
    except clconv.DeviceError as error:
        os._exit("forked" not in str(error))
raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_a_process_that_is_forked_before_opencl_is_used_may_use_it() -> None:
    code = """
import os, signal
import numpy as np
import clconv

if os.fork() == 0:
    signal.alarm(60)
    clconv.conv2d(np.ones((1, 1, 5, 5), "f"), np.ones((1, 1, 3, 3), "f"))
    os._exit(0)
raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_the_end_of_a_forked_process_asks_nothing_of_the_driver(tmp_path: Path) -> None:
    """Its binaries are written by the process that built the programs."""
    code = """
import os, sys
import numpy as np
from clconv import binaries, conv2d
conv2d(np.ones((1, 4, 8, 8), "f"), np.ones((4, 4, 3, 3), "f"))
if os.fork() == 0:
    sys.exit(0)
assert os.wait()[1] == 0
print(binaries.folder().exists(), flush=True)
"""
    done = run_python(code, CLCONV_CACHE=str(tmp_path), POCL_CACHE_DIR=str(tmp_path / "pocl"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "False\n"


def test_a_store_of_records_is_not_locked_by_a_process_that_was_forked_meanwhile(tmp_path: Path) -> None:
    """Which has the file open as well, and may live for long."""
    code = """
import os, signal
from pathlib import Path
from clconv.tuning.store import Record, _locked, save
path = Path(os.environ["CLCONV_TUNING"])
wait, done = os.pipe()
with _locked(path.with_name(path.name + ".lock")):
    child = os.fork()
    if child == 0:
        os.close(done)
        os.read(wait, 1)
        os._exit(0)
signal.alarm(20)
save(path, "d", {"p": Record("a", "t", 1.0)})
os.close(done)
os.waitpid(child, 0)
"""
    done = run_python(code, CLCONV_TUNING=str(tmp_path / "tuning.json"))
    assert done.returncode == 0, done.stderr
