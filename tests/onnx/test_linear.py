"""Small tensors that an image is multiplied by, or that are added to it, one after the other: gathered before the image."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import clconv.onnx
from clconv.onnx import layout
from tests.onnx.models import Array, exact, model, node, numbers
from tests.onnx.test_rewrite import left

CONSTANTS: dict[str, Array] = {
    "w": numbers(1, 5, 1, 1, seed=1),
    "b": numbers(5, 1, 1, seed=2),
    "k": np.array(0.75, np.float32),
    "one": numbers(4, 5, 1, 1, seed=3),
    "three": numbers(4, 5, 3, 3, seed=4),
    "groups": numbers(5, 1, 1, 1, seed=5),
    "bias": numbers(4, seed=6),
    "plane": numbers(6, 7, seed=7),
}
POOL = node("GlobalAveragePool", "x", "n")


def response(*more: onnx.NodeProto) -> list[onnx.NodeProto]:
    """ConvNeXt V2's normalisation, but for what it divides by, from x to y."""
    return [POOL, node("Mul", "x n", "m"), node("Mul", "w m", "v"), node("Add", "b v", "s"), node("Add", "x s", "y"), *more]


def test_response_normalisation() -> None:
    """One product and one sum of the image are left."""
    assert left(response(), constants=CONSTANTS) == ["GlobalAveragePool", "Mul", "Add", "Mul", "Add"]
    assert left(response(node("Relu", "y", "z")), "z", CONSTANTS) == ["GlobalAveragePool", "Mul", "Add", "Mul", "Add"]


def test_a_1x1_convolution_adds_the_constant_to_its_bias() -> None:
    for inputs in ("y one", "y one bias"):
        assert left(response(node("Conv", inputs, "z")), "z", CONSTANTS) == ["GlobalAveragePool", "Mul", "Add", "Mul", "Conv"]


@pytest.mark.parametrize(
    ("conv", "outputs"),
    [
        (node("Conv", "y one", "z", pads=[1] * 4), "z"),
        (node("Conv", "y three", "z"), "z"),
        (node("Conv", "y groups", "z", group=5), "z"),
        (node("Conv", "y one", "z"), "z y"),
    ],
    ids=["padding", "3x3", "groups", "the sum is an output"],
)
def test_other_convolutions_leave_the_sum(conv: onnx.NodeProto, outputs: str) -> None:
    assert left(response(conv), outputs, CONSTANTS) == ["GlobalAveragePool", "Mul", "Add", "Mul", "Add", "Conv"]


def test_constants_are_computed_at_once() -> None:
    nodes = [
        node("Relu", "x", "r"),
        node("Mul", "r w", "a"),
        node("Add", "a b", "c"),
        node("Mul", "k c", "d"),
        node("Add", "d w", "y"),
    ]
    assert left(nodes, constants=CONSTANTS) == ["Relu", "Mul", "Add"]


def test_sums_of_multiples_of_an_image() -> None:
    nodes = [
        POOL,
        node("Relu", "x", "r"),
        node("Mul", "r n", "a"),
        node("Mul", "w r", "c"),
        node("Add", "a c", "d"),
        node("Add", "d r", "y"),
    ]
    assert left(nodes, constants=CONSTANTS) == ["GlobalAveragePool", "Relu", "Add", "Add", "Mul"]


@pytest.mark.parametrize(
    ("nodes", "outputs", "ops"),
    [
        ([node("Mul", "x w", "a"), node("Add", "a b", "y")], "y", ["Mul", "Add"]),
        ([node("Mul", "x w", "a"), node("Mul", "a plane", "y")], "y", ["Mul", "Mul"]),
        ([POOL, node("Mul", "x n", "a"), node("Mul", "a w", "y")], "y a", ["GlobalAveragePool", "Mul", "Mul"]),
        (
            [POOL, node("Mul", "x n", "a"), node("Exp", "a", "e"), node("Mul", "a w", "m"), node("Add", "e m", "y")],
            "y",
            ["GlobalAveragePool", "Mul", "Exp", "Mul", "Add"],
        ),
        (
            [node("Exp", "x", "e"), node("Mul", "x w", "a"), node("Mul", "e w", "c"), node("Add", "a c", "y")],
            "y",
            ["Exp", "Mul", "Mul", "Add"],
        ),
        ([node("Add", "x x", "y")], "y", ["Add"]),
    ],
    ids=["no fewer", "together as large", "an output between", "read between", "two images", "itself"],
)
def test_what_stays(nodes: list[onnx.NodeProto], outputs: str, ops: list[str]) -> None:
    assert left(nodes, outputs, CONSTANTS) == ops


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("gain", [-1.0, 1.0])
def test_filters_take_the_whole_normalisation(gain: float, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it divides by, between two 1x1 convolutions, of an image that is much larger than the second one's filter."""
    monkeypatch.setattr(layout, "_gain", lambda *_: gain)
    nodes = [
        *(node("Conv", "i up", "x"), node("ReduceL2", "x", "g", axes=[2, 3]), node("ReduceMean", "g", "q", axes=[1])),
        *(node("Add", "q tiny", "p"), node("Div", "g p", "n"), *response(node("Conv", "y down", "z"))[1:]),
    ]
    constants = {
        **CONSTANTS,
        "up": numbers(5, 3, 1, 1),
        "down": numbers(3, 5, 1, 1, seed=8),
        "tiny": np.array(1e-6, np.float32),
    }
    proto, i = model(nodes, {"i": [1, 3, 71, 73]}, ["z"], constants), numbers(1, 3, 71, 73, seed=9).astype(dtype)
    net = clconv.onnx.load(proto, dtype=dtype)
    (want,) = exact(proto, {"i": i.astype(np.float32)})
    np.testing.assert_allclose(net(i), want, rtol=0, atol={"float32": 1e-5, "float16": 1e-2}[dtype] * np.abs(want).max())
    large = [s for s, shape in zip(net.explain(i).steps, net.explain(i).shapes, strict=True) if np.prod(shape) > 71 * 73]
    assert sum(s.algorithm == "network/binary" for s in large) == (dtype == "float16")


@pytest.mark.parametrize(("dtype", "number", "x"), [("e", 300, 0.01), ("e", 1e-4, 300), ("f", 1e30, 1e-30), ("f", 1e-30, 1e30)])
def test_factors_whose_product_the_type_does_not_hold(dtype: str, number: float, x: float) -> None:
    """The network gives what the nodes give one after the other, in float16 also where a call brings a factor."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    factor = np.full((1, 8, 1, 1), number, dtype)
    nodes = [node("Mul", "x c", "a"), node("Mul", "a k", "y")]
    image = np.full((1, 8, 8, 8), x, dtype)
    want = np.full_like(image, float(number) ** 2 * x)
    constant = model(nodes, {"x": [1, 8, 8, 8]}, ["y"], {"c": factor, "k": factor}, dtype=kind)
    np.testing.assert_allclose(clconv.onnx.load(constant)(image), want, rtol=0.05)
    if dtype == "e":
        brought = model(nodes, {"x": [1, 8, 8, 8], "k": [1, 8, 1, 1]}, ["y"], {"c": factor}, dtype=kind)
        np.testing.assert_allclose(clconv.onnx.load(brought)(image, factor), want, rtol=0.05)
