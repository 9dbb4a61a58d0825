"""Networks in another element type than their models': what stays as it is."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest

import clconv.onnx
from clconv.errors import UnsupportedError
from tests.onnx.models import Array, exact, model, node, numbers

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def half(nodes: list[onnx.NodeProto], x: Array, **constants: Array) -> Array:
    """Return the result of a model of single precision that is loaded in half precision; any size may be passed."""
    sizes: list[int | str | None] = ["N", *(f"s{i}" for i in range(x.ndim - 1))]
    y: Array = clconv.onnx.load(model(nodes, {"x": sizes}, ["y"], constants), dtype="float16")(x.astype(np.float16))
    assert y.dtype == np.float16
    return y


def test_arithmetic_of_sizes_is_not_rounded() -> None:
    """1501 * 1.5 is 2251.5, which float16 rounds to 2252."""
    nodes = [
        node("Shape", "x", "s"),
        node("Cast", "s", "f", to=FLOAT),
        node("Mul", "f k", "m"),
        node("Floor", "m", "r"),
        node("Cast", "r", "n", to=INT64),
        node("Resize", "x _ _ n", "y"),
    ]
    assert half(nodes, numbers(1, 1501), k=np.array([1, 1.5], np.float32)).shape == (1, 2251)


def test_a_constant_that_sizes_and_images_are_multiplied_with() -> None:
    nodes = [
        node("Shape", "x", "s"),
        node("Cast", "s", "f", to=FLOAT),
        node("Mul", "f k", "m"),
        node("Cast", "m", "n", to=INT64),
        node("Expand", "x n", "e"),
        node("Mul", "e k", "y"),
    ]
    y = half(nodes, np.ones((1, 4097, 1)), k=np.array([1, 1, 3], np.float32))
    np.testing.assert_array_equal(y, np.broadcast_to(np.array([1, 1, 3]), (1, 4097, 3)))


def test_numbers_of_elements_meet_elements() -> None:
    """The product of 300 and 500 is more than float16 holds, its root is not."""
    nodes = [
        node("Shape", "x", "s"),
        node("Cast", "s", "f", to=FLOAT),
        node("ReduceProd", "f", "n", keepdims=0),
        node("Sqrt", "n", "r"),
        node("Div", "x r", "y"),
    ]
    x = np.full((1, 300, 500), 1000)
    np.testing.assert_allclose(half(nodes, x), x / np.sqrt(150000), rtol=2e-3)
    with pytest.raises(UnsupportedError, match=r"the Div of y.*divides by 150000, .* more than float16 holds"):
        half([*nodes[:3], node("Div", "x n", "y")], x)


def test_factors_that_follow_from_sizes() -> None:
    nodes = [
        node("Shape", "x", "s"),
        node("Cast", "s", "f", to=FLOAT),
        node("Div", "k f", "scales"),
        node("Resize", "x _ scales", "y"),
    ]
    assert half(nodes, numbers(1, 7), k=np.array([1, 10], np.float32)).shape == (1, 10)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_limits_that_are_inputs(dtype: str) -> None:
    net = clconv.onnx.load(model([node("Clip", "x low high", "y")], {"x": ["N"], "low": [], "high": []}, ["y"]), dtype=dtype)
    x, low, high = (np.array(a, dtype) for a in ([-2, -1, 0, 1, 2], -1, 1))
    np.testing.assert_array_equal(net(x, low, high), np.clip(x, low, high))
    np.testing.assert_array_equal(net(x, low, np.array(2, dtype)), np.clip(x, low, 2))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_factors_that_are_an_input_keep_their_type(dtype: str) -> None:
    net = clconv.onnx.load(model([node("Resize", "x _ s", "y")], {"x": ["N", 3], "s": [2]}, ["y"]), dtype=dtype)
    x = np.array([[1, 2, 3]], dtype)
    assert [port.dtype for port in net.inputs] == [dtype, "float32"]
    np.testing.assert_array_equal(net(x, np.array([1, 2], np.float32)), x.repeat(2, 1))


def test_statistics_of_single_precision_normalise_images_of_half() -> None:
    """As mixed models have them; a variance may be more than float16 holds."""
    x, scale, shift, mean = numbers(2, 3, 4, 5).astype(np.float16), *(numbers(3, seed=i) for i in range(3))
    variance = np.array([0.5, 2, 1e5], np.float32)
    spec = node("BatchNormalization", "x s b m v", "y")
    proto = model([spec], {"x": [2, 3, 4, 5]}, ["y"], dtype=onnx.TensorProto.FLOAT16)
    for name, value in (("s", scale), ("b", shift), ("m", mean), ("v", variance)):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    y = clconv.onnx.load(proto)(x)
    s, b, m, v = (a.reshape(3, 1, 1) for a in (scale, shift, mean, variance))
    np.testing.assert_allclose(y, (x.astype(np.float64) - m) / np.sqrt(v + 1e-5) * s + b, rtol=2e-3, atol=4e-3)
    assert y.dtype == np.float16


@pytest.mark.parametrize(("factor", "size"), [(30000.0, 4.0), (2.0**-16, 0.1)])
@pytest.mark.parametrize("element", ["float16", "float32"])
def test_filters_take_no_factors_that_float16_does_not_hold(element: str, factor: float, size: float) -> None:
    """Neither in a model of float16 nor in one that becomes it: as weights they would be infinite, or lose their digits."""
    x, w = numbers(1, 3, 5, 5, scale=1 / factor), numbers(4, 3, 3, 3, seed=1, scale=size)
    x = np.clip(x, -6e4, 6e4)
    nodes = [node("Mul", "x s", "m"), node("Conv", "m w", "y")]
    constants = {"s": np.array(factor, element), "w": w.astype(element)}
    kind = {"float16": onnx.TensorProto.FLOAT16, "float32": onnx.TensorProto.FLOAT}[element]
    proto = model(nodes, {"x": list(x.shape)}, ["y"], constants, dtype=kind)
    x = x.astype("float16")
    want = exact(proto, {"x": x})[0]
    y = clconv.onnx.load(proto, dtype="float16")(x)
    assert np.abs(y - want).max() < 4e-3 * np.abs(want).max()


def test_batch_normalisation_stays_where_weights_would_be_infinite() -> None:
    constants = {"w": np.full((2, 1, 1, 1), 300, "f"), **{n: np.ones(2, "f") for n in ("scale", "shift")}}
    constants |= {"mean": np.full(2, 300, "f"), "var": np.zeros(2, "f")}
    nodes = [node("Conv", "x w", "c"), node("BatchNormalization", "c scale shift mean var", "y", epsilon=1e-5)]
    y = half(nodes, np.array([1, 1.03125]).reshape(1, 1, 1, 2), **constants)
    np.testing.assert_allclose(y[0, 0, 0], 1 + np.array([0, 9.375]) / np.sqrt(1e-5), rtol=0.03)


def test_limits_and_masks_beyond_float16_are_its_largest_numbers() -> None:
    nodes = [node("Clip", "x _ high", "c"), node("Add", "c mask", "m"), node("Softmax", "m", "y")]
    y = half(nodes, np.zeros((1, 2)), high=np.array(3e38, "f"), mask=np.array([[0, -3e38]], "f"))
    np.testing.assert_array_equal(y, [[1, 0]])


def test_what_keeps_a_root_from_zero_does_not_become_zero() -> None:
    y = half(
        [node("Add", "x e", "a"), node("Sqrt", "a", "r"), node("Div", "x r", "y")], np.zeros((1, 3)), e=np.array(1e-12, "f")
    )
    np.testing.assert_array_equal(y, np.zeros((1, 3)))


@pytest.mark.parametrize("number", [65536.0, 1e-9])
def test_constants_that_float16_does_not_hold_get_one_sentence(number: float) -> None:
    with pytest.raises(UnsupportedError, match=r"the constant 'k' holds .* than float16 holds; load the model in float32"):
        half([node("Div", "x k", "y")], np.ones((1, 2)), k=np.array(number, "f"))


def brain(dtype: int, *between: onnx.NodeProto) -> onnx.ModelProto:
    """Return a convolution with a normalisation behind it, of weights that bfloat16 holds."""
    names = {"w": (4, 3, 3, 3), "s": (4,), "b": (4,), "m": (4,), "v": (4,)}
    held = {n: np.abs(numbers(*size, seed=i)).astype(ml_dtypes.bfloat16) for i, (n, size) in enumerate(names.items())}
    kind = onnx.helper.tensor_dtype_to_np_dtype(dtype)
    nodes = [*between, node("Conv", "x w" if not between else "c w", "y"), node("BatchNormalization", "y s b m v", "z")]
    made = model(nodes, {"x": [1, 3, 9, 9]}, ["z"], {n: a.astype(kind) for n, a in held.items()}, dtype=dtype, opset=22)
    made.graph.output[0].type.tensor_type.elem_type = dtype
    return made


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_model_of_bfloat16_is_loaded_as_another(dtype: str) -> None:
    x = numbers(1, 3, 9, 9, seed=9).astype(dtype)
    got = clconv.onnx.load(brain(onnx.TensorProto.BFLOAT16), dtype=dtype)(x)
    want = clconv.onnx.load(brain(FLOAT), dtype=dtype)(x)
    assert got.dtype == want.dtype == dtype
    np.testing.assert_array_equal(got, want)


def test_a_model_that_casts_to_bfloat16() -> None:
    made = brain(onnx.TensorProto.BFLOAT16, node("Cast", "x", "c", to=onnx.TensorProto.BFLOAT16))
    made.graph.input[0].type.tensor_type.elem_type = FLOAT
    x = numbers(1, 3, 9, 9, seed=9)
    np.testing.assert_array_equal(clconv.onnx.load(made, dtype="float32")(x), clconv.onnx.load(brain(FLOAT))(x))


def test_a_model_of_bfloat16_says_how_it_is_loaded() -> None:
    net = clconv.onnx.load(brain(onnx.TensorProto.BFLOAT16))
    with pytest.raises(UnsupportedError, match=r'bfloat16 elements at run time; .*; load the model with dtype="float32"'):
        net(numbers(1, 3, 9, 9).astype(ml_dtypes.bfloat16))
