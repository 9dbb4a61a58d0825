"""Passes over a graph: each takes one and returns a better one that computes the same.

Those of :data:`BEFORE` look at constants alone and run once, when a model is loaded. Those of :data:`AFTER` know every
shape and run once per input shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from clconv.activation import ACTIVATIONS
from clconv.onnx.branches import merge_branches
from clconv.onnx.concats import chain_concats, concat_last, join_splits
from clconv.onnx.dense import add_rows, fold_columns, scale_columns
from clconv.onnx.einsum import multiply_einsums
from clconv.onnx.folding import CONVOLUTIONS, fold_batchnorm
from clconv.onnx.functions import UNARY, function_of
from clconv.onnx.graph import VIEWS, Graph, Node, derived, without_dead
from clconv.onnx.group_norm import fuse_group_norm
from clconv.onnx.infer import fold_constants
from clconv.onnx.layer_norm import fuse_layer_norm
from clconv.onnx.linear import gather_small
from clconv.onnx.lower import check_supported
from clconv.onnx.lower.pooling import REDUCE
from clconv.onnx.norm_scales import scale_behind_norms
from clconv.onnx.products import fuse_products
from clconv.onnx.rewrite import (
    drop_identities,
    drop_idle,
    normalise_channels,
    plain_powers,
    pool_first,
    pool_means,
    read_unexpanded,
)
from clconv.onnx.scales import drop_units, scale_filters, scale_functions
from clconv.onnx.shuffle import fuse_shuffle
from clconv.onnx.tokens import functions_first, images_of_tokens
from clconv.onnx.trim import trim_filters
from clconv.onnx.words import check_words
from clconv.onnx.written_out import fuse_written_out

Pass = Callable[[Graph], Graph]

_TAKES_ACTIVATION = (*CONVOLUTIONS, "Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "BatchNormalization")


_STEERING = {
    **dict.fromkeys(("Reshape", "Expand", "Split", "Squeeze", "Unsqueeze", "ConvTranspose", "Tile", *REDUCE), (1,)),
    **dict.fromkeys(("ScatterElements", "ScatterND", "TopK"), (1,)),
    "Clip": (1, 2),
    "Pad": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Resize": (1, 2, 3),
    "ConstantOfShape": (0,),
    "If": (0,),
}


def mark_steering(graph: Graph) -> Graph:
    """Find the inputs whose contents decide shapes, axes or limits."""
    steering = {node.input(i) for node in graph.nodes for i in _STEERING.get(node.op, ())}
    inputs = tuple(replace(port, steers=port.name in steering) for port in graph.inputs)
    return replace(graph, inputs=inputs)


def checked(graph: Graph) -> Graph:
    """Refuse nodes that are not offered; behind :func:`fold_constants`, which knows more of them."""
    check_supported(graph)
    return graph


def fold_pad(graph: Graph) -> Graph:
    """Let a convolution do the zero padding of the Pad before it, as exports from TensorFlow and PyTorch leave it."""
    uses = graph.uses()
    pads = {n.output: n for n in graph.nodes if n.op == "Pad" and uses[n.output] == 1}
    nodes, folded = [], 0
    for node in graph.nodes:
        pad = pads.get(node.inputs[0]) if node.op == "Conv" else None
        amounts = None if pad is None else _zero_border(pad, graph)
        if (
            pad is not None
            and amounts is not None
            and len(node.get("pads", amounts)) == len(amounts)
            and (
                node.text("auto_pad", "NOTSET") == "NOTSET"
                or (node.text("auto_pad", "") == "VALID" and not any(node.get("pads", ())))
            )
        ):
            own = node.get("pads", [0] * len(amounts))
            total = [a + b for a, b in zip(own, amounts, strict=True)]
            node = replace(node, inputs=(pad.inputs[0], *node.inputs[1:])).having(pads=total, auto_pad=b"NOTSET")
            folded += 1
        nodes.append(node)
    note = f"fold padding: {folded} Pad nodes done by the convolution behind them" if folded else ""
    return without_dead(graph.with_nodes(nodes, note))


def _zero_border(pad: Node, graph: Graph) -> list[int] | None:
    """Return the spatial padding of a Pad node with zeros: begins, then ends."""
    amounts, value = graph.constant(pad.input(1)), graph.constant(pad.input(2))
    zero = not pad.input(2) or (value is not None and value.size == 1 and float(value.reshape(-1)[0]) == 0)
    if (
        amounts is None
        or amounts.ndim != 1
        or len(amounts) < 6
        or not zero
        or pad.input(3)
        or pad.text("mode", "constant") != "constant"
    ):
        return None
    numbers = [int(a) for a in amounts]
    half = len(numbers) // 2
    if min(numbers) < 0 or any(numbers[:2]) or any(numbers[half : half + 2]):
        return None
    return numbers[2:half] + numbers[half + 2 :]


def own_outputs(graph: Graph) -> Graph:
    """Give an output that is an input or a constant memory of its own, with a copy."""
    given = {port.name for port in graph.inputs} | set(graph.constants)
    outputs, nodes = [], list(graph.nodes)
    shapes, dtypes = dict(graph.shapes), dict(graph.dtypes)
    for index, name in enumerate(graph.outputs):
        if name in given or name in graph.outputs[:index]:
            own = derived(name, f"output{index}")
            nodes.append(Node("Identity", (name,), (own,), {}, f"{name}:output{index}"))
            shapes[own], dtypes[own] = shapes[name], dtypes[name]
            outputs.append(own)
        else:
            outputs.append(name)
    return graph.with_nodes(nodes, outputs=tuple(outputs), shapes=shapes, dtypes=dtypes)


def drop_views(graph: Graph) -> Graph:
    """Give Reshape, Flatten, Squeeze, Unsqueeze and Identity no work: their outputs are the input's memory."""
    aliases = dict(graph.aliases)
    taken = {port.name for port in graph.inputs} | set(graph.constants)
    outputs = set(graph.outputs)
    nodes, dropped = [], 0

    def root(name: str) -> str:
        while name in aliases:
            name = aliases[name]
        return name

    for node in graph.nodes:
        if node.op not in VIEWS:
            nodes.append(node)
            continue
        source = root(node.inputs[0])
        if node.output in outputs:
            # An output needs memory that is neither the caller's input nor another output.
            if source in taken or source in outputs:
                nodes.append(Node("Identity", node.inputs[:1], node.outputs, {}, node.name))
                continue
            taken.add(source)
        aliases[node.output] = node.inputs[0]
        dropped += 1
    note = f"drop views: {dropped} changes of shape that move nothing" if dropped else ""
    return graph.with_nodes(nodes, note, aliases=aliases)


def fuse_residual(graph: Graph) -> Graph:
    """Let a convolution, or a product with a constant matrix, add the other side of the Add behind it.

    ``conv(x, w) + b + residual``; a MatMul has a fourth input then.
    """
    uses, made = graph.uses(), graph.producers()
    order = {node.output: i for i, node in enumerate(graph.nodes)}
    gone: set[str] = set()
    nodes: list[Node] = []
    for node in graph.nodes:
        if (
            node.op == "Add"
            and graph.shapes[node.inputs[0]] == graph.shapes[node.inputs[1]]
            and node.inputs[0] != node.inputs[1]
        ):
            pairs = [(made[a], b) for a, b in (node.inputs, node.inputs[::-1]) if a in made and uses[a] == 1]
            pairs = [(n, b) for n, b in pairs if _adds(n, graph) and not n.input(3) and "activation" not in n.attributes]
            own = {"activation": node.attributes["activation"]} if "activation" in node.attributes else {}
            if own and own["activation"].kind not in ACTIVATIONS:
                pairs = []
            if pairs and graph.dtypes[node.inputs[0]] == graph.dtypes[node.inputs[1]]:
                conv, other = max(pairs, key=lambda pair: order[pair[0].output])
                gone.add(conv.output)
                inputs = (*conv.inputs[:2], conv.input(2), other)
                node = Node(conv.op, inputs, node.outputs, {**conv.attributes, **own}, conv.name)
        nodes.append(node)
    kept = [n for n in nodes if n.output not in gone]
    note = f"fuse residual: {len(gone)} additions done by the convolution or product before them" if gone else ""
    return graph.with_nodes(kept, note)


def _adds(node: Node, graph: Graph) -> bool:
    """Whether a node is computed as a convolution, which adds what it is given."""
    matrix = graph.constant(node.inputs[1]) if node.op == "MatMul" else None
    return node.op == "Conv" or (matrix is not None and matrix.ndim == 2 and matrix.size > 0)


def fuse_activation(graph: Graph) -> Graph:
    """Let convolutions, products and sums apply the function behind them."""
    uses = graph.uses()
    place: dict[str, int] = {}
    nodes: list[Node] = []
    fused = 0
    for node in graph.nodes:
        at = place.get(node.inputs[0]) if node.op in UNARY else None
        if at is not None and uses[node.inputs[0]] == 1:
            function = function_of(node, graph)
            before = nodes[at]
            if function is not None and (function.kind in ACTIVATIONS or before.op not in CONVOLUTIONS):
                place.pop(before.output)
                nodes[at] = replace(before, outputs=node.outputs).having(activation=function)
                fused += 1
                continue
        if node.op in _TAKES_ACTIVATION:
            place[node.output] = len(nodes)
        nodes.append(node)
    note = f"fuse activation: {fused} functions done by the node before them" if fused else ""
    return graph.with_nodes(nodes, note)


BEFORE: tuple[Pass, ...] = (
    *(check_words, drop_identities, mark_steering, fold_constants, checked),
    *(drop_units, fold_pad, concat_last, fold_batchnorm, merge_branches, fold_columns, scale_columns),
    *(fuse_products, fuse_written_out, concat_last, scale_functions, scale_filters),
)
AFTER: tuple[Pass, ...] = (
    *(drop_idle, drop_identities, read_unexpanded, fold_pad, own_outputs, multiply_einsums, trim_filters),
    *(fuse_group_norm, plain_powers, fuse_layer_norm, gather_small),
    *(scale_behind_norms, pool_means, pool_first, functions_first, images_of_tokens, drop_views, normalise_channels),
    *(join_splits, chain_concats),
    *(add_rows, fuse_shuffle, fuse_residual, fuse_activation, without_dead),
)


def run(graph: Graph, passes: tuple[Pass, ...]) -> Graph:
    """Apply passes one after the other."""
    for each in passes:
        graph = each(graph)
    return graph
