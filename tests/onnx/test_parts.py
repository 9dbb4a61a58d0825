"""Parts of concatenations and splits: computed where they belong, with the bits of a network that copies them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pyopencl as cl
import pytest

import clconv.onnx
from clconv.onnx import layout, program
from clconv.onnx.arena import Arena
from clconv.onnx.parts import Place, place_parts
from clconv.onnx.step import Argument, Channels, Launch, Part, Plans, Step
from clconv.plan import Plan
from clconv.problem import ConvProblem
from clconv.runtime import runtime_of
from clconv.select import Limits, select
from tests.onnx.models import Array, exact, model, node, numbers

SIZES = (5, 13, 24, 40)
CONSTANTS: dict[str, Array] = {
    **{f"w{o}x{i}": numbers(o, i, 1, 1, seed=o + i, scale=0.3) for o in SIZES for i in (*SIZES, 18, 48, 53)},
    **{f"v{o}x{i}": numbers(o, i, 3, 3, seed=o * i, scale=0.15) for o in SIZES for i in SIZES},
    **{f"d{c}": numbers(c, 1, 3, 3, seed=c, scale=0.4) for c in (*SIZES, 48)},
    **{f"{what}{c}": np.abs(numbers(c, seed=c)) + 0.5 for what in ("scale", "var") for c in (29, 34)},
    **{f"{what}{c}": numbers(c, seed=c + 1) for what in ("shift", "mean") for c in (29, 34)},
    "halves": np.array([12, 12]),
    "starts": np.array([8]),
    "ends": np.array([21]),
    "axes": np.array([1]),
}


def conv(filt: str, x: str, y: str, stride: int = 1) -> onnx.NodeProto:
    """A convolution with a filter of CONSTANTS."""
    w = CONSTANTS[filt]
    return node(
        "Conv", f"{x} {filt}", y, pads=[w.shape[2] // 2] * 4, strides=[stride] * 2, group=w.shape[0] if filt[0] == "d" else 1
    )


def cat(inputs: str, y: str, axis: int = 1) -> onnx.NodeProto:
    """A concatenation."""
    return node("Concat", inputs, y, axis=axis)


def norm(x: str, y: str, channels: int) -> onnx.NodeProto:
    """A batch normalisation."""
    return node("BatchNormalization", " ".join([x, *(f"{n}{channels}" for n in ("scale", "shift", "mean", "var"))]), y)


FIRE = [conv("w24x24", "x", "a"), conv("v13x24", "a", "b"), conv("w5x24", "a", "c"), cat("b c", "d"), conv("w24x18", "d", "y")]
GHOST = [conv("w24x24", "x", "a"), conv("d24", "a", "b"), cat("a b", "c"), conv("w13x48", "c", "y")]
DENSE = [
    *(conv("w24x24", "x", "a"), conv("w5x24", "a", "b"), cat("a b", "c"), norm("c", "d", 29), node("Relu", "d", "e")),
    *(node("Slice", "e starts ends axes", "f"), conv("v5x13", "f", "g"), cat("a b g", "h"), norm("h", "i", 34)),
    *(node("Relu", "i", "j"), node("Slice", "j starts ends axes", "k"), conv("w24x13", "k", "y")),
]
STAGE = [
    *(conv("w24x24", "x", "a"), node("Split", "a halves", "b c", axis=1), node("Slice", "c zero five axes", "c5")),
    *(conv("v5x5", "c5", "e"), cat("b c e", "f"), node("Relu", "f", "y")),
]
MIXED = [
    *(conv("w24x24", "x", "a"), node("Slice", "a zero five axes", "b"), node("Slice", "a starts ends axes", "c")),
    *(conv("d5", "b", "e"), conv("d13", "c", "f"), cat("e f", "g"), conv("w24x18", "g", "y")),
]
RESIDUAL = [
    *(conv("w13x24", "x", "a"), conv("v13x13", "a", "b"), node("Add", "a b", "c"), cat("a c x", "d"), node("Relu", "d", "e")),
    *(node("GlobalAveragePool", "e", "y"),),
]
POOLED = [
    *(conv("w13x24", "x", "a"), node("MaxPool", "a", "b", kernel_shape=[3, 3], pads=[1] * 4), conv("w5x13", "a", "c")),
    *(cat("b c", "d"), conv("w24x18", "d", "y")),
]
NESTED = [
    *(conv("w13x24", "x", "a"), conv("w5x24", "x", "b"), cat("a b", "c"), conv("v13x24", "x", "d"), cat("d c c", "e")),
    *(node("Slice", "e zero five axes", "f"), conv("d5", "f", "g"), cat("g e", "h"), node("Relu", "h", "y")),
]
TWICE = [
    *(conv("w13x24", "x", "a"), conv("w5x24", "x", "b"), cat("a b", "c"), cat("b a a", "d"), conv("w5x18", "c", "e")),
    *(node("GlobalAveragePool", "d", "p"), node("GlobalAveragePool", "e", "q"), cat("p q", "y")),
]
SEPARABLE = [
    conv("d24", "x", "a"),
    conv("w13x24", "a", "b"),
    conv("w5x24", "x", "c"),
    cat("c b", "d"),
    conv("w24x18", "d", "y"),
]
INVERTED = [
    *(
        conv("w40x24", "x", "a"),
        node("Relu", "a", "b"),
        conv("d40", "b", "c"),
        node("Relu", "c", "d"),
        conv("w13x40", "d", "e"),
    ),
    *(conv("w5x24", "x", "f"), cat("f e", "g"), conv("w24x18", "g", "y")),
]
NETWORKS = {
    "fire": (FIRE, 2),
    "ghost": (GHOST, 2),
    "dense": (DENSE, 6),
    "stage": (STAGE, 5),
    "mixed": (MIXED, 4),
    "residual": (RESIDUAL, 2),
    "pooled": (POOLED, 2),
    "nested": (NESTED, 7),
    "twice": (TWICE, 2),
    "separable": (SEPARABLE, 2),
    "inverted": (INVERTED, 2),
}
"""Nodes, and how many parts are computed or left where they belong, with images in N H W C."""

Setting = Callable[[str], None]


def network(name: str, batch: int = 2) -> onnx.ModelProto:
    """One of them, of images with 24 channels."""
    more = {"zero": np.array([0]), "five": np.array([5])}
    return model(NETWORKS[name][0], {"x": [batch, 24, 11, 9]}, ["y"], {**CONSTANTS, **more})


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> Setting:
    """Stores images in a layout whatever is faster, in N H W C with algorithms that every CPU has and that know of parts."""
    names = {"pointwise": "pointwise/channel_simd", "depthwise": "depthwise/channel_simd", "standard": "standard/direct_simd"}
    chosen = Plans.of

    def of(plans: Plans, problem: ConvProblem) -> Plan:
        if problem.layout == "NCHW" or not plans.device.is_cpu:
            return chosen(plans, problem)
        return select(problem, plans.device, Limits(names[problem.kind])).plan

    def choose(which: str) -> None:
        monkeypatch.setattr(layout, "_gain", lambda *_: float(which == "NHWC"))
        monkeypatch.setattr(Plans, "of", of)

    return choose


def placed(net: clconv.onnx.Network, x: Any) -> int:
    """How many parts the report speaks of."""
    notes = [note for note in net.explain(x).passes if note.startswith("place parts")]
    return int(notes[0].split()[2]) if notes else 0


def copying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let networks copy all parts from now on."""
    monkeypatch.setattr(program, "place_parts", lambda steps, root, kept: (tuple(steps), {}))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str, dtype: str, stored: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    stored("NHWC")
    proto, x = network(name), numbers(2, 24, 11, 9, seed=3).astype(dtype)
    net = clconv.onnx.load(proto, dtype=dtype)
    y = net(x)
    assert net(x).tobytes() == y.tobytes()
    if Arena.cuts(runtime_of(net.queue)):
        assert placed(net, x) == NETWORKS[name][1]
    copying(monkeypatch)
    copied = clconv.onnx.load(proto, dtype=dtype)
    assert copied(x).tobytes() == y.tobytes()
    assert placed(copied, x) == 0
    (want,) = exact(proto, {"x": x.astype(np.float32)})
    np.testing.assert_allclose(y, want, rtol=0, atol={"float32": 2e-5, "float16": 1e-2}[dtype] * np.abs(want).max())


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_planes(name: str, batch: int, stored: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """In N C H W a part of one image is like any other value; of several images, only what is copied knows of parts."""
    stored("NCHW")
    proto, x = network(name, batch), numbers(batch, 24, 11, 9, seed=4)
    net = clconv.onnx.load(proto)
    y = net(x)
    if Arena.cuts(runtime_of(net.queue)):
        assert batch > 1 or placed(net, x) >= 2
    copying(monkeypatch)
    assert clconv.onnx.load(proto)(x).tobytes() == y.tobytes()


def test_what_a_call_brings_is_copied(stored: Setting) -> None:
    stored("NHWC")
    nodes = [conv("w13x24", "x", "a"), cat("x a", "y")]
    x = numbers(1, 24, 7, 7)
    net = clconv.onnx.load(model(nodes, {"x": [1, 24, 7, 7]}, ["y", "a"], CONSTANTS))
    y, a = net(x)
    assert placed(net, x) == 0
    np.testing.assert_array_equal(y, np.concatenate([x, a], axis=1))


def test_profile_and_single_commands(stored: Setting) -> None:
    """Parts are bound in kernels that are enqueued one by one as well."""
    stored("NHWC")
    x = numbers(2, 24, 11, 9, seed=5)
    net, single = clconv.onnx.load(network("dense")), clconv.onnx.load(network("dense"), stay_awake=False)
    y = net(x)
    assert single(x).tobytes() == y.tobytes()
    assert len(net.profile(x).seconds) == len(net.explain(x).steps)
    assert net(x).tobytes() == y.tobytes()


def step(part: Part | None = None, *, apart: tuple[tuple[str, int], ...] = (), **values: str) -> Step:
    """A step with one launch that takes its values, and says how far apart rows of some are."""
    arguments: tuple[Argument, ...] = (*values, *(Channels(channels, of) for of, channels in apart))
    launch = Launch("kernel", "entry", (), arguments, (1,), (1,))
    return Step("node", "op", "algorithm", (launch,), values, part=part)


def channels_of(one: Step) -> list[Channels]:
    return [a for launch in one.launches for a in launch.arguments if isinstance(a, Channels)]


def placing(*steps: Step, kept: tuple[str, ...] = ()) -> tuple[tuple[Step, ...], dict[str, Place]]:
    """Place parts of values that are no views."""
    return place_parts(steps, lambda name: name, kept)


def test_parts_of_parts() -> None:
    """A pixel of four channels in one of ten, in one of thirty, in a tensor of which all is a row."""
    inner, middle, outer = Part(6, 4, 2, 10, "x"), Part(6, 10, 5, 30, "x"), Part(1, 180, 1000, 2000, "x")
    steps = (
        step(x="i", y="a", apart=(("y", 4),)),
        step(inner, x="a", y="b", apart=(("x", 4), ("y", 10))),
        step(middle, x="b", y="c", apart=(("x", 10), ("y", 30))),
        step(outer, x="c", y="d"),
        step(x="d", y="o"),
    )
    left, places = placing(*steps)
    assert [s.values["y"] for s in left] == ["a", "o"]
    assert places["a"] == Place("d", Part(6, 4, 1007, 30, "x"))
    assert places["b"] == Place("d", Part(6, 10, 1005, 30, "x"))
    assert places["c"] == Place("d", outer)
    assert channels_of(left[0]) == [Channels(30, "y")]
    assert places["a"].part.span == 5 * 30 + 4


@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        (step(x="i", y="a"), None),  # that only writes rows which follow each other
        (step(x="i", y="a", apart=(("x", 4),)), None),
        (step(x="i", y="a", apart=(("y", 5),)), None),  # rows of another length
        (step(x="i", y="a", residual="r", apart=(("y", 4),)), None),  # what is added lies elsewhere
        (step(x="i", y="a", apart=(("y", 4),)), step(x="a", y="o")),
        (step(x="i", y="a", apart=(("y", 4),)), step(x="j", y="o", residual="a", apart=(("y", 4),))),
    ],
)
def test_who_cannot(writer: Step, reader: Step | None) -> None:
    steps = (writer, step(Part(6, 4, 2, 10, "x"), x="a", y="b", apart=(("x", 4), ("y", 10))), *((reader,) if reader else ()))
    left, places = placing(*steps)
    assert left == steps
    assert not places


def test_who_keeps_memory_of_its_own() -> None:
    steps = (step(x="i", y="a"), step(Part(1, 4, 0, 10, "x"), x="a", y="b"), step(x="b", y="o"))
    assert len(placing(*steps)[0]) == 2
    for kept in "ab":
        assert placing(*steps, kept=(kept,)) == (steps, {})


def test_a_residual_lies_as_the_result_does() -> None:
    first, second = Part(6, 4, 0, 8, "x"), Part(6, 4, 4, 8, "x")
    copies = (
        step(first, x="a", y="b", apart=(("x", 4), ("y", 8))),
        step(second, x="c", y="b", apart=(("x", 4), ("y", 8))),
    )
    steps = (step(x="i", y="a", apart=(("y", 4),)), step(x="j", y="c", residual="a", apart=(("x", 4), ("y", 4))), *copies)
    left, places = placing(*steps)
    assert [channels_of(s) for s in left] == [[Channels(8, "y")], [Channels(4, "x"), Channels(8, "y")]]
    assert {name: place.part.at for name, place in places.items()} == {"a": 0, "c": 4}
    # Without its partner each of the two stays where it is.
    assert placing(*steps[:3]) == (steps[:3], {})
    assert placing(*steps[:2], steps[3]) == ((*steps[:2], steps[3]), {})


def test_memory_of_a_part(queue: cl.CommandQueue) -> None:
    runtime = runtime_of(queue)
    if not Arena.cuts(runtime):
        pytest.skip("memory is not cut here")
    arena = Arena(runtime)
    whole = arena.allocate(1000)
    cl.enqueue_copy(queue, whole, np.arange(1000).astype(np.uint8)).wait()
    part = arena.within(whole, 12, 100)
    back = np.empty(100, np.uint8)
    cl.enqueue_copy(queue, back, part).wait()
    np.testing.assert_array_equal(back, np.arange(12, 112))
    cl.enqueue_copy(queue, part, np.zeros(100, np.uint8)).wait()
    back = np.empty(1000, np.uint8)
    cl.enqueue_copy(queue, back, whole).wait()
    assert not back[12:112].any()
    assert back[11] == 11
    assert back[112] == 112
