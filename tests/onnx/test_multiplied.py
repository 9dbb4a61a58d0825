"""Weights multiplied piece by piece: the same bits, and little of them in memory at once."""

from __future__ import annotations

import mmap
import tracemalloc

import numpy as np
import pytest

from clconv.onnx import graph as graphs
from clconv.onnx.graph import Array, Graph
from clconv.onnx.passes import BEFORE, run
from clconv.onnx.read import graph_of
from tests.onnx.models import model, node, numbers

RNG = np.random.default_rng(0)
NONE = Graph((), {}, (), ())


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("piece", [1, 50, 1 << 16])
def test_the_product_is_that_of_all_at_once(dtype: type, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "_PIECE", piece)
    w: Array = RNG.standard_normal((13, 5, 3, 3)).astype(dtype)
    for factors in (RNG.standard_normal((13, 1, 1, 1)), RNG.standard_normal((1, 5, 1, 1)), 0.3, 0.0):
        want = NONE.stored(w.astype(np.float64) * factors, w.dtype.name)
        got = NONE.multiplied(w, factors)
        assert want is not None
        assert got is not None
        assert got.dtype == w.dtype
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("factor", [1e30, np.nan, np.inf])
@pytest.mark.parametrize("row", [0, 12])
def test_what_the_type_does_not_hold_is_no_product(factor: float, row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "_PIECE", 1)
    w, factors = np.full((13, 2, 1, 1), 1e10, np.float32), np.ones((13, 1, 1, 1))
    assert NONE.multiplied(w, factors) is not None
    factors[row] = factor
    assert NONE.multiplied(w, factors) is None


def test_what_is_too_small_for_the_type_is_no_product() -> None:
    w = np.ones((13, 2, 1, 1), np.float32)
    assert NONE.multiplied(w, 1e-44) is None
    assert NONE.multiplied(w, np.array([1e-44, 1.0]).reshape(1, 2, 1, 1)) is not None


def test_large_products_are_no_part_of_the_heap() -> None:
    product = NONE.multiplied(np.ones((512, 1024), np.float32), 2.0)
    assert product is not None
    assert (product == 2).all()
    base = product.base
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base.obj if isinstance(base, memoryview) else base, mmap.mmap)


def test_passes_take_little_memory_beside_the_weights() -> None:
    """Normalisations are folded into two filters of 4 MiB, whose results are added but are no branches of one image."""
    shape = (1024, 1024, 1, 1)
    norm = {f"{name}{i}": np.ones(1024, np.float32) for name in "smbv" for i in (0, 1)}
    nodes = [
        *(node("Conv", "x w0", "y0"), node("BatchNormalization", "y0 s0 b0 m0 v0", "z0")),
        *(node("Conv", "z0 w1", "y1"), node("BatchNormalization", "y1 s1 b1 m1 v1", "z1"), node("Add", "z0 z1", "t")),
    ]
    read = graph_of(model(nodes, {"x": [1, 1024, 7, 7]}, ["t"], norm | {"w0": numbers(*shape), "w1": numbers(*shape)}))
    tracemalloc.start()
    try:
        graph = run(read, BEFORE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [each.op for each in graph.nodes] == ["Conv", "Conv", "Add"]
    assert peak < 3 << 20
