"""Means of windows that go beyond the image, and of no axes: what onnx.reference does not have, or has in another way."""

from __future__ import annotations

import numpy as np
import pytest
from pyopencl import CommandQueue

import clconv.onnx
from clconv.onnx import layout
from tests.onnx.models import Array, model, node, numbers

KERNEL, STRIDE, PAD = 3, 2, 1


def means(x: Array, dilation: tuple[int, int], *, ceil: bool, counted: bool) -> Array:
    """Means as ONNX defines them: padding may count, what lies behind it does not, and no window begins there."""
    taps = []
    for size, d in zip(x.shape[2:], dilation, strict=True):
        room = size + 2 * PAD - (KERNEL - 1) * d - 1
        last = -(-room // STRIDE) if ceil else room // STRIDE
        starts = [i * STRIDE - PAD for i in range(last + 1) if i * STRIDE < size + PAD]
        taps.append([[start + t * d for t in range(KERNEL)] for start in starts])
    y = np.empty((*x.shape[:2], len(taps[0]), len(taps[1])))
    for i, j in np.ndindex(y.shape[2:]):
        window = list(zip((taps[0][i], taps[1][j]), x.shape[2:], strict=True))
        rows, columns = ([t for t in of if 0 <= t < size] for of, size in window)
        beside = PAD if counted else 0
        count = np.prod([sum(-beside <= t < size + beside for t in of) for of, size in window])
        y[:, :, i, j] = x[:, :, rows][..., columns].sum((2, 3)) / count
    return y


@pytest.mark.parametrize("gain", [-1.0, 1.0])
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 3)])
def test_means_of_windows_past_the_edge(
    dilation: tuple[int, int], ceil: bool, counted: bool, gain: float, queue: CommandQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "_gain", lambda *_: gain)
    spec = node(
        "AveragePool", "a", "y", kernel_shape=[KERNEL] * 2, strides=[STRIDE] * 2, pads=[PAD] * 4, dilations=list(dilation),
        ceil_mode=int(ceil), count_include_pad=int(counted),
    )  # fmt: skip
    a = numbers(2, 3, 8, 22)
    y = clconv.onnx.load(model([spec], {"a": [2, 3, 8, 22]}, ["y"], opset=19), queue=queue)(a)
    want = means(a.astype(np.float64), dilation, ceil=ceil, counted=counted)
    assert y.shape == want.shape
    np.testing.assert_allclose(y, want, atol=1e-5)


@pytest.mark.parametrize("noop", [0, 1])
def test_a_mean_over_no_axes_is_one_over_all_or_none(noop: int) -> None:
    x = numbers(2, 3, 4)
    spec = node("ReduceMean", "x axes", "y", noop_with_empty_axes=noop, keepdims=1)
    y = clconv.onnx.load(model([spec], {"x": [2, 3, 4]}, ["y"], {"axes": np.array([], np.int64)}, opset=18))(x)
    np.testing.assert_allclose(y, x if noop else x.mean(keepdims=True), atol=1e-6)


def pooled(x: Array, op: str, window: dict[str, list[int]]) -> Array:
    """A maximum or mean over windows, place by place."""
    (kh, kw), (sh, sw), (dh, dw), (top, left, below, right) = (
        window[name] for name in ("kernel_shape", "strides", "dilations", "pads")
    )
    outside = -np.inf if op == "MaxPool" else np.nan
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (top, below), (left, right)), constant_values=outside)
    taps = [
        padded[:, :, i * dh : padded.shape[2] - (kh - 1 - i) * dh : sh, j * dw : padded.shape[3] - (kw - 1 - j) * dw : sw]
        for i in range(kh)
        for j in range(kw)
    ]
    y: Array = np.max(taps, axis=0) if op == "MaxPool" else np.nanmean(taps, axis=0)
    return y


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(("channels", "gain"), [(5, 1.0), (8, 1.0), (16, 1.0), (27, 1.0), (3, -1.0)])
def test_tiles_of_pixels(op: str, channels: int, gain: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of all widths: where tiles begin and end, and which columns of theirs lie outside, is another case for each."""
    monkeypatch.setattr(layout, "_gain", lambda *_: gain)
    w = np.eye(channels, dtype=np.float32).reshape(channels, channels, 1, 1)
    for kernel, stride, dilation, pads in (
        ([3, 3], [1, 1], [1, 1], [1, 1, 1, 1]),
        ([3, 3], [2, 2], [1, 1], [1, 0, 0, 1]),
        ([2, 2], [2, 2], [1, 1], [0, 0, 0, 0]),
        ([2, 3], [1, 3], [1, 2], [0, 2, 1, 1]),
        ([1, 5], [1, 1], [1, 1], [0, 4, 0, 4]),
        ([3, 1], [2, 2], [1, 1], [2, 0, 1, 0]),
        ([5, 13], [1, 1], [1, 1], [2, 6, 2, 6]),
    ):
        window = {"kernel_shape": kernel, "strides": stride, "dilations": dilation, "pads": pads}
        nodes = [node("Conv", "x w", "c"), node(op, "c", "p", **window), node("Conv", "p w", "y")]
        net = clconv.onnx.load(model(nodes, {"x": ["N", channels, "H", "W"]}, ["y"], {"w": w}, opset=19), algorithm="direct")
        for width in (*range(max(kernel[1] * dilation[1] - pads[1] - pads[3], 1), 15), 23):
            x = numbers(2, channels, 6, width, seed=width)
            np.testing.assert_allclose(net(x), pooled(x, op, window), rtol=1e-5, atol=1e-5)


def test_windows_that_exceed_the_image() -> None:
    """As a mean over a whole image that was exported for a larger one; by ONNX's formula there is no output."""

    def pooled(op: str, **attributes: int) -> Array:
        spec = node(op, "x", "y", kernel_shape=[4, 1], strides=[4, 1], **attributes)
        y: Array = clconv.onnx.load(model([spec], {"x": ["N", 2, "H", 3]}, ["y"]))(x)
        return y

    x = numbers(1, 2, 2, 3)
    np.testing.assert_array_equal(pooled("MaxPool"), x.max(2, keepdims=True))
    np.testing.assert_allclose(pooled("AveragePool"), x.mean(2, keepdims=True), rtol=1e-6)
    with pytest.raises(clconv.ShapeError, match=r"counts all 4 pixels of a window, where the image .* have 2; pass a larger"):
        pooled("AveragePool", count_include_pad=1)
    assert pooled("AveragePool", count_include_pad=1, ceil_mode=1).shape == (1, 2, 1, 3)
