"""``Convolution.prepare``: what calls need is there before they come."""

from __future__ import annotations

import numpy as np
import pyopencl as cl
import pyopencl.array as cla
import pytest

import clconv
from clconv import convolution
from clconv.programs import Programs

SHAPES = ((1, 16, 9, 9), (2, 16, 33, 40), (1, 16, 60, 61))
W = np.random.default_rng(0).standard_normal((24, 16, 3, 3)).astype("f")


def image(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype("f")


@pytest.mark.parametrize("device_arrays", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_calls_build_nothing(
    residual: bool, device_arrays: bool, queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    conv, plain = (clconv.Convolution(W, padding=1, queue=queue) for _ in range(2))
    conv.prepare(*SHAPES, residual=residual, device_arrays=device_arrays)
    want = [plain(image(shape), residual=np.ones((shape[0], 24, *shape[2:]), "f") if residual else None) for shape in SHAPES]
    monkeypatch.setattr(conv, "_plan", lambda problem: pytest.fail(f"{problem} is planned"))
    monkeypatch.setattr(Programs, "_build", lambda *_: pytest.fail("a program is built"))
    for shape, y in zip(SHAPES, want, strict=True):
        x, r = image(shape), np.ones(y.shape, "f") if residual else None
        if device_arrays:
            there = None if r is None else cla.to_device(queue, r)
            got = conv(cla.to_device(queue, x), residual=there).get()
        else:
            got = conv(x, residual=r)
        np.testing.assert_array_equal(got, y)


def test_programs_are_asked_for_at_once(queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of all shapes and of the filter, in one go, before the first of them is built here."""
    asked: list[set[str]] = []
    monkeypatch.setattr(convolution, "build_ahead", lambda _, launches: asked.append({each.entry for each in launches}))
    conv = clconv.Convolution(W, padding=1, algorithm="reference", queue=queue)
    conv.prepare(*SHAPES)
    assert asked == [{"conv_reference"}]
    asked.clear()
    auto = clconv.Convolution(W, padding=1, queue=queue)
    auto.prepare(*SHAPES)
    made = [executable for ready in auto._ready.values() for _, _, executable, _ in ready.parts]
    entries = {launch.entry for executable in made for launch in (*executable.launches, *executable.packing)}
    assert set().union(*asked) == entries


def test_a_shape_that_does_not_fit_leaves_all_unprepared(queue: cl.CommandQueue) -> None:
    conv = clconv.Convolution(W, padding=1, queue=queue)
    with pytest.raises(clconv.ShapeError, match="7"):
        conv.prepare((1, 16, 9, 9), (1, 7, 9, 9))
    assert not conv._ready
    conv.prepare()
    assert not conv._ready
    conv.prepare((0, 16, 9, 9))
    assert conv(np.empty((0, 16, 9, 9), "f")).shape == (0, 24, 9, 9)
