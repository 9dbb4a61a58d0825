"""If, whose condition follows from sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import clconv.onnx
from clconv.errors import ShapeError, UnsupportedError
from tests.onnx.models import Array, exact, model, node, numbers

CONSTANTS: dict[str, Array] = {"two": np.array([2]), "one": np.array([1]), "last": np.array([3]), "k": numbers(1, 4, 1, 1)}
IS_ONE = [node("Shape", "x", "s"), node("Gather", "s last", "n"), node("Equal", "n one", "c")]


def branch(nodes: list[onnx.NodeProto], output: str, **constants: Array) -> onnx.GraphProto:
    return helper.make_graph(
        nodes,
        "branch",
        [],
        [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )


def choice(yes: onnx.GraphProto, no: onnx.GraphProto, output: str = "y", condition: str = "c") -> onnx.NodeProto:
    return helper.make_node("If", [condition], [output], then_branch=yes, else_branch=no, name=f"the choice of {output}")


def built(*nodes: onnx.NodeProto, outputs: str = "y", **inputs: list[int | str | None]) -> onnx.ModelProto:
    return model([*IS_ONE, *nodes], {"x": ["N", 4, "H", "W"], **inputs}, outputs.split(), CONSTANTS, opset=18)


def check(proto: onnx.ModelProto, *widths: int, **load: Any) -> None:
    """Compare with the reference, one width of the image after the other."""
    net = clconv.onnx.load(proto, **load)
    for width in widths:
        x = numbers(2, 4, 5, width)
        got = net(x)
        for y, want in zip(got if isinstance(got, tuple) else (got,), exact(proto, {"x": x}), strict=True):
            assert y.shape == want.shape
            np.testing.assert_allclose(y, want, rtol=0, atol=1e-6 * np.abs(want).max())


def test_a_squeeze_as_pytorch_exports_it() -> None:
    """The same program serves no other width."""
    yes, no = branch([node("Squeeze", "x last", "z")], "z"), branch([node("Identity", "x", "z")], "z")
    check(built(choice(yes, no, "r"), node("Relu", "r", "y")), 1, 7, 1)


def test_names_of_branches_are_their_own() -> None:
    """Both call what they make alike, and one like a constant of the other; convolutions find their filters."""
    w, v = numbers(6, 4, 3, 3, seed=1, scale=0.3), numbers(6, 4, 1, 1, seed=2)
    yes = branch([node("Conv", "x w", "z", pads=[1] * 4)], "z", w=w)
    no = branch([node("Relu", "x", "w"), node("Conv", "w v", "z")], "z", v=v)
    again = choice(branch([node("Neg", "x", "z")], "z"), branch([node("Abs", "x", "z")], "z"), "a")
    check(built(choice(yes, no), again, outputs="y a"), 1, 6)


def test_one_within_another() -> None:
    inner = choice(branch([node("Add", "z k", "b")], "b"), branch([node("Mul", "z k", "b")], "b"), "i")
    yes = branch([node("Relu", "x", "z"), inner, node("Neg", "i", "o")], "o")
    no = branch([node("Neg", "x", "z"), inner, node("Exp", "i", "o")], "o")
    check(built(choice(yes, no)), 1, 6)


def test_what_it_reads_may_have_been_behind_an_identity() -> None:
    """Which passes leave out, as they do with what nobody else reads."""
    yes, no = branch([node("Sub", "e k", "z")], "z"), branch([node("Neg", "e", "z")], "z")
    check(built(node("Exp", "x", "d"), node("Identity", "d", "e"), choice(yes, no)), 1, 3)


def test_constant_conditions() -> None:
    yes, no = branch([node("Relu", "x", "z")], "z"), branch([node("Neg", "x", "z")], "z")
    for value in (True, False):
        proto = model([choice(yes, no)], {"x": [2, 4, 5, 3]}, ["y"], {"c": np.array(value)})
        check(proto, 3)
    proto = model([choice(yes, no)], {"x": [2, 4, 5, 3]}, ["y"], {"c": np.array([True, True])})
    with pytest.raises(ShapeError, match=r"the node 'the choice of y' \(If\) has the shape \(2,\); it must be one value"):
        clconv.onnx.load(proto)


def test_a_condition_that_a_call_brings() -> None:
    """It is like a part of the model: another one makes another program."""
    yes, no = branch([node("Relu", "x", "z")], "z"), branch([node("Neg", "x", "z")], "z")
    proto = model([choice(yes, no)], {"x": [2, 4, 5, 3]}, ["y"])
    proto.graph.input.append(helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, []))
    net, x = clconv.onnx.load(proto), numbers(2, 4, 5, 3)
    for value in (True, False, True):
        np.testing.assert_array_equal(net(x, np.array(value)), np.maximum(x, 0) if value else -x)


def test_conditions_that_depend_on_what_a_tensor_holds_are_refused() -> None:
    yes, no = branch([node("Relu", "x", "z")], "z"), branch([node("Neg", "x", "z")], "z")
    nodes = [node("ReduceMax", "x", "m", keepdims=0), node("Greater", "m t", "c"), choice(yes, no)]
    proto = model(nodes, {"x": [2, 4, 5, 3]}, ["y"], {"t": np.array(0, np.float32)}, opset=18)
    with pytest.raises(UnsupportedError, match=r"'the choice of y' \(If, which only works on sizes and constants\)"):
        clconv.onnx.load(proto)


def test_conditions_that_the_device_would_compute_are_refused() -> None:
    """As constants are pooled there, as images are."""
    yes, no = branch([node("Relu", "x", "z")], "z"), branch([node("Neg", "x", "z")], "z")
    nodes = [node("GlobalAveragePool", "k", "m"), node("ReduceMax", "m", "r", keepdims=0), node("Greater", "r t", "c")]
    proto = model([*nodes, choice(yes, no)], {"x": [2, 4, 5, 3]}, ["y"], {**CONSTANTS, "t": np.array(0, np.float32)}, opset=18)
    net = clconv.onnx.load(proto)
    with pytest.raises(UnsupportedError, match=r"condition of the node 'the choice of y' \(If\) depends on what tensors hold"):
        net(numbers(2, 4, 5, 3))


def test_nodes_of_branches_that_are_not_offered_are_named() -> None:
    yes, no = branch([node("Relu", "x", "z")], "z"), branch([node("Hardmax", "x", "z")], "z")
    net = clconv.onnx.load(built(choice(yes, no)))
    np.testing.assert_array_equal(net(np.full((1, 4, 2, 1), -1, np.float32)), np.zeros((1, 4, 2, 1)))
    with pytest.raises(UnsupportedError, match="Hardmax"):
        net(np.ones((1, 4, 2, 2), np.float32))


def test_another_element_type() -> None:
    """Constants of branches are converted; what names a type would have to be as well."""
    no = branch([node("Neg", "x", "z")], "z")
    proto = built(choice(branch([node("Mul", "x v", "z")], "z", v=np.array(1.5, np.float32)), no))
    x = numbers(2, 4, 5, 1).astype(np.float16)
    np.testing.assert_allclose(clconv.onnx.load(proto, dtype="float16")(x), 1.5 * x.astype(np.float32), rtol=1e-3)
    inner = choice(branch([node("Cast", "x", "o", to=onnx.TensorProto.FLOAT)], "o"), no, "i")
    proto = built(choice(branch([inner, node("Relu", "i", "z")], "z"), no))
    with pytest.raises(UnsupportedError, match=r"branches of the node 'the choice of y' \(If\) hold Cast, .* without dtype="):
        clconv.onnx.load(proto, dtype="float16")


@pytest.mark.parametrize("dtype", [None, "float16"])
def test_local_responses_as_pytorch_normalises_them(dtype: str | None) -> None:
    """A mean over the channels, which are the first of three axes there, and a squeeze."""
    yes, no = branch([node("Squeeze", "p one", "z")], "z"), branch([node("Identity", "p", "z")], "z")
    nodes = [
        *(node("Mul", "x x", "q"), node("Unsqueeze", "q one", "u"), node("Pad", "u pads", "w")),
        *(node("AveragePool", "w", "p", kernel_shape=[3, 1, 1], count_include_pad=1), node("Shape", "p", "s")),
        *(node("Gather", "s one", "n"), node("Equal", "n one", "c"), choice(yes, no, "m")),
        *(node("Mul", "m alpha", "a"), node("Add", "a k", "b"), node("Pow", "b beta", "d"), node("Div", "x d", "y")),
    ]
    constants: dict[str, Array] = {
        "one": np.array([1]),
        "pads": np.array([0, 0, 1, 0, 0, 0, 0, 1, 0, 0]),
        **{name: np.array(value, np.float32) for name, value in (("alpha", 0.5), ("beta", 0.75), ("k", 1))},
    }
    proto = model(nodes, {"x": ["N", 7, "H", "W"]}, ["y"], constants, opset=18)
    x = numbers(2, 7, 3, 5)
    size = np.pad(x.astype(np.float64) ** 2, ((0, 0), (1, 1), (0, 0), (0, 0)))
    want = x / (1 + 0.5 * sum(size[:, i : i + 7] for i in range(3)) / 3) ** 0.75
    y = clconv.onnx.load(proto, dtype=dtype)(x.astype(dtype or x.dtype))
    np.testing.assert_allclose(y, want, rtol=0, atol=3e-3 if dtype else 1e-6)


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool"])
@pytest.mark.parametrize("how", [{"strides": [2, 1, 1]}, {"pads": [1, 0, 0, 1, 0, 0]}, {"ceil_mode": 1, "strides": [2, 1, 1]}])
def test_windows_along_the_first_of_three_axes(op: str, how: dict[str, Any]) -> None:
    proto = model([node(op, "x", "y", kernel_shape=[3, 1, 1], **how)], {"x": [2, 3, 8, 3, 5]}, ["y"])
    x = numbers(2, 3, 8, 3, 5)
    y = clconv.onnx.load(proto)(x)
    pads, step = how.get("pads", [0] * 6), how.get("strides", [1])[0]
    whole = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[3]), (0, 0), (0, 0)), constant_values=np.nan)
    combine = np.nanmax if op == "MaxPool" else np.nanmean
    assert y.shape[2] == (whole.shape[2] - 3 + how.get("ceil_mode", 0)) // step + 1
    want = np.stack([combine(whole[:, :, at * step : at * step + 3], axis=2) for at in range(y.shape[2])], axis=2)
    np.testing.assert_allclose(y, want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("how", [{"strides": [1, 2, 1]}, {"pads": [0, 1, 0, 0, 0, 0]}, {"kernel_shape": [3, 1, 2]}])
def test_other_windows_over_three_axes_are_refused(how: dict[str, Any]) -> None:
    attributes = {"kernel_shape": [3, 1, 1], **how}
    with pytest.raises(UnsupportedError, match="AveragePool over 3 spatial axes, where 1 or 2 are supported"):
        clconv.onnx.load(model([node("AveragePool", "x", "y", **attributes)], {"x": [2, 3, 8, 3, 5]}, ["y"]))
