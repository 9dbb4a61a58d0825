"""What ONNX's checks and shape inference let pass, and would make a kernel read or write where it must not."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnx
import pytest
from pyopencl import CommandQueue

import clconv
import clconv.onnx
from clconv.errors import ShapeError, UnsupportedError
from clconv.onnx import passes
from clconv.onnx.infer import specialise
from clconv.onnx.lower import lower
from clconv.onnx.read import graph_of
from clconv.onnx.step import Plans
from clconv.runtime import runtime_of
from tests.onnx.models import model, node, numbers

X = numbers(1, 4, 8, 8)
W = numbers(8, 4, 3, 3)


def refused(nodes: list[onnx.NodeProto], constants: dict[str, Any], words: str, x: Any = X) -> None:
    net = clconv.onnx.load(model(nodes, {"x": ["N", *x.shape[1:]]}, ["y"], constants))
    with pytest.raises(clconv.ShapeError, match=words):
        net(x)


@pytest.mark.parametrize("length", [1, 7, 9])
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_a_bias_of_another_length(op: str, length: int) -> None:
    w = W if op == "Conv" else W.transpose(1, 0, 2, 3).copy()
    refused([node(op, "x w b", "y")], {"w": w, "b": numbers(length)}, r"the bias 'b' has the shape \(.,\).*must be \(8,\)")


@pytest.mark.parametrize("attributes", [{"kernel_shape": [1, 1]}, {"kernel_shape": [5, 5]}])
def test_attributes_that_say_another_size_than_the_filter(attributes: dict[str, Any]) -> None:
    words = r"the filter 'w' .* the shape \(8, 4, 3, 3\), which does not fit its kernel_shape \[.,"
    refused([node("Conv", "x w", "y", **attributes)], {"w": W}, words)
    words = r"the filter 'w' .* the shape \(4, 8, 3, 3\), which does not fit its kernel_shape \[.,"
    refused([node("ConvTranspose", "x w", "y", **attributes)], {"w": numbers(4, 8, 3, 3)}, words)


def test_a_window_whose_size_does_not_show_in_the_output_s() -> None:
    words = r"\(8, 4, 3, 3\), which does not fit its kernel_shape \[5, 5\]"
    refused([node("Conv", "x w", "y", kernel_shape=[5, 5], auto_pad="SAME_UPPER")], {"w": W}, words)


@pytest.mark.parametrize("axis", [2**32, 2**40, -(2**63)])
def test_numbers_of_more_than_32_bits(axis: int) -> None:
    """ONNX's inference takes the lower ones."""
    refused([node("Gather", "x i", "y", axis=axis)], {"i": np.array([0])}, rf"the axis {axis}; numbers must be less than")


def test_pads_of_more_than_32_bits() -> None:
    refused([node("MaxPool", "x", "y", kernel_shape=[2, 2], pads=[2**32] * 4)], {}, "has the pads 4294967296")


def test_sizes_of_more_than_31_bits() -> None:
    pads = np.array([0, 0, 0, 2**31 - 1, 0, 0, 0, 0])
    refused([node("Pad", "x p", "y")], {"p": pads}, r"would give the shape \(1, 4, 8, 2147483655\); sizes must be less than")


def test_more_than_the_device_holds() -> None:
    refused([node("Resize", "x _ _ s", "y")], {"s": np.array([1, 4, 2**30, 2**30])}, "MiB, and the device has")


def test_a_reference_outside_a_function() -> None:
    spec = node("LeakyRelu", "x", "y")
    spec.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
    with pytest.raises(clconv.ClconvError, match=r"an attribute of the node .* \(LeakyRelu\) cannot be read"):
        clconv.onnx.load(model([spec], {"x": [3]}, ["y"]))


@pytest.mark.parametrize("op", ["Shape", "Size"])
def test_the_size_of_what_is_not_computed(op: str) -> None:
    nodes = [node("Dropout", "x", "d mask"), node(op, "mask", "s"), node("Expand", "d s", "y")]
    net = clconv.onnx.load(model(nodes, {"x": [3]}, ["y"]))
    with pytest.raises(clconv.UnsupportedError, match="reads 'mask', which no supported node computes"):
        net(numbers(3))


def test_a_node_that_onnx_has_taken_back() -> None:
    spec = node("GroupNormalization", "x s s", "y", num_groups=2)
    with pytest.raises(clconv.UnsupportedError, match=r"GroupNormalization is deprecated.*another opset"):
        clconv.onnx.load(model([spec], {"x": [1, 4, 3, 3]}, ["y"], {"s": numbers(2)}, opset=18))


@pytest.mark.parametrize("groups", [0, 3])
def test_groups_that_do_not_fit(groups: int) -> None:
    nodes = [node("ConvTranspose", "x w", "t", group=groups), node("Mul", "t k", "y")]
    words = "the ConvTranspose of t" if groups == 0 else "the filter takes 1 input channels a group"
    refused(nodes, {"w": numbers(4, 2, 3, 3), "k": numbers(1)}, words, numbers(1, 6, 3, 3) if groups else X)


@pytest.mark.parametrize("op", ["Conv", "MaxPool", "AveragePool"])
@pytest.mark.parametrize(("mode", "pads"), [("VALID", [1] * 4), ("SAME_UPPER", [0] * 4), ("SAME_LOWER", [1, 0, 0, 1])])
def test_two_ways_of_padding(mode: str, pads: list[int], op: str) -> None:
    """ONNX's inference takes the pads, and the kernels took the other."""
    spec = node(op, "x w" if op == "Conv" else "x", "y", auto_pad=mode, pads=pads, kernel_shape=[3, 3])
    words = rf"^the node 'the {op} of y' \({op}\) has the pads .* and by its auto_pad {mode} .*; leave one of them out"
    refused([spec], {"w": W} if op == "Conv" else {}, words)


def test_two_ways_of_padding_behind_a_border_of_zeros() -> None:
    """Which convolutions do by themselves, but not such a one."""
    spec = [node("Pad", "x p", "a"), node("Conv", "a w", "y", auto_pad="VALID", pads=[1] * 4)]
    refused(spec, {"w": W, "p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}, "by its auto_pad VALID .*; leave one of them out")


def test_an_empty_way_of_padding_is_none() -> None:
    spec = node("MaxPool", "x", "y", auto_pad="", pads=[1] * 4, kernel_shape=[3, 3])
    net = clconv.onnx.load(model([spec], {"x": ["N", *X.shape[1:]]}, ["y"], {}))
    assert net(X).shape == X.shape


@pytest.mark.parametrize("shape", [(3,), (3, 10), (1, 2, 10)])
def test_a_matrix_that_cannot_be_added(shape: tuple[int, ...]) -> None:
    nodes = [node("Flatten", "x", "f"), node("Gemm", "f w c", "y")]
    refused(nodes, {"w": numbers(256, 10), "c": numbers(*shape)}, "Gemm")


@pytest.mark.parametrize("shape", [(6, 1, 1), (3, 1, 1)])
def test_slopes_of_other_channels(shape: tuple[int, ...]) -> None:
    refused([node("PRelu", "x s", "y")], {"s": numbers(*shape)}, "PRelu")


def test_statistics_of_other_channels() -> None:
    constants = {name: numbers(4 if name == "s" else 5) for name in ("s", "b", "m", "v")}
    refused([node("BatchNormalization", "x s b m v", "y")], constants, "BatchNormalization")
    wrong = {name: numbers(1) for name in ("s", "b", "m", "v")}
    refused([node("Conv", "x w", "c"), node("BatchNormalization", "c s b m v", "y")], {"w": W, **wrong}, "BatchNormalization")


@pytest.mark.parametrize("size", [255, 512, 4096 * 1000])
def test_views_of_another_number_of_elements(size: int) -> None:
    refused([node("Reshape", "x n", "y")], {"n": np.array([1, size])}, "another number of elements")


def test_an_image_of_another_size_than_the_model_was_exported_for() -> None:
    nodes = [node("Conv", "x w", "c"), node("Reshape", "c n", "r"), node("Gemm", "r g", "y")]
    constants = {"w": numbers(8, 4, 1, 1), "n": np.array([1, 8 * 64]), "g": numbers(8 * 64, 2)}
    net = clconv.onnx.load(model(nodes, {"x": [1, 4, "h", "w"]}, ["y"], constants))
    assert net(X).shape == (1, 2)
    with pytest.raises(clconv.ShapeError, match="the size that the model was exported for"):
        net(numbers(1, 4, 9, 8))


@pytest.mark.parametrize("perm", [[1, 0], [0, 2, 1], [0, 0, 1, 2], [0, 1, 3, 3], [0, 1, 2, -1], [0, 1, 2, 4], [0, 1, 2, 3, 4]])
def test_what_is_no_permutation(perm: list[int]) -> None:
    refused([node("Transpose", "x", "y", perm=perm)], {}, "the Transpose of y")


@pytest.mark.parametrize(("op", "block"), [("DepthToSpace", 3), ("SpaceToDepth", 3), ("DepthToSpace", 4), ("SpaceToDepth", 0)])
def test_blocks_that_do_not_come_out_even(op: str, block: int) -> None:
    refused([node(op, "x", "y", blocksize=block)], {}, rf"the {op} of y")


def test_attributes_without_numbers() -> None:
    """A Transpose of a number has them; others are refused like those of a wrong length."""

    def empty(spec: onnx.NodeProto, name: str) -> onnx.NodeProto:
        spec.attribute.append(onnx.helper.make_attribute(name, [], attr_type=onnx.AttributeProto.INTS))
        return spec

    refused([empty(node("Transpose", "x", "y"), "perm")], {}, r"the Transpose of y.* has the perm \[\]")
    refused([empty(node("Conv", "x w", "y"), "strides")], {"w": W}, "the Conv of y")
    refused([empty(node("MaxPool", "x", "y", kernel_shape=[3, 3]), "pads")], {}, "the MaxPool of y")
    net = clconv.onnx.load(model([empty(node("Transpose", "x", "y"), "perm")], {"x": []}, ["y"]))
    assert net(np.array(2, np.float32)) == 2


def test_parts_of_negative_size() -> None:
    refused([node("Split", "x n", "y z", axis=1)], {"n": np.array([5, -1])}, "Split")


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("Conv", "x w", "y")], {"w": W}),
        ([node("Conv", "x k w", "y")], {"k": W, "w": numbers(8)}),
        ([node("Conv", "x k", "q"), node("Mul", "q w", "y")], {"k": W, "w": numbers(1)}),
        ([node("Conv", "x k", "q"), node("Add", "w q", "y")], {"k": W, "w": numbers(8, 1, 1)}),
        ([node("Conv", "x k w", "q"), node("Mul", "q a", "y")], {"k": W, "a": numbers(1), "w": numbers(8)}),
        ([node("ConvTranspose", "x w", "y")], {"w": W.transpose(1, 0, 2, 3).copy()}),
        ([node("Flatten", "x", "q"), node("Gemm", "q w", "y")], {"w": numbers(256, 2)}),
        ([node("Flatten", "x", "q"), node("Gemm", "q k w", "y")], {"k": numbers(256, 2), "w": numbers(2)}),
        ([node("MatMul", "x w", "y")], {"w": numbers(8, 3)}),
        ([node("Concat", "x w", "y", axis=0)], {"w": numbers(1, 4, 8, 8)}),
        ([node("Max", "x k w", "y")], {"k": numbers(1), "w": numbers(1)}),
        ([node("Clip", "x w", "y")], {"w": numbers(1).reshape(())}),
        ([node("PRelu", "x w", "y")], {"w": numbers(1)}),
        ([node("Pad", "x p w", "y")], {"p": np.zeros(8, np.int64), "w": numbers(1).reshape(())}),
    ],
)
@pytest.mark.parametrize("other", ["float16", "float64"])
def test_tensors_of_several_element_types(nodes: list[onnx.NodeProto], constants: dict[str, Any], other: str) -> None:
    """The constant ``w`` is of another one than the image, at whichever node it stands, also where passes fold others."""
    given = {name: value.astype(other) if name == "w" else value for name, value in constants.items()}
    refused(nodes, given, rf"takes .* of (float32|{other}) and .* of (float32|{other}); they must be of one element type")


def test_another_number_of_parts_than_outputs() -> None:
    proto = model([node("Split", "x", "y z", axis=1, num_outputs=3)], {"x": ["N", 4]}, ["y"], opset=18)
    with pytest.raises(clconv.ShapeError, match=r"^the node 'the Split of y' .* has 2 outputs and num_outputs=3; "):
        clconv.onnx.load(proto)


PAD = node("Pad", "x p", "q")
CONV = node("Conv", "q w", "y")
SCALE = node("Mul", "q k", "y")


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([PAD, node("Conv", "q w", "y", pads=[1] * 4)], {"p": np.array([0, 0, 1, 0, 0, 1])}),
        ([PAD, CONV], {"p": np.zeros(0, np.int64)}),
        ([PAD, CONV], {"p": np.zeros((2, 4), np.int64)}),
        ([node("Pad", "x p v", "q"), CONV], {"p": np.zeros(8, np.int64), "v": np.zeros(0, np.float32)}),
        ([node("Conv", "x w b", "q"), SCALE], {"b": numbers(2), "k": numbers(1)}),
        ([node("Conv", "x w b", "q"), SCALE], {"b": numbers(1), "k": numbers(1)}),
        ([node("Conv", "x k", "q"), SCALE], {"k": np.float32(2)}),
        ([node("Clip", "x a", "y")], {"a": np.zeros(0, np.float32)}),
        ([node("Resize", "x _ s", "y")], {"s": np.array([1, 1, np.nan, 1], np.float32)}),
        ([node("Resize", "x _ s", "y")], {"s": np.array([1, 1, np.inf, 1], np.float32)}),
        ([node("Pad", "x p", "y", mode="mirror")], {"p": np.ones(8, np.int64)}),
    ],
)
def test_malformed_constants_get_a_sentence(nodes: list[onnx.NodeProto], constants: dict[str, Any]) -> None:
    given = {"w": W, **{name: np.asarray(value) for name, value in constants.items()}}
    with pytest.raises(clconv.ClconvError):
        clconv.onnx.load(model(nodes, {"x": ["N", *X.shape[1:]]}, ["y"], given))(X)


POOL = {"kernel_shape": [3, 3]}
RESIZE: dict[str, Any] = {"s": np.array([1, 1, 2, 2], np.float32)}


@pytest.mark.parametrize(
    ("inputs", "constants", "op", "attributes", "opset"),
    [
        ("x w", {"w": W}, "Conv", {"auto_pad": "SAME"}, 17),
        ("x w", {"w": numbers(4, 2, 3, 3)}, "ConvTranspose", {"auto_pad": "same_upper"}, 17),
        ("x", {}, "MaxPool", {"auto_pad": "FULL", **POOL}, 17),
        ("x", {}, "AveragePool", {"auto_pad": "none", **POOL}, 17),
        ("x", {}, "DepthToSpace", {"mode": "CDR", "blocksize": 2}, 17),
        ("x", {}, "Gelu", {"approximate": "erf"}, 20),
        ("x p", {"p": np.ones(8, np.int64)}, "Pad", {"mode": "mirror"}, 17),
        ("x _ s", RESIZE, "Resize", {"mode": "bilinear"}, 17),
        ("x _ s", RESIZE, "Resize", {"nearest_mode": "round"}, 17),
        ("x s", RESIZE, "Upsample", {"mode": "bilinear"}, 9),
        ("x _ _ n", {"n": np.full(4, 8)}, "Resize", {"keep_aspect_ratio_policy": "larger"}, 18),
    ],
)
def test_unknown_words(inputs: str, constants: dict[str, Any], op: str, attributes: dict[str, Any], opset: int) -> None:
    name, word = next(iter(attributes.items()))
    proto = model([node(op, inputs, "y", **attributes)], {"x": ["N", *X.shape[1:]]}, ["y"], constants, opset=opset)
    with pytest.raises(
        clconv.UnsupportedError, match=rf"^the node 'the {op} of y' \(.*\) has the {name} '{word}'; use one of "
    ):
        clconv.onnx.load(proto)


@pytest.mark.parametrize("mode", ["edge", "reflect", "wrap"])
@pytest.mark.parametrize(("width", "pads"), [(0, [0, 1, 0, 1]), (3, [0, -3, 0, 2])])
def test_the_border_of_nothing(width: int, pads: list[int], mode: str) -> None:
    refused([node("Pad", "x p", "y", mode=mode)], {"p": np.array(pads)}, "no elements", np.zeros((1, width), np.float32))


def test_forms_that_are_not_offered_are_listed_together_when_the_model_is_loaded() -> None:
    nodes = [
        node("Conv", "x w", "c"),
        node("AveragePool", "c", "p", kernel_shape=[2, 2, 2]),
        node("MaxPool", "z", "m places", kernel_shape=[2, 2]),
        node("Einsum", "p", "e", equation="abcde->acdeb"),
    ]
    constants = {"w": numbers(4, 2, 3, 3, 3)}
    proto = model(nodes, {"x": ["N", 2, 8, 8, 8], "z": ["N", 2, 8, 8]}, ["e", "m", "places"], constants, opset=17)
    with pytest.raises(clconv.UnsupportedError, match=r"^4 nodes of the model are not supported: ") as caught:
        clconv.onnx.load(proto)
    for part in (
        "(Conv over 3 spatial axes",
        "(AveragePool over 3 spatial axes",
        "(MaxPool, which also returns",
        "(Einsum, which only works on sizes",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("how", [{"antialias": 1}, {"coordinate_transformation_mode": "tf_crop_and_resize"}])
def test_images_that_are_smoothed_or_cropped_are_refused_when_the_model_is_loaded(how: dict[str, Any]) -> None:
    proto = model([node("Resize", "x roi s", "y", mode="linear", **how)], {"x": [1, 1, 4, 4]}, ["y"], opset=19)
    for name, value in (("roi", [0.0, 0, 0, 0, 1, 1, 1, 1]), ("s", [1.0, 1, 2, 2])):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, np.float32), name))
    with pytest.raises(UnsupportedError, match=r"'the Resize of y' \(Resize, which smooths or crops the image\)"):
        clconv.onnx.load(proto)


def test_more_elements_than_kernels_count_are_refused(queue: CommandQueue) -> None:
    """On a device that has memory for them."""
    graph = graph_of(model([node("Relu", "x", "y")], {"x": ["N", 4]}, ["y"]))
    info = dataclasses.replace(runtime_of(queue).info, global_mem_bytes=1 << 50)
    known = passes.run(specialise(graph, {"x": (1 << 30, 4)}), passes.AFTER)
    with pytest.raises(ShapeError, match=r"the node .* \(Relu\) counts 4294967296 elements, where 2147483647 are supported"):
        lower(known, Plans(info, "auto"))
