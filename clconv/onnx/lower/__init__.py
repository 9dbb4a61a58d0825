"""From nodes to launches: one function per family of nodes."""

from __future__ import annotations

from collections.abc import Callable

from clconv.errors import UnsupportedError
from clconv.onnx.functions import UNARY
from clconv.onnx.graph import Graph, Node
from clconv.onnx.lower.convolution import lower_conv, lower_conv_transpose
from clconv.onnx.lower.elementwise import BINARY, lower_batch_norm, lower_binary, lower_unary
from clconv.onnx.lower.inverted import lower_inverted
from clconv.onnx.lower.matrix import lower_gemm, lower_matmul
from clconv.onnx.lower.movement import (
    lower_concat,
    lower_expand,
    lower_identity,
    lower_pad,
    lower_shuffle,
    lower_slice,
    lower_split,
    lower_transpose,
)
from clconv.onnx.lower.pooling import lower_global_pool, lower_pool, lower_reduce_mean, lower_softmax
from clconv.onnx.lower.resize import lower_resize
from clconv.onnx.lower.separable import lower_separable
from clconv.onnx.step import Lowering, Plans

Lower = Callable[[Node, Lowering], None]

LOWERINGS: dict[str, Lower] = {
    **dict.fromkeys(UNARY, lower_unary),
    **dict.fromkeys(BINARY, lower_binary),
    "AveragePool": lower_pool,
    "BatchNormalization": lower_batch_norm,
    "Concat": lower_concat,
    "Conv": lower_conv,
    "ConvTranspose": lower_conv_transpose,
    "Expand": lower_expand,
    "Gemm": lower_gemm,
    "GlobalAveragePool": lower_global_pool,
    "GlobalMaxPool": lower_global_pool,
    "Identity": lower_identity,
    "MatMul": lower_matmul,
    "MaxPool": lower_pool,
    "Pad": lower_pad,
    "ReduceMean": lower_reduce_mean,
    "Resize": lower_resize,
    "InvertedResidual": lower_inverted,
    "Separable": lower_separable,
    "Shuffle": lower_shuffle,
    "Slice": lower_slice,
    "Softmax": lower_softmax,
    "Split": lower_split,
    "Transpose": lower_transpose,
}
"""Nodes that compute at run time."""

VIEWS = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
"""Nodes that change a shape and move nothing."""

FOLDED = (
    *("And", "Cast", "CastLike", "Ceil", "ConstantOfShape", "Equal", "Floor", "Gather", "Greater", "GreaterOrEqual", "Less"),
    *("LessOrEqual", "Mod", "Not", "Or", "Range", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Round", "ScatterND"),
    *("Shape", "Sign", "Size", "Tile", "Where"),
)
"""Nodes that follow from shapes and constants, as in the arithmetic of sizes; they cannot depend on what a tensor holds."""


def check_supported(graph: Graph, late: bool = False) -> None:
    """Refuse a graph with nodes that nothing computes.

    Parameters
    ----------
    graph : Graph
    late : bool
        Every shape is known and all that can be folded was.

    Raises
    ------
    UnsupportedError
        Naming every such node.
    """
    known = {*LOWERINGS, *VIEWS} if late else {*LOWERINGS, *VIEWS, *FOLDED}
    missing = [node for node in graph.nodes if node.op not in known]
    if missing:
        names = ", ".join(f"{node.name!r} ({node.op})" for node in missing)
        one = len(missing) == 1
        verbs = ("depends", "works", "is") if one else ("depend", "work", "are")
        what = (
            f"{verbs[0]} on what tensors hold at run time and only {verbs[1]} on sizes and constants"
            if late
            else f"{verbs[2]} not supported"
        )
        raise UnsupportedError(f"{len(missing)} node{'' if one else 's'} of the model {what}: {names}")


def lower(graph: Graph, plans: Plans) -> Lowering:
    """Return the steps of a graph whose shapes are known.

    Raises
    ------
    UnsupportedError
        If a node is not offered in the form that it has.
    """
    check_supported(graph, late=True)
    lowering = Lowering(graph, plans)
    for node in graph.nodes:
        lowering.start(node)
        if all(0 in lowering.shapes[name] for name in node.outputs if name):
            continue  # nothing to compute
        LOWERINGS[node.op](node, lowering)
    return lowering
