"""Einsums of two tensors are products of matrices."""

from __future__ import annotations

import numpy as np
import pytest

import clconv.onnx
from clconv.errors import ShapeError, UnsupportedError
from tests.onnx.models import Array, model, node, numbers

SIZES = {"b": 2, "h": 3, "i": 5, "j": 7, "d": 4, "c": 6, "p": 1}


def tensor(letters: str, seed: int) -> Array:
    return numbers(*(SIZES[c] for c in letters), seed=seed)


@pytest.mark.parametrize(
    "equation",
    [
        "bhid,bhjd->bhij",  # attention
        "bhij,bhjd->bhid",
        "b h i d, b h j d -> b h i j",
        "bihd,bjhd->bhij",
        "bcij,dc->bdij",
        "dc,bcij->bdij",
        "bij,bji->b",
        "id,jd->ij",
        "i,j->ij",
        "i,i->",
        "bi,bi->bi",
        "bhij,jp->ihpb",
        "cbij,hbjd->ihcdb",
    ],
)
@pytest.mark.parametrize("constant", [False, True])
def test_products(equation: str, constant: bool) -> None:
    first, second = equation.replace(" ", "").split("->")[0].split(",")
    a, b = tensor(first, 1), tensor(second, 2)
    inputs: dict[str, list[int | str | None]] = {"a": [None] * a.ndim, **({} if constant else {"b": [*b.shape]})}
    proto = model([node("Einsum", "a b", "y", equation=equation)], inputs, ["y"], {"b": b} if constant else {})
    net = clconv.onnx.load(proto)
    y = net(a) if constant else net(a, b)
    want = np.einsum(equation, a.astype(np.float64), b.astype(np.float64))
    assert y.shape == want.shape
    np.testing.assert_allclose(y, want, rtol=0, atol=1e-5 * max(1, np.abs(want).max()))
    assert "multiply einsums: 1 made" in str(net.explain(*([a.shape] if constant else [a.shape, b.shape])))


@pytest.mark.parametrize(
    ("equation", "first", "second"),
    [
        ("bij,bjk->bik", (4, 2, 3), (1, 3, 5)),
        ("bij,bjk->bik", (1, 2, 3), (4, 3, 5)),
        ("ij,jk->ik", (2, 1), (4, 5)),
        ("ij,jk->ki", (2, 3), (1, 5)),
        ("bi,bi->bi", (2, 1), (1, 3)),
        ("ij,jk->ik", (2, 1), (0, 5)),
    ],
)
@pytest.mark.parametrize("constant", [False, True])
def test_sizes_of_1_are_repeated(equation: str, first: tuple[int, ...], second: tuple[int, ...], constant: bool) -> None:
    a, b = numbers(*first, seed=1), numbers(*second, seed=2)
    inputs: dict[str, list[int | str | None]] = {"a": [*first], **({} if constant else {"b": [*second]})}
    nodes = [node("Einsum", "a b", "p", equation=equation), node("Mul", "p p", "y")]  # which needs to know the shape
    y = clconv.onnx.load(model(nodes, inputs, ["y"], {"b": b} if constant else {}))(*([a] if constant else [a, b]))
    want = np.einsum(equation, a, b) ** 2
    assert y.shape == want.shape
    np.testing.assert_allclose(y, want, rtol=0, atol=1e-5 * want.max(initial=1))


@pytest.mark.parametrize(("first", "second"), [((2, 3), (4, 5)), ((2, 0), (4, 5))])
def test_other_sizes_along_the_same_letter_are_refused(first: tuple[int, int], second: tuple[int, int]) -> None:
    proto = model([node("Einsum", "a b", "y", equation="ij,jk->ik")], {"a": [None] * 2, "b": [None] * 2}, ["y"])
    with pytest.raises(
        ShapeError, match=rf"the Einsum of y.*along 'j' of .* are {first[1]} and 4; they must be the same or 1$"
    ):
        clconv.onnx.load(proto)(numbers(*first), numbers(*second))


def test_in_float16() -> None:
    a, b = tensor("bhid", 1).astype(np.float16), tensor("bhjd", 2).astype(np.float16)
    proto = model([node("Einsum", "a b", "y", equation="bhid,bhjd->bhij")], {"a": [*a.shape], "b": [*b.shape]}, ["y"])
    y = clconv.onnx.load(proto, dtype="float16")(a, b)
    np.testing.assert_allclose(y, np.einsum("bhid,bhjd->bhij", a.astype("f"), b.astype("f")), rtol=0, atol=2e-2)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("...i,...i->...", ["bi", "bi"]),
        ("ii,ij->ij", ["ii", "ij"]),
        ("bij,j->b", ["bij", "j"]),
        ("bij->bji", ["bij"]),
        ("ij,jd,dc->ic", ["ij", "jd", "dc"]),
    ],
    ids=["ellipsis", "diagonal", "a sum of one tensor", "one tensor", "three tensors"],
)
def test_others_are_refused(equation: str, shapes: list[str]) -> None:
    inputs: dict[str, list[int | str | None]] = {f"x{i}": [SIZES[c] for c in s] for i, s in enumerate(shapes)}
    proto = model([node("Einsum", " ".join(inputs), "y", equation=equation)], inputs, ["y"])
    with pytest.raises(UnsupportedError, match=r"\(Einsum, which only works on sizes and constants\)"):
        clconv.onnx.load(proto)


@pytest.mark.parametrize(
    ("equation", "a", "b"), [("nk,kc", (3, 5), (5, 2)), ("bik,bkj", (2, 3, 5), (2, 5, 4)), ("kA,kB", (5, 2), (5, 3))]
)
def test_without_an_arrow(equation: str, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    """The result has the letters that occur once, in the order of the alphabet."""
    x, w = numbers(*a), numbers(*b, seed=1)
    net = clconv.onnx.load(model([node("Einsum", "x w", "y", equation=equation)], {"x": list(a), "w": list(b)}, ["y"]))
    np.testing.assert_allclose(net(x, w), np.einsum(equation, x, w), atol=1e-5)
