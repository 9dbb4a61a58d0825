"""Every pass by itself: what it does, and what it must leave alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import clconv.onnx
from clconv.errors import UnsupportedError
from clconv.onnx import passes
from clconv.onnx.folding import fold_batchnorm
from clconv.onnx.graph import Graph, without_dead
from clconv.onnx.infer import fold_constants, specialise
from clconv.onnx.read import graph_of
from tests.onnx.models import Array, exact, model, node, numbers

W = numbers(6, 4, 3, 3, seed=1, scale=0.2)
W2 = numbers(6, 4, 1, 1, seed=2, scale=0.3)
X = numbers(2, 4, 7, 9)
BORDER = np.array([0, 0, 1, 2, 0, 0, 0, 1])


def ops(graph: Graph) -> list[str]:
    return [n.op for n in graph.nodes]


def known(proto: onnx.ModelProto, **shapes: tuple[int, ...]) -> Graph:
    return specialise(passes.run(graph_of(proto), passes.BEFORE), shapes)


def check_same(proto: onnx.ModelProto, **feeds: np.ndarray) -> None:
    """The network gives what the reference gives in float64."""
    got = clconv.onnx.load(proto)(feeds)
    for y, ref in zip(got if isinstance(got, tuple) else (got,), exact(proto, feeds), strict=True):
        assert y.shape == ref.shape
        np.testing.assert_allclose(y, ref, rtol=0, atol=2e-5 * max(1, np.abs(ref).max()))


def conv_model(
    *behind: onnx.NodeProto,
    constants: dict[str, np.ndarray] | None = None,
    y: str = "y",
    opset: int = 17,
    **inputs: list[int | str | None],
) -> onnx.ModelProto:
    nodes = [node("Conv", "x w", "c", pads=[1, 1, 1, 1]), *behind]
    return model(nodes, {"x": ["N", 4, 7, 9], **inputs}, [y], {"w": W, **(constants or {})}, opset=opset)


def test_fold_constants_computes_what_does_not_depend_on_an_input() -> None:
    proto = model(
        [node("Add", "a b", "s"), node("Mul", "x s", "y")], {"x": [2]}, ["y"], {"a": numbers(2), "b": numbers(2, seed=1)}
    )
    graph = fold_constants(graph_of(proto))
    assert ops(graph) == ["Mul"]
    assert set(graph.constants) == {"s"}
    check_same(proto, x=numbers(2, seed=3))


@pytest.mark.parametrize("op", ["Log", "ReduceL2", "Sin"])
def test_constants_may_be_computed_by_any_node(op: str) -> None:
    k = np.abs(numbers(1, 6)) + 1
    proto = model([node(op, "k", "l"), node("Mul", "x l", "y")], {"x": [1, 6]}, ["y"], {"k": k})
    check_same(proto, x=numbers(1, 6))


def test_a_filter_that_is_kept_as_whole_numbers() -> None:
    q, s = np.arange(-4, 4, dtype=np.int8).reshape(2, 4, 1, 1), np.array(0.5, np.float32)
    nodes = [node("DequantizeLinear", "q s", "w"), node("Conv", "x w", "y")]
    proto = model(nodes, {"x": [1, 4, 3, 3]}, ["y"], {"q": q, "s": s})
    x = numbers(1, 4, 3, 3)
    want = np.einsum("oi,nihw->nohw", q[..., 0, 0] * 0.5, x)
    np.testing.assert_allclose(clconv.onnx.load(proto)(x), want, atol=1e-5)


@pytest.mark.parametrize("op", ["RandomNormalLike", "RandomUniformLike", "Bernoulli"])
def test_numbers_that_are_drawn_are_no_constants(op: str) -> None:
    proto = model([node(op, "k", "l"), node("Mul", "x l", "y")], {"x": [1, 6]}, ["y"], {"k": numbers(1, 6)})
    with pytest.raises(UnsupportedError, match=rf"1 node of the model is not supported: 'the {op} of l'"):
        clconv.onnx.load(proto)


def test_the_number_of_elements() -> None:
    nodes = [node("Size", "x", "n"), node("Cast", "n", "f", to=onnx.TensorProto.FLOAT), node("Div", "x f", "y")]
    y = clconv.onnx.load(model(nodes, {"x": ["N", 4, "H", "W"]}, ["y"]))(X)
    np.testing.assert_allclose(y, X / X.size, rtol=1e-6)


def test_specialise_folds_the_arithmetic_of_shapes() -> None:
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero0", "n", axis=0),
        node("Unsqueeze", "n zero", "n1"),
        node("Concat", "n1 minus", "shape", axis=0),
        node("Reshape", "x shape", "y"),
    ]
    proto = model(
        nodes, {"x": ["N", 4, "H", "W"]}, ["y"], {"zero": np.array([0]), "zero0": np.array(0), "minus": np.array([-1])}
    )
    graph = known(proto, x=(2, 4, 7, 9))
    assert ops(graph) == ["Reshape"]
    assert graph.shapes["y"] == (2, 252)
    check_same(proto, x=X)


@pytest.mark.parametrize("form", ["bn", "mul", "add", "sub", "div", "bn after bias"])
def test_fold_batchnorm(form: str) -> None:
    c = {k: numbers(6, seed=i) for i, k in enumerate(("scale", "shift", "mean"))} | {"var": np.abs(numbers(6, seed=9)) + 0.5}
    per_channel = {"k": np.abs(numbers(6, 1, 1, seed=4)) + 0.5}
    chains = {
        "bn": ([node("BatchNormalization", "c scale shift mean var", "y")], c),
        "mul": ([node("Mul", "c k", "y")], per_channel),
        "add": ([node("Add", "k c", "y")], per_channel),
        "sub": ([node("Sub", "c k", "y")], per_channel),
        "div": ([node("Div", "c k", "y")], per_channel),
        "bn after bias": (
            [node("Add", "c k", "b"), node("BatchNormalization", "b scale shift mean var", "y")],
            {**c, **per_channel},
        ),
    }
    behind, constants = chains[form]
    proto = conv_model(*behind, constants=constants)
    assert ops(passes.run(graph_of(proto), passes.BEFORE)) == ["Conv"]
    check_same(proto, x=X)


def test_fold_batchnorm_leaves_alone_what_has_another_reader_or_varies_in_space() -> None:
    twice = conv_model(node("Mul", "c k", "m"), node("Add", "m c", "y"), constants={"k": np.array(2, np.float32)})
    assert ops(fold_batchnorm(graph_of(twice))) == ["Conv", "Mul", "Add"]
    check_same(twice, x=X)
    spatial = conv_model(node("Mul", "c k", "y"), constants={"k": numbers(7, 9)})
    assert ops(fold_batchnorm(graph_of(spatial))) == ["Conv", "Mul"]
    check_same(spatial, x=X)
    reverse = conv_model(node("Sub", "k c", "y"), constants={"k": np.array(2, np.float32)})
    assert ops(fold_batchnorm(graph_of(reverse))) == ["Conv", "Sub"]
    check_same(reverse, x=X)


def test_fold_batchnorm_with_an_epsilon_of_its_own() -> None:
    c = {k: numbers(6, seed=i) for i, k in enumerate(("scale", "shift", "mean"))} | {"var": np.full(6, 0.01, np.float32)}
    proto = conv_model(node("BatchNormalization", "c scale shift mean var", "y", epsilon=0.3), constants=c)
    assert ops(passes.run(graph_of(proto), passes.BEFORE)) == ["Conv"]
    check_same(proto, x=X)


@pytest.mark.parametrize("shape", [(6,), (1, 6), (7, 6)])
def test_fold_batchnorm_leaves_alone_a_number_for_each_column(shape: tuple[int, ...]) -> None:
    """As many columns as channels."""
    nodes = [node("Conv", "x w", "c", pads=[1] * 4), node("Mul", "c k", "y")]
    proto = model(nodes, {"x": [2, 4, 7, 6]}, ["y"], {"w": W, "k": numbers(*shape)})
    assert ops(fold_batchnorm(graph_of(proto))) == ["Conv", "Mul"]
    check_same(proto, x=numbers(2, 4, 7, 6))


def test_fold_batchnorm_leaves_alone_a_division_by_zero() -> None:
    proto = conv_model(node("Div", "c k", "y"), constants={"k": np.array([1, 0, 2, 1, 1, 1], np.float32).reshape(6, 1, 1)})
    assert ops(fold_batchnorm(graph_of(proto))) == ["Conv", "Div"]


def test_fold_pad() -> None:
    nodes = [node("Pad", "x p", "q"), node("Conv", "q w", "y", strides=[2, 2])]
    proto = model(nodes, {"x": [2, 4, 7, 9]}, ["y"], {"w": W, "p": BORDER})
    graph = passes.fold_pad(graph_of(proto))
    assert ops(graph) == ["Conv"]
    assert graph.nodes[0].get("pads") == [1, 2, 0, 1]
    check_same(proto, x=X)
    ones = model(
        [node("Pad", "x p v", "q"), node("Conv", "q w", "y")],
        {"x": [2, 4, 7, 9]},
        ["y"],
        {"w": W, "v": np.array(1, np.float32), "p": BORDER},
    )
    assert ops(passes.fold_pad(graph_of(ones))) == ["Pad", "Conv"]
    check_same(ones, x=X)


def test_fold_pad_adds_to_the_padding_of_the_convolution() -> None:
    nodes = [node("Pad", "x p", "q"), node("Conv", "q w", "y", pads=[1, 2, 3, 0])]
    proto = model(nodes, {"x": [2, 4, 7, 9]}, ["y"], {"w": W, "p": BORDER})
    graph = passes.fold_pad(graph_of(proto))
    assert ops(graph) == ["Conv"]
    assert graph.nodes[0].get("pads") == [2, 4, 3, 1]
    check_same(proto, x=X)


@pytest.mark.parametrize(
    ("pad", "window", "amounts"),
    [
        ({"mode": "reflect"}, {}, BORDER),
        ({"mode": "edge"}, {}, BORDER),
        ({}, {"auto_pad": "SAME_UPPER"}, BORDER),
        ({}, {}, np.array([0, 1, 1, 1, 0, 0, 1, 1])),
    ],
    ids=["reflected", "edge", "a convolution that pads by itself", "channels"],
)
def test_fold_pad_leaves_alone_what_is_no_border_of_zeros(pad: dict[str, Any], window: dict[str, Any], amounts: Array) -> None:
    channels = 4 - int(amounts[1])
    nodes = [node("Pad", "x p", "q", **pad), node("Conv", "q w", "y", **window)]
    proto = model(nodes, {"x": [2, channels, 7, 9]}, ["y"], {"w": W, "p": amounts})
    assert ops(passes.fold_pad(graph_of(proto))) == ["Pad", "Conv"]
    check_same(proto, x=numbers(2, channels, 7, 9))


def test_fold_pad_leaves_alone_axes_in_an_order_of_their_own() -> None:
    nodes = [node("Pad", "x p _ axes", "q"), node("Conv", "q w", "y")]
    constants = {"w": W, "p": BORDER, "axes": np.array([0, 1, 3, 2])}
    proto = model(nodes, {"x": [2, 4, 7, 9]}, ["y"], constants, opset=18)
    assert ops(passes.fold_pad(graph_of(proto))) == ["Pad", "Conv"]
    check_same(proto, x=X)


def test_fold_pad_leaves_alone_what_crops() -> None:
    """Compared with a convolution of the rest, for onnx.reference takes no negative padding."""
    nodes = [node("Pad", "x p", "q"), node("Conv", "q w", "y")]
    proto = model(nodes, {"x": [2, 4, 7, 9]}, ["y"], {"w": W, "p": np.array([0, 0, 1, -2, 0, 0, 0, 1])})
    assert ops(passes.fold_pad(graph_of(proto))) == ["Pad", "Conv"]
    rest = model([node("Conv", "x w", "y", pads=[1, 0, 0, 1])], {"x": [2, 4, 7, 7]}, ["y"], {"w": W})
    np.testing.assert_allclose(clconv.onnx.load(proto)(X), exact(rest, {"x": X[..., 2:]})[0], atol=1e-4)


def test_drop_views_moves_nothing_but_outputs_that_need_memory() -> None:
    nodes = [node("Flatten", "x", "f"), node("Relu", "f", "r"), node("Reshape", "r s", "y"), node("Identity", "x", "z")]
    proto = model(nodes, {"x": [2, 4, 7, 9]}, ["y", "z", "r"], {"s": np.array([4, -1])})
    graph = passes.run(known(proto, x=(2, 4, 7, 9)), passes.AFTER)
    assert sorted(ops(graph)) == ["Identity", "Identity", "Relu"]
    check_same(proto, x=X)


def test_outputs_that_are_inputs_or_constants_are_copies() -> None:
    proto = model([node("Relu", "x", "y")], {"x": [3]}, ["y", "x", "k"], {"k": numbers(2)})
    x = numbers(3, seed=1)
    _, same, constant = clconv.onnx.load(proto)(x)
    np.testing.assert_array_equal(same, x)
    assert not np.shares_memory(same, x)
    np.testing.assert_array_equal(constant, numbers(2))


def test_fuse_residual_and_activation() -> None:
    nodes = [node("Sigmoid", "x", "z"), node("Conv", "z v", "d"), node("Add", "c d", "s"), node("Relu", "s", "y")]
    proto = conv_model(*nodes, constants={"v": W2})
    graph = passes.run(known(proto, x=(2, 4, 7, 9)), passes.AFTER)
    assert ops(graph) == ["Conv", "Sigmoid", "Conv"]
    last = graph.nodes[-1]
    assert last.input(3)
    assert last.get("activation").kind == "relu"
    check_same(proto, x=X)


def test_fuse_residual_leaves_alone_what_it_would_break() -> None:
    broadcast = conv_model(node("Add", "c r", "y"), r=[2, 6, 1, 1])
    assert ops(passes.run(known(broadcast, x=(2, 4, 7, 9), r=(2, 6, 1, 1)), passes.AFTER)) == ["Conv", "Add"]
    check_same(broadcast, x=X, r=numbers(2, 6, 1, 1, seed=5))
    before = conv_model(
        node("Relu", "c", "r"), node("Add", "r d", "y"), node("Conv", "x v", "d0"), constants={"v": W2}, d=[2, 6, 7, 9]
    )
    graph = passes.run(known(before, x=(2, 4, 7, 9), d=(2, 6, 7, 9)), passes.AFTER)
    assert ops(graph) == ["Conv", "Add"]
    assert graph.nodes[0].get("activation").kind == "relu"
    check_same(before, x=X, d=numbers(2, 6, 7, 9, seed=5))
    doubled = conv_model(node("Add", "c c", "y"))
    check_same(doubled, x=X)


@pytest.mark.parametrize("activation", ["Relu", "Gelu", "Elu"])
@pytest.mark.parametrize("product", ["Gemm", "MatMul"])
def test_an_activation_behind_a_product_with_a_constant(product: str, activation: str) -> None:
    """Relu and Gelu are computed with the product, Elu by itself."""
    w = numbers(6, 11)
    first = node("Gemm", "a w k", "p") if product == "Gemm" else node("MatMul", "a w", "p")
    proto = model([first, node(activation, "p", "y")], {"a": [3, 6]}, ["y"], {"w": w, "k": numbers(11, seed=3)}, opset=20)
    check_same(proto, a=numbers(3, 6, seed=1))


def test_fuse_activation_leaves_alone_a_value_that_others_read() -> None:
    through_view = conv_model(node("Relu", "c", "r"), node("Flatten", "c", "f"), y="r")
    through_view.graph.output.append(onnx.helper.make_tensor_value_info("f", onnx.TensorProto.FLOAT, ["N", 378]))
    assert "Relu" in ops(passes.run(known(through_view, x=(2, 4, 7, 9)), passes.AFTER))
    check_same(through_view, x=X)
    elu = conv_model(node("Elu", "c", "y"))
    assert ops(passes.run(known(elu, x=(2, 4, 7, 9)), passes.AFTER)) == ["Conv", "Elu"]
    check_same(elu, x=X)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_fuse_activation_takes_gelu(approximate: str) -> None:
    gelu = conv_model(node("Gelu", "c", "y", approximate=approximate), opset=20)
    graph = passes.run(known(gelu, x=(2, 4, 7, 9)), passes.AFTER)
    assert ops(graph) == ["Conv"]
    assert graph.nodes[0].get("activation").kind == {"none": "gelu", "tanh": "gelu_tanh"}[approximate]
    check_same(gelu, x=X)


def test_without_dead_drops_nodes_and_constants_that_nobody_reads() -> None:
    proto = conv_model(node("Relu", "c", "y"), node("Mul", "x k", "unread"), constants={"k": np.array(2, np.float32)})
    graph = without_dead(graph_of(proto))
    assert ops(graph) == ["Conv", "Relu"]
    assert set(graph.constants) == {"w"}
