"""Passes that write nodes in another form: what they leave, what they leave alone, and that the result is the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from pyopencl import CommandQueue

import clconv.onnx
from clconv.errors import ShapeError
from clconv.onnx import layout, passes
from clconv.onnx.infer import specialise
from clconv.onnx.layout import choose_layout
from clconv.onnx.read import graph_of
from clconv.onnx.rewrite import cancel_transposes
from tests.onnx.models import Array, exact, model, node, numbers
from tests.onnx.nodes import BOUND
from tests.onnx.test_on_gpus import taken_for_gpu

SHAPE = (2, 5, 6, 7)
FIRST, LAST = [0, 3, 1, 2], [0, 2, 3, 1]
NORM = {"s": numbers(5, seed=1), "b": numbers(5, seed=2)}


def left(
    nodes: list[onnx.NodeProto], outputs: str = "y", constants: dict[str, Array] | None = None, opset: int = 18
) -> list[str]:
    """Return what the passes make of the nodes, and see that it computes the same as they do."""
    proto = model(nodes, {"x": [*SHAPE]}, outputs.split(), constants, opset=18)
    x = numbers(*SHAPE)
    net = clconv.onnx.load(proto)
    got: Any = net(x)
    for y, want in zip(got if isinstance(got, (list, tuple)) else [got], exact(proto, {"x": x}), strict=True):
        assert y.shape == want.shape
        np.testing.assert_allclose(y, want, rtol=0, atol=2e-6 * np.abs(want).max())
    known = specialise(passes.run(graph_of(proto), passes.BEFORE), {"x": SHAPE})
    return [n.op for n in passes.run(known, passes.AFTER).nodes]


def test_identities_hide_no_node_from_the_next_pass() -> None:
    """A convolution takes the sum, the other side of which it adds, and the function, each behind an Identity."""
    copies = [node("Identity", f"{name}", f"{name}i") for name in "wcsr"]
    nodes = [
        copies[0],
        *(node("Conv", "x wi", "c", pads=[1] * 4), copies[1]),
        *(node("Add", "ci b", "s"), copies[2]),
        *(node("Dropout", "x", "xd"), node("Identity", "xd", "xi"), node("Add", "si xi", "r"), copies[3]),
        *(node("Relu", "ri", "z"), node("Identity", "z", "y"), node("Identity", "y", "again")),
    ]
    constants = {"w": numbers(5, 5, 3, 3, scale=0.2), "b": numbers(5, 1, 1, seed=4)}
    assert left(nodes, constants=constants) == ["Conv"]
    assert left(nodes, "y z again s", constants) == ["Conv", "Add", "Identity", "Identity"]


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize(("op", "pool"), [("ReduceMean", "GlobalAveragePool"), ("ReduceMax", "GlobalMaxPool")])
def test_means_over_all_pixels_become_pooling(op: str, pool: str, keep: int) -> None:
    axes = {"axes": np.array([-1, 2]), "channel": np.array([1]), "row": np.array([3])}
    assert left([node(op, "x axes", "y", keepdims=keep)], constants=axes) == [pool]
    nodes = [node(op, "x axes", "m", keepdims=keep), node("Relu", "m", "y")]
    assert left(nodes, "m y", axes) == [pool, "Relu"]
    assert left([node(op, "x channel", "y", keepdims=keep)], constants=axes) == [op]
    assert left([node(op, "x row", "y", keepdims=keep)], constants=axes) == [op]


def test_squares_and_roots_are_no_powers() -> None:
    powers = {"p": np.float32(2), "h": np.float32(0.5), "c": np.float32(3)}
    two = {"o": np.full((1, 1), 2, np.float32), "v": np.full(7, 2, np.float32), **powers}
    constants = {name: np.asarray(value) for name, value in two.items()}
    assert left([node("Pow", "x p", "y")], constants=constants) == ["Mul"]
    assert left([node("Pow", "x o", "y")], constants=constants) == ["Mul"]
    assert left([node("Abs", "x", "q"), node("Pow", "q h", "y")], constants=constants) == ["Abs", "Sqrt"]
    assert left([node("Pow", "x c", "y")], constants=constants) == ["Pow"]
    assert left([node("Pow", "x v", "y")], constants=constants) == ["Pow"]


def norm_between(before: list[int], after: list[int], **attributes: Any) -> list[onnx.NodeProto]:
    spec = node("LayerNormalization", "t s b", "n", **attributes)
    return [node("Transpose", "x", "t", perm=before), spec, node("Transpose", "n", "y", perm=after)]


def test_a_normalisation_of_channels_is_one_node() -> None:
    assert left(norm_between(LAST, FIRST), constants=NORM) == ["ChannelNormalization"]
    assert left(norm_between(LAST, FIRST, axis=3, epsilon=0.1), constants=NORM) == ["ChannelNormalization"]
    whole = {name: value.reshape(1, 1, 1, -1) for name, value in NORM.items()}
    assert left(norm_between(LAST, FIRST), constants=whole) == ["ChannelNormalization"]
    assert left(norm_between(LAST, LAST), constants=NORM) == ["Transpose", "LayerNormalization", "Transpose"]
    all_axes = {"s": numbers(6, 7, 5, seed=1), "b": numbers(6, 7, 5, seed=2)}
    assert "LayerNormalization" in left(norm_between(LAST, FIRST, axis=1), constants=all_axes)
    assert "LayerNormalization" in left([*norm_between(LAST, FIRST), node("Relu", "n", "z")], "y z", NORM)


def channels_deviation(queue: CommandQueue) -> float:
    """Normalise the channels of images in N C H W; the largest deviation as a share of the largest output."""
    proto, x = model(norm_between(LAST, FIRST), {"x": ["N", 5, "H", "W"]}, ["y"], NORM), numbers(*SHAPE)
    net, want = clconv.onnx.load(proto, queue=queue), exact(proto, {"x": x})[0]
    assert [step.op for step in net.explain(SHAPE).steps] == ["ChannelNormalization"]
    y: Any = net(x)
    return float(np.abs(y - want).max() / np.abs(want).max())


def test_it_works_in_place(queue: CommandQueue) -> None:
    assert channels_deviation(queue) < BOUND["float32"]
    with taken_for_gpu(queue):
        assert channels_deviation(queue) < BOUND["float32"]


def test_it_works_in_either_layout(monkeypatch: pytest.MonkeyPatch, queue: CommandQueue) -> None:
    w = {"w": numbers(5, 5, 3, 3, seed=3), "v": numbers(4, 5, 1, 1, seed=4)}
    nodes = [
        node("Conv", "x w", "c", pads=[1, 1, 1, 1]),
        node("Transpose", "c", "t", perm=LAST),
        node("LayerNormalization", "t s b", "n"),
        node("Transpose", "n", "d", perm=FIRST),
        node("Conv", "d v", "y"),
    ]
    proto, x = model(nodes, {"x": ["N", 5, "H", "W"]}, ["y"], {**NORM, **w}), numbers(*SHAPE)
    for gain in (-1.0, 1.0):
        monkeypatch.setattr(layout, "_gain", lambda *_, gain=gain: gain)
        net = clconv.onnx.load(proto, queue=queue)
        assert any("3 nodes in N H W C" in note for note in net.explain(SHAPE).passes) == (gain > 0)
        want = exact(proto, {"x": x})[0]
        np.testing.assert_allclose(net(x), want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("first", [[], [node("Relu", "x", "r")]])
def test_a_transposition_that_is_there_already_saves_a_reorder(
    first: list[onnx.NodeProto], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As around the products of a ConvNeXt whose pixels are rows of a matrix, and of an input as Keras has it."""
    nodes = [
        *first,
        node("Transpose", "r" if first else "x", "a", perm=FIRST),
        node("Conv", "a w", "c"),
        node("Transpose", "c", "t", perm=LAST),
        node("Softmax", "t", "y"),
    ]
    proto = model(nodes, {"x": [2, 6, 7, 5]}, ["y"], {"w": numbers(4, 5, 1, 1)})
    known = specialise(passes.run(graph_of(proto), passes.BEFORE), {"x": (2, 6, 7, 5)})
    graph = choose_layout(passes.run(known, passes.AFTER), lambda _: 1.0, 1e9)  # for which neither layout is faster
    assert [n.op for n in cancel_transposes(graph).nodes] == [*(n.op_type for n in first), "Conv", "Softmax"]
    x = numbers(2, 6, 7, 5)
    monkeypatch.setattr(layout, "_gain", lambda *_: 1.0)
    np.testing.assert_allclose(clconv.onnx.load(proto)(x), exact(proto, {"x": x})[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "constants"),
    [
        (node("Slice", "r start end axes", "i"), {"start": np.array([0]), "end": np.array([99]), "axes": np.array([1])}),
        (
            node("Slice", "r start end axes steps", "i"),
            {**dict.fromkeys(("start", "axes"), np.array([0])), "end": np.array([2]), "steps": np.array([1])},
        ),
        (node("Expand", "r shape", "i"), {"shape": np.array([1, 5, 1, 7])}),
        (node("Tile", "r ones", "i"), {"ones": np.ones(4, np.int64)}),
        (node("Pad", "r none", "i"), {"none": np.zeros(8, np.int64)}),
        (node("Concat", "r", "i", axis=1), {}),
        (node("Split", "r", "i", axis=1, num_outputs=1), {}),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)
def test_nodes_that_give_what_they_take(spec: onnx.NodeProto, constants: dict[str, Array]) -> None:
    assert left([node("Relu", "x", "r"), spec, node("Exp", "i", "y")], constants=constants) == ["Relu", "Exp"]
    assert left([node("Relu", "x", "r"), spec, node("Identity", "i", "y")], constants=constants) == ["Relu"]


def test_nodes_of_the_same_shape_that_do_something() -> None:
    reverse = {"start": np.array([-1]), "end": np.array([-99]), "axes": np.array([1]), "steps": np.array([-1])}
    assert left([node("Relu", "x", "r"), node("Slice", "r start end axes steps", "y")], constants=reverse) == ["Relu", "Slice"]
    shift = {"pads": np.array([0, 0, 1, 0, 0, 0, -1, 0])}
    x = numbers(*SHAPE)
    y = clconv.onnx.load(model([node("Pad", "x pads", "y")], {"x": [*SHAPE]}, ["y"], shift))(x)
    np.testing.assert_array_equal(y, np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1])


@pytest.mark.parametrize("op", ["Mul", "Sub", "Max"])
def test_what_sums_and_products_repeat_themselves(op: str) -> None:
    """A number for each channel, expanded to the image's shape, as PyTorch's expand_as is exported."""
    nodes = [
        *(node("GlobalAveragePool", "x", "p"), node("Sigmoid", "p", "q"), node("Shape", "x", "s"), node("Expand", "q s", "e")),
        *(node(op, "e x", "a"), node(op, "a e", "y")),
    ]
    assert left(nodes) == ["GlobalAveragePool", "Sigmoid", op, op]


def test_an_expansion_that_gives_the_shape_stays() -> None:
    nodes = [node("GlobalAveragePool", "x", "p"), node("Expand", "p s", "e"), node("Add", "e p", "y")]
    assert left(nodes, constants={"s": np.array([2, 5, 3, 7])}) == ["GlobalAveragePool", "Expand", "Add"]
    twice = [node("GlobalAveragePool", "x", "p"), node("Expand", "p s", "e"), node("Add", "e e", "y")]
    assert left(twice, constants={"s": np.array([2, 5, 3, 7])}) == ["GlobalAveragePool", "Expand", "Add"]
    read = [*nodes[:2], node("Mul", "e x", "m"), node("Exp", "e", "y")]
    assert left(read, "y m", constants={"s": np.array([2, 5, 6, 7])}) == ["GlobalAveragePool", "Expand", "Mul", "Exp"]


def test_what_is_repeated_along_many_axes_is_repeated_first() -> None:
    """Sums walk along four groups of axes."""
    x, z = numbers(2, 1, 3, 1, 4, 1), numbers(2, 2, 3, 3, 4, 4)
    nodes, constants = [node("Expand", "x s", "e"), node("Add", "e z", "y")], {"s": np.array(z.shape)}
    proto = model(nodes, {"x": [*x.shape], "z": [*z.shape]}, ["y"], constants)
    np.testing.assert_array_equal(clconv.onnx.load(proto)(x, z), x + z)


def test_padding_that_depends_on_the_image_is_done_by_the_convolution() -> None:
    """As Keras's and TensorFlow's padding of strided convolutions is exported, from the image's sizes."""
    nodes = [
        *(
            node("Shape", "x", "s"),
            node("Gather", "s two", "h"),
            node("Mod", "h two", "odd"),
            node("Concat", "z z z z z z odd odd", "p", axis=0),
        ),
        *(node("Pad", "x p", "q"), node("Conv", "q w", "y", strides=[2, 2])),
    ]
    constants = {"two": np.array([2]), "z": np.array([0]), "w": numbers(4, 5, 2, 2)}
    assert left(nodes, constants=constants) == ["Conv"]


MEANS = {"kernel_shape": [2, 2], "strides": [2, 2]}
ONE: dict[str, Array] = {"one": numbers(8, 5, 1, 1, scale=0.4), "bias": numbers(8, seed=3), "two": numbers(8, 8, 1, 1, seed=5)}


@pytest.mark.parametrize(
    "behind",
    [
        (node("AveragePool", "c", "y", **MEANS),),
        (node("AveragePool", "c", "y", **MEANS, pads=[1, 0, 1, 1]),),
        (node("AveragePool", "c", "y", **MEANS, ceil_mode=1),),
        (node("AveragePool", "c", "y", **MEANS, count_include_pad=1),),
        (node("GlobalAveragePool", "c", "y"),),
        (node("ReduceMean", "c axes", "y", keepdims=0),),
    ],
    ids=["2x2", "padded", "ceil", "counted", "global", "written out"],
)
def test_means_are_taken_before_a_1x1_convolution(behind: tuple[onnx.NodeProto, ...]) -> None:
    """Zeros of the padding, if they count, and an activation, come between."""
    for inputs in ("x one", "x one bias"):
        ops = left([node("Conv", inputs, "c"), *behind], constants={**ONE, "axes": np.array([3, -2])})
        assert [op for op in ops if op != "Reshape"] == [behind[0].op_type.replace("ReduceMean", "GlobalAveragePool"), "Conv"]


def test_and_before_two() -> None:
    nodes = [node("Conv", "x one bias", "c"), node("Conv", "c two", "d"), node("AveragePool", "d", "y", **MEANS)]
    assert left(nodes, constants=ONE) == ["Conv", "AveragePool", "Conv"]
    nodes = [node("Conv", "x one", "c"), node("AveragePool", "c", "p", **MEANS), node("AveragePool", "p", "y", **MEANS)]
    assert left(nodes, constants=ONE) == ["AveragePool", "AveragePool", "Conv"]


@pytest.mark.parametrize(
    ("conv", "pool", "outputs"),
    [
        (node("Conv", "x one", "c", strides=[2, 2]), node("AveragePool", "c", "y", **MEANS), "y"),
        (node("Conv", "x one", "c", pads=[1] * 4), node("AveragePool", "c", "y", **MEANS), "y"),
        (node("Conv", "x three", "c"), node("AveragePool", "c", "y", **MEANS), "y"),
        (node("Conv", "x one", "c"), node("MaxPool", "c", "y", **MEANS), "y"),
        (node("Conv", "x one", "c"), node("AveragePool", "c", "y", kernel_shape=[3, 3], pads=[1] * 4), "y"),
        (node("Conv", "x one bias", "c"), node("AveragePool", "c", "y", **MEANS, pads=[1] * 4, count_include_pad=1), "y"),
        (node("Conv", "x few", "c"), node("AveragePool", "c", "y", **MEANS), "y"),
        (node("Conv", "x one", "c"), node("AveragePool", "c", "y", **MEANS), "y c"),
    ],
    ids=["stride", "padding", "3x3", "maximum", "as many", "zeros count", "few channels", "an output"],
)
def test_others_come_behind_it(conv: onnx.NodeProto, pool: onnx.NodeProto, outputs: str) -> None:
    constants = {**ONE, "three": numbers(8, 5, 3, 3, scale=0.2), "few": numbers(1, 5, 1, 1)}
    assert left([conv, pool], outputs, constants)[:2] == ["Conv", pool.op_type]


def test_a_transposition_of_an_output_stays() -> None:
    nodes = [node("Relu", "x", "r"), node("Transpose", "r", "t", perm=LAST), node("Transpose", "t", "y", perm=FIRST)]
    proto = model(nodes, {"x": [*SHAPE]}, ["y"])
    x = numbers(*SHAPE)
    np.testing.assert_array_equal(clconv.onnx.load(proto)(x), np.maximum(x, 0))


def test_so_does_one_that_an_output_is_a_view_of() -> None:
    nodes = [node("Transpose", "x", "t", perm=LAST), node("Transpose", "t", "u", perm=FIRST), node("Flatten", "u", "y")]
    x = numbers(*SHAPE)
    y = clconv.onnx.load(model(nodes, {"x": [*SHAPE]}, ["y"]))(x)
    np.testing.assert_array_equal(y, x.reshape(2, -1))
    assert not np.shares_memory(y, x)


def refused(spec: onnx.NodeProto, error: type[Exception], words: str, **constants: Array) -> None:
    proto = model([spec], {"x": [2, 6, 3, 4]}, ["y"], constants, opset=21)
    with pytest.raises(error, match=words):
        clconv.onnx.load(proto)(numbers(2, 6, 3, 4))


def test_what_does_not_fit_is_said() -> None:
    five, six, two = numbers(5), numbers(6), numbers(2)
    gather = node("Gather", "x i", "y", axis=1)
    refused(gather, ShapeError, r"names the elements 0 to 6 of an axis of 6", i=np.array([0, 6]))
    norm = node("InstanceNormalization", "x s b", "y")
    refused(norm, ShapeError, r"'s' has the shape \(5,\); for .* it must be \(6,\)", s=five, b=six)
    norm = node("GroupNormalization", "x s b", "y", num_groups=4)
    refused(norm, ShapeError, "num_groups=4, which does not divide its 6 channels", s=six, b=six)
    norm = node("LayerNormalization", "x s", "y", axis=2)
    refused(norm, ShapeError, r"'s' has the shape \(2,\); for .* it must be \(3, 4\)", s=two)


def test_sums_of_nothing() -> None:
    x = np.empty((2, 6, 0, 4), np.float32)
    for op, value in (("ReduceSum", 0), ("ReduceMax", -np.inf), ("ReduceMin", np.inf), ("ReduceL2", 0)):
        proto = model([node(op, "x a", "y")], {"x": [2, 6, "H", 4]}, ["y"], {"a": np.array([2])}, opset=18)
        np.testing.assert_array_equal(clconv.onnx.load(proto)(x), np.full((2, 6, 1, 4), value))
