"""Bad input: one sentence each of what, got, expected and what to do, and nothing half-written."""

from __future__ import annotations

import re
from typing import Any, NoReturn

import numpy as np
import pyopencl as cl
import pyopencl.array as cla
import pytest

import clconv
from clconv.activation import Activation
from clconv.buffers import allocate
from clconv.source import KERNEL_DIR, expand, located
from tests.harness import driver_error, integers

X, W = integers(1, 4, 8, 8), integers(6, 4, 3, 3)
OUT = np.zeros((1, 6, 6, 6), np.float32)
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
    ("out type", {"out": OUT.astype("d")}, "out has elements of the type float64"),
    ("out order", {"out": np.asfortranarray(OUT)}, "must be contiguous"),
    ("out kind", {"out": [0]}, "out is a list; it must be a numpy.ndarray"),
    ("activation", {"activation": "swish"}, "swish"),
    ("algorithm", {"algorithm": "fft"}, "algorithm 'fft' is unknown; use one of auto"),
    ("layout", {"layout": "nchw"}, "layout 'nchw' is unknown"),
    ("array for a layout", {"layout": np.array(["NCHW", "NHWC"])}, "is unknown; use one of NCHW"),
    ("array for an algorithm", {"algorithm": np.array(["auto", "direct"])}, "algorithm is a ndarray"),
    ("bytes", {"padding": b"\x01\x02"}, "padding=b'\\x01\\x02' must be an integer"),
    ("array for a padding", {"padding": np.ones((2, 3), int)}, "padding=[[1, 1, 1], [1, 1, 1]] must be an integer"),
    ("thousands of digits", {"stride": 10**5000}, "stride=an integer of thousands of digits must not exceed"),
    ("groups", {"groups": 3}, "groups=3 must divide"),
    ("queue", {"queue": "gpu"}, "queue is a str; pass a pyopencl.CommandQueue"),
]


def test_arrays_that_are_not_on_the_cpu_are_refused(queue: cl.CommandQueue) -> None:
    class Elsewhere:
        def __dlpack__(self, **options: Any) -> Any:
            raise BufferError("a tensor\non cuda:0")

        def __dlpack_device__(self) -> Any:
            return (2, 0)

    words = r"x of type Elsewhere cannot be read on the CPU \(a tensor on cuda:0\); pass a NumPy array"
    with pytest.raises(clconv.ShapeError, match=words):
        clconv.conv2d(Elsewhere(), W, queue=queue)


def test_what_the_driver_does_not_allocate_is_a_device_error(queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the driver knows: some give more in one piece than they say, which is fine."""
    limit, conv, error = queue.device.max_mem_alloc_size, clconv.Convolution(W, queue=queue), driver_error(queue.context)

    def refuse(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(cl, "Buffer", refuse)
    for call, size in (
        (lambda: allocate(queue.context, 12345), 12345),
        (lambda: clconv.Convolution(W, queue=queue), W.nbytes),
        (lambda: conv(X), None),
    ):
        with pytest.raises(
            clconv.DeviceError, match=f"a buffer of {size or '.*'} bytes cannot be .* {limit} bytes at most"
        ) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_kernel_that_does_not_build_tells_all(monkeypatch: pytest.MonkeyPatch, queue: cl.CommandQueue) -> None:
    from clconv import source

    def broken(kernel: str) -> str:
        return '#line 7 "kernels/reference.cl"\nthere is no such kernel\n' if kernel == "reference.cl" else expand(kernel)

    monkeypatch.setattr(source, "expand", broken)
    out = np.full((1, 6, 6, 6), 5.0, np.float32)
    context = cl.Context([queue.device])
    with pytest.raises(clconv.KernelBuildError, match=r"the kernel reference.cl does not build on") as caught:
        clconv.conv2d(X, W, algorithm="reference", out=out, queue=cl.CommandQueue(context))
    error = caught.value
    assert "\n" not in str(error)
    assert "kernels/reference.cl:7" in str(error)
    assert "error:" in error.log
    assert "-DKH=3" in error.options
    assert "no such kernel" in error.source
    assert error.device in queue.device.name
    assert (out == 5).all()


@pytest.mark.parametrize("file", ["include/epilogue.clh", "reference.cl"])
def test_a_line_is_found_for_compilers_that_count_those_of_the_whole_program(file: str) -> None:
    text = expand("reference.cl")
    own = (KERNEL_DIR / file).read_text().splitlines()
    line = max(i for i, each in enumerate(own, 1) if text.splitlines().count(each) == 1)
    whole = text.splitlines().index(own[line - 1]) + 1
    assert whole != line
    assert located(f"<kernel>:{whole}:5: error: no", text) == f"kernels/{file}:{line}:5: error: no"
    for message in (f"kernels/{file}:3:5: error: no", "error: no"):
        assert located(message, text) == message


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


def test_a_truth_value_is_no_stride_after_a_one_was() -> None:
    x, w = np.ones((1, 2, 5, 5), "f"), np.ones((3, 2, 3, 3), "f")
    clconv.conv2d(x, w, stride=1)
    with pytest.raises(clconv.ClconvError, match="stride"):
        clconv.conv2d(x, w, stride=True)


@pytest.mark.parametrize(
    "options",
    [{"algorithm": "fft"}, {"workspace": -1}, {"error_factor": "small"}, {"stride": 0}],
    ids=str,
)
def test_a_batch_of_none_hides_no_wrong_option(options: dict[str, Any]) -> None:
    with pytest.raises(clconv.ShapeError):
        clconv.conv2d(np.ones((0, 4, 8, 8), "f"), W, **options)


HUGE = 10**5000
"""Python does not write so many digits."""


@pytest.mark.parametrize(
    "options",
    [
        {"stride": [HUGE, 1]},
        {"groups": -HUGE},
        {"workspace": -HUGE},
        {"workspace": np.zeros((2, 2))},
        {"layout": np.zeros((2, 2))},
        {"activation": ("clip", np.zeros((2, 2)), 1)},
        {"activation": Activation(["clip"], 1, 2)},  # type: ignore[arg-type]  # on purpose
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_cannot_be_written_in_a_line_gets_one_sentence(options: dict[str, Any]) -> None:
    for call in (lambda: clconv.conv2d(X, W, **options), lambda: clconv.Convolution(W, **options)):
        with pytest.raises(clconv.ShapeError) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_groups_of_a_depthwise_convolution_are_an_integer() -> None:
    with pytest.raises(clconv.ShapeError, match="groups"):
        clconv.depthwise_conv2d(X, np.ones((4, 1, 3, 3), "f"), groups=np.array([4, 4]))


def test_a_truth_value_is_no_padding_after_a_one_was() -> None:
    x, w = np.ones((1, 1, 5, 5), np.float32), np.ones((1, 1, 3, 3), np.float32)
    clconv.conv2d(x, w, padding=(1, 1))
    with pytest.raises(clconv.ShapeError, match="padding"):
        clconv.conv2d(x, w, padding=(True, 1))


@pytest.mark.parametrize(
    "activation", [Activation("swish"), Activation("clip", 6, 0), np.array(["relu", "relu"]), ("clip", -1, 10**400)]
)
def test_activations_that_are_none(activation: Any) -> None:
    with pytest.raises(clconv.ShapeError, match="activation"):
        clconv.ConvProblem((1, 1, 5, 5), (1, 1, 3, 3), activation=activation)


def test_a_mask_is_not_ignored() -> None:
    with pytest.raises(clconv.ShapeError, match="x has masked elements"):
        clconv.conv2d(np.ma.masked_less(X, 0), W)
    out = np.ma.masked_array(np.zeros_like(OUT), mask=True)
    refused = pytest.raises(clconv.ShapeError, match=r"out has masked elements, .*; pass out\.data")
    with refused:
        clconv.Convolution(W)(X, out=out)
    with refused:
        clconv.conv2d(X, W, out=out)
    np.testing.assert_array_equal(clconv.conv2d(X, W, out=np.ma.masked_array(np.zeros_like(OUT))), clconv.conv2d(X, W))


def test_limits_beyond_the_element_type_are_none() -> None:
    wide = clconv.conv2d(X, W, activation=("clip", -1e300, 1e300))
    np.testing.assert_array_equal(wide, clconv.conv2d(X, W))


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 600_000_000, "stride": 2**31 - 1},
        {"padding": ((0, 2**31 - 9), (1, 1)), "stride": 2**31 - 1},
        {"padding": "same", "stride": 2**31 - 1, "dilation": 2**29},
        {"padding": 0, "dilation": 2**30 - 1},
    ],
)
def test_a_convolution_takes_the_options_that_some_image_fits(options: dict[str, Any]) -> None:
    conv = clconv.Convolution(W, **options)
    assert conv._probe.OH * conv._probe.OW == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"groups": 2**40}, "groups=1099511627776 must not exceed"),
        ({"groups": 2**30}, "groups=1073741824 must divide the 6 output channels"),
        ({"groups": True}, "groups=True must be an integer"),
        ({"padding": 2**31 - 1}, "padding"),
        ({"dilation": 2**31 - 1}, "the filter's height 4294967295 "),
        ({"dilation": 0, "padding": "same"}, "dilation=0 must be at least 1"),
        ({"stride": None, "padding": "same"}, "stride=None must be"),
    ],
)
def test_options_that_no_image_fits(options: dict[str, Any], words: str) -> None:
    with pytest.raises(clconv.ShapeError, match=words):
        clconv.Convolution(W, **options)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_separable_filters_that_do_not_fit_each_other(layout: str) -> None:
    nchw = layout == "NCHW"
    x = np.zeros((1, 4, 8, 8) if nchw else (1, 8, 8, 4), "f")
    taps = np.zeros((4, 1, 3, 3) if nchw else (3, 3, 4, 1), "f")
    with pytest.raises(clconv.ShapeError, match="groups is the number of channels of a depthwise convolution, 4; leave it out"):
        clconv.depthwise_conv2d(x, taps, layout=layout, groups=2)
    mixing = np.zeros((6, 5) if nchw else (5, 6), "f")
    with pytest.raises(clconv.ShapeError, match="pointwise_w takes 5 channels and depthwise_w makes 4; they must be as many"):
        clconv.separable_conv2d(x, taps, mixing, layout=layout)


@pytest.mark.parametrize("padding", [("same", 1), ((1, 1), 1), (1, (1, 1)), ((1, 2.5), (1, 1))])
def test_padding_is_shown_as_it_was_given(padding: Any) -> None:
    with pytest.raises(clconv.ShapeError, match=rf"padding={re.escape(str(padding))} must be an integer, \(h, w\)"):
        clconv.conv2d(X, W, padding=padding)


def test_long_values_are_not_shown_in_full() -> None:
    with pytest.raises(clconv.ShapeError) as caught:
        clconv.Convolution(W).explain(list(range(5000)))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("number", ["0.1", True, b"1"])
def test_numbers_of_activations_are_numbers(number: Any) -> None:
    with pytest.raises(clconv.ShapeError, match="must carry plain numbers"):
        clconv.conv2d(X, W, activation=("leaky_relu", number))


def test_elements_that_are_yet_to_be_negated() -> None:
    """PyTorch's, of the imaginary part of a conjugate: its ``__dlpack__`` leaves the sign out."""

    class Lazy:
        __dlpack__, __dlpack_device__ = X.__dlpack__, X.__dlpack_device__

        def __init__(self, negative: bool) -> None:
            self.is_neg = lambda: negative

    with pytest.raises(clconv.ShapeError, match=r"x is a view .*; pass x\.resolve_neg\(\)"):
        clconv.conv2d(Lazy(True), W)
    np.testing.assert_array_equal(clconv.conv2d(Lazy(False), W), clconv.conv2d(X, W))


def test_bfloat16_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    import ml_dtypes

    x, w = (torch.from_numpy(a).bfloat16() for a in (X, W))
    same = (a.float().numpy().astype(ml_dtypes.bfloat16) for a in (x, w))
    np.testing.assert_array_equal(clconv.conv2d(x, w), clconv.conv2d(*same))


@pytest.mark.parametrize("dtype", ["float64", ">f4", "int32"])
def test_an_array_of_another_type_is_no_place_for_the_result(dtype: str) -> None:
    with pytest.raises(clconv.ShapeError, match=r"out has elements of the type .* and x of float32; pass an array of float32"):
        clconv.conv2d(X, W, out=np.zeros(OUT.shape, dtype))
