"""Random networks out of the idioms that exports are made of, for the passes to find, and to leave alone where they must."""

from __future__ import annotations

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.onnx.builder import Builder, Shape
from tests.onnx.idioms import IDIOMS

OPSET = 18
MOST_ELEMENTS = 20_000
"""Of a tensor; the reference takes its time."""


def head(b: Builder, x: str, shape: Shape) -> str:
    """Add a classifier."""
    c = shape[1]
    y = b.node("Flatten", b.node("GlobalAveragePool", x), axis=1)
    y = b.node("Gemm", y, b.constant(5, c), b.constant(5), transB=1)
    return str(b.node("Softmax", y, axis=1)) if b.some(True, False) else str(y)


@st.composite
def networks(draw: st.DrawFn) -> onnx.ModelProto:
    """A network of some idioms."""
    return network(Builder(draw))


def network(b: Builder) -> onnx.ModelProto:
    """Build a network of some idioms, with a first axis of any length, one or more outputs, and Identities here and there."""
    size = (1, b.some(3, 4, 8), b.some(8, 7, 14), b.some(8, 9, 14))
    b.images.append(("x", size))
    for _ in range(b.some(*range(2, 10))):
        x, shape = b.image()
        if b.some(False, False, False, False, True):
            x = b.node("Identity", x)
        y, shape = b.some(*IDIOMS)(b, x, shape)
        if np.prod(shape) > MOST_ELEMENTS:
            break
        b.images.append((y, shape))
    outputs = [b.images[-1][0] if b.some(True, False) else head(b, *b.images[-1])]
    if b.some(False, False, True):
        outputs += [name for name, _ in b.images[1:-1] if b.some(False, False, True)]
    graph = helper.make_graph(
        b.nodes,
        "drawn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *size[1:]])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in dict.fromkeys(outputs)],
        [numpy_helper.from_array(value, name) for name, value in b.constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    made.ir_version = 8
    return onnx.shape_inference.infer_shapes(made)
