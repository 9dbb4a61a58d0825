"""What a program whose types are checked sees: mypy reads this file with all others, and the calls are made as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_type

import numpy as np
import pyopencl as cl
import pyopencl.array as cla
from numpy.typing import NDArray
from pyopencl.array import Array

import clconv


class _Foreign:
    """An array of another library, on the CPU."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        return np.ones((1, 2, 5, 5), np.float32)


def _ones(*shape: int) -> NDArray[np.float32]:
    return np.ones(shape, np.float32)


def test_results_are_of_the_kind_of_x(queue: cl.CommandQueue) -> None:
    x, w, dw, pw = _ones(1, 2, 5, 5), _ones(3, 2, 3, 3), _ones(2, 1, 3, 3), _ones(3, 2)
    xs, ws, dws, pws = (cla.to_device(queue, a) for a in (x, w, dw, pw))
    conv = clconv.Convolution(w, queue=queue)
    results = [
        assert_type(clconv.conv2d(x, w, queue=queue, padding=0), NDArray[np.float32]),
        assert_type(clconv.depthwise_conv2d(x, dw, queue=queue), NDArray[np.float32]),
        assert_type(clconv.pointwise_conv2d(x, pw, queue=queue), NDArray[np.float32]),
        assert_type(clconv.separable_conv2d(x, dw, pw, queue=queue), NDArray[np.float32]),
        assert_type(conv(x), NDArray[np.float32]),
        assert_type(conv(_Foreign()), NDArray[Any]),
        assert_type(clconv.conv2d(_Foreign(), w, queue=queue), NDArray[Any]),
    ]
    assert {type(y) for y in results} == {np.ndarray}
    on_device = [
        assert_type(clconv.conv2d(xs, ws, None, padding="same"), Array),
        assert_type(clconv.depthwise_conv2d(xs, dws), Array),
        assert_type(clconv.pointwise_conv2d(xs, pws), Array),
        assert_type(clconv.separable_conv2d(xs, dws, pws), Array),
        assert_type(conv(xs), Array),
    ]
    assert {type(y) for y in on_device} == {Array}


def test_numbers_and_shapes_of_any_kind(queue: cl.CommandQueue) -> None:
    two, shape = np.int64(2), np.arange(1, 5)
    x_shape: Sequence[int] = [1, 4, 8, 8]
    problem = clconv.ConvProblem(x_shape, [4, 2, 3, 3], stride=two, padding=(two, 1), dilation=(two, 1), groups=two)
    assert assert_type(problem.x_shape, tuple[int, ...]) == (1, 4, 8, 8)
    assert problem == clconv.ConvProblem((1, 4, 8, 8), (4, 2, 3, 3), 2, (2, 1), (2, 1), 2)
    assert clconv.ConvProblem([*shape], [1, 2, 3, 3], padding=((two, 1), (1, two))).padding == ((2, 1), (1, 2))
    conv = clconv.Convolution(_ones(4, 2, 3, 3), stride=two, padding=two, groups=two, queue=queue)
    assert conv.problem(x_shape).output_shape == (1, 4, 5, 5)
    assert conv(_ones(1, 4, 8, 8)).shape == (1, 4, 5, 5)
    y = clconv.conv2d(_ones(1, 4, 8, 8), _ones(4, 2, 3, 3), stride=(two, two), padding=((two, 2), (2, two)), groups=two)
    assert y.shape == (1, 4, 5, 5)


def test_options_that_there_are_not_are_seen_by_the_checker() -> None:
    x, w = _ones(1, 2, 5, 5), _ones(3, 2, 3, 3)
    for call in (
        lambda: clconv.conv2d(x, w, strides=2),  # type: ignore[call-overload]  # what is tested
        lambda: clconv.conv2d(x, w, stride="2"),  # type: ignore[arg-type]  # what is tested
        lambda: clconv.separable_conv2d(x, w, w, groups=1),  # type: ignore[call-overload]  # what is tested
    ):
        try:
            call()
        except (TypeError, clconv.ShapeError):
            continue
        raise AssertionError("it was taken")
