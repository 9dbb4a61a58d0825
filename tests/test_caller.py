"""Short convolutions in the thread that calls: when, with which results, and what others notice of it."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pyopencl as cl
import pyopencl.array
import pytest

import clconv
from clconv import caller
from clconv.device import DeviceInfo
from clconv.discovery import beside
from clconv.notation import parse
from clconv.plan import Local
from clconv.select import select
from tests.test_discovery import needs_pocl, run_python

POCL = DeviceInfo("pthread", "Portable Computing Language", compute_units=2)
SHORT = "3x3 16->16 @8"


def test_short_plans_alone() -> None:
    short, long = (select(parse(text), POCL).plan for text in (SHORT, "3x3 64->64 @56"))
    assert caller.is_faster(short, POCL)
    assert not caller.is_faster(long, POCL)
    assert caller.is_faster(replace(short, seconds=2 * caller.WAKING), replace(POCL, compute_units=1))  # no unit to share with
    assert not caller.is_faster(replace(short, seconds=2 * caller.WAKING), POCL)
    many = replace(short.launches[0], arguments=(Local(caller.CLOSE),))
    assert not caller.is_faster(replace(short, launches=(many,)), POCL)


@pytest.fixture(scope="module")
def queue() -> cl.CommandQueue:
    """The default queue, where there is a device for the thread that calls beside it."""
    queue = clconv.default_queue()
    if beside(queue) is None:
        pytest.skip("the default device has none beside it for the thread that calls")
    return queue


def numbers(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("f")


def used(conv: clconv.Convolution, shape: tuple[int, ...]) -> bool:
    """Whether the plan for NumPy arrays was built for the thread that calls."""
    return any(ready.queue is not conv.queue for key, ready in conv._ready.items() if key[0] == shape)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 1, "activation": "silu"},
        {"padding": 1, "groups": 4, "stride": 2},
        {"padding": 2, "dilation": 2, "groups": 16},
        {"padding": 1, "algorithm": "winograd"},
        {"padding": 1, "algorithm": "reference"},
    ],
    ids=str,
)
@pytest.mark.parametrize("on_device_first", [False, True])
def test_the_same_bits_in_both_places(queue: cl.CommandQueue, options: dict[str, Any], on_device_first: bool) -> None:
    x, bias = numbers(2, 16, 9, 11), numbers(16)
    w = numbers(16, 16 // options.get("groups", 1), 3, 3)
    conv = clconv.Convolution(w, bias, **options)
    on_device = pyopencl.array.to_device(queue, x)
    for _ in range(3):
        results: dict[type, Any] = {}
        for kind in (on_device, x) if on_device_first else (x, on_device):
            results[type(kind)] = conv(kind)
        assert np.array_equal(results[np.ndarray], results[pyopencl.array.Array].get())
    assert conv.explain(x.shape).in_caller == used(conv, x.shape)
    packed_each_time = clconv.conv2d(x, w, bias, **options)  # by another plan, perhaps
    assert np.array_equal(packed_each_time, clconv.conv2d(x, pyopencl.array.to_device(queue, w), bias, **options))
    np.testing.assert_allclose(packed_each_time, results[np.ndarray], rtol=1e-3, atol=1e-3)


def test_short_calls_are_made_there_and_long_ones_are_not(queue: cl.CommandQueue) -> None:
    conv = clconv.Convolution(numbers(32, 32, 3, 3), padding=1)
    for size in (8, 112):
        x = numbers(1, 32, size, size)
        conv(x)
        assert used(conv, x.shape) == conv.explain(x.shape).in_caller == (size == 8)
    assert "thread      that of the caller" in str(conv.explain((1, 32, 8, 8)))
    assert "that of the caller" not in str(conv.explain((1, 32, 112, 112)))


def test_many_threads_with_one_convolution(queue: cl.CommandQueue) -> None:
    w = numbers(16, 16, 3, 3)
    conv = clconv.Convolution(w, padding=1)
    images = [numbers(1, 16, 8, 8) + k for k in range(6)]
    expected = [conv(x).copy() for x in images]
    assert used(conv, images[0].shape)
    wrong: list[int] = []

    def work(k: int) -> None:
        out = np.empty_like(expected[k])
        for _ in range(200):
            out.fill(np.nan)
            if not np.array_equal(conv(images[k], out=out), expected[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_callers_arithmetic_stays_as_it_was(queue: cl.CommandQueue) -> None:
    small = np.full(4, 1e-40, "f")  # denormal: a kernel that flushes them to zero must not leave the thread doing so
    conv = clconv.Convolution(numbers(16, 16, 3, 3), padding=1)
    conv(numbers(1, 16, 8, 8))
    assert used(conv, (1, 16, 8, 8))
    assert (small * np.float32(0.5) > 0).all()


def test_a_device_for_the_thread_alone(queue: cl.CommandQueue) -> None:
    """Its queue may be used like any other."""
    second = beside(queue)
    assert second is not None
    assert beside(second) is None
    x, w = numbers(1, 8, 10, 10), numbers(4, 8, 3, 3)
    assert np.array_equal(clconv.conv2d(x, w, queue=second), clconv.conv2d(x, w, queue=queue))


@needs_pocl
def test_what_others_notice() -> None:
    code = """
import os
import numpy as np, pyopencl as cl, clconv
found = cl.get_platforms
cl.get_platforms = lambda: [p for p in found() if "Portable" in p.name]  # as where no simulator comes first
before = dict(os.environ)
assert clconv.conv2d(np.ones((1, 1, 3, 3), "f"), np.ones((1, 1, 3, 3), "f")).item() == 9
names = [d.name for d in clconv.devices()]
print(len(names))
print({k for k in os.environ if os.environ[k] != before.get(k)} <= {"PYOPENCL_CTX"})
print(cl.create_some_context(interactive=False).devices[0].name in names)
os.environ["PYOPENCL_CTX"] = "portable:0"
print(clconv.default_queue().device.name in names)
"""
    done = run_python(code, CLCONV_DEVICE="portable")
    assert done.stdout.split() == ["1", "True", "True", "True"], done.stderr


@needs_pocl
@pytest.mark.parametrize(
    ("before", "variables"),
    [
        ("import pyopencl as cl; [p.get_devices() for p in cl.get_platforms()]", {}),  # OpenCL was used already
        ("", {"POCL_DEVICES": "pthread"}),
        ("", {"PYOPENCL_CTX": "portable:0"}),
    ],
)
def test_others_who_decided_before(before: str, variables: dict[str, str]) -> None:
    code = (
        before
        + """
import numpy as np, clconv
from clconv.discovery import beside
print(clconv.conv2d(np.ones((1, 1, 3, 3), "f"), np.ones((1, 1, 3, 3), "f")).item(), beside(clconv.default_queue()))
"""
    )
    done = run_python(code, CLCONV_DEVICE="portable", **variables)
    assert done.stdout.split() == ["9.0", "None"], done.stderr
