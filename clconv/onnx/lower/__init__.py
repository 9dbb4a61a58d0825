"""From nodes to launches: one function per family of nodes."""

from __future__ import annotations

import math
from collections.abc import Callable

from clconv.errors import ShapeError, UnsupportedError
from clconv.onnx.einsum import is_product
from clconv.onnx.functions import UNARY
from clconv.onnx.graph import Graph, Node
from clconv.onnx.lower.convolution import lower_conv
from clconv.onnx.lower.elementwise import BINARY, lower_batch_norm, lower_binary, lower_cast, lower_unary
from clconv.onnx.lower.gather import lower_gather, lower_gather_elements, lower_gather_nd
from clconv.onnx.lower.grid_sample import lower_grid_sample
from clconv.onnx.lower.interleave import lower_depth_to_space, lower_space_to_depth
from clconv.onnx.lower.inverted import lower_inverted
from clconv.onnx.lower.logic import ARG_EXTREME, COMPARE, lower_arg_extreme, lower_compare, lower_not, lower_where
from clconv.onnx.lower.matrix import lower_gemm, lower_matmul
from clconv.onnx.lower.movement import (
    lower_concat,
    lower_expand,
    lower_identity,
    lower_pad,
    lower_shuffle,
    lower_slice,
    lower_split,
    lower_tile,
    lower_transpose,
)
from clconv.onnx.lower.normalization import (
    lower_channel_norm,
    lower_group_norm,
    lower_instance_norm,
    lower_layer_norm,
    lower_lrn,
)
from clconv.onnx.lower.pooling import REDUCE, along_first, lower_global_pool, lower_pool, lower_reduce, lower_softmax
from clconv.onnx.lower.resize import lower_resize, offered
from clconv.onnx.lower.scatter import lower_scatter_elements, lower_scatter_nd
from clconv.onnx.lower.separable import lower_separable
from clconv.onnx.lower.top_k import lower_top_k
from clconv.onnx.lower.transposed import lower_conv_transpose
from clconv.onnx.statistics import trains
from clconv.onnx.step import Lowering, Plans, itemsize

Lower = Callable[[Node, Lowering], None]

LOWERINGS: dict[str, Lower] = {
    **dict.fromkeys(UNARY, lower_unary),
    **dict.fromkeys(BINARY, lower_binary),
    **dict.fromkeys(REDUCE, lower_reduce),
    **dict.fromkeys(COMPARE, lower_compare),
    **dict.fromkeys(ARG_EXTREME, lower_arg_extreme),
    "AveragePool": lower_pool,
    "BatchNormalization": lower_batch_norm,
    "Cast": lower_cast,
    "CastLike": lower_cast,
    "ChannelNormalization": lower_channel_norm,
    "Concat": lower_concat,
    "Conv": lower_conv,
    "ConvTranspose": lower_conv_transpose,
    "DepthToSpace": lower_depth_to_space,
    "Expand": lower_expand,
    "Gather": lower_gather,
    "GatherElements": lower_gather_elements,
    "GatherND": lower_gather_nd,
    "Gemm": lower_gemm,
    "GlobalAveragePool": lower_global_pool,
    "GlobalMaxPool": lower_global_pool,
    "GroupNormalization": lower_group_norm,
    "Identity": lower_identity,
    "InstanceNormalization": lower_instance_norm,
    "LRN": lower_lrn,
    "LayerNormalization": lower_layer_norm,
    "LogSoftmax": lower_softmax,
    "MatMul": lower_matmul,
    "MaxPool": lower_pool,
    "Not": lower_not,
    "Pad": lower_pad,
    "Resize": lower_resize,
    "GridSample": lower_grid_sample,
    "InvertedResidual": lower_inverted,
    "ScatterElements": lower_scatter_elements,
    "ScatterND": lower_scatter_nd,
    "Separable": lower_separable,
    "Shuffle": lower_shuffle,
    "Slice": lower_slice,
    "Softmax": lower_softmax,
    "SpaceToDepth": lower_space_to_depth,
    "Split": lower_split,
    "Tile": lower_tile,
    "TopK": lower_top_k,
    "Transpose": lower_transpose,
    "Where": lower_where,
}
"""Nodes that compute at run time."""

VIEWS = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
"""Nodes that change a shape and move nothing."""

FOLDED = (
    *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "ConstantOfShape", "Cosh", "CumSum", "Einsum", "EyeLike"),
    *("If", "IsInf", "IsNaN", "Mod", "NonZero", "OneHot", "Range", "Shape"),
    *("Sinh", "Size", "Tan", "Trilu"),
)
"""Nodes that follow from shapes and constants, as in the arithmetic of sizes; they cannot depend on what a tensor holds, but
for an Einsum that is a product."""


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
    dependent = () if late else _dependent(graph)
    missing = []
    for node in graph.nodes:
        if trains(node):
            if late or node in dependent:
                missing.append((node, " in training mode, which only works on sizes and constants"))
        elif node.op not in known or node in dependent:
            missing.append((node, ", which only works on sizes and constants" if node.op in FOLDED else ""))
        elif form := _form(node, graph):
            missing.append((node, form))
    if missing:
        names = ", ".join(f"{node.name!r} ({node.op}{why})" for node, why in missing)
        verb = " of the model is" if len(missing) == 1 else "s of the model are"
        quantised = any("Quantize" in node.op or node.op.startswith("QLinear") for node, _ in missing)
        advice = "the model is quantised, load the one that it was made from: " if quantised else ""
        raise UnsupportedError(f"{advice}{len(missing)} node{verb} not supported: {names}")


def _check_memory(graph: Graph, plans: Plans) -> None:
    """Refuse a tensor that all of the device's memory would not hold, before tables are made for it."""
    most = plans.device.global_mem_bytes
    for node in graph.nodes:
        for name in filter(None, node.outputs):
            size = math.prod(graph.shapes[name]) * itemsize(graph.dtypes[name])
            if size > most:
                raise ShapeError(
                    f"the node {node.name!r} ({node.op}) gives {graph.shapes[name]}, {size >> 20} MiB, and the device has "
                    f"{most >> 20}; pass smaller inputs"
                )


def _form(node: Node, graph: Graph) -> str:
    """Return what of a node's form is not offered, as far as it can be told without shapes."""
    if node.op == "Resize" and not offered(node):
        return ", which smooths or crops the image"
    if node.op not in ("Conv", "ConvTranspose", "MaxPool", "AveragePool"):
        return ""
    filt = graph.constant(node.input(1)) if node.op in ("Conv", "ConvTranspose") else None
    sizes = node.get("kernel_shape") if filt is None else filt.shape[2:]
    axes = None if sizes is None else len(sizes)  # a filter that is computed is looked at when its shape is known
    pools_one = axes == 3 and node.op in ("MaxPool", "AveragePool") and along_first(node)
    if axes not in (None, 1, 2) and not pools_one:
        return f" over {axes} spatial axes, where 1 or 2 are supported"
    if node.op == "MaxPool" and len(node.outputs) > 1 and node.outputs[1]:
        return ", which also returns where its maxima are"
    return ""


def _dependent(graph: Graph) -> list[Node]:
    """Return the nodes of :data:`FOLDED` and those that train that depend on what a tensor holds, as far as can be told yet.

    What only sizes are taken of is not computed.
    """
    wanted = set(graph.outputs)
    for node in reversed(graph.nodes):
        if node.op not in ("Shape", "Size") and not wanted.isdisjoint(node.outputs):
            wanted.update(node.inputs)
    held = {port.name for port in graph.inputs if not port.steers}  # what depends on contents
    result = []
    for node in graph.nodes:
        if held.isdisjoint(node.inputs) or node.op in ("Shape", "Size"):
            continue
        decided = held.isdisjoint(node.inputs[:1]) if node.op == "If" else False  # by sizes
        held.update(node.outputs)
        folded = (node.op in FOLDED and not is_product(node)) or trains(node)
        if folded and not decided and not wanted.isdisjoint(node.outputs):
            result.append(node)
    return result


def lower(graph: Graph, plans: Plans) -> Lowering:
    """Return the steps of a graph whose shapes are known.

    Raises
    ------
    UnsupportedError
        If a node is not offered in the form that it has.
    """
    check_supported(graph, late=True)
    _check_memory(graph, plans)
    lowering = Lowering(graph, plans)
    for node in graph.nodes:
        lowering.start(node)
        if all(0 in lowering.shapes[name] for name in node.outputs if name):
            continue  # nothing to compute
        LOWERINGS[node.op](node, lowering)
    return lowering
