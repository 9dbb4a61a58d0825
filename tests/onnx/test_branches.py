"""Sums of convolutions of the same image become one, where one filter lies within the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from clconv.onnx import passes
from clconv.onnx.branches import merge_branches
from clconv.onnx.read import graph_of
from tests.onnx.models import Array, model, node, numbers
from tests.onnx.test_passes import X, check_same, ops

NORM = {
    "scale": numbers(4, seed=21),
    "shift": numbers(4, seed=22),
    "mean": numbers(4, seed=23),
    "var": np.abs(numbers(4, seed=24)) + 0.5,
}
NORMALISE = "BatchNormalization"


def added(*branches: tuple[tuple[int, ...] | str, dict[str, Any]], outputs: str = "y", bias: bool = False) -> onnx.ModelProto:
    """Build the sum of convolutions with filters of such shapes, and of batch normalisations, of one image."""
    nodes, constants, total = [], {**NORM}, ""
    for index, (shape, attributes) in enumerate(branches):
        if isinstance(shape, str):
            nodes.append(node(shape, "x scale shift mean var", f"b{index}", **attributes))
        else:
            constants[f"w{index}"] = numbers(*shape, seed=index, scale=0.3)
            constants[f"k{index}"] = numbers(shape[0], seed=10 + index)
            inputs = f"x w{index}" + f" k{index}" * (bias and index % 2)
            nodes.append(node("Conv", inputs, f"b{index}", **attributes))
        if index:
            nodes.append(node("Add", f"{total} b{index}", "y" if index == len(branches) - 1 else f"s{index}"))
        total = f"s{index}" if index else "b0"
    return model(nodes, {"x": [2, 4, 7, 9]}, outputs.split(), constants)


ONE: dict[str, Any] = {"pads": [1] * 4}
TWO: dict[str, Any] = {"pads": [2] * 4}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "branches",
    [
        [((6, 4, 3, 3), ONE), ((6, 4, 3, 3), ONE)],
        [((6, 4, 3, 3), ONE), ((6, 4, 1, 1), {})],
        [((6, 4, 1, 1), {}), ((6, 4, 3, 3), ONE)],
        [((6, 4, 3, 3), {**ONE, "strides": [2, 2]}), ((6, 4, 1, 1), {"strides": [2, 2]})],
        [((6, 4, 1, 3), {"pads": [0, 1, 0, 1]}), ((6, 4, 3, 3), ONE), ((6, 4, 1, 1), {})],
        [((6, 4, 5, 5), {"pads": [1, 2, 3, 2]}), ((6, 4, 3, 2), {"pads": [0, 1, 2, 0]})],
        [(NORMALISE, {"epsilon": 0.3}), ((4, 4, 1, 1), {}), ((4, 4, 3, 3), ONE)],
        [((4, 2, 3, 3), {**ONE, "group": 2}), (NORMALISE, {}), ((4, 2, 1, 1), {"group": 2})],
        [((4, 1, 5, 5), {**TWO, "group": 4}), (NORMALISE, {}), ((4, 1, 3, 3), {**ONE, "group": 4})],
        [((4, 1, 3, 3), {**ONE, "group": 4}), ((4, 2, 3, 3), {**ONE, "group": 2})],
        [((6, 4, 3, 3), {**TWO, "dilations": [2, 2]}), ((6, 4, 5, 5), TWO)],
        [((6, 4, 3, 3), {**TWO, "dilations": [2, 2]}), ((6, 4, 1, 1), {})],
        [((6, 4, 5, 3), {"pads": [4, 2, 4, 2], "dilations": [2, 2]}), ((6, 4, 3, 3), {**TWO, "dilations": [2, 2]})],
    ],
    ids=[
        *(
            "alike",
            "a pixel",
            "the smaller one first",
            "strides",
            "three",
            "off the middle",
            "normalised",
            "groups",
            "depthwise",
        ),
        *("depthwise in groups", "dilated within dense", "a pixel within dilated", "dilated within dilated"),
    ],
)
def test_it_is_one_convolution(branches: list[tuple[tuple[int, ...] | str, dict[str, Any]]], bias: bool) -> None:
    proto = added(*branches, bias=bias)
    assert ops(passes.run(graph_of(proto), passes.BEFORE)) == ["Conv"]
    check_same(proto, x=X)


@pytest.mark.parametrize(
    ("branches", "outputs"),
    [
        ([((6, 4, 3, 3), ONE), ((6, 4, 1, 1), {})], "y b0"),
        ([((6, 4, 1, 3), {"pads": [0, 1, 0, 1]}), ((6, 4, 3, 1), {"pads": [1, 0, 1, 0]})], "y"),
        ([((6, 4, 2, 2), {"pads": [1, 1, 0, 0]}), ((6, 4, 2, 2), {"pads": [0, 0, 1, 1]})], "y"),
        ([((6, 4, 3, 3), {**TWO, "dilations": [2, 2]}), ((6, 4, 3, 3), ONE)], "y"),
        ([((6, 4, 3, 3), {"auto_pad": "SAME_UPPER"}), ((6, 4, 1, 1), {})], "y"),
        ([((6, 4, 1, 1), {}), ((1, 4, 1, 1), {})], "y"),
        ([((4, 2, 1, 1), {"group": 2}), ((4, 4, 1, 1), {})], "y"),
        ([(NORMALISE, {}), (NORMALISE, {})], "y"),
    ],
    ids=[
        "wanted by itself",
        "a cross",
        "shifted",
        "between taps",
        "automatic",
        "broadcast",
        "groups within all",
        "no convolution",
    ],
)
def test_what_is_left_alone(branches: list[tuple[tuple[int, ...] | str, dict[str, Any]]], outputs: str) -> None:
    proto = added(*branches, outputs=outputs)
    assert [n.op for n in merge_branches(graph_of(proto)).nodes][-1] == "Add"
    check_same(proto, x=X)


def test_images_of_their_own_and_filters_that_come_later() -> None:
    constants: dict[str, Array] = {"w": numbers(4, 4, 3, 3, scale=0.3), "v": numbers(4, 4, 1, 1)}
    two = [node("Conv", "x w", "a", pads=[1] * 4), node("Conv", "z v", "b"), node("Add", "a b", "y")]
    proto = model(two, {"x": [2, 4, 7, 9], "z": [2, 4, 7, 9]}, ["y"], constants)
    assert ops(merge_branches(graph_of(proto))) == ["Conv", "Conv", "Add"]
    check_same(proto, x=X, z=numbers(*X.shape, seed=3))
    late = [node("Conv", "x w", "a", pads=[1] * 4), node("Conv", "x v", "b"), node("Add", "a b", "y")]
    proto = model(late, {"x": [2, 4, 7, 9], "v": [4, 4, 1, 1]}, ["y"], {"w": constants["w"]})
    assert ops(merge_branches(graph_of(proto))) == ["Conv", "Conv", "Add"]
    check_same(proto, x=X, v=constants["v"])
    doubled = model([node("Conv", "x v", "a"), node("Add", "a a", "y")], {"x": [2, 4, 7, 9]}, ["y"], constants)
    assert ops(merge_branches(graph_of(doubled))) == ["Conv", "Add"]
    check_same(doubled, x=X)


def test_a_normalisation_that_trains_is_no_branch() -> None:
    nodes = [
        node("Conv", "x v", "a"),
        node(NORMALISE, "x scale shift mean var", "b m2 v2", training_mode=1),
        node("Add", "a b", "y"),
    ]
    proto = model(nodes, {"x": [2, 4, 7, 9]}, ["y"], {**NORM, "v": numbers(4, 4, 1, 1)})
    assert ops(merge_branches(graph_of(proto))) == ["Conv", NORMALISE, "Add"]
