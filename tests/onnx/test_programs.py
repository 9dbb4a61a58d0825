"""What a network keeps for each shape: under which key, with which memory and constants."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import clconv.onnx
from clconv.onnx.step import Plans
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
        assert spans[f"step {index} {name}"] == (index, index)
    want = exact(proto, {"c0": x})[0]
    np.testing.assert_allclose(net(x), want, atol=1e-3 * np.abs(want).max())
