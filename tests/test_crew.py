"""Calls close behind each other: threads of the driver stay at hand, take part in the next one, and go when they are to."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyopencl as cl
import pyopencl.array as cla
import pytest

import clconv
from clconv import crew as crews
from clconv.crew import VARIABLE, Crew, Led, crew_of
from clconv.notation import parse
from clconv.problem import ConvProblem
from tests.test_discovery import run_python

pytestmark = pytest.mark.skipif(crew_of(clconv.default_queue()) is None, reason="the device's threads cannot be kept at hand")

PROBLEMS = [
    "3x3 64->64 @28 padding 1",  # Winograd's method, which has scratch memory
    "1x1 256->256 @28",  # Strassen's
    "3x3 64->64 @28 padding 1 nhwc",
    "3x3 64->64 @28 groups 16 padding 1 stride 2",
    "3x3 96->96 @56 groups 96 padding 1",
    "3x3 96->96 @57 groups 96 padding 1 stride 2 nhwc",
    "7x7 3->32 @64 stride 2 padding 3",
    "3x3 64->64 @7 groups 64 padding 1 nhwc",  # in the thread that calls
]


def numbers(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype("f")


def convolution(problem: ConvProblem, queue: cl.CommandQueue | None = None) -> clconv.Convolution:
    """A convolution with bias and activation; without a crew if a queue is named."""
    bias = numbers(problem.OC, seed=2)
    return clconv.Convolution(
        numbers(*problem.w_shape, seed=1),
        bias,
        stride=problem.stride,
        padding=problem.padding,
        groups=problem.G,
        layout=problem.layout,
        activation="relu",
        queue=queue,
    )


@pytest.fixture
def crew() -> Crew:
    """The crew of the default queue."""
    found = crew_of(clconv.default_queue())
    assert found is not None
    return found


@pytest.fixture
def led(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Grows with each call that a crew, or whoever of it is there, takes part in."""
    calls: list[bool] = []
    run = Led.run

    def noting(self: Led, addresses: Sequence[int]) -> bool:
        if run(self, addresses):
            calls.append(True)
            return True
        return False

    monkeypatch.setattr(Led, "run", noting)
    return calls


def until(call: Callable[[], object], there: Callable[[], bool]) -> None:
    """Call again and again until something is so."""
    end = time.monotonic() + 20
    while not there():
        call()
        assert time.monotonic() < end


@pytest.mark.parametrize("text", PROBLEMS)
def test_the_same_bits(text: str, led: list[bool]) -> None:
    problem = parse(text)
    conv = convolution(problem)
    inputs = [numbers(*problem.x_shape, seed=s) for s in range(3)]
    residual = numbers(*problem.output_shape, seed=9)
    apart = convolution(problem, cl.CommandQueue(clconv.default_queue().context))
    want, want_added = [apart(x) for x in inputs], apart(inputs[0], residual=residual)
    assert not led
    out = np.empty(problem.output_shape, "f")
    until(lambda: conv(inputs[0], out=out), lambda: any(led))
    for turn in range(30):
        np.testing.assert_array_equal(conv(inputs[turn % 3]), want[turn % 3])
        np.testing.assert_array_equal(conv(inputs[0], residual=residual), want_added)
        out.fill(np.nan)
        conv(inputs[turn % 3], out=out)
        np.testing.assert_array_equal(out, want[turn % 3])
    before = len(led)
    for _ in range(20):
        out.fill(np.nan)
        conv(inputs[1], out=out)  # the same arrays again
        np.testing.assert_array_equal(out, want[1])
    until(lambda: conv(inputs[1], out=out), lambda: len(led) > before)
    np.testing.assert_array_equal(out, want[1])


@pytest.mark.parametrize(
    "text",
    [
        *PROBLEMS,
        "3x3 64->64 @56 groups 64 padding 1",  # packs what depends on no filter
        "3x3 512->64 @28 groups 16 padding 1 nhwc",
        "3x3 96->96 @28 groups 32 padding 1 nhwc",
        "1x1 64->256 @28 nhwc",
        "3x3 16->32 @28 groups 16 padding 1 nhwc",
        "2x2 1->1 @3",  # one work-group
    ],
)
def test_filters_of_each_call_are_packed_by_all(text: str, led: list[bool]) -> None:
    problem = parse(text)
    x, residual = numbers(*problem.x_shape), numbers(*problem.output_shape, seed=9)
    filters = [numbers(*problem.w_shape, seed=s) for s in range(3)]
    biases = [numbers(problem.OC, seed=s + 5) for s in range(3)]

    def call(turn: int, queue: cl.CommandQueue | None = None, **options: Any) -> Any:
        w, bias = filters[turn], biases[turn]
        window = {"stride": problem.stride, "padding": problem.padding, "groups": problem.G, "layout": problem.layout}
        return clconv.conv2d(x, w, bias, activation="relu", queue=queue, **window, **options)

    apart = cl.CommandQueue(clconv.default_queue().context)
    wants = [call(turn, apart) for turn in range(3)]
    added = [call(turn, apart, residual=residual) for turn in range(3)]
    assert not led
    if math.prod(problem.output_shape) > 100:
        until(lambda: call(0), lambda: any(led))
    out = np.empty(problem.output_shape, "f")
    for turn in range(30):
        np.testing.assert_array_equal(call(turn % 3), wants[turn % 3])
        np.testing.assert_array_equal(call(turn % 3, residual=residual), added[turn % 3])
        out.fill(np.nan)
        call(turn % 3, out=out)
        np.testing.assert_array_equal(out, wants[turn % 3])


def test_calls_far_from_each_other_keep_nobody_awake(crew: Crew, led: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    problem = parse("3x3 64->64 @28 padding 1")
    conv, x = convolution(problem), numbers(*problem.x_shape)
    until(lambda: time.sleep(0.01), lambda: not crew.present)
    monkeypatch.setattr(crews, "CLOSE", -1.0)
    number = crew.number
    for _ in range(20):
        conv(x)
    assert crew.number == number
    assert not led


def test_threads_go_when_nobody_calls(crew: Crew) -> None:
    problem = parse("3x3 64->64 @28 padding 1")
    conv, x = convolution(problem), numbers(*problem.x_shape)
    until(lambda: conv(x), lambda: crew.present)
    until(lambda: time.sleep(0.01), lambda: not crew.words[crews._PRESENT])
    assert not crew.present


def test_other_work_lets_them_go(crew: Crew) -> None:
    queue = clconv.default_queue()
    problem = parse("3x3 64->64 @28 padding 1")
    conv, x = convolution(problem), numbers(*problem.x_shape)
    want = conv(x)
    on_device = cla.to_device(queue, x)
    for _ in range(5):
        until(lambda: conv(x), lambda: crew.present)
        y = conv(on_device)
        assert not crew.present
        np.testing.assert_array_equal(y.get(), want)


def test_what_the_device_has_not_done_yet_comes_first(crew: Crew) -> None:
    """A call on arrays of the host uses the scratch memory of the calls on the device before it."""
    queue = clconv.default_queue()
    problem = parse("3x3 64->64 @28 padding 1")
    conv = convolution(problem)
    x, other = numbers(*problem.x_shape), numbers(*problem.x_shape, seed=5)
    wants, on_device = [conv(x), conv(other)], cla.to_device(queue, other)
    for _ in range(30):
        pending = conv(on_device)
        np.testing.assert_array_equal(conv(x), wants[0])
        np.testing.assert_array_equal(pending.get(), wants[1])


def test_several_threads_of_the_host(led: list[bool]) -> None:
    problems = [parse(text) for text in PROBLEMS[:4]]
    convs = [convolution(problem) for problem in problems]
    inputs = [numbers(*problem.x_shape) for problem in problems]
    wants = [conv(x) for conv, x in zip(convs, inputs, strict=True)]

    def work(which: int) -> None:
        for turn in range(100):
            i = (which + turn) % 4
            np.testing.assert_array_equal(convs[i](inputs[i]), wants[i])

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, which) for which in range(4)]:
            done.result()
    until(lambda: work(0), lambda: any(led))


def test_a_variable_lets_all_threads_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "_crews", {})
    monkeypatch.setenv(VARIABLE, "0")
    assert crew_of(clconv.default_queue()) is None


def test_none_for_a_queue_that_was_named() -> None:
    queue = clconv.default_queue()
    assert crew_of(cl.CommandQueue(queue.context)) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_they_do_not_come_along_into_another_process() -> None:
    code = """
import os, numpy as np, clconv
from clconv.crew import crew_of
conv = clconv.Convolution(np.ones((64, 64, 3, 3), "f"), padding=1)
x = np.ones((1, 64, 28, 28), "f")
crew, seen = crew_of(clconv.default_queue()), 0
while seen < 5:
    conv(x)
    seen += crew.present
if os.fork():
    os.wait()
    conv(x)
    print("parent")
else:
    try:
        conv(x)
    except clconv.DeviceError as error:
        print("forked" in str(error), flush=True)
    os._exit(0)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "parent"]


def test_python_ends_while_threads_are_at_hand() -> None:
    code = """
import numpy as np, clconv
from clconv.crew import crew_of
conv = clconv.Convolution(np.ones((64, 64, 3, 3), "f"), padding=1, algorithm="direct")
x = np.ones((1, 64, 28, 28), "f")
crew = crew_of(clconv.default_queue())
seen = 0
while seen < 5:
    y = conv(x)
    seen += crew.present
print(y[0, 0, 5, 5])
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "576.0\n"
    assert done.stderr == ""


def test_no_compiler_has_anything_to_say(tmp_path: Path) -> None:
    """Not even of a number that becomes a function."""
    code = """
import numpy as np, clconv
from clconv.crew import crew_of
x, w = np.ones((1, 16, 28, 28), "f"), np.ones((16, 16, 3, 3), "f")
while not crew_of(clconv.default_queue()).present:
    clconv.conv2d(x, w)
clconv.conv2d(x, w)
"""
    done = run_python(code, POCL_CACHE_DIR=str(tmp_path / "pocl"), CLCONV_CACHE=str(tmp_path / "clconv"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
