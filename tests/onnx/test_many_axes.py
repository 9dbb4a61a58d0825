"""Tensors that are broadcast along more axes than a kernel walks."""

from __future__ import annotations

import numpy as np
import pytest

import clconv.onnx
from tests.onnx.models import Array, model, node, numbers

A, B = (2, 1, 9, 8, 4, 3, 5), (2, 2, 9, 1, 1, 3, 5)
"""As RAFT has them, which weighs the neighbours of each pixel for the pixels of an enlarged image."""


def run(op: str, *tensors: Array) -> Array:
    names = "abcd"[: len(tensors)]
    sizes: dict[str, list[int | str | None]] = {n: list(t.shape) for n, t in zip(names, tensors, strict=True)}
    y: Array = clconv.onnx.load(model([node(op, " ".join(names), "y")], sizes, ["y"]))(*tensors)
    return y


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("op", "function"), [("Mul", np.multiply), ("Sub", np.subtract), ("Max", np.maximum)])
def test_two(op: str, function: np.ufunc, turned: bool) -> None:
    tensors = [numbers(*A), numbers(*B, seed=1)][:: -1 if turned else 1]
    np.testing.assert_array_equal(run(op, *tensors), function(*tensors))


def test_neither_has_the_shape_of_both() -> None:
    a, b = numbers(2, 1, 3, 1, 5, 1), numbers(1, 4, 1, 6, 1, 7, seed=1)
    np.testing.assert_array_equal(run("Mul", a, b), a * b)


def test_three() -> None:
    tensors = [numbers(*A), numbers(*B, seed=1), numbers(1, 2, 1, 8, 1, 3, 1, seed=2)]
    np.testing.assert_array_equal(run("Max", *tensors), np.maximum(np.maximum(tensors[0], tensors[1]), tensors[2]))


def test_comparisons_and_choices() -> None:
    a, b, c = numbers(*A), numbers(*B, seed=1), numbers(1, 2, 1, 8, 1, 3, 1, seed=2)
    sizes: dict[str, list[int | str | None]] = {n: list(t.shape) for n, t in zip("abc", (a, b, c), strict=True)}
    nodes = [node("Less", "a b", "l"), node("Where", "l c a", "y")]
    np.testing.assert_array_equal(clconv.onnx.load(model(nodes, sizes, ["y"]))(a, b, c), np.where(a < b, c, a))


def test_every_other_axis() -> None:
    a, b = numbers(*(2, 1) * 8), numbers(*(1, 2) * 8, seed=1)
    np.testing.assert_array_equal(run("Mul", a, b), a * b)


def test_an_expansion_along_every_other_axis() -> None:
    a = numbers(*(2, 1) * 6)
    y = clconv.onnx.load(model([node("Expand", "a shape", "y")], {"a": list(a.shape)}, ["y"], {"shape": np.full(12, 2)}))(a)
    np.testing.assert_array_equal(y, np.broadcast_to(a, (2,) * 12))
