"""Buffers in few pieces of memory: apart from each other, of any size."""

from __future__ import annotations

import mmap

import numpy as np
import pyopencl as cl
import pytest
from pyopencl import CommandQueue

from clconv.onnx import arena
from clconv.onnx.arena import Arena
from clconv.runtime import runtime_of

SIZES = [1, 100, 4096, 128, 3000, 70_000, 1, 5000, 130]


@pytest.mark.parametrize("piece", [1, 4096, 1 << 20])
def test_buffers_do_not_overlap(piece: int, queue: CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena, "_PIECE", piece)
    monkeypatch.setattr(arena, "_HUGE", 4096)
    made = Arena(runtime_of(queue))
    buffers = [made.allocate(size) for size in SIZES]
    assert [b.size for b in buffers] == SIZES
    for number, buffer in enumerate(buffers):
        cl.enqueue_copy(queue, buffer, np.full(buffer.size, number, np.uint8))
    for number, buffer in enumerate(buffers):
        back = np.empty(buffer.size, np.uint8)
        cl.enqueue_copy(queue, back, buffer)
        assert (back == number).all()


def test_what_is_left_is_given_back_and_may_be_used_again(queue: CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena, "_HUGE", 16384)
    made = Arena(runtime_of(queue))
    made.settle()  # of nothing
    buffers, given_back = [], 0
    for number, size in enumerate(SIZES):
        buffers.append(made.allocate(size))
        cl.enqueue_copy(queue, buffers[-1], np.full(size, number, np.uint8)).wait()
        made._free[:] = 255
        made.settle()
        start = made._free.ctypes.data
        rest = made._free[-start % mmap.PAGESIZE : -start % 16384]  # of the last huge page, but for the page in use
        assert not rest.any()  # memory that was given back comes again as zeros
        given_back += rest.size
    assert given_back or not made._pieces
    for number, buffer in enumerate(buffers):
        back = np.empty(buffer.size, np.uint8)
        cl.enqueue_copy(queue, back, buffer).wait()
        assert (back == number).all()
