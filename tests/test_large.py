"""More elements than 32 bits count. Needs a device that allocates 4 GiB in one piece, and as much memory."""

from __future__ import annotations

import numpy as np
import pyopencl as cl
import pytest

import clconv
from clconv.algorithms import ALGORITHMS
from clconv.device import DeviceInfo
from clconv.problem import ConvProblem
from clconv.select import select

SIDE = 46400  # squared: a little over 2^31


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_an_image_of_more_than_2_to_the_31_elements(layout: str, queue: cl.CommandQueue) -> None:
    info = DeviceInfo.of(queue.device)
    if info.max_alloc_bytes < 2 * SIDE * SIDE:
        pytest.skip(f"{info.name} allocates {info.max_alloc_bytes} bytes in one piece, {2 * SIDE * SIDE} are needed")
    x = np.zeros((1, 1, SIDE, SIDE) if layout == "NCHW" else (1, SIDE, SIDE, 1), np.float16)
    plane = x.reshape(SIDE, SIDE)
    plane[:: SIDE // 8, :: SIDE // 4] = 1
    plane[-1, -1] = 3
    w = np.ones((1, 1, 1, 1), np.float16)
    y = clconv.conv2d(x, w, stride=SIDE - 1, layout=layout, queue=queue).reshape(2, 2)
    np.testing.assert_array_equal(y, plane[:: SIDE - 1, :: SIDE - 1])
    for algorithm in ALGORITHMS:
        problem = ConvProblem(x.shape, w.shape, stride=SIDE - 1, layout=layout, dtype="float16")
        if algorithm.supports(problem, info) is None:
            got = clconv.conv2d(x, w, stride=SIDE - 1, layout=layout, algorithm=algorithm.name, queue=queue)
            np.testing.assert_array_equal(got.reshape(2, 2), y)
    assert select(problem, info).plan.launches
