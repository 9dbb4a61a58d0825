"""What a user calls with device arrays: where they lie, and how long they live."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pyopencl as cl
import pyopencl.array as cla
import pytest
from pyopencl.tools import ImmediateAllocator, MemoryPool, SVMAllocator

import clconv
from clconv.invoke import RepeatedOnDevice
from clconv.runtime import runtime_of
from tests.calls import assert_same, expected
from tests.harness import integers


def test_device_arrays_stay_on_the_device(queue: cl.CommandQueue) -> None:
    x, w, b, r = integers(2, 4, 7, 7), integers(6, 4, 3, 3), integers(6), integers(2, 6, 5, 5)
    dx, dw, db, dr = (cla.to_device(queue, a) for a in (x, w, b, r))
    y = clconv.conv2d(dx, dw, db, residual=dr)
    assert isinstance(y, cla.Array)
    assert y.events
    assert_same(y.get(), expected(x, w, b, r))
    conv = clconv.Convolution(dw, db, queue=queue)
    out = cla.empty(queue, (2, 6, 5, 5), np.float32)
    assert conv(dx, out=out, residual=dr) is out
    assert_same(out.get(), expected(x, w, b, r))


def test_the_same_device_arrays_again_and_again(queue: cl.CommandQueue) -> None:
    x, w = integers(2, 4, 6, 6), integers(8, 4, 3, 3)
    conv = clconv.Convolution(w, padding=1, queue=queue)
    on_device, out = cla.to_device(queue, x), cla.empty(queue, (2, 8, 6, 6), np.float32)
    for _ in range(5):
        x += 1
        on_device.set(x)  # pyopencl's own kernels, for += and fill, make NVIDIA's compiler talk
        out.set(np.full_like(x, np.nan, shape=out.shape))
        assert conv(on_device, out=out) is out
        assert len(out.events) == 1
        assert_same(out.get(), expected(x, w, padding=1))
    for _ in range(40):  # each waits for the one before, on the device alone
        conv(on_device, out=out)
    assert len(out.events) == 1
    assert_same(out.get(), expected(x, w, padding=1))
    residual = cla.to_device(queue, integers(2, 8, 6, 6))
    assert_same(conv(on_device, out=out, residual=residual).get(), expected(x, w, residual=residual.get(), padding=1))


def test_calls_that_are_repeated_find_scratch_that_was_replaced(queue: cl.CommandQueue) -> None:
    own = cl.CommandQueue(queue.context)
    x, w = integers(1, 8, 12, 12), integers(8, 8, 3, 3)
    conv = clconv.Convolution(w, padding=1, queue=own, algorithm="standard/winograd_simt")
    on_device, out = cla.to_device(own, x), cla.empty(own, (1, 8, 12, 12), np.float32)
    for _ in range(3):
        conv(on_device, out=out)
    assert isinstance(conv._repeated, RepeatedOnDevice)
    state = runtime_of(own).queue_state(own)
    before = list(state._scratch)
    conv(cla.to_device(own, integers(1, 8, 60, 60)))
    for _ in range(3):
        conv(on_device, out=out)
    assert isinstance(conv._repeated, RepeatedOnDevice)
    assert not any(now is old for now in state._scratch for old in before)
    bound = [buffer for launch in conv._repeated._executable._launches for buffer in launch._bound.values()]
    assert not any(buffer is old for buffer in bound for old in before)
    assert_same(out.get(), expected(x, w, padding=1))


def test_a_device_array_whose_memory_was_replaced(queue: cl.CommandQueue) -> None:
    x, w = integers(1, 4, 6, 6), integers(8, 4, 1, 1)
    conv = clconv.Convolution(w, queue=queue)
    on_device, out = cla.to_device(queue, x), cla.empty(queue, (1, 8, 6, 6), np.float32)
    for _ in range(3):
        conv(on_device, out=out)
    on_device.base_data = cla.to_device(queue, -x).base_data
    assert_same(conv(on_device, out=out).get(), expected(-x, w))
    out.dtype = np.dtype(np.int32)
    with pytest.raises(clconv.ShapeError, match="elements of the type"):
        conv(on_device, out=out)


@pytest.mark.parametrize("offset", [4, 100, 128, 4096])
def test_device_arrays_with_an_offset(queue: cl.CommandQueue, offset: int) -> None:
    x, w = integers(1, 4, 6, 6), integers(6, 4, 3, 3)

    def shifted(a: np.ndarray[Any, Any]) -> cla.Array:
        base = cla.to_device(queue, np.concatenate([np.full(offset // 4, np.nan, "f"), a.ravel(), np.full(9, np.nan, "f")]))
        part: cla.Array = base[offset // 4 : offset // 4 + a.size].reshape(a.shape)
        return part

    out = shifted(np.zeros((1, 6, 4, 4), "f"))
    y = clconv.conv2d(shifted(x), shifted(w), out=out)
    assert_same(y.get(), expected(x, w))
    base: Any = out.base_data
    raw = np.empty(base.size // 4, np.float32)
    cl.enqueue_copy(queue, raw, base)
    assert np.isnan(raw[: offset // 4]).all()
    assert np.isnan(raw[offset // 4 + y.size :]).all()


def test_filters_may_change_once_the_call_has_returned(queue: cl.CommandQueue) -> None:
    x, w, b = integers(4, 16, 40, 40), integers(16, 16, 3, 3), integers(16)
    want, on_device = expected(x, w, b), cla.to_device(queue, x)
    y = clconv.conv2d(on_device, w, b, algorithm="reference")  # slow enough for the changes to come first
    w[:], b[:] = 0, 0
    assert_same(y.get(), want)


def test_device_arrays_of_a_pool_and_in_parts_of_buffers(queue: cl.CommandQueue) -> None:
    x, w = integers(2, 4, 16, 16), integers(4, 4, 3, 3)
    want = expected(x, w, padding=1)
    conv = clconv.Convolution(w, padding=1, queue=queue)
    pooled = cla.to_device(queue, np.concatenate([x, x]), allocator=MemoryPool(ImmediateAllocator(queue)))
    assert_same(conv(pooled[2:]).get(), want)  # 8 KiB from its beginning
    conv(pooled[:2], out=pooled[2:])
    assert_same(pooled[2:].get(), want)
    whole = cl.Buffer(queue.context, cl.mem_flags.READ_WRITE, 1 << 16)
    part = cla.Array(queue, x.shape, np.float32, data=whole.get_sub_region(4096, 1 << 15), offset=4096)
    part.set(x)
    assert_same(conv(part).get(), want)
    with pytest.raises(clconv.ShapeError, match="shares memory"):
        conv(part, out=cla.Array(queue, x.shape, np.float32, data=whole, offset=8192))


def test_shared_virtual_memory_is_refused(queue: cl.CommandQueue) -> None:
    allocator = SVMAllocator(queue.context, flags=cl.svm_mem_flags.READ_WRITE)
    try:  # of no queue: PoCL may crash when a command frees such memory
        shared = cla.Array(queue.context, (1, 4, 8, 8), np.float32, allocator=allocator)
    except cl.Error as error:
        pytest.skip(str(error))
    conv = clconv.Convolution(integers(4, 4, 3, 3), padding=1, queue=queue)
    with pytest.raises(clconv.ShapeError, match="x lies in shared virtual memory"):
        conv(shared)
    with pytest.raises(clconv.ShapeError, match="out lies in shared virtual memory"):
        conv(cla.zeros(queue, (1, 4, 8, 8), np.float32), out=shared)


def test_what_holds_buffers_may_be_called_from_several_threads(queue: cl.CommandQueue) -> None:
    state = runtime_of(queue).queue_state(queue)
    event = cl.enqueue_marker(queue)
    event.wait()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(3000):
                state.hold(event, ())
        except IndexError as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed


def test_a_filter_on_the_device_is_not_read_to_check_out(queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = integers(1, 4, 8, 8), integers(6, 4, 3, 3)
    there, out = cla.to_device(queue, w), np.empty((1, 6, 6, 6), np.float32)
    monkeypatch.setattr(cla.Array, "__getitem__", lambda *_: pytest.fail("an element of the filter was read"))
    assert clconv.conv2d(x, there, out=out, queue=queue) is out
    np.testing.assert_array_equal(out, clconv.conv2d(x, w, queue=queue))
