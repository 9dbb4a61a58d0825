"""Writes a network as an ONNX model, layer by layer, with weights from a seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

OPSET = 17
_IR_VERSION = 8  # the version that belongs to this operator set; newer ones are refused by older runtimes

Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[Any]]


class Builder:
    """A network in the making. Every method adds nodes behind a value and returns the new value's name.

    Weights are drawn when :meth:`model` is called, so the number of parameters costs nothing.

    Parameters
    ----------
    name : str
    size : int
        Height and width of the image.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.parameters = 0
        self.channels: dict[str, int] = {"x": 3}
        self._nodes: list[onnx.NodeProto] = []
        self._drawn: list[tuple[str, tuple[int, ...], Draw]] = []
        self._fixed: dict[str, NDArray[Any]] = {}

    def node(self, op: str, inputs: list[str], channels: int, **attributes: Any) -> str:
        """Add any node with one output."""
        output = f"{op.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        self.channels[output] = channels
        return output

    def weight(self, name: str, shape: tuple[int, ...], draw: Draw, trained: bool = True) -> str:
        """Add a tensor; what training changes counts as a parameter."""
        self._drawn.append((name, shape, draw))
        self.parameters += math.prod(shape) if trained else 0
        return name

    def fixed(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant that is no parameter."""
        self._fixed[name] = value
        return name

    def conv(self, x: str, oc: int, k: int, *, stride: int = 1, groups: int = 1, bias: bool = False, gain: float = 2.0) -> str:
        """Convolve, with half the filter as padding."""
        name = f"conv{len(self._nodes)}"
        shape = (oc, self.channels[x] // groups, k, k)
        deviation = math.sqrt(gain / math.prod(shape[1:]))
        inputs = [x, self.weight(f"{name}.weight", shape, lambda random, s: deviation * random.standard_normal(s, np.float32))]
        if bias:
            inputs.append(self.weight(f"{name}.bias", (oc,), lambda random, s: 0.05 * random.standard_normal(s, np.float32)))
        return self.node("Conv", inputs, oc, kernel_shape=[k, k], strides=[stride] * 2, pads=[k // 2] * 4, group=groups)

    def batch_norm(self, x: str, scale: float = 1.0) -> str:
        """Normalise with statistics that were counted in training."""
        name, c = f"bn{len(self._nodes)}", self.channels[x]

        def around(center: float, spread: float) -> Draw:
            return lambda random, s: (center + spread * (2 * random.random(s, np.float32) - 1)).astype(np.float32)

        inputs = [
            x,
            self.weight(f"{name}.weight", (c,), around(scale, 0.2 * scale)),
            self.weight(f"{name}.bias", (c,), around(0, 0.1)),
            self.weight(f"{name}.running_mean", (c,), around(0, 0.1), trained=False),
            self.weight(f"{name}.running_var", (c,), around(1, 0.2), trained=False),
        ]
        return self.node("BatchNormalization", inputs, c)

    def relu(self, x: str) -> str:
        """Cut off below 0."""
        return self.node("Relu", [x], self.channels[x])

    def relu6(self, x: str) -> str:
        """Cut off below 0 and above 6."""
        low, high = self.fixed("zero", np.array(0, np.float32)), self.fixed("six", np.array(6, np.float32))
        return self.node("Clip", [x, low, high], self.channels[x])

    def add(self, a: str, b: str) -> str:
        """Add two tensors."""
        return self.node("Add", [a, b], self.channels[a])

    def max_pool(self, x: str, k: int, stride: int, padding: int = 0) -> str:
        """Take the largest of a window."""
        return self.node("MaxPool", [x], self.channels[x], kernel_shape=[k, k], strides=[stride] * 2, pads=[padding] * 4)

    def global_average(self, x: str) -> str:
        """Average every channel, and drop the spatial axes."""
        pooled = self.node("GlobalAveragePool", [x], self.channels[x])
        return self.node("Flatten", [pooled], self.channels[x])

    def dense(self, x: str, n: int, k: int | None = None, gain: float = 1.0) -> str:
        """Multiply with a matrix of ``n`` rows and add a bias."""
        name, k = f"fc{len(self._nodes)}", k or self.channels[x]
        deviation = math.sqrt(gain / k)
        w = self.weight(f"{name}.weight", (n, k), lambda random, s: deviation * random.standard_normal(s, np.float32))
        b = self.weight(f"{name}.bias", (n,), lambda random, s: 0.05 * random.standard_normal(s, np.float32))
        return self.node("Gemm", [x, w, b], n, transB=1)

    def model(self, output: str, seed: int) -> onnx.ModelProto:
        """Draw the weights and return the model: input ``x`` (N, 3, size, size), output ``y`` (N, classes)."""
        random = np.random.default_rng(seed)
        tensors = [numpy_helper.from_array(draw(random, shape), name) for name, shape, draw in self._drawn]
        tensors += [numpy_helper.from_array(np.asarray(value), name) for name, value in self._fixed.items()]
        for node in self._nodes:
            if output in node.output:
                node.output[0] = "y"
        f32 = onnx.TensorProto.FLOAT
        x = helper.make_tensor_value_info("x", f32, ["N", 3, self.size, self.size])
        y = helper.make_tensor_value_info("y", f32, ["N", self.channels[output]])
        graph = helper.make_graph(self._nodes, self.name, [x], [y], tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="clconv")
        model.ir_version = _IR_VERSION
        return model
