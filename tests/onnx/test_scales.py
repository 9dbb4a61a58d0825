"""Products with a number, and sums of one, that the function before or the convolution behind takes over."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import clconv.onnx
from clconv.onnx import passes
from clconv.onnx.read import graph_of
from clconv.onnx.scales import drop_units, scale_filters, scale_functions
from tests.onnx.models import Array, exact, model, node, numbers
from tests.onnx.test_passes import X, check_same, ops

CONSTANTS: dict[str, Array] = {
    "w": numbers(6, 4, 3, 3, seed=1, scale=0.4),
    "v": numbers(6, 4, 3, 3, seed=2, scale=0.4),
    "b": numbers(6, seed=3),
    "d": numbers(4, 6, 3, 3, seed=4, scale=0.4),
    "s": np.array([1.7], np.float32),
    "n": np.array(-0.6, np.float32),
    "t": np.array(0.3, np.float32),
    "one": np.array([1], np.float32),
    "zero": np.array(0, np.float32),
    "six": np.array(6, np.float32),
    "many": numbers(6, 1, 1, seed=5),
    "wide": np.array([[[[[1.0]]]]], np.float32),
}


def built(*lines: str, outputs: str = "y", **attributes: Any) -> onnx.ModelProto:
    """Build a model from lines: kind, what it reads, what it writes; convolutions are padded by a pixel."""
    nodes = []
    for op, *read, written in map(str.split, lines):
        own = dict(attributes.get(op, {}))
        if op == "Conv":
            own["pads"] = [1] * 4
        nodes.append(node(op, " ".join(read), written, **own))
    return model(nodes, {"x": [2, 4, 7, 9]}, outputs.split(), CONSTANTS)


@pytest.mark.parametrize(
    "lines",
    [
        ("Conv x w c", "Relu c r", "Mul r s y"),
        ("Conv x w b c", "Relu c r", "Mul r s m", "Add m t y"),
        ("Conv x w b c", "Relu c r", "Add t r m", "Mul n m y"),
        ("Conv x w c", "Relu c r", "Div r n m", "Sub m t y"),
        ("Conv x w c", "Clip c zero six r", "Mul n r m", "Add t m y"),
        ("Conv x w c", "Clip c n s r", "Mul r s m", "Add m t y"),
        ("Conv x w c", "Clip c _ s r", "Mul r n y"),
        ("Conv x w c", "Clip c n _ r", "Mul r n y"),
        ("ConvTranspose x d c", "Relu c r", "Mul r s m", "Add m t y"),
    ],
)
def test_what_is_clipped_is_scaled_with_the_convolution(lines: tuple[str, ...]) -> None:
    proto = built(*lines)
    graph = passes.run(graph_of(proto), passes.BEFORE)
    assert ops(graph) == [lines[0].split()[0], "Clip"]
    check_same(proto, x=X)
    assert len(clconv.onnx.load(proto).explain(X.shape).steps) <= 2  # a transposed one is put together at the end


@pytest.mark.parametrize(
    "lines",
    [
        ("HardSwish x h", "Mul h s y"),
        ("HardSwish x h", "Mul h s m", "Add m t y"),
        ("HardSwish x h", "Sub h t m", "Div m n p", "Add t p y"),
    ],
)
def test_a_hard_swish_is_scaled(lines: tuple[str, ...]) -> None:
    proto = built(*lines)
    assert ops(scale_functions(graph_of(proto))) == ["HardSwish"]
    check_same(proto, x=4 * X)
    conv = built("Conv x w c", *(line.replace(" x ", " c ") for line in lines))
    assert len(clconv.onnx.load(conv).explain(X.shape).steps) == 1
    check_same(conv, x=4 * X)


def test_in_float16() -> None:
    proto = built(
        "Conv x w c", "HardSwish c h", "Mul h s m", "Add m t g", "Conv g v e", "Relu e r", "Mul r n y", Conv={"group": 1}
    )
    proto = built("Conv x w c", "HardSwish c h", "Mul h s m", "Add m t y")
    x = 2 * X
    got = clconv.onnx.load(proto, dtype="float16")(x.astype(np.float16))
    (want,) = exact(proto, {"x": x})
    np.testing.assert_allclose(got, want, rtol=0, atol=4e-3 * np.abs(want).max())


@pytest.mark.parametrize(
    ("lines", "outputs"),
    [
        (("Conv x w c", "Relu c r", "Mul r s y"), "y r"),
        (("Conv x w c", "Relu c r", "Mul r s y"), "y c"),
        (("Conv x w c", "Relu c r", "Mul r zero y"), "y"),
        (("Conv x w c", "Relu c r", "Mul r many y"), "y"),
        (("Conv x w c", "Relu c r", "Sub t r y"), "y"),
        (("Conv x w c", "Relu c r", "Mul r wide y"), "y"),
        (("Conv x w c", "Tanh c r", "Mul r s y"), "y"),
        (("Relu x r", "Mul r s y"), "y"),
        (("HardSwish x h", "Mul h s y"), "y h"),
        (("HardSwish x h", "Mul h h y"), "y"),
        (("HardSwish x h", "Mul h wide y"), "y"),
    ],
    ids=[
        *(
            "wanted unscaled",
            "wanted unclipped",
            "times zero",
            "each channel",
            "less",
            "another axis",
            "no clipping",
            "no filter",
        ),
        *("wanted", "squared", "another axis of it"),
    ],
)
def test_what_no_function_takes_over(lines: tuple[str, ...], outputs: str) -> None:
    proto = built(*lines, outputs=outputs)
    assert ops(scale_functions(graph_of(proto))) == [line.split()[0] for line in lines]
    check_same(proto, x=X)


@pytest.mark.parametrize(
    ("lines", "want"),
    [
        (("Sigmoid x a", "Mul a s m", "Conv m w y"), "Sigmoid Conv"),
        (("Sigmoid x a", "Div a s m", "Conv m w b y"), "Sigmoid Conv"),
        (("Sigmoid x a", "Mul n a m", "Conv m w e", "Conv m v b f", "Mul e f y"), "Sigmoid Conv Conv Mul"),
        (("Sigmoid x a", "Mul a s m", "Mul m n p", "Conv p w y"), "Sigmoid Mul Conv"),
        (
            ("Sigmoid x a", "Mul a s m", "Conv m w e", "GlobalAveragePool m f", "GlobalAveragePool e g", "Concat f g y"),
            "Sigmoid Mul Conv GlobalAveragePool GlobalAveragePool Concat",
        ),
        (("Sigmoid x a", "Add a t m", "Conv m w y"), "Sigmoid Add Conv"),
        (("Sigmoid x a", "Mul a s m", "Relu m y"), "Sigmoid Mul Relu"),
    ],
    ids=["a factor", "a divisor", "two convolutions", "two factors", "another reader", "a sum", "no convolution"],
)
def test_filters_take_a_factor(lines: tuple[str, ...], want: str) -> None:
    proto = built(*lines, Concat={"axis": 1})
    assert ops(scale_filters(graph_of(proto))) == want.split()
    check_same(proto, x=X)


def test_a_multiple_that_is_an_output_stays() -> None:
    proto = built("Sigmoid x a", "Mul a s m", "Conv m w y", outputs="y m")
    assert ops(scale_filters(graph_of(proto))) == ["Sigmoid", "Mul", "Conv"]
    check_same(proto, x=X)


def test_units_are_left_out() -> None:
    """As in a Swish whose factor was left at one."""
    proto = built("Conv x w c", "Mul c one m", "Sigmoid m g", "Mul c g p", "Add p zero q", "Sub q zero r", "Div r one y")
    assert ops(drop_units(graph_of(proto))) == ["Conv", "Sigmoid", "Mul", "Div"]
    assert ops(passes.run(graph_of(proto), passes.BEFORE))[:2] == ["Conv", "Silu"]
    check_same(proto, x=X)
    reverse = built("Sub zero x m", "Div one m p", "Mul p wide y")
    assert ops(drop_units(graph_of(reverse))) == ["Sub", "Div", "Mul"]
    check_same(reverse, x=X)


def test_a_scaled_function_of_sizes_keeps_its_factor() -> None:
    """It is computed when the sizes are known."""
    nodes = [
        *(node("Shape", "x", "i"), node("Cast", "i", "f", to=onnx.TensorProto.FLOAT), node("Mul", "f t", "g")),
        *(node("HardSwish", "g", "h"), node("Mul", "h n", "k"), node("Add", "x k", "y")),
    ]
    proto = model(nodes, {"x": ["N", 2]}, ["y"], {name: CONSTANTS[name] for name in "nt"})
    x = numbers(3, 2)
    g = np.float32(0.3) * np.array(x.shape, np.float32)
    want = x + g * np.clip(g / 6 + 0.5, 0, 1) * CONSTANTS["n"]
    np.testing.assert_allclose(clconv.onnx.load(proto)(x), want, rtol=0, atol=1e-5)
