"""Elements that become floating-point numbers where the network runs: images of bytes, and models of several types."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from pyopencl import CommandQueue

import clconv
import clconv.onnx
from tests.onnx.models import Array, model, node, numbers
from tests.onnx.test_on_gpus import taken_for_gpu

FLOATS = ("float32", "float16", "float64")
SOURCES = (*FLOATS, "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool")


def element(dtype: str) -> int:
    """ONNX's number of a type."""
    return onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def proto_of(nodes: list[Any], inputs: dict[str, tuple[str, list[Any]]], outputs: dict[str, str]) -> onnx.ModelProto:
    """Build a model of several element types."""
    made = model(nodes, {name: shape for name, (_, shape) in inputs.items()}, [*outputs])
    for port in made.graph.input:
        port.type.tensor_type.elem_type = element(inputs[port.name][0])
    del made.graph.output[:]
    made.graph.output.extend(onnx.helper.make_tensor_value_info(n, element(t), None) for n, t in outputs.items())
    return made


def values(dtype: str, count: int) -> Array:
    """Draw numbers of a type, its smallest and largest among them."""
    if dtype == "bool":
        return numbers(count) > 0
    if dtype[0] == "f":
        few = [np.inf, -np.inf, np.nan, 1e-7, 65519, 2.0**-25]
        with np.errstate(over="ignore"):
            return np.concatenate([few, numbers(count - len(few), scale=100)]).astype(dtype)
    info = np.iinfo(dtype)
    x = np.random.default_rng(1).integers(info.min, info.max, count, dtype, endpoint=True)
    x[:3] = info.min, info.max, 1
    return x


def check(source: str, target: str, queue: CommandQueue, count: int = 67) -> None:
    """Cast numbers; the result is NumPy's to the last bit."""
    x = values(source, count)
    proto = proto_of([node("Cast", "x", "y", to=element(target))], {"x": (source, [count])}, {"y": target})
    with np.errstate(over="ignore"):
        want = x.astype(np.float32 if source == "float64" and target == "float16" else target).astype(target)
    y = clconv.onnx.load(proto, queue=queue)(x)
    assert y.dtype == target
    np.testing.assert_array_equal(y, want)


@pytest.mark.parametrize("count", [7, 67, 9001])
@pytest.mark.parametrize("target", FLOATS)
@pytest.mark.parametrize("source", SOURCES)
def test_numbers_of_every_type(source: str, target: str, count: int, queue: CommandQueue) -> None:
    check(source, target, queue, count)


@pytest.mark.parametrize("target", FLOATS)
@pytest.mark.parametrize("source", ["float16", "uint8"])
def test_on_a_gpu(source: str, target: str, queue: CommandQueue) -> None:
    with taken_for_gpu(queue):
        check(source, target, queue, 131)


def test_an_image_of_bytes() -> None:
    """As it comes from a file: N H W C, cast, transposed and scaled."""
    nodes = [
        node("Cast", "x", "f", to=element("float32")),
        node("Transpose", "f", "t", perm=[0, 3, 1, 2]),
        node("Mul", "t k", "s"),
        node("Conv", "s w", "y", pads=[1, 1, 1, 1]),
    ]
    proto = proto_of(nodes, {"x": ("uint8", ["N", 9, 11, 3])}, {"y": "float32"})
    w = numbers(4, 3, 3, 3)
    for name, value in {"k": np.array(1 / 255, np.float32), "w": w}.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    x = values("uint8", 2 * 9 * 11 * 3).reshape(2, 9, 11, 3)
    padded = np.pad(x.transpose(0, 3, 1, 2) / 255.0, ((0, 0), (0, 0), (1, 1), (1, 1)))
    want = np.einsum("nchwij,ocij->nohw", np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3)), w)
    np.testing.assert_allclose(clconv.onnx.load(proto)(x), want, atol=1e-5)
    half = clconv.onnx.load(proto, dtype="float16")(x)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, want, atol=2e-2)


def test_a_part_of_a_model_in_another_type() -> None:
    """As converters to float16 leave it; as one type, the casts are nothing."""
    nodes = [
        node("Relu", "x", "r"),
        node("Cast", "r", "f", to=element("float32")),
        node("Exp", "f", "e"),
        node("CastLike", "e x", "y"),
    ]
    proto = proto_of(nodes, {"x": ("float16", ["N", 5])}, {"y": "float16"})
    x = numbers(3, 5).astype(np.float16)
    net = clconv.onnx.load(proto)
    np.testing.assert_allclose(net(x), np.exp(np.maximum(x, 0)), rtol=2e-3)
    assert [step.op for step in net.explain((3, 5)).steps] == ["Relu", "Cast", "Exp", "CastLike"]
    assert len(clconv.onnx.load(proto, dtype="float32").explain((3, 5)).steps) == 2


@pytest.mark.parametrize("target", SOURCES[3:])
@pytest.mark.parametrize("source", SOURCES)
def test_integers_and_truth_values(source: str, target: str, queue: CommandQueue) -> None:
    """What is behind the point is left out; of numbers that the type holds."""
    x = np.clip(values(source, 67).astype(np.float64), 0, 100).astype(source) if source != "bool" else values(source, 67)
    x[np.isnan(x)] = 3
    check_integers(x, target, queue)


def check_integers(x: Array, target: str, queue: CommandQueue) -> None:
    """Cast numbers that the type holds."""
    proto = proto_of([node("Cast", "x", "y", to=element(target))], {"x": (x.dtype.name, [len(x)])}, {"y": target})
    y = clconv.onnx.load(proto, queue=queue)(x)
    assert y.dtype == target
    np.testing.assert_array_equal(y, x.astype(target))


def test_an_image_of_bytes_leaves_a_network() -> None:
    """As those do that give pictures."""
    nodes = [node("Sigmoid", "x", "s"), node("Mul", "s k", "m"), node("Cast", "m", "y", to=element("uint8"))]
    proto = proto_of(nodes, {"x": ("float32", ["N", 3, 5, 7])}, {"y": "uint8"})
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(255, np.float32), "k"))
    x = numbers(2, 3, 5, 7)
    y = clconv.onnx.load(proto)(x)
    assert y.dtype == np.uint8
    assert np.abs(y - 255 / (1 + np.exp(-x))).max() <= 1


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (onnx.TensorProto.BFLOAT16, "makes bfloat16 of float32, which is not supported"),
        (onnx.TensorProto.FLOAT8E5M2, "tensors of float8_e5m2 are not supported"),
    ],
)
def test_others_are_refused(kind: int, message: str) -> None:
    proto = proto_of([node("Cast", "x", "y", to=kind)], {"x": ("float32", [4])}, {"y": "float32"})
    proto.graph.output[0].type.tensor_type.elem_type = kind
    with pytest.raises(clconv.UnsupportedError, match=message):
        clconv.onnx.load(proto)(numbers(4))
