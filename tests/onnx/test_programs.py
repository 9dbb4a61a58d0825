"""What a network keeps for each shape: under which key, with which memory and constants."""

from __future__ import annotations

import gc
import itertools
from typing import Any

import numpy as np
import onnx
import pytest

import clconv.onnx
from clconv.onnx.graph import derived
from clconv.onnx.step import Plans
from clconv.onnx.store import Store
from clconv.plan import Plan
from clconv.problem import ConvProblem
from clconv.select import Limits, select
from tests.onnx.models import exact, model, node, numbers


def test_contents_that_steer_make_another_program() -> None:
    proto = model([node("Pad", "x p", "y")], {"x": [1, 1, 2, 3]}, ["y"])
    proto.graph.input.append(onnx.helper.make_tensor_value_info("p", onnx.TensorProto.INT64, [8]))
    net, x = clconv.onnx.load(proto), numbers(1, 1, 2, 3)
    for p in ([0, 0, 1, 0, 0, 0, 0, 2], [0, 0, 0, 2, 0, 0, 1, 0], [0, 0, 1, 0, 0, 0, 0, 2]):
        np.testing.assert_array_equal(net(x, np.array(p)), np.pad(x, [(p[i], p[i + 4]) for i in range(4)]))


def test_constants_that_differ_with_the_input_are_told_apart() -> None:
    """Of the same name and shape: a sum of the sizes."""
    nodes = [
        node("Shape", "x", "s"),
        node("Cast", "s", "f", to=onnx.TensorProto.FLOAT),
        node("ReduceSum", "f", "n", keepdims=1),
        node("Mul", "x n", "y"),
    ]
    net = clconv.onnx.load(model(nodes, {"x": ["A", "B"]}, ["y"], opset=13))
    for shape in ((2, 3), (3, 5), (2, 3)):
        np.testing.assert_allclose(net(np.ones(shape, np.float32)), np.full(shape, sum(shape)))


def test_scratch_lives_as_long_as_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else tensors that are alive would lie in the same memory."""

    def plan(self: Plans, problem: ConvProblem) -> Plan:
        return select(problem, self.device, Limits("standard/winograd_simt")).plan

    monkeypatch.setattr(Plans, "of", plan)
    nodes = [node("Conv", f"c{i} w{i}", f"c{i + 1}", pads=[1] * 4) for i in range(3)] + [node("Add", "c1 c3", "y")]
    constants = {f"w{i}": numbers(16, 16, 3, 3, seed=i, scale=0.1) for i in range(3)}
    proto = model(nodes, {"c0": [1, 16, 14, 14]}, ["y"], constants)
    net, x = clconv.onnx.load(proto), numbers(1, 16, 14, 14)
    program = net._program_for([x])
    spans = {value.name: (value.first, value.last) for value in program.lifetimes}
    scratch = [(index, name) for index, step in enumerate(program.steps) for name in step.scratch]
    assert scratch
    for index, name in scratch:
        assert spans[derived(f"step {index}", name)] == (index, index)
    want = exact(proto, {"c0": x})[0]
    np.testing.assert_allclose(net(x), want, atol=1e-3 * np.abs(want).max())


def test_what_is_interrupted_while_it_is_packed_is_packed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-C in the first call."""
    proto = model([node("Conv", "x w", "y", pads=[1] * 4)], {"x": [1, 16, 16, 16]}, ["y"], {"w": numbers(16, 16, 3, 3, seed=1)})
    net, x = clconv.onnx.load(proto), numbers(1, 16, 16, 16)
    pack, calls = Store._pack, itertools.count()

    def interrupted(*args: Any) -> None:
        if not next(calls):
            raise KeyboardInterrupt
        pack(*args)

    monkeypatch.setattr(Store, "_pack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        net(x)
    want = exact(proto, {"x": x})[0]
    np.testing.assert_allclose(net(x), want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_constants_of_one_size_end_with_its_program() -> None:
    """Tables of Resize, and filters that are shortened to the rows of an image, of more sizes than programs are kept."""
    nodes = [node("Resize", "x _ s", "z", mode="linear"), node("Conv", "z w", "y", dilations=[12, 1], pads=[12, 0, 12, 0])]
    constants = {"s": np.array([1, 1, 1.5, 1.5], np.float32), "w": numbers(8, 8, 3, 1, seed=1)}
    net = clconv.onnx.load(model(nodes, {"x": [1, 8, "H", "W"]}, ["y"], constants))
    counts = []
    for i in range(40):
        x = numbers(1, 8, 6 + i, 8 + i)
        y = net(x)
        if i in (0, 39):
            np.testing.assert_array_equal(clconv.onnx.load(model(nodes, {"x": [*x.shape]}, ["y"], constants))(x), y)
        gc.collect()
        counts.append(net._store.bytes)
    assert counts[39] < 2.5 * counts[19]  # sixteen programs each, of images not twice as high and wide
