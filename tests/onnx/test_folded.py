"""Nodes that only work on sizes and constants: ONNX's own tests of them with constants, and what models make of sizes."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import clconv
import clconv.onnx
from clconv.onnx.lower import FOLDED
from clconv.onnx.read import OLDEST
from tests.onnx.models import Array, model, node, numbers

_FEW = ("Cast", "CastLike", "Not", "Shape", "Size")
"""Cast has a test for each pair of types, most of which nothing here holds; those of Not are too old, and the sizes are in
test_backend.py."""


@cache
def node_tests() -> dict[str, Any]:
    """ONNX's tests of nodes, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, while ONNX makes its test data
        from onnx.backend.test.loader import load_model_tests

        cases: list[Any] = load_model_tests(kind="node")
    return {case.name: case for case in cases if case.model.opset_import[0].version >= OLDEST}


@cache
def constant_tests() -> dict[str, Any]:
    """Those of the kinds that only work on sizes and constants."""
    wanted = {*FOLDED, "BatchNormalization"} - {*_FEW}
    graphs = {name: case.model.graph for name, case in node_tests().items()}
    tensors = {name for name, graph in graphs.items() if all(port.type.HasField("tensor_type") for port in graph.output)}
    one = {name for name in tensors if len(graphs[name].node) == 1 and graphs[name].node[0].op_type in wanted}
    return {name: case for name, case in node_tests().items() if name in one}


def test_there_is_a_test_of_each_kind() -> None:
    assert {case.model.graph.node[0].op_type for case in constant_tests().values()} >= {*FOLDED} - {*_FEW}


def of_constants(name: str) -> onnx.ModelProto:
    """Return the model of a test whose inputs are constants."""
    case = node_tests()[name]
    proto = onnx.ModelProto()
    proto.CopyFrom(case.model)
    proto.ir_version = 8  # from 4 on a constant is no input
    for port, value in zip(proto.graph.input, case.data_sets[0][0], strict=True):
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), port.name))
    del proto.graph.input[:]
    return proto


@pytest.mark.parametrize("name", ["test_if_seq", "test_if_opt"])
def test_sequences_are_refused(name: str) -> None:
    with pytest.raises(clconv.UnsupportedError, match="gives a sequence; only tensors are supported"):
        clconv.onnx.load(of_constants(name))


@pytest.mark.parametrize("name", constant_tests())
def test_of_constants(name: str) -> None:
    outputs = node_tests()[name].data_sets[0][1]
    results = clconv.onnx.load(of_constants(name))()
    for got, want in zip(results if isinstance(results, tuple) else (results,), outputs, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


def position_code(height: int, width: int, channels: int) -> Array:
    """Sines and cosines of the shares of the height and of the width, as EdgeNeXt has them: rows, columns, channels."""
    rates = 100.0 ** (2 * (np.arange(channels) // 2) / channels)

    def along(size: int) -> Array:
        angles = (np.arange(1, size + 1) / (size + 1e-6) * 2 * np.pi)[:, None] / rates
        result: Array = np.where(np.arange(channels) % 2, np.cos(angles), np.sin(angles))
        return result

    rows = np.broadcast_to(along(height)[:, None], (height, width, channels))
    columns = np.broadcast_to(along(width)[None], (height, width, channels))
    return np.concatenate([rows, columns], 2)


def code_nodes() -> list[onnx.NodeProto]:
    """Nodes that compute it of ``x``'s size and add it, times a filter, to ``x``."""
    half: dict[str, list[onnx.NodeProto]] = {}
    for letter, axis in (("r", 1), ("c", 2)):
        half[letter] = [
            node("CumSum", f"ones along{axis}", f"{letter}1"),
            node("Slice", f"{letter}1 last end axis{axis}", f"{letter}2"),
            node("Add", f"{letter}2 small", f"{letter}3"),
            node("Div", f"{letter}1 {letter}3", f"{letter}4"),
            node("Mul", f"{letter}4 circle", f"{letter}5"),
            node("Unsqueeze", f"{letter}5 last", f"{letter}6"),
            node("Div", f"{letter}6 rates", f"{letter}7"),
            node("Slice", f"{letter}7 zero far last two", f"{letter}8"),
            node("Slice", f"{letter}7 one far last two", f"{letter}9"),
            node("Sin", f"{letter}8", f"{letter}s"),
            node("Cos", f"{letter}9", f"{letter}o"),
            node("Unsqueeze", f"{letter}s last", f"{letter}t"),
            node("Unsqueeze", f"{letter}o last", f"{letter}p"),
            node("Concat", f"{letter}t {letter}p", f"{letter}u", axis=-1),
            node("Reshape", f"{letter}u joined", f"{letter}v"),
        ]
    return [
        node("Shape", "x", "shape"),
        node("Gather", "shape places", "size"),
        node("ConstantOfShape", "size", "ones", value=numpy_helper.from_array(np.ones(1, np.float32))),
        *half["r"],
        *half["c"],
        node("Concat", "rv cv", "code", axis=-1),
        node("Transpose", "code", "first", perm=[0, 3, 1, 2]),
        node("Conv", "first w", "position"),
        node("Add", "x position", "y"),
    ]


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float16", 1e-2)])
def test_a_position_code(dtype: str, bound: float) -> None:
    channels, w = 6, numbers(4, 12, 1, 1, seed=1)
    constants = {
        "places": np.array([0, 2, 3]),
        "axis1": np.array([1]),
        "axis2": np.array([2]),
        "small": np.float32(1e-6),
        "last": np.array([-1]),
        "end": np.array([2**31 - 1]),
        "far": np.array([99]),
        "zero": np.array([0]),
        "one": np.array([1]),
        "two": np.array([2]),
        "joined": np.array([0, 0, 0, -1]),
        "along1": np.array(1),
        "along2": np.array(2),
        "circle": np.float32(2 * np.pi),
        "rates": (100.0 ** (2 * (np.arange(channels) // 2) / channels)).astype(np.float32),
        "w": w,
    }
    proto = model(code_nodes(), {"x": ["N", 4, "H", "W"]}, ["y"], {name: np.asarray(k) for name, k in constants.items()})
    net = clconv.onnx.load(proto, dtype=dtype)
    for shape in ((1, 4, 5, 7), (2, 4, 3, 8)):
        x = numbers(*shape).astype(dtype)
        want = x + np.einsum("hwc,oc->ohw", position_code(*shape[2:], channels), w[:, :, 0, 0])
        np.testing.assert_allclose(net(x), want, atol=bound)
        assert len(net.explain(shape).steps) == 1


@pytest.mark.parametrize("op", ["CumSum", "Trilu", "Einsum", "Tan", "OneHot"])
def test_of_images_they_are_refused(op: str) -> None:
    read, written = {"CumSum": ("x k", "y"), "OneHot": ("x k v", "y")}.get(op, ("x", "y"))
    spec = node(op, read, written, **({"equation": "ij->ji"} if op == "Einsum" else {}))
    with pytest.raises(clconv.UnsupportedError, match=rf"\({op}, which only works on sizes and constants\)$"):
        clconv.onnx.load(model([spec], {"x": [3, 3]}, ["y"], {"k": np.array([1]), "v": numbers(2)}))


def test_an_absent_output_between_others() -> None:
    nodes = [node("LayerNormalization", "c s", "n _ d"), node("Add", "x d", "y")]
    c = numbers(2, 5)
    net = clconv.onnx.load(model(nodes, {"x": [2, 1]}, ["y"], {"c": c, "s": np.ones(5, np.float32)}))
    np.testing.assert_allclose(net(np.zeros((2, 1), np.float32)), 1 / c.std(1, keepdims=True), rtol=1e-3)
