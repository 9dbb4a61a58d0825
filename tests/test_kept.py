"""What a convolution keeps from one call to the next, and when it may not."""

from __future__ import annotations

import sys
import warnings
import weakref

import numpy as np
import pyopencl as cl
import pyopencl.array as cla
import pytest

import clconv
from clconv.runtime import runtime_of
from tests.calls import assert_same, expected
from tests.harness import integers


def test_the_convolution_keeps_its_filter(queue: cl.CommandQueue) -> None:
    x, w = integers(1, 4, 6, 6), integers(8, 4, 3, 3)
    conv = clconv.Convolution(w, queue=queue)
    want = expected(x, w)
    w[:] = 0
    assert_same(conv(x), want)


def test_the_same_arrays_again_and_again(queue: cl.CommandQueue) -> None:
    x, w = integers(2, 4, 6, 6), integers(8, 4, 3, 3)
    conv = clconv.Convolution(w, padding=1, queue=queue)
    out = np.empty((2, 8, 6, 6), np.float32)
    for _ in range(4):  # their elements are read and written anew, whatever was kept of them
        x += 1
        out[:] = np.nan
        assert conv(x, out=out) is out
        assert_same(out, expected(x, w, padding=1))
    residual = integers(2, 8, 6, 6)
    assert_same(conv(x, out=out, residual=residual), expected(x, w, residual=residual, padding=1))
    assert_same(conv(x, out=out), expected(x, w, padding=1))


def test_other_arrays_between_the_same(queue: cl.CommandQueue) -> None:
    """A call that is repeated leaves its arguments where they are, unless another one of the same shape came between."""
    w = integers(8, 4, 3, 3)
    conv = clconv.Convolution(w, padding=1, queue=queue)
    pairs = [(integers(1, 4, 6, 6) + k, np.empty((1, 8, 6, 6), np.float32)) for k in range(2)]
    for k in (0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0):
        x, out = pairs[k]
        out[:] = np.nan
        assert_same(conv(x, out=out), expected(x, w, padding=1))


@pytest.mark.parametrize("what", ["a read-only result", "another shape", "another type"])
def test_the_same_arrays_after_something_was_done_to_them(what: str, queue: cl.CommandQueue) -> None:
    x, w = integers(1, 4, 6, 6), integers(8, 4, 1, 1)
    conv = clconv.Convolution(w, queue=queue)
    out = np.zeros((1, 8, 6, 6), np.float32)
    for _ in range(3):
        conv(x, out=out)
    kept = out.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # NumPy advises against it from 2.5 on, and does it
        if what == "a read-only result":
            out.flags.writeable = False
        elif what == "another shape":
            x.shape = (1, 6, 6, 4)
        else:
            out.dtype = np.int32  # type: ignore[assignment,misc]  # NumPy allows it, its types do not
    x += 1
    with pytest.raises(clconv.ShapeError):
        conv(x, out=out)
    assert np.array_equal(out.view(np.float32), kept)


def test_arrays_live_no_longer_than_the_next_call(queue: cl.CommandQueue) -> None:
    conv = clconv.Convolution(integers(8, 4, 3, 3), queue=queue)
    x, out = integers(1, 4, 6, 6), np.empty((1, 8, 4, 4), np.float32)
    for _ in range(3):
        conv(x, out=out)
    last = weakref.ref(out)
    out = np.empty_like(out)
    conv(x, out=out)
    assert last() is None


@pytest.mark.parametrize("algorithm", ["auto", "reference", "direct", "winograd"])
@pytest.mark.parametrize("size", [6, 40])
def test_a_function_keeps_no_array(size: int, algorithm: str, queue: cl.CommandQueue) -> None:
    """Neither on the queue that is named, nor on the default one, where threads are kept at hand."""
    for where in (queue, None):
        for _ in range(12):
            x, w, bias, residual = (integers(*s) for s in ((1, 16, size, size), (16, 16, 3, 3), (16,), (1, 16, size, size)))
            out = np.empty_like(residual)
            arrays = [weakref.ref(a) for a in (x, w, bias, residual, out)]
            clconv.conv2d(x, w, bias, padding=1, residual=residual, out=out, algorithm=algorithm, queue=where)
            del x, w, bias, residual, out
            assert [a() for a in arrays] == [None] * 5


def test_a_function_keeps_no_memory_of_the_device(queue: cl.CommandQueue) -> None:
    arrays = [cla.to_device(queue, integers(*shape)) for shape in ((1, 8, 6, 6), (4, 8, 3, 3), (4,))]
    before = [sys.getrefcount(a.base_data) for a in arrays]
    clconv.conv2d(*arrays)
    queue.finish()
    runtime_of(queue).queue_state(queue).let_go()
    assert [sys.getrefcount(a.base_data) for a in arrays] == before


def test_results_that_nobody_passed_are_not_kept(queue: cl.CommandQueue) -> None:
    conv = clconv.Convolution(integers(8, 4, 3, 3), queue=queue)
    x = integers(1, 4, 6, 6)
    for _ in range(4):  # a freed result's place, and so its identity, may be the next one's
        last = weakref.ref(conv(x))
        assert last() is None


def test_many_shapes_through_one_convolution(queue: cl.CommandQueue) -> None:
    w = integers(8, 4, 3, 3)
    conv = clconv.Convolution(w, padding="same", stride=2, queue=queue)
    for size in (1, 5, 8, 17):
        for n in (0, 1, 3):
            x = integers(n, 4, size, size + 1)
            assert_same(conv(x), expected(x, w, padding="same", stride=2))


def test_another_bias_with_the_same_shapes(queue: cl.CommandQueue) -> None:
    """The executable stays, with the arguments of its kernels; the bias is another buffer."""
    x, w = integers(1, 4, 6, 6), integers(8, 4, 3, 3)
    for bias in (integers(8) for _ in range(3)):
        assert_same(clconv.conv2d(x, w, bias, queue=queue), expected(x, w, bias))
        assert_same(clconv.conv2d(*(cla.to_device(queue, a) for a in (x, w, bias))).get(), expected(x, w, bias))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("groups", [1, 8])
def test_images_whose_plans_pack_differently_do_not_share_a_filter(groups: int, layout: str, queue: cl.CommandQueue) -> None:
    w = integers(32, 32 // groups, 3, 3)
    w = w if layout == "NCHW" else np.ascontiguousarray(w.transpose(2, 3, 1, 0))
    conv = clconv.Convolution(w, padding=1, groups=groups, layout=layout, algorithm="direct", queue=queue)
    for size in (14, 4, 1, 4, 14, 7):
        x = integers(1, 32, size, size) if layout == "NCHW" else integers(1, size, size, 32)
        assert_same(conv(x), expected(x, w, padding=1, groups=groups, layout=layout))
