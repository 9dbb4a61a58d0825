"""Passes that let a product with a constant matrix do what stands behind it: normalise, scale and add to its columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from clconv.onnx.functions import UNARY
from clconv.onnx.graph import VIEWS, Array, Graph, Node, derived, without_dead
from clconv.onnx.statistics import affine_of, trains

_DENSE = ("Gemm", "MatMul")


def fold_columns(graph: Graph) -> Graph:
    """Fold the BatchNormalization of a product's columns into the constant matrix, also where views lie between.

    ``scale * (x @ w) + shift = x @ (scale * w) + shift``; the addition is left, for :func:`add_rows`. Views keep the order of
    elements: rows with as many numbers as the product has columns are the product's.
    """
    uses, rows = graph.uses(), _of_rows(graph)
    uses.subtract(node.inputs[0] for node in graph.nodes if node.op == "Shape")  # which does not look at what it holds
    constants = dict(graph.constants)
    nodes: list[Node] = []
    place: dict[str, int] = {}  # of the product that a value is, or is a view of
    folded = 0
    for node in graph.nodes:
        source = node.input(0)
        at = place.get(source) if uses[source] == 1 else None
        if at is not None and node.op == "BatchNormalization" and source in rows and not trains(node):
            affine = affine_of(node, _columns(nodes[at], constants), constants)
            product = None if affine is None else _scaled(graph, nodes[at], node.output, constants, affine[0])
            dtype = constants[nodes[at].inputs[1]].dtype.name
            added = None if affine is None else graph.stored(affine[1], dtype, added=True)
            if added is not None and product is not None:
                nodes[at], shift = product, derived(node.output, "shift")
                constants[shift] = added
                node = Node("Add", (source, shift), node.outputs, {}, node.name)
                folded += 1
        elif at is not None and node.op in VIEWS:
            place[node.output] = at
        elif _known_matrix(node, constants):
            place[node.output] = len(nodes)
        nodes.append(node)
    note = f"fold columns: {folded} batch normalisations folded into the matrices before them" if folded else ""
    return without_dead(graph.with_nodes(nodes, note, constants=constants))


@dataclass(frozen=True)
class _Chain:
    """A product with a constant matrix, and what follows it: places of nodes.

    ``axis`` is where the columns are, from the end, and ``axes`` how many there are, None if that is not known yet.
    """

    product: int
    sums: tuple[int, ...] = ()
    last: int = 0
    axis: int = -1
    axes: int | None = None


def scale_columns(graph: Graph) -> Graph:
    """Multiply the columns of a constant matrix by what its product is multiplied by, and what is added to it in between.

    ``g * (x @ w + b) = x @ (g * w) + g * b``, as where a branch of ConvNeXt or CaiT ends (LayerScale, arXiv:2103.17239); a
    Transpose may stand before the multiplication.
    """
    uses, constants = graph.uses(), dict(graph.constants)
    nodes: list[Node] = []
    chains: dict[str, _Chain] = {}  # by the value that ends them
    count = 0
    for node in graph.nodes:
        x = next((name for name in node.inputs if name in chains and uses[name] == 1), "")
        chain = chains.pop(x, None)
        if chain is not None and node.op == "Mul":
            scale = _each_column(nodes[chain.product], _other(node, x), chain, constants)
            columns = derived(node.output, "columns")
            product = None if scale is None else _scaled(graph, nodes[chain.product], columns, constants, scale)
            sums = {} if scale is None else {at: _scaled_sum(graph, nodes[at], constants, scale) for at in chain.sums}
            held = {at: total for at, total in sums.items() if total is not None}
            if product is not None and len(held) == len(sums):
                nodes[chain.product] = product
                for at, total in held.items():
                    nodes[at] = total
                nodes[chain.last] = replace(nodes[chain.last], outputs=node.outputs)
                chains[node.output] = chain
                count += 1
                continue
        elif chain is not None and node.op == "Add" and chain.axes is None:
            if _each_column(nodes[chain.product], _other(node, x), chain, constants) is not None:
                chains[node.output] = replace(chain, sums=(*chain.sums, len(nodes)), last=len(nodes))
        elif chain is not None and node.op == "Transpose" and chain.axes is None and node.get("perm"):
            perm = [int(axis) for axis in node.attributes["perm"]]
            chains[node.output] = replace(chain, last=len(nodes), axis=perm.index(len(perm) - 1) - len(perm), axes=len(perm))
        elif _known_matrix(node, constants):
            chains[node.output] = _Chain(len(nodes), last=len(nodes))
        nodes.append(node)
    note = f"scale columns: {count} products multiplied within their matrices" if count else ""
    return without_dead(graph.with_nodes(nodes, note, constants=constants))


def _other(node: Node, name: str) -> str:
    """Return the other one of two inputs."""
    return node.inputs[1] if node.inputs[0] == name else node.inputs[0]


def _each_column(product: Node, name: str, chain: _Chain, constants: Mapping[str, Array]) -> Array | None:
    """Return a constant as one float64 for each column of a product, None if it is none or gives the result another shape."""
    value, columns = constants.get(name), _columns(product, constants)
    if value is None or value.dtype != constants[product.inputs[1]].dtype or value.ndim > (chain.axes or 1):
        return None
    if value.size > 1 and (value.ndim < -chain.axis or value.shape[chain.axis] != value.size):
        return None
    return np.broadcast_to(value.astype(np.float64).reshape(-1), (columns,)) if value.size in (1, columns) else None


def _scaled_sum(graph: Graph, node: Node, constants: dict[str, Array], scale: Array) -> Node | None:
    """Return the addition of a constant row that is multiplied, None if no row holds that."""
    at = 1 if node.inputs[1] in constants else 0
    old, name = constants[node.inputs[at]], derived(node.output, "scaled")
    row = graph.stored(old.astype(np.float64) * scale, old.dtype.name, added=True)
    if row is None:
        return None
    constants[name] = row
    inputs = (node.inputs[0], name) if at else (name, node.inputs[1])
    return replace(node, inputs=inputs)


def _of_rows(graph: Graph) -> set[str]:
    """Return the values of which it can be told without any shapes that they have two axes."""
    rows = {port.name for port in graph.inputs if port.shape is not None and len(port.shape) == 2}
    for node in graph.nodes:
        target = graph.constant(node.input(1)) if node.op == "Reshape" else None
        matrix = graph.constant(node.input(1)) if node.op == "MatMul" else None
        same = node.op in (*UNARY, "Identity", "BatchNormalization") or (matrix is not None and matrix.ndim == 2)
        if node.op in ("Flatten", "Gemm") or (target is not None and target.size == 2) or (same and node.input(0) in rows):
            rows.add(node.output)
    return rows


def _columns(node: Node, constants: Mapping[str, Array]) -> int:
    """Return the columns of a product with a constant matrix."""
    return int(constants[node.inputs[1]].shape[0 if node.get("transB", 0) else -1])


def _known_matrix(node: Node, constants: Mapping[str, Array]) -> bool:
    """Whether a node is a product with a constant matrix, and all that it adds is a constant row."""
    w = constants.get(node.input(1)) if node.op in _DENSE else None
    if w is None or w.ndim != 2 or not w.size or w.dtype.kind != "f":
        return False
    return not node.input(2) or _row(constants.get(node.input(2)), _columns(node, constants), w.dtype.name) is not None


def _row(value: Array | None, columns: int, dtype: str) -> Array | None:
    """Return a constant as one float64 for each column, None if it varies otherwise or is of another type."""
    if value is None or value.dtype.name != dtype or value.size not in (1, columns):
        return None
    if value.size > 1 and value.shape[-1] != columns:
        return None
    return np.broadcast_to(value.astype(np.float64).reshape(-1), (columns,))


def _scaled(graph: Graph, node: Node, output: str, constants: dict[str, Array], scale: Array) -> Node | None:
    """Return a product all of whose columns are multiplied, what is added to them as well; None if no matrix does that."""
    inputs = [node.inputs[0], derived(output, "w")]
    w = constants[node.inputs[1]]
    factors = scale[:, None] if node.get("transB", 0) else scale
    new = graph.multiplied(w, factors)
    if new is None:
        return None
    constants[inputs[1]] = new
    if node.input(2):
        bias = constants[node.inputs[2]].astype(np.float64).reshape(-1) * scale
        added = graph.stored(bias, w.dtype.name, added=True)
        if added is None:
            return None
        inputs.append(derived(output, "bias"))
        constants[inputs[2]] = added
    return replace(node, inputs=tuple(inputs))


def add_rows(graph: Graph) -> Graph:
    """Let a product with a constant matrix add the constant row behind it, as exports of linear layers leave it.

    A MatMul has a third input then, as a Gemm has.
    """
    uses = graph.uses()
    constants = dict(graph.constants)
    nodes: list[Node] = []
    place: dict[str, int] = {}
    added = 0
    for node in graph.nodes:
        for x, other in (node.inputs, node.inputs[::-1]) if node.op == "Add" else ():
            at = place.get(graph.root(x)) if _read_once(x, graph, uses) else None
            whole = graph.shapes[node.output]
            if at is None or graph.shapes[x] != whole or len(graph.shapes[other]) > len(whole):
                continue
            product = nodes[at]
            columns, dtype = _columns(product, constants), graph.dtypes[x]
            row = _row(graph.constant(other), columns, dtype)
            if row is None or whole[-1:] != (columns,):
                continue
            total = graph.stored(row + _added(product, columns, dtype, constants), dtype, added=True)
            if total is None:
                continue
            bias = derived(node.output, "row")
            constants[bias] = total
            inputs = (*product.inputs[:2], bias)
            place.pop(product.output)
            nodes[at] = replace(product, inputs=inputs, outputs=node.outputs).having(beta=1.0)
            place[node.output] = at
            added += 1
            break
        else:
            if _known_matrix(node, constants) and "activation" not in node.attributes:
                place[node.output] = len(nodes)
            nodes.append(node)
    note = f"add rows: {added} additions of a row done by the product before them" if added else ""
    return graph.with_nodes(nodes, note, constants=constants, **_known(graph, constants))


def _read_once(name: str, graph: Graph, uses: Counter[str]) -> bool:
    """Whether a value, and all those that it is another view of, are read in one place."""
    while uses[name] == 1 and name in graph.aliases:
        name = graph.aliases[name]
    return uses[name] == 1


def _added(product: Node, columns: int, dtype: str, constants: Mapping[str, Array]) -> Array:
    """Return what a product adds to each column as it is, in float64."""
    row = _row(constants.get(product.input(2)), columns, dtype) if product.input(2) else None
    beta = float(product.get("beta", 1.0))
    return np.zeros(columns) if row is None or beta == 0 else row * beta


def _known(graph: Graph, constants: Mapping[str, Array]) -> dict[str, dict[str, object]]:
    """Return shapes and types with those of new constants."""
    new = {name: a for name, a in constants.items() if name not in graph.constants}
    return {
        "shapes": {**graph.shapes, **{name: a.shape for name, a in new.items()}},
        "dtypes": {**graph.dtypes, **{name: a.dtype.name for name, a in new.items()}},
    }
