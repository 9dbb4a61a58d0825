"""What is kept between calls, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyopencl as cl
import pytest

import clconv
from clconv import functional
from clconv.runtime import QueueState, runtime_of
from tests.calls import assert_same, expected
from tests.harness import integers


@pytest.fixture
def state(cpu_queue: cl.CommandQueue) -> Iterator[QueueState]:
    """The state of a queue of the test's own."""
    own = cl.CommandQueue(cpu_queue.context)
    yield runtime_of(own).queue_state(own)
    own.finish()


def test_plain_functions_keep_one_packed_filter_a_queue(state: QueueState, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    buffer = cl.Buffer

    def count(context: cl.Context, flags: int, size: int = 0, hostbuf: Any = None) -> cl.Buffer:
        if hostbuf is None:
            made.append(size)
        return buffer(context, flags, size, hostbuf)

    monkeypatch.setattr(cl, "Buffer", count)
    for oc in (*range(16, 80, 8), 16):
        x, w = integers(1, 16, 3, 2), integers(oc, 16, 3, 3)
        np.testing.assert_allclose(clconv.conv2d(x, w, padding=1, queue=state.queue), expected(x, w, padding=1), atol=1e-2)
    own = [n for n in made if n >= 16 * 16 * 9 * 4]
    assert 0 < len(own) < 8
    assert sum(own) <= 3 * max(own)
    assert state.scratch_bytes >= max(own)


def test_the_call_that_was_made_least_recently_is_forgotten_first(
    queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functional, "_KEPT", 3)
    w = integers(2, 1, 1, 1)

    def call(width: int) -> bool:
        """Whether the call was known."""
        before = set(functional._executables)
        x = integers(1, 1, 3, width)
        assert_same(clconv.conv2d(x, w, queue=queue), expected(x, w))
        return set(functional._executables) == before

    for width in (41, 42, 43):
        call(width)
    assert call(41)
    assert not call(44)
    assert call(41)
    assert not call(42)


@pytest.mark.parametrize("place", ["its own queue", "the default one"])
def test_a_convolution_gives_its_memory_back(place: str, state: QueueState) -> None:
    queue = None if place == "the default one" else state.queue
    conv = clconv.Convolution(integers(16, 16, 3, 3), padding=1, algorithm="winograd", queue=queue)
    x = integers(1, 16, 3, 3)
    conv(x)
    (ready,) = conv._ready.values()
    ((_, _, executable, fixed),) = ready.parts
    used = executable.runtime.queue_state(ready.queue)
    assert fixed["packed"] is not fixed["w"]
    assert not [held for _, held in used._in_flight if isinstance(held, tuple) and any(h is fixed["packed"] for h in held)]
