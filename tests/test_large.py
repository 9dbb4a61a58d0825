"""More elements than 32 bits count. Needs a device that allocates 4 GiB in one piece, and as much memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyopencl as cl
import pytest

import clconv
from clconv.algorithms import ALGORITHMS
from clconv.device import DeviceInfo
from clconv.problem import ConvProblem

SIDE = 46400  # squared: a little over 2^31
CHANNELS = 33000  # of 256 x 256 pixels: likewise


def require(queue: cl.CommandQueue, elements: int) -> None:
    """Skip where a float16 tensor of so many elements does not fit one buffer."""
    info = DeviceInfo.of(queue.device)
    if info.max_alloc_bytes < 2 * elements:
        pytest.skip(f"{info.name} allocates {info.max_alloc_bytes} bytes in one piece, {2 * elements} are needed")


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_an_image_of_more_than_2_to_the_31_pixels(layout: str, queue: cl.CommandQueue) -> None:
    require(queue, SIDE * SIDE)
    x = np.zeros((1, 1, SIDE, SIDE) if layout == "NCHW" else (1, SIDE, SIDE, 1), np.float16)
    plane = x.reshape(SIDE, SIDE)
    plane[:: SIDE - 1, :: SIDE - 1] = [[1, 2], [3, 4]]
    y = clconv.conv2d(x, np.ones((1, 1, 1, 1), np.float16), stride=SIDE - 1, layout=layout, queue=queue)
    np.testing.assert_array_equal(y.reshape(2, 2), [[1, 2], [3, 4]])


@pytest.mark.slow
@pytest.mark.parametrize("per_group", [1, 8, CHANNELS])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_so_many_channels_that_elements_pass_2_to_the_31(layout: str, per_group: int, queue: cl.CommandQueue) -> None:
    require(queue, CHANNELS * 256 * 256)
    nchw = layout == "NCHW"
    x = np.zeros((1, CHANNELS, 256, 256) if nchw else (1, 256, 256, CHANNELS), np.float16)
    channel: Any = (lambda c: x[0, c]) if nchw else (lambda c: x[0, :, :, c])
    for c in (0, CHANNELS // 2, CHANNELS - 1):
        channel(c)[::255, ::255] = [[1, 2], [3, 4]]
    groups = CHANNELS // per_group
    oc = groups  # one output channel a group
    w = np.ones((oc, per_group, 1, 1) if nchw else (1, 1, per_group, oc), np.float16)
    problem = ConvProblem(x.shape, w.shape, stride=255, groups=groups, layout=layout, dtype="float16")
    info = DeviceInfo.of(queue.device)
    names = [a.name for a in ALGORITHMS if a.supports(problem, info) is None and list(a.plans(problem, info))]
    assert names
    for name in names:
        y = clconv.conv2d(x, w, stride=255, groups=groups, layout=layout, algorithm=name, queue=queue)
        got = y[0] if nchw else y[0].transpose(2, 0, 1)
        want = np.zeros((oc, 2, 2))
        for c in (0, CHANNELS // 2, CHANNELS - 1):
            want[c // per_group] += [[1, 2], [3, 4]]
        np.testing.assert_array_equal(got, want, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("stride", [1, 3])
def test_a_depthwise_filter_of_more_than_2_to_the_31_elements(stride: int, queue: cl.CommandQueue) -> None:
    """By those algorithms that read it in place: others would need twice as much memory beside it."""
    channels = 2**31 // 121 + 1000
    require(queue, channels * 121)
    x, w = np.ones((1, channels, 1, 1), np.float16), np.zeros((channels, 1, 11, 11), np.float16)
    places = [0, channels // 2, channels - 1]
    w[places, 0, 5, 5] = [2, 5, 3]
    options: dict[str, Any] = {"padding": 5, "stride": stride, "groups": channels}
    problem, info = ConvProblem(x.shape, w.shape, dtype="float16", **options), DeviceInfo.of(queue.device)
    fit = [a for a in ALGORITHMS if a.supports(problem, info) is None]
    names = [a.name for a in fit if next(iter(a.plans(problem, info))).packing is None]
    assert names
    for name in names:
        y = clconv.conv2d(x, w, algorithm=name, queue=queue, **options)
        assert np.count_nonzero(y) == 3, name
        np.testing.assert_array_equal(y[0, places, 0, 0], [2, 5, 3], name)
