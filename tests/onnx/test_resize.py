"""Resize where its sizes are bounds, against onnx.reference."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from pyopencl import CommandQueue, device_type

import clconv.onnx
from clconv.errors import UnsupportedError
from clconv.onnx.graph import Node
from clconv.onnx.lower.resize import table
from tests.onnx.models import model, node, numbers

_MODE = "coordinate_transformation_mode"


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller", "stretch"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("sizes", [(13, 10), (3, 10), (7, 20)])
def test_the_aspect_ratio_is_kept(mode: str, policy: str, sizes: tuple[int, int]) -> None:
    """One scale serves both axes, also where a size is rounded or stays as it is."""
    spec = node("Resize", "x _ _ sizes", "y", mode=mode, axes=[2, 3], keep_aspect_ratio_policy=policy)
    proto = model([spec], {"x": [2, 3, 7, 9]}, ["y"], {"sizes": np.array(sizes)}, opset=18)
    x = numbers(2, 3, 7, 9)
    outputs: Any = ReferenceEvaluator(proto).run(None, {"x": x})
    want = np.asarray(outputs[0])
    y = clconv.onnx.load(proto)(x)
    assert y.shape == want.shape
    np.testing.assert_allclose(y, want, rtol=0, atol=1e-5)


def test_the_aspect_ratio_by_hand() -> None:
    """Of 2 x 4 within 4 x 6, 3 x 6 are left: the scale is 1.5, and row 1 of 3 is at (1 + 0.5) / 1.5 - 0.5 = 0.5."""
    spec = node("Resize", "x _ _ sizes", "y", mode="linear", axes=[2, 3], keep_aspect_ratio_policy="not_larger")
    proto = model([spec], {"x": [1, 1, 2, 4]}, ["y"], {"sizes": np.array([4, 6])}, opset=18)
    x = np.broadcast_to(np.array([[0], [1]], np.float32), (1, 1, 2, 4))
    np.testing.assert_allclose(clconv.onnx.load(proto)(x)[0, 0, :, 0], [0, 0.5, 1], atol=1e-6)


@pytest.mark.parametrize("opset", [11, 12])
def test_tensorflow_s_centres_of_pixels(opset: int) -> None:
    """Place i of 8 is (i + 0.5) / 2 of 4, without the half that other modes take away: 0.25, 0.75, 1.25 and so on."""
    names = {"coordinate_transformation_mode": "tf_half_pixel_for_nn"}
    for rounding, want in (("floor", [0, 0, 1, 1, 2, 2, 3, 3]), ("ceil", [1, 1, 2, 2, 3, 3, 3, 3])):
        spec = node("Resize", "x roi s", "y", mode="nearest", nearest_mode=rounding, **names)
        constants = {"roi": np.empty(0, np.float32), "s": np.array([1, 1, 1, 2], np.float32)}
        proto = model([spec], {"x": [1, 1, 1, 4]}, ["y"], constants, opset=opset)
        y = clconv.onnx.load(proto)(np.arange(4, dtype=np.float32).reshape(1, 1, 1, 4))
        np.testing.assert_array_equal(y.ravel(), want)


def test_unknown_coordinates_are_refused() -> None:
    spec = node("Resize", "x _ s", "y", mode="nearest", coordinate_transformation_mode="quarter_pixel")
    proto = model([spec], {"x": [1, 1, 1, 4]}, ["y"], {"s": np.array([1, 1, 1, 2], np.float32)})
    with pytest.raises(UnsupportedError, match=r"the Resize of y.*'quarter_pixel', which is not supported"):
        clconv.onnx.load(proto)(numbers(1, 1, 1, 4))


@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("mode", ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"])
def test_nearest_elements_of_every_small_size(mode: str, rounding: str) -> None:
    """Places that are halfway between two elements in fractions are so in float32; whole ones are by ``align_corners``."""
    if mode != "align_corners" and rounding in ("floor", "ceil"):
        pytest.skip("ONNX Runtime takes the place in float32, which may be next to a whole number")
    spec = Node("Resize", ("x", "", "", "s"), ("y",), {_MODE: mode, "mode": "nearest", "nearest_mode": rounding}, "n")
    for size, count in itertools.product(range(1, 25), range(1, 41)):
        places, _ = table(spec, size, count, None)
        want = [min(max(_rounded(_place(mode, i, size, count), rounding), 0), size - 1) for i in range(count)]
        np.testing.assert_array_equal(places[:, 0], want, f"{size} to {count}")


def _place(mode: str, i: int, size: int, count: int) -> Fraction:
    if mode == "asymmetric":
        return Fraction(i * size, count)
    if mode == "align_corners":
        return Fraction(i * (size - 1), max(count - 1, 1))
    half = Fraction(1, 2)
    return Fraction(0) if mode == "pytorch_half_pixel" and count == 1 else (i + half) * size / count - half


def _rounded(place: Fraction, rounding: str) -> int:
    half = Fraction(1, 2)
    if rounding == "round_prefer_floor":
        return math.ceil(place - half)
    return math.floor(place + half) if rounding == "round_prefer_ceil" else getattr(math, rounding)(place)


@pytest.mark.parametrize(("size", "scale", "want"), [(5, 2.6, 13), (5, 1.4, 7), (10, 2.3, 23), (5, 2.5, 12), (5, 0.3, 1)])
@pytest.mark.parametrize("axes", [{}, {"axes": [-1]}])
def test_sizes_are_products_in_float32(size: int, scale: float, want: int, axes: dict[str, Any]) -> None:
    """2.6 in float32 is 2.5999999: 5 times that is 13 in float32, too."""
    scales = np.array([scale] if axes else [1, 1, 1, scale], np.float32)
    spec = node("Resize", "x _ s", "y", mode="linear", **axes)
    proto = model([spec], {"x": [1, 1, 1, size]}, ["y"], {"s": scales}, opset=18)
    y = clconv.onnx.load(proto)(np.arange(size, dtype=np.float32).reshape(1, 1, 1, size))
    assert y.shape == (1, 1, 1, want)
    np.testing.assert_allclose(y.ravel(), np.clip((np.arange(want) + 0.5) / scale - 0.5, 0, size - 1), atol=1e-5)


def test_the_nearest_place_is_that_of_float32() -> None:
    """3 / 0.6 is 5 in float32, as ONNX Runtime and PyTorch have it, and less in float64."""
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 1, 16)
    spec = node("Resize", "x _ s", "y", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    proto = model([spec], {"x": [1, 1, 1, 16]}, ["y"], {"s": np.array([1, 1, 1, 0.6], np.float32)}, opset=13)
    assert clconv.onnx.load(proto)(x).ravel().tolist() == [0, 1, 3, 5, 6, 8, 10, 11, 13]


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("mode", ["asymmetric", "half_pixel"])
@pytest.mark.parametrize(
    ("shape", "factors"),
    [
        ((7,), (3,)),
        ((5, 9), (1, 2)),
        ((5, 9), (4, 1)),
        ((2, 3, 17), (1, 1, 5)),
        ((1, 3, 5, 1), (1, 1, 2, 2)),
        ((2, 3, 9, 35), (1, 1, 2, 2)),
        ((3, 70, 3, 5), (1, 1, 4, 3)),
    ],
)
def test_whole_factors_repeat_pixels(
    shape: tuple[int, ...], factors: tuple[int, ...], mode: str, dtype: str, queue: CommandQueue
) -> None:
    """In one step on a CPU."""
    x = numbers(*shape).astype(dtype)
    rounding = "floor" if mode == "asymmetric" else "round_prefer_floor"
    spec = node("Resize", "x _ s", "y", mode="nearest", coordinate_transformation_mode=mode, nearest_mode=rounding)
    element = onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    proto = model([spec], {"x": [*shape]}, ["y"], {"s": np.array(factors, np.float32)}, dtype=element)
    net = clconv.onnx.load(proto, queue=queue)
    want = x
    for axis, factor in enumerate(factors):
        want = want.repeat(factor, axis)
    np.testing.assert_array_equal(net(x), want)
    if queue.device.type & device_type.CPU:
        assert [step.algorithm for step in net.explain().steps] == ["network/repeat_pixels"]


@pytest.mark.parametrize(
    ("rounding", "mode", "sizes"),
    [
        ("ceil", "half_pixel", (8, 6)),
        ("floor", "align_corners", (8, 6)),
        ("floor", "half_pixel", (8, 6)),
        ("floor", "asymmetric", (5, 6)),
    ],
)
def test_other_places_are_not_mere_repetition(rounding: str, mode: str, sizes: tuple[int, int]) -> None:
    spec = node("Resize", "x _ _ n", "y", mode="nearest", coordinate_transformation_mode=mode, nearest_mode=rounding)
    proto = model([spec], {"x": [1, 2, 4, 3]}, ["y"], {"n": np.array([1, 2, *sizes])})
    x = numbers(1, 2, 4, 3)
    outputs: Any = ReferenceEvaluator(proto).run(None, {"x": x})
    np.testing.assert_array_equal(clconv.onnx.load(proto)(x), outputs[0])


def test_channels_are_repeated_too() -> None:
    spec = node("Resize", "x _ s", "y", mode="nearest")
    proto = model([spec], {"x": [1, 3, 4, 5]}, ["y"], {"s": np.array([1, 2, 2, 2], np.float32)})
    x = numbers(1, 3, 4, 5)
    np.testing.assert_array_equal(clconv.onnx.load(proto)(x), x.repeat(2, 1).repeat(2, 2).repeat(2, 3))


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_corners_of_pytorch_are_those_of_the_image_that_it_gives(mode: str) -> None:
    """Its exports have the scale; others' mean the size before it is rounded down, as ONNX's own tests do."""
    how: dict[str, Any] = {"mode": mode, _MODE: "align_corners", "cubic_coeff_a": -0.75, "nearest_mode": "floor"}
    scale, size = np.array([1, 1, 0.5, 1.7], np.float32), np.array([1, 2, 10, 37])
    proto = model([node("Resize", "x _ s", "y", **how)], {"x": [1, 2, 21, 22]}, ["y"], {"s": scale})
    by_size = model([node("Resize", "x _ _ s", "y", **how)], {"x": [1, 2, 21, 22]}, ["y"], {"s": size})
    x = numbers(1, 2, 21, 22)
    of_onnx = clconv.onnx.load(proto)(x)
    proto.producer_name = "pytorch"
    of_torch, want = clconv.onnx.load(proto)(x), clconv.onnx.load(by_size)(x)
    np.testing.assert_array_equal(of_torch, want)
    np.testing.assert_array_equal(of_torch[..., -1, -1], x[..., -1, -1])
    assert np.abs(of_onnx - want).max() > 0.1
