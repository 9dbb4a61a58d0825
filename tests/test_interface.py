"""What a user calls: NumPy and device arrays, layouts, out, errors."""

from __future__ import annotations

import threading
from typing import Any

import ml_dtypes
import numpy as np
import pyopencl as cl
import pyopencl.array as cla
import pytest

import clconv
from clconv.device import DeviceInfo
from clconv.reference import reference

RNG = np.random.default_rng(7)


def integers(*shape: int, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    return RNG.integers(-3, 4, shape).astype(dtype)


def assert_same(y: Any, want: Any) -> None:
    """Equal but for rounding: the library may choose a method that is not exact on integers, and 16-bit types round."""
    eps = {np.dtype(np.float16): 2.0**-11, np.dtype(ml_dtypes.bfloat16): 2.0**-8}.get(y.dtype, 0.0)
    np.testing.assert_allclose(np.asarray(y, "d"), np.asarray(want, "d"), rtol=eps, atol=2e-4)


def expected(x: Any, w: Any, bias: Any = None, residual: Any = None, **options: Any) -> Any:
    problem = clconv.ConvProblem(x.shape, w.shape, bias=bias is not None, residual=residual is not None, **options)
    return reference(problem, x, w, bias, residual)


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


def test_the_convolution_keeps_its_filter(queue: cl.CommandQueue) -> None:
    x, w = integers(1, 4, 6, 6), integers(8, 4, 3, 3)
    conv = clconv.Convolution(w, queue=queue)
    want = expected(x, w)
    w[:] = 0
    assert_same(conv(x), want)


def test_many_shapes_through_one_convolution(queue: cl.CommandQueue) -> None:
    w = integers(8, 4, 3, 3)
    conv = clconv.Convolution(w, padding="same", stride=2, queue=queue)
    for size in (1, 5, 8, 17):
        for n in (0, 1, 3):
            x = integers(n, 4, size, size + 1)
            assert_same(conv(x), expected(x, w, padding="same", stride=2))


def test_device_arrays_stay_on_the_device(queue: cl.CommandQueue) -> None:
    x, w, b, r = integers(2, 4, 7, 7), integers(6, 4, 3, 3), integers(6), integers(2, 6, 5, 5)
    dx, dw, db, dr = (cla.to_device(queue, a) for a in (x, w, b, r))
    y = clconv.conv2d(dx, dw, db, residual=dr)
    assert isinstance(y, cla.Array)
    assert y.events
    assert_same(y.get(), expected(x, w, b, r))
    conv = clconv.Convolution(dw, db, queue=queue)
    out = cla.empty(queue, (2, 6, 5, 5), np.float32)
    assert conv(dx, out=out, residual=dr) is out
    assert_same(out.get(), expected(x, w, b, r))


@pytest.mark.parametrize("offset", [4, 100, 128, 4096])
def test_device_arrays_with_an_offset(queue: cl.CommandQueue, offset: int) -> None:
    x, w = integers(1, 4, 6, 6), integers(6, 4, 3, 3)

    def shifted(a: np.ndarray[Any, Any]) -> cla.Array:
        base = cla.to_device(queue, np.concatenate([np.full(offset // 4, np.nan, "f"), a.ravel(), np.full(9, np.nan, "f")]))
        part: cla.Array = base[offset // 4 : offset // 4 + a.size].reshape(a.shape)
        return part

    out = shifted(np.zeros((1, 6, 4, 4), "f"))
    y = clconv.conv2d(shifted(x), shifted(w), out=out)
    assert_same(y.get(), expected(x, w))
    base: Any = out.base_data
    raw = np.empty(base.size // 4, np.float32)
    cl.enqueue_copy(queue, raw, base)
    assert np.isnan(raw[: offset // 4]).all()
    assert np.isnan(raw[offset // 4 + y.size :]).all()


def test_events_of_the_inputs_are_waited_for(queue: cl.CommandQueue) -> None:
    other = cl.CommandQueue(queue.context, properties=cl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE)
    gate = cl.UserEvent(queue.context)
    x, w = integers(1, 2, 5, 5), integers(3, 2, 3, 3)
    dx = cla.zeros(queue, x.shape, np.float32)
    queue.finish()
    base: Any = dx.base_data
    dx.add_event(cl.enqueue_copy(queue, base, x, wait_for=[gate], is_blocking=False))
    y = clconv.conv2d(dx, cla.to_device(other, w), queue=other)
    gate.set_status(cl.command_execution_status.COMPLETE)
    assert_same(y.get(other), expected(x, w))


def test_out_of_order_queue(queue: cl.CommandQueue) -> None:
    loose = cl.CommandQueue(queue.context, properties=cl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE)
    x, w = integers(1, 64, 30, 30), integers(64, 64, 3, 3)
    want = expected(x, w, padding=1)
    conv = clconv.Convolution(w, padding=1, queue=loose)
    dx = cla.to_device(loose, x)
    ys = [conv(dx) for _ in range(8)]
    for y in ys:
        np.testing.assert_allclose(y.get(loose), want, atol=1e-2)


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


def test_separable_on_a_device_with_memory_of_its_own(queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from clconv.runtime import runtime_of

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


def test_arrays_that_are_not_on_the_cpu_are_refused(queue: cl.CommandQueue) -> None:
    class Elsewhere:
        def __dlpack__(self, **options: Any) -> Any:
            raise BufferError("a tensor\non cuda:0")

        def __dlpack_device__(self) -> Any:
            return (2, 0)

    words = r"x of type Elsewhere cannot be read on the CPU \(a tensor on cuda:0\); pass a NumPy array"
    with pytest.raises(clconv.ShapeError, match=words):
        clconv.conv2d(Elsewhere(), W, queue=queue)


def test_numpy_is_not_copied_where_memory_is_shared(queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    from clconv import runtime

    if not DeviceInfo.of(queue.device).unified_memory:
        pytest.skip("the device has memory of its own")
    x, w, r = integers(1, 4, 8, 8), integers(4, 4, 3, 3), integers(1, 4, 8, 8)
    conv = clconv.Convolution(w, padding=1, queue=queue)
    want = conv(x, residual=r)
    made: list[tuple[int, Any]] = []
    plain = runtime._buffer

    def note(context: cl.Context, flags: int, size: int, array: Any = None) -> cl.Buffer:
        made.append((flags, array))
        return plain(context, flags, size, array)

    monkeypatch.setattr(runtime, "_buffer", note)
    monkeypatch.setattr(cl, "enqueue_copy", lambda *_, **__: pytest.fail("something was copied"))
    out = np.empty_like(want)
    conv(x, out=out, residual=r)
    np.testing.assert_array_equal(out, want)
    assert all(flags & cl.mem_flags.USE_HOST_PTR for flags, _ in made)
    assert {id(array) for _, array in made} == {id(a) for a in (x, r, out)}


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

    from clconv.runtime import runtime_of

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


def test_a_filter_larger_than_the_device_allocates(queue: cl.CommandQueue) -> None:
    limit = queue.device.max_mem_alloc_size
    side = 1 + int((limit / 4) ** 0.5)
    w = np.zeros((side, side, 1, 1), np.float32)  # pages that nobody touches take no memory
    with pytest.raises(clconv.DeviceError, match=f"{w.nbytes} bytes.*{limit} bytes"):
        clconv.Convolution(w, queue=queue)
    with pytest.raises(clconv.DeviceError, match=f"{w.nbytes} bytes.*{limit} bytes"):
        clconv.conv2d(np.zeros((1, side, 1, 1), np.float32), w, queue=queue)


def test_a_kernel_that_does_not_build_tells_all(monkeypatch: pytest.MonkeyPatch, queue: cl.CommandQueue) -> None:
    from clconv import runtime

    monkeypatch.setattr(runtime, "expand", lambda kernel: f'#line 7 "kernels/{kernel}"\nthere is no such kernel\n')
    out = np.full((1, 6, 6, 6), 5.0, np.float32)
    context = cl.Context([queue.device])
    with pytest.raises(clconv.KernelBuildError, match=r"the kernel reference.cl does not build on") as caught:
        clconv.conv2d(X, W, algorithm="reference", out=out, queue=cl.CommandQueue(context))
    error = caught.value
    assert "\n" not in str(error)
    assert "kernels/reference.cl:7" in error.log
    assert "-DKH=3" in error.options
    assert "no such kernel" in error.source
    assert error.device in queue.device.name
    assert (out == 5).all()


X, W = integers(1, 4, 8, 8), integers(6, 4, 3, 3)
OUT = np.empty((1, 6, 6, 6), np.float32)
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("list", {"x": [[1.0]]}, "x is a list"),
    ("rank", {"x": X[0]}, "4 axes"),
    ("int", {"x": X.astype("i4")}, "element type int32; convert it"),
    ("complex", {"w": W.astype("c8")}, "element type complex64"),
    ("byte order", {"x": X.astype(">f4")}, "byte order"),
    ("mixed types", {"w": W.astype("d")}, "w has the element type float64 and x has float32"),
    ("channels", {"x": X[:, :3]}, "the filter takes 4 input channels"),
    ("bias", {"bias": np.zeros(5, "f")}, "bias has the shape (5,); it must be (6,)"),
    ("bias type", {"bias": np.zeros(6)}, "bias has the element type float64"),
    ("residual", {"residual": OUT[:, :5]}, "residual has the shape"),
    ("out shape", {"out": OUT[:, :5].copy()}, "out has the shape (1, 5, 6, 6); it must be (1, 6, 6, 6)"),
    ("out type", {"out": OUT.astype("d")}, "out has the element type float64"),
    ("out order", {"out": np.asfortranarray(OUT)}, "must be contiguous"),
    ("out kind", {"out": [0]}, "out is a list; it must be a numpy.ndarray"),
    ("activation", {"activation": "swish"}, "swish"),
    ("algorithm", {"algorithm": "fft"}, "algorithm 'fft' is unknown; use one of auto"),
    ("layout", {"layout": "nchw"}, "layout 'nchw' is unknown"),
    ("groups", {"groups": 3}, "groups=3 must divide"),
    ("queue", {"queue": "gpu"}, "queue is a str; pass a pyopencl.CommandQueue"),
]


@pytest.mark.parametrize(("change", "words"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input_gets_one_sentence(change: dict[str, Any], words: str, queue: cl.CommandQueue) -> None:
    arguments: dict[str, Any] = {"x": X, "w": W, "queue": queue, **change}
    with pytest.raises(clconv.ClconvError) as caught:
        clconv.conv2d(**arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_depthwise_pointwise_and_separable_name_what_is_wrong(queue: cl.CommandQueue) -> None:
    x, dw, pw = integers(1, 4, 8, 8), integers(4, 1, 3, 3), integers(6, 4)
    for options, words in (
        ({"layout": "x"}, "layout 'x' is unknown"),
        ({"depthwise_w": dw[0]}, "depthwise_w has 3; give both 4"),
        ({"depthwise_w": dw[:3]}, "depthwise_w has the shape (3, 1, 3, 3); for 4 channels it must be (a multiple of 4"),
        ({"depthwise_w": dw.astype("d")}, "depthwise_w has the element type float64"),
        ({"pointwise_w": pw.astype("d")}, "pointwise_w has the element type float64"),
        ({"pointwise_w": dw}, "pointwise_w has the shape (4, 1, 3, 3); a pointwise filter must be"),
        ({"bias": [0.0] * 6}, "bias is a list"),
    ):
        arguments: dict[str, Any] = {"depthwise_w": dw, "pointwise_w": pw, "queue": queue, **options}
        with pytest.raises(clconv.ShapeError) as caught:
            clconv.separable_conv2d(x, **arguments)
        assert words in str(caught.value)
    for call, w in ((clconv.depthwise_conv2d, dw), (clconv.pointwise_conv2d, pw)):
        with pytest.raises(clconv.ShapeError, match="layout 'x' is unknown"):
            call(x, w, layout="x", queue=queue)


def test_what_the_driver_refuses_to_run_is_a_device_error(queue: cl.CommandQueue) -> None:
    from dataclasses import replace

    from clconv import selfcheck

    plan = clconv.Convolution(W, algorithm="reference", queue=queue).explain(X.shape).plan
    size = (1 << 24, 1, 1)
    absurd = replace(plan, launches=(replace(plan.launches[0], global_size=size, local_size=size),))
    with pytest.raises(clconv.DeviceError, match=r"does not run reference.cl in work-groups of \(16777216, 1, 1\)") as caught:
        selfcheck.execute(absurd, queue, X, W)
    assert "\n" not in str(caught.value)


def test_out_must_not_share_memory_with_an_input(queue: cl.CommandQueue) -> None:
    x = integers(1, 3, 5, 5)
    with pytest.raises(clconv.ShapeError, match="shares memory"):
        clconv.conv2d(x, integers(3, 3, 1, 1), out=x, queue=queue)
    dx = cla.to_device(queue, x)
    with pytest.raises(clconv.ShapeError, match="shares memory"):
        clconv.Convolution(integers(3, 3, 1, 1), queue=queue)(dx, out=dx)
    frozen = np.empty_like(x)
    frozen.flags.writeable = False
    with pytest.raises(clconv.ShapeError, match="read-only"):
        clconv.conv2d(x, integers(3, 3, 1, 1), out=frozen, queue=queue)


def test_device_arrays_that_do_not_fit(queue: cl.CommandQueue) -> None:
    dx = cla.to_device(queue, X)
    with pytest.raises(clconv.ShapeError, match="not contiguous"):
        clconv.conv2d(dx[:, :, ::2], W)
    with pytest.raises(clconv.ShapeError, match=r"must be a pyopencl.array.Array"):
        clconv.conv2d(dx, W, out=OUT)
    with pytest.raises(clconv.ShapeError, match="pass both of one kind"):
        clconv.conv2d(dx, W, residual=OUT)
    other = cl.Context([queue.device])
    foreign = cl.CommandQueue(other)
    with pytest.raises(clconv.DeviceError, match="another OpenCL context"):
        clconv.conv2d(dx, W, queue=foreign)
    with pytest.raises(clconv.DeviceError, match="another OpenCL context"):
        clconv.Convolution(cla.to_device(foreign, W), queue=queue)
    with pytest.raises(clconv.DeviceError, match="out lives in another OpenCL context"):
        clconv.conv2d(dx, W, out=cla.to_device(foreign, OUT))


def test_wrong_options_are_refused_before_the_first_call() -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {"stride": 0},
        {"groups": 5},
        {"groups": -4},
        {"activation": "x"},
        {"layout": "x"},
        {"padding": "x"},
        {"algorithm": "x"},
        {"workspace": -1},
    )
    for options in wrong:
        with pytest.raises(clconv.ShapeError, match=next(iter(options))):
            clconv.Convolution(W, **options)
    with pytest.raises(clconv.ClconvError):
        clconv.Convolution(W[0])


def test_a_wrong_shape_to_explain_gets_one_sentence() -> None:
    with pytest.raises(clconv.ShapeError, match="the shape of x must be a sequence of 4 integers, got 5"):
        clconv.Convolution(W).explain(5)  # type: ignore[arg-type]  # on purpose


def test_a_failed_call_leaves_out_untouched(queue: cl.CommandQueue) -> None:
    out = np.full((1, 6, 6, 6), 5.0, np.float32)
    with pytest.raises(clconv.ShapeError):
        clconv.conv2d(X, W, np.zeros(9, "f"), out=out, queue=queue)
    assert (out == 5).all()


def test_explain_tells_what_runs(queue: cl.CommandQueue) -> None:
    conv = clconv.Convolution(W, padding=1, queue=queue)
    text = str(conv.explain(X.shape))
    assert "kernels/" in text
    assert conv.explain(X.shape).algorithm in text
    assert clconv.Convolution(W, algorithm="reference", queue=queue).explain(X.shape).algorithm == "reference"


def test_nan_and_infinity_are_kept(queue: cl.CommandQueue) -> None:
    x = np.zeros((1, 1, 3, 3), np.float32)
    x[0, 0, 0, 0], x[0, 0, 2, 2] = np.nan, np.inf
    y = clconv.conv2d(x, np.ones((1, 1, 1, 1), "f"), activation="relu", queue=queue)
    assert np.isnan(y[0, 0, 0, 0])
    assert np.isposinf(y[0, 0, 2, 2])


def test_the_default_queue_is_kept_and_no_simulator() -> None:
    assert clconv.default_queue() is clconv.default_queue()
    assert "oclgrind" not in clconv.default_queue().device.name.lower()


def test_a_truth_value_is_no_stride_after_a_one_was() -> None:
    x, w = np.ones((1, 2, 5, 5), "f"), np.ones((3, 2, 3, 3), "f")
    clconv.conv2d(x, w, stride=1)
    with pytest.raises(clconv.ClconvError, match="stride"):
        clconv.conv2d(x, w, stride=True)
