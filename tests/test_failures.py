"""What is said when the driver fails with a kernel that it had accepted."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
import pyopencl as cl
import pytest

import clconv
from clconv import invoke, runtime
from clconv.device import DeviceInfo
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
