"""What is said when the driver fails with a kernel that it had accepted, and what goes on after that."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import numpy as np
import pyopencl as cl
import pytest
from click.testing import CliRunner

import clconv
from clconv import invoke, runtime, selfcheck
from clconv.cli.group import cli
from clconv.device import DeviceInfo
from clconv.discovery import default_queue
from clconv.plan import Plan
from clconv.selfcheck import Outcome
from tests.harness import driver_error, integers

X, W = integers(1, 4, 8, 8), integers(6, 4, 3, 3)


def test_a_result_that_never_comes_is_a_device_error(queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    import clconv.onnx
    from tests.onnx.models import model, node

    proto = model([node("Conv", "x w", "y")], {"x": [*X.shape]}, ["y"], {"w": W})
    conv, net, out = clconv.Convolution(W, queue=queue), clconv.onnx.load(proto, queue=queue), np.empty((1, 6, 6, 6), "f")
    for _ in range(3):
        conv(X, out=out)
    net(X)
    error = driver_error(queue.context)

    def fail(*_: object, **__: object) -> NoReturn:
        queue.finish()  # in truth nothing failed, and arrays of the host are written
        raise error

    for place, name in ((cl, "enqueue_copy"), (cl, "enqueue_map_buffer"), (runtime, "wait"), (invoke, "wait")):
        monkeypatch.setattr(place, name, fail)
    calls: tuple[Any, ...] = (
        lambda: conv(X),
        lambda: conv(X, out=out),
        lambda: clconv.conv2d(X, W, queue=queue),
        lambda: net(X),
    )
    for call in calls:
        with pytest.raises(clconv.DeviceError, match=r"failed in a computation \(.*\), .*: clconv check") as caught:
            call()
        assert DeviceInfo.of(queue.device).name in str(caught.value)
        assert "\n" not in str(caught.value)


def failing_at_first(monkeypatch: pytest.MonkeyPatch) -> list[cl.CommandQueue]:
    """Let the self-test's first plan fail on the device; the queues that plans run on."""
    queues: list[cl.CommandQueue] = []
    plain = selfcheck._check

    def check(plan: Plan, queue: cl.CommandQueue) -> Outcome:
        queues.append(queue)
        if len(queues) == 1:
            raise clconv.DeviceError("lost [on purpose]")
        return plain(plan, queue)

    monkeypatch.setattr(selfcheck, "_check", check)
    monkeypatch.setattr(selfcheck, "CASES", ("3x3 4->4 @5",))
    return queues


def test_the_self_test_goes_on_in_another_context(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = default_queue()
    queues = failing_at_first(monkeypatch)
    plans = selfcheck.work(DeviceInfo.of(queue.device))[:3]
    assert [o.passed for o in selfcheck.run(plans, queue)] == [False, True, True]
    assert queues[0] == queue
    assert queues[1] == queues[2] != queue
    assert queues[1].context != queue.context


def test_the_self_test_ends_where_no_context_works_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: cl.Device) -> NoReturn:
        raise error

    error = driver_error(default_queue().context)
    monkeypatch.setattr(selfcheck, "_working_queue", fail)
    failing_at_first(monkeypatch)
    result = CliRunner().invoke(cli, ["check"])
    assert result.exit_code == 1
    assert "lost [on purpose]" in result.stdout
    assert isinstance(result.exception, clconv.DeviceError)
    assert "so that " in str(result.exception)
    assert "plans were not tested" in str(result.exception)
    failing_at_first(monkeypatch)
    result = CliRunner().invoke(cli, ["check", "--json"])
    told = json.loads(result.stdout)
    assert (len(told["outcomes"]), told["untested"] > 0, result.exit_code) == (1, True, 1)
