"""What a user calls: NumPy arrays, layouts, out, processes, threads."""

from __future__ import annotations

import copy
import os
import pickle
import re
import subprocess
import sys
import threading
from typing import Any

import ml_dtypes
import numpy as np
import pyopencl as cl
import pyopencl.array as cla
import pytest

import clconv
from clconv.activation import Activation
from clconv.buffers import address_of
from clconv.device import DeviceInfo
from clconv.runtime import runtime_of
from clconv.tensors import empty, numpy_dtype
from tests.calls import assert_same, expected
from tests.harness import integers

RNG = np.random.default_rng(7)


def test_numpy(queue: cl.CommandQueue) -> None:
    x, w, b, r = integers(2, 6, 9, 8), integers(4, 3, 3, 3), integers(4), integers(2, 4, 9, 8)
    options: dict[str, Any] = {"padding": 1, "groups": 2, "activation": "relu"}
    y = clconv.conv2d(x, w, b, residual=r, queue=queue, **options)
    assert type(y) is np.ndarray
    assert_same(y, expected(x, w, b, r, **options))
    conv = clconv.Convolution(w, b, queue=queue, **options)
    out = np.empty_like(y)
    assert conv(x, out=out, residual=r) is out
    assert_same(out, y)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_is_told_so_instead_of_waiting_for_ever() -> None:
    code = """
import os, signal, numpy as np, clconv
from clconv.buffers import allocate
from clconv.runtime import runtime_of
conv = clconv.Convolution(np.ones((4, 4, 3, 3), "f"))
x = np.ones((1, 4, 8, 8), "f")
out = conv(x)
for _ in range(3):
    conv(x, out=out)
launch = conv.explain(x.shape).plan.launches[0]
if os.fork() == 0:
    signal.alarm(20)
    for call in (
        lambda: conv(x, out=out),
        lambda: conv(x),
        lambda: clconv.conv2d(x, np.ones((2, 4, 1, 1), "f")),
        lambda: runtime_of(conv.queue).programs.kernel(launch),
        lambda: allocate(conv.queue.context, 4),
        clconv.default_queue,
        clconv.devices,
    ):
        try:
            call()
        except clconv.DeviceError as error:
            assert "forked" in str(error)
        else:
            os._exit(1)
    os._exit(0)
raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_numbers_of_numpy_are_numbers(queue: cl.CommandQueue) -> None:
    limits = {"workspace": np.int64(1 << 20), "error_factor": np.float32(1e6)}
    conv = clconv.Convolution(integers(4, 2, 3, 3), groups=np.int64(2), queue=queue, **limits)  # type: ignore[arg-type]  # NumPy's
    assert conv(integers(1, 4, 5, 5)).shape == (1, 4, 3, 3)


def test_arrays_are_pairs(queue: cl.CommandQueue) -> None:
    x, w = integers(1, 2, 7, 8), integers(2, 2, 3, 2)
    for stride, padding in (((2, 1), (1, 2)), ((1, 2), ((0, 1), (2, 0)))):
        want = clconv.conv2d(x, w, stride=stride, padding=padding, queue=queue)
        y = clconv.conv2d(x, w, stride=np.array(stride), padding=np.array(padding), queue=queue)
        np.testing.assert_array_equal(y, want)
    conv = clconv.Convolution(w, queue=queue)
    assert str(conv.explain(x)) == str(conv.explain(x.shape))  # type: ignore[arg-type]  # an array, for its shape


class Slope:
    """A number that may be another one the next time."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


def test_what_a_call_was_given_is_not_taken_for_what_it_was_given_before(queue: cl.CommandQueue) -> None:
    """NumPy prints fewer digits than numbers have, and objects may change."""
    x, w = -np.ones((1, 1, 1, 1), "f"), np.ones((1, 1, 1, 1), "f")
    slope = Slope(0.25)
    with np.printoptions(precision=2):
        for value in (0.101, 0.104):
            number: Any = np.array(value)
            for activation in (("leaky_relu", number), ["leaky_relu", number]):
                y = clconv.conv2d(x, w, activation=activation, queue=queue)  # type: ignore[arg-type]  # lists are taken, too
                assert float(y[0, 0, 0, 0]) == pytest.approx(-value)
    for slope.value in (0.25, 0.5):
        y = clconv.conv2d(x, w, activation=("leaky_relu", slope), queue=queue)
        assert float(y[0, 0, 0, 0]) == -slope.value


def test_a_convolution_keeps_its_options(queue: cl.CommandQueue) -> None:
    """Whatever becomes of the lists that it was given."""
    pads, strides, activation = [[1, 1], [1, 1]], [1, 1], ["leaky_relu", 0.5]
    x, w = integers(1, 4, 8, 8), integers(6, 4, 3, 3)
    conv = clconv.Convolution(w, padding=pads, stride=strides, activation=activation, queue=queue)  # type: ignore[arg-type]  # on purpose
    pads[0][:], strides[:], activation[:] = [0, 0], [2, 2], ["relu"]
    assert_same(conv(x), clconv.conv2d(x, w, padding=1, activation=("leaky_relu", 0.5), queue=queue))


def test_an_axis_of_one_tap_has_no_dilation(queue: cl.CommandQueue) -> None:
    x, w = integers(1, 3, 8, 16), integers(1, 1, 2, 16)
    conv = clconv.Convolution(w, dilation=(2**31 - 1, 1), groups=8, layout="NHWC", queue=queue)
    assert_same(conv(x), clconv.conv2d(x, w, groups=8, layout="NHWC", queue=queue))
    assert conv.problem(x.shape).dilation == (1, 1)


def test_errors_go_through_pipes_and_convolutions_do_not(queue: cl.CommandQueue) -> None:
    error = clconv.KernelBuildError("no", source="s", options=("-w",), log="l", device="d")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.source, again.options, again.log, again.device) == ("no", "s", ("-w",), "l", "d")
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        copy.deepcopy(clconv.Convolution(integers(4, 2, 3, 3), queue=queue))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, ml_dtypes.bfloat16])
def test_element_types(queue: cl.CommandQueue, dtype: Any) -> None:
    x, w = integers(1, 3, 6, 6, dtype=dtype), integers(5, 3, 3, 3, dtype=dtype)
    y = clconv.conv2d(x, w, queue=queue)
    assert y.dtype == dtype
    assert_same(y, expected(x, w))


def test_nhwc_takes_filters_as_keras_has_them(queue: cl.CommandQueue) -> None:
    x, w = integers(2, 6, 7, 4), integers(3, 3, 2, 10)
    y = clconv.conv2d(x, w, groups=2, layout="NHWC", padding="same", queue=queue)
    assert_same(y, expected(x, w, groups=2, layout="NHWC", padding="same"))
    turned = clconv.conv2d(
        x.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1), groups=2, padding="same", queue=queue
    )  # not contiguous: copied
    assert_same(y, turned.transpose(0, 2, 3, 1))


def test_depthwise_pointwise_separable(queue: cl.CommandQueue) -> None:
    x, dw, pw = integers(1, 3, 8, 9), integers(6, 1, 3, 3), integers(5, 6)
    between = expected(x, dw, groups=3, padding=1, stride=2)
    assert_same(clconv.depthwise_conv2d(x, dw, padding=1, stride=2, queue=queue), between)
    want = expected(between.astype("f"), pw[:, :, None, None])
    assert_same(clconv.pointwise_conv2d(between.astype("f"), pw, queue=queue), want)
    assert_same(clconv.separable_conv2d(x, dw, pw, padding=1, stride=2, queue=queue), want)
    # The same with the last axis as channels: output channel c*M + m is filter m of channel c.
    y = clconv.separable_conv2d(
        np.ascontiguousarray(x.transpose(0, 2, 3, 1)),
        np.ascontiguousarray(dw.reshape(3, 2, 3, 3).transpose(2, 3, 0, 1)),
        np.ascontiguousarray(pw.T),
        padding=1,
        stride=2,
        layout="NHWC",
        queue=queue,
    )
    assert_same(y, want.transpose(0, 2, 3, 1))
    dy = clconv.separable_conv2d(*(cla.to_device(queue, a) for a in (x, dw, pw)), padding=1, stride=2)
    assert_same(dy.get(), want)


def test_limits_of_functions_are_those_of_convolution(queue: cl.CommandQueue) -> None:
    x, w, dw, pw = (a.astype("f") for a in map(RNG.standard_normal, ((1, 64, 14, 14), (64, 64, 3, 3), (64, 1, 3, 3), (8, 64))))
    direct = clconv.Convolution(w, algorithm="direct", queue=queue)
    factor = direct.explain(x.shape).plan.error_factor
    limited = clconv.Convolution(w, error_factor=factor, workspace=0, queue=queue)
    assert np.array_equal(clconv.conv2d(x, w, error_factor=factor, workspace=0, queue=queue), limited(x))
    for limits in ({"error_factor": 0.5}, {"algorithm": "winograd", "error_factor": factor}):
        with pytest.raises(clconv.UnsupportedError, match="the least error factor is"):
            clconv.conv2d(x, w, queue=queue, **limits)
    last = clconv.Convolution(pw[:, :, None, None], queue=queue).explain(x.shape).choice.candidates
    for factor in (8.0, min(plan.error_factor for plan in last) - 1):  # too small for 3 x 3 products, and for 64
        with pytest.raises(clconv.UnsupportedError, match=f"with error_factor={factor}"):
            clconv.separable_conv2d(x, dw, pw, error_factor=factor, queue=queue)
    clconv.separable_conv2d(x, dw, pw, error_factor=100.0, queue=queue)
    with pytest.raises(clconv.ShapeError, match="error_factor=-1 must be None or a number"):
        clconv.conv2d(x, w, error_factor=-1, queue=queue)


def test_separable_on_a_device_with_memory_of_its_own(queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    context = cl.Context([queue.device])
    fresh = cl.CommandQueue(context)
    runtime = runtime_of(fresh)
    monkeypatch.setattr(runtime, "info", replace(runtime.info, unified_memory=False))
    x, dw, pw, b = integers(2, 7, 8, 3), integers(3, 3, 3, 2), integers(6, 5), integers(5)
    want = clconv.separable_conv2d(x, dw, pw, b, layout="NHWC", activation="relu", queue=queue)
    out = np.empty_like(want)
    assert clconv.separable_conv2d(x, dw, pw, b, layout="NHWC", activation="relu", out=out, queue=fresh) is out
    assert_same(out, want)
    w = integers(1, 1, 3, 4)
    assert_same(clconv.conv2d(x, w, layout="NHWC", queue=fresh), expected(x, w, layout="NHWC"))


def test_other_arrays_are_taken_as_numpy(queue: cl.CommandQueue) -> None:
    class WithArray:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return x

    class WithDlpack:
        def __dlpack__(self, **options: Any) -> Any:
            return x.__dlpack__(**options)

        def __dlpack_device__(self) -> Any:
            return x.__dlpack_device__()

    class WithBoth(WithArray):
        def __dlpack__(self, **options: Any) -> Any:
            raise BufferError("no such type\nin DLPack")

        def __dlpack_device__(self) -> Any:
            return (1, 0)

    x, w = integers(1, 2, 5, 5), integers(3, 2, 3, 3)
    for other in (WithArray(), WithDlpack(), WithBoth(), x.view(np.ma.MaskedArray)):
        assert_same(clconv.conv2d(other, w, queue=queue), expected(x, w))


def test_numpy_is_not_copied_where_memory_is_shared(queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    from clconv import buffers

    if not DeviceInfo.of(queue.device).unified_memory:
        pytest.skip("the device has memory of its own")
    x, w, r = integers(1, 4, 8, 8), integers(4, 4, 3, 3), integers(1, 4, 8, 8)
    conv = clconv.Convolution(w, padding=1, queue=queue)
    want = conv(x, residual=r)
    made: list[tuple[int, Any]] = []
    plain = buffers._buffer

    def note(context: cl.Context, flags: int, size: int, array: Any = None) -> cl.Buffer:
        made.append((flags, array))
        return plain(context, flags, size, array)

    monkeypatch.setattr(buffers, "_buffer", note)
    monkeypatch.setattr(cl, "enqueue_copy", lambda *_, **__: pytest.fail("something was copied"))
    out = np.empty_like(want)
    conv(x, out=out, residual=r)
    np.testing.assert_array_equal(out, want)
    assert all(flags & cl.mem_flags.USE_HOST_PTR for flags, _ in made)
    assert {id(array) for _, array in made} == {id(a) for a in (x, r, out)}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_large_results_begin_where_a_cache_line_does(dtype: str, queue: cl.CommandQueue) -> None:
    if dtype == "float64" and not DeviceInfo.of(queue.device).fp64:
        pytest.skip("the device has no double precision")
    kind = numpy_dtype(dtype)
    for size in (8, 64):
        y = clconv.conv2d(np.ones((1, 4, size, size), kind), np.ones((4, 4, 1, 1), kind), queue=queue)
        assert (y.shape, y.dtype) == ((1, 4, size, size), kind)
        assert y.flags.c_contiguous
        assert y.flags.writeable
        assert (y == 4).all()
    assert y.__array_interface__["data"][0] % 64 == 0


@pytest.mark.parametrize(("x_start", "y_start"), [(0, 0), (4, 4), (4, 0), (0, 4), (5, 12), (15, 15)])
def test_arrays_that_begin_anywhere_in_a_cache_line(x_start: int, y_start: int, queue: cl.CommandQueue) -> None:
    x, w = integers(1, 5, 9, 256), integers(3, 3, 1, 256)  # pixels of 1 KiB, whose lines are looked at
    memory = np.zeros(2 * x.size + 64, np.float32)
    line = -memory.ctypes.data % 64 // 4
    shifted = memory[line + x_start :][: x.size].reshape(x.shape)
    out = memory[line + y_start + x.size + 32 :][: x.size].reshape(x.shape)
    shifted[:] = x
    conv = clconv.Convolution(w, padding=1, groups=256, layout="NHWC", queue=queue, algorithm="depthwise/pixel_simd")
    want = expected(x, w, padding=1, groups=256, layout="NHWC")
    np.testing.assert_array_equal(conv(shifted, out=out), want)
    out[:] = 0
    used = np.count_nonzero(memory)
    assert used == np.count_nonzero(shifted)  # nothing was written beside the result


def test_where_an_array_is() -> None:
    locked = np.ones(4, "f")
    locked.flags.writeable = False
    usual = np.ones(4, "f"), np.ones((3, 4), "f2")[1:], np.ones(3, ml_dtypes.bfloat16)
    for array in (*usual, np.empty((0, 3), "f"), locked, np.broadcast_to(locked, (4,))):
        assert address_of(array) == array.__array_interface__["data"][0]


def test_the_same_inputs_give_the_same_bits(queue: cl.CommandQueue) -> None:
    x, w = RNG.standard_normal((1, 70, 33, 31), "f"), RNG.standard_normal((65, 70, 3, 3), "f")
    conv = clconv.Convolution(w, padding=1, queue=queue)
    first = conv(x).tobytes()
    assert all(conv(x).tobytes() == first for _ in range(20))


def test_eight_threads(queue: cl.CommandQueue) -> None:
    w = integers(32, 16, 3, 3)
    conv = clconv.Convolution(w, padding=1, queue=queue)
    wrong: list[object] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(20):
            size = int(rng.integers(4, 24))
            x = rng.integers(-2, 3, (1, 16, size, size)).astype("f")
            for y in (conv(x), clconv.conv2d(x, w, padding=1, queue=queue)):
                if np.abs(y - expected(x, w, padding=1)).max() > 0.05:
                    wrong.append((seed, size))

    threads = [threading.Thread(target=work, args=(s,)) for s in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_a_large_batch_is_split_where_a_buffer_has_its_limit(queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    context = cl.Context([queue.device])
    fresh = cl.CommandQueue(context)
    runtime = runtime_of(fresh)
    x, w, r = integers(5, 3, 8, 8), integers(4, 3, 3, 3), integers(5, 4, 8, 8)
    monkeypatch.setattr(runtime, "info", replace(runtime.info, max_alloc_bytes=2 * 4 * 8 * 8 * 4 + 5))
    conv = clconv.Convolution(w, padding=1, queue=fresh)
    assert_same(conv(x, residual=r), expected(x, w, residual=r, padding=1))
    assert_same(clconv.conv2d(x, w, residual=r, padding=1, queue=fresh), conv(x, residual=r))
    monkeypatch.setattr(runtime, "info", replace(runtime.info, max_alloc_bytes=1000))
    with pytest.raises(clconv.DeviceError, match=r"1024 bytes.*1000 bytes"):
        clconv.Convolution(w, padding=1, queue=fresh)(x)
    monkeypatch.setattr(runtime, "info", replace(runtime.info, max_alloc_bytes=400))
    with pytest.raises(clconv.DeviceError, match=r"the filter of .* 432 bytes.*400 bytes"):
        clconv.conv2d(x, w, padding=1, queue=fresh)


def test_explain_tells_what_runs(queue: cl.CommandQueue) -> None:
    x, w = integers(1, 4, 8, 8), integers(6, 4, 3, 3)
    conv = clconv.Convolution(w, padding=1, queue=queue)
    text = str(conv.explain(x.shape))
    assert "kernels/" in text
    assert conv.explain(x.shape).algorithm in text
    assert clconv.Convolution(w, algorithm="reference", queue=queue).explain(x.shape).algorithm == "reference"


@pytest.mark.parametrize(
    ("dtype", "activation", "left_out"),
    [
        ("f", None, ""),
        ("e", None, ", before the rounding into float16"),
        ("f", ("clip", 0, 6), ", before the activation"),
        ("e", "tanh", ", before the activation and the rounding into float16"),
    ],
)
def test_explain_tells_what_its_bound_leaves_out(dtype: str, activation: Any, left_out: str, queue: cl.CommandQueue) -> None:
    told = clconv.Convolution(np.ones((6, 4, 3, 3), dtype), activation=activation, queue=queue).explain((1, 4, 8, 8))
    assert re.search(rf"error       at most [^,]*conv\(\|x\|, \|w\|\){left_out}$", str(told), re.MULTILINE)
    assert told.as_dict()["activation"] == str(Activation.of(activation))
    assert (activation is None) == ("activation  " not in str(told))


def test_the_default_queue_is_kept_and_no_simulator() -> None:
    assert clconv.default_queue() is clconv.default_queue()
    assert "oclgrind" not in clconv.default_queue().device.name.lower()


def test_large_arrays_begin_at_different_places_of_a_page() -> None:
    places = [empty((1 << 15,), "float32").ctypes.data % 4096 for _ in range(7)]
    apart = [(a - b) % 2048 for i, a in enumerate(places) for b in (16, 64, *places[:i])]
    assert min(apart) >= 128
    assert max(apart) <= 2048 - 128
    assert not any(place % 128 for place in places)
