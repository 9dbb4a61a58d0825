"""What is wrong is said in one sentence of our own."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyopencl.array
import pytest

import clconv
import clconv.onnx
from clconv import networks
from tests.onnx.models import model, node, numbers

RELU = model([node("Relu", "x", "y")], {"x": ["N", 3, 4]}, ["y"])


@pytest.mark.parametrize("keep", [0.05, 0.5, 0.95])
def test_truncated_files(tmp_path: Path, keep: float) -> None:
    whole = networks.mobilenet_v1(size=32, width=0.25, classes=10).SerializeToString()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(clconv.ClconvError, match=r"cut\.onnx.*again"):
        clconv.onnx.load(path)


@pytest.mark.parametrize("content", [b"", b"no model", bytes(range(256)) * 4, b"\x08" * 100])
def test_files_that_are_no_models(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(clconv.ClconvError, match=r"bad\.onnx"):
        clconv.onnx.load(str(path))


def test_random_damage_is_refused_or_harmless(tmp_path: Path) -> None:
    whole = bytearray(RELU.SerializeToString())
    random = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[random.integers(len(whole))] = random.integers(256)
        with contextlib.suppress(clconv.ClconvError):
            clconv.onnx.load(bytes(damaged))


@pytest.mark.parametrize("kind", ["path", "bytes", "proto"])
def test_a_model_that_says_nothing_of_its_shapes(tmp_path: Path, kind: str) -> None:
    proto = model([node("Add", "x k", "y")], {"x": [400]}, ["y"], {"k": numbers(400)})
    for info in (*proto.graph.input, *proto.graph.output):
        info.type.tensor_type.ClearField("shape")
    path = tmp_path / "bare.onnx"
    onnx.save(proto, path, save_as_external_data=kind == "path", location="weights.bin", size_threshold=0)
    sources: dict[str, Any] = {"path": path, "bytes": path.read_bytes(), "proto": proto}
    net = clconv.onnx.load(sources[kind])
    assert str(net.inputs[0]) == "x: float32 any shape"
    np.testing.assert_array_equal(net(np.zeros(400, np.float32)), numbers(400))
    proto.graph.node[0].input.append("unknown")
    onnx.save(proto, path)
    with pytest.raises(clconv.ClconvError, match=r"bare\.onnx is not a valid ONNX model"):
        clconv.onnx.load(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(clconv.ClconvError, match="does not exist"):
        clconv.onnx.load(tmp_path / "none.onnx")


def test_the_path_of_nothing() -> None:
    with pytest.raises(clconv.ClconvError, match=r"^the path '' does not exist"):
        clconv.onnx.load("")


def test_tensors_in_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, data = tmp_path / "outside.onnx", tmp_path / "weights.bin"
    k = numbers(400)
    proto = model([node("Add", "x k", "y")], {"x": [400]}, ["y"], {"k": k})
    onnx.save(proto, path, save_as_external_data=True, location=data.name, size_threshold=0)
    np.testing.assert_array_equal(clconv.onnx.load(path)(np.zeros(400, np.float32)), k)
    np.testing.assert_array_equal(clconv.onnx.load(str(path))(np.zeros(400, np.float32)), k)
    for content in (path.read_bytes(), onnx.load(path, load_external_data=False)):
        with pytest.raises(clconv.ClconvError, match=r"^the model keeps tensors in the file weights\.bin.*; pass its path"):
            clconv.onnx.load(content)
    data.write_bytes(b"few")
    with pytest.raises(clconv.ClconvError, match=r"outside\.onnx keeps in other files cannot be read"):
        clconv.onnx.load(path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(clconv.ClconvError, match=r"'k' is kept in the file weights\.bin.*; pass the path"):
        clconv.onnx.load(path.read_bytes())
    data.unlink()
    with pytest.raises(
        clconv.ClconvError, match=r"outside\.onnx keeps tensors in the file weights\.bin, which is not beside it"
    ):
        clconv.onnx.load(path)


def test_a_weight_with_too_few_bytes() -> None:
    proto = model([node("Add", "x k", "y")], {"x": [4]}, ["y"], {"k": numbers(4)})
    proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data[:-4]
    with pytest.raises(clconv.ClconvError, match="k"):
        clconv.onnx.load(proto)


def test_every_unsupported_node_is_named() -> None:
    proto = model(
        [node("LSTM", "x w r", "a"), node("Det", "a", "b"), node("Relu", "b", "y")],
        {"x": [1, 1, 1]},
        ["y"],
        {"w": numbers(1, 4, 1), "r": numbers(1, 4, 1)},
    )
    with pytest.raises(clconv.UnsupportedError, match=r"2 nodes.*'the LSTM of a' \(LSTM\), 'the Det of b' \(Det\)"):
        clconv.onnx.load(proto)


def test_nodes_that_work_on_sizes_alone_are_named_with_the_others() -> None:
    nodes = [
        node("IsNaN", "x", "g"),
        node("Where", "g x k", "w"),
        node("Hardmax", "w", "s"),
        node("Trilu", "s", "y"),
        node("Shape", "w", "n"),
        node("Gather", "n i", "z"),
    ]
    proto = model(nodes, {"x": ["N", 3]}, ["y", "z"], {"k": np.array(0.5, np.float32), "i": np.array(1)})
    names = r"'the IsNaN of g' \(IsNaN, which only works on sizes and constants\), .* \(Hardmax\), 'the Trilu of y' \("
    with pytest.raises(clconv.UnsupportedError, match=rf"3 nodes of the model are not supported: {names}"):
        clconv.onnx.load(proto)


def test_a_quantised_model_says_what_to_load() -> None:
    nodes = [node("DynamicQuantizeLinear", "x", "q s z"), node("DequantizeLinear", "q s z", "y")]
    words = r"the model is quantised, load the one that it was made from: 2 nodes of the model are not supported: "
    with pytest.raises(clconv.UnsupportedError, match=words):
        clconv.onnx.load(model(nodes, {"x": ["N", 3]}, ["y"]))


def test_what_only_sizes_are_taken_of_is_not_computed() -> None:
    nodes = [node("Greater", "x k", "g"), node("Shape", "g", "n"), node("ConstantOfShape", "n", "o"), node("Add", "x o", "y")]
    x = numbers(2, 3)
    net = clconv.onnx.load(model(nodes, {"x": ["N", 3]}, ["y"], {"k": np.array(0.5, np.float32)}))
    np.testing.assert_array_equal(net(x), x)


def test_one_unsupported_node() -> None:
    with pytest.raises(clconv.UnsupportedError, match="1 node of the model is not supported"):
        clconv.onnx.load(model([node("Det", "x", "y")], {"x": [2, 2]}, ["y"]))


def test_an_unsupported_node_that_nobody_reads_is_left_out() -> None:
    proto = model([node("Relu", "x", "y"), node("Det", "x", "unread")], {"x": [2, 2]}, ["y"])
    x = numbers(2, 2)
    np.testing.assert_array_equal(clconv.onnx.load(proto)(x), np.maximum(x, 0))


def test_a_custom_domain_is_named() -> None:
    proto = model([node("Relu", "x", "y")], {"x": [1]}, ["y"])
    proto.graph.node[0].domain = "com.example"
    proto.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    with pytest.raises(clconv.UnsupportedError, match=r"com\.example\.Relu"):
        clconv.onnx.load(proto)


@pytest.mark.parametrize("op", ["Relu", "Det"])
def test_functions_of_the_model_s_own(op: str) -> None:
    """They are spelled out, and what they are made of is what is named."""
    own = [onnx.helper.make_opsetid("", 17)]
    function = onnx.helper.make_function("own", "Act", ["a"], ["b"], [node("Neg", "a", "n"), node(op, "n", "b")], own)
    proto = model([node("Relu", "x", "y")], {"x": [2, 2]}, ["y"])
    proto.graph.node[0].CopyFrom(onnx.helper.make_node("Act", ["x"], ["y"], domain="own"))
    proto.functions.append(function)
    proto.opset_import.append(onnx.helper.make_opsetid("own", 1))
    x = numbers(2, 2)
    if op == "Det":
        with pytest.raises(clconv.UnsupportedError, match=r"1 node of .*\(Det\)$"):
            clconv.onnx.load(proto)
    else:
        np.testing.assert_array_equal(clconv.onnx.load(proto)(x), np.maximum(-x, 0))


def test_sizes_that_depend_on_contents_are_refused() -> None:
    proto = model([node("Cast", "x", "s", to=onnx.TensorProto.INT64), node("Reshape", "x s", "y")], {"x": [1]}, ["y"])
    with pytest.raises(clconv.UnsupportedError, match=r"the shape of 'y' depends on what the tensors of the node .* hold"):
        clconv.onnx.load(proto)(numbers(1))


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, "'x' is missing"),
        ((numbers(1, 3, 4), numbers(1)), {}, "2 inputs were given and the network takes 1"),
        ((), {"z": numbers(1, 3, 4)}, "no input 'z'.*x: float32"),
        ((numbers(1, 3, 4),), {"x": numbers(1, 3, 4)}, "given twice"),
        ((numbers(1, 3, 5),), {}, r"shape \(1, 3, 5\); it must be \(any, 3, 4\)"),
        ((numbers(3, 4),), {}, r"shape \(3, 4\)"),
        ((numbers(1, 3, 4).astype(np.float64),), {}, "element type float64; it must be float32"),
        ((numbers(1, 3, 4).astype(">f4"),), {}, r"foreign byte order >f4; convert it with astype\('float32'\)"),
        (([1.0, 2.0],), {}, "pass a NumPy array"),
        (("image.jpg",), {}, "pass a NumPy array"),
    ],
)
def test_wrong_inputs(args: tuple[object, ...], kwargs: dict[str, object], words: str) -> None:
    with pytest.raises(clconv.ShapeError, match=words):
        clconv.onnx.load(RELU)(*args, **kwargs)


def test_shapes_that_do_not_fit_a_node_name_it() -> None:
    proto = model([node("Add", "a b", "y")], {"a": ["N", 3], "b": ["N", 4]}, ["y"])
    with pytest.raises(clconv.ShapeError, match="the Add of y"):
        clconv.onnx.load(proto)(numbers(1, 3), numbers(1, 4))


def test_open_sizes_need_a_shape_to_explain() -> None:
    proto = model([node("Relu", "x", "y")], {"x": ["N", 3, "H", "W"]}, ["y"])
    net = clconv.onnx.load(proto)
    with pytest.raises(clconv.ShapeError, match="pass a shape"):
        net.explain()
    assert net.explain((1, 3, 4, 5)).steps[0].algorithm == "network/unary"


@pytest.mark.parametrize("shape", [5, None, (1.0, 3.0, 4.0), ("a", 3, 4), "abc"])
def test_what_is_no_shape_to_explain(shape: object) -> None:
    with pytest.raises(clconv.ShapeError, match=r"the input 'x' has no shape .*; pass whole numbers"):
        clconv.onnx.load(RELU).explain(shape)


def test_device_arrays_are_not_profiled() -> None:
    net = clconv.onnx.load(RELU)
    with pytest.raises(clconv.ShapeError, match="device arrays; pass NumPy arrays"):
        net.profile(pyopencl.array.to_device(net.queue, numbers(1, 3, 4)))


@pytest.mark.parametrize("source", [3, None, {}])
def test_what_is_no_model_at_all(source: object) -> None:
    with pytest.raises(clconv.ClconvError, match="a model is a path"):
        clconv.onnx.load(source)  # type: ignore[arg-type]  # on purpose


def test_a_profile_of_no_rounds() -> None:
    with pytest.raises(clconv.ShapeError, match="rounds=0 measures nothing"):
        clconv.onnx.load(RELU).profile(np.zeros((1, 3, 4), np.float32), rounds=0)
