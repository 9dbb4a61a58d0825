"""A pass that gathers what an image is multiplied by and what is added to it, where these are much smaller than the image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from clconv.onnx.folding import known_filter
from clconv.onnx.graph import Array, Change, Graph, Node, Shape, derived
from clconv.onnx.lower.elementwise import broadcast

SMALL = 8
"""How many times larger an image is than what may be gathered."""

_USUAL = 2.0**-6, 2.0**4
"""The largest number of a factor that float16 may be multiplied with first."""


@dataclass(frozen=True)
class _Form:
    """``factor * image + addend``: names of values, ``""`` for one and for nothing; ``nodes`` of the size of the image."""

    image: str
    factor: str = ""
    addend: str = ""
    nodes: int = 0

    @property
    def needs(self) -> int:
        """Nodes of the size of the image that compute it."""
        return bool(self.factor) + bool(self.addend)


def gather_small(graph: Graph) -> Graph:
    """Multiply and add small tensors first, in place of an image again and again.

    ``b + w * (n * x) + x = (1 + w * n) * x + b``: the global response normalisation of ConvNeXt V2
    (https://arxiv.org/abs/2301.00808), with one number for each channel in w, b and n, takes five products and sums as it is
    exported. Where the sum is left to a 1x1 convolution without padding, it adds ``conv(b)`` to its bias.

    Factors are multiplied with each other where the element type holds the product: of constants that is seen; of what a call
    computes it is taken for granted in float32, and in float16 if the other one is constant and of the order of one.
    """
    return _Gathering(graph).done()


class _Gathering:
    """The nodes of a graph, and the small ones that are added to it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.change = Change(graph)
        self.uses = graph.uses()
        self.forms: dict[str, _Form] = {}
        self.small: dict[str, list[Node]] = {}  # by the value whose form they belong to
        self.within: set[str] = set()  # values whose forms others continue

    def done(self) -> Graph:
        """Return the graph."""
        for node in self.graph.nodes:
            form = self._form(node)
            if form is not None:
                self.forms[node.output] = form
        gathered = 0
        nodes = self.change.nodes
        for node in self.graph.nodes:
            form = self.forms.get(node.output)
            if form is None or node.output in self.within or form.nodes <= form.needs:
                nodes.append(node)
                continue
            gathered += form.nodes - form.needs
            nodes += self.small[node.output]
            product = node.output if not form.addend else derived(node.output, "product")
            if form.factor:
                self._shape(product, node.output)
                nodes.append(Node("Mul", (form.image, form.factor), (product,), {}, node.name))
            if form.addend:
                nodes.append(Node("Add", (product if form.factor else form.image, form.addend), node.outputs, {}, node.name))
        note = f"gather small: {gathered} products and sums of images done with small tensors" if gathered else ""
        if not gathered:
            return self.graph
        graph = self.change.done(note)
        return _bias_of_addends(graph)

    def _shape(self, name: str, like: str) -> None:
        self.change.shapes[name], self.change.dtypes[name] = self.change.shapes[like], self.change.dtypes[like]

    def _form(self, node: Node) -> _Form | None:
        """Return the form of a node's result, None if it is no product with or sum of something small, or of the same image."""
        if node.op not in ("Add", "Mul") or len(node.inputs) != 2 or node.attributes:
            return None
        a, b = node.inputs
        shapes, whole = self.change.shapes, self.change.shapes[node.output]
        if self.graph.dtypes[node.output][:5] != "float" or self.graph.dtypes[a] != self.graph.dtypes[b]:
            return None
        if node.op == "Add" and a != b and shapes[a] == shapes[b] == whole:
            return self._sum(node, self._of(a), self._of(b))
        for image, other in ((a, b), (b, a)):
            if shapes[image] == whole and self._is_small(whole, other) and image not in self.graph.constants:
                return self._next(node, image, other)
        return None

    def _is_small(self, whole: Shape, *names: str) -> bool:
        """Whether what small tensors give together is much smaller than an image."""
        number: Shape = ()
        shape = reduce(broadcast, [self.change.shapes[name] for name in names if name], number)
        return len(shape) <= len(whole) and math.prod(shape) * SMALL <= math.prod(whole)

    def _of(self, name: str) -> _Form:
        """Return what is known of a value; the image itself if others read it, too, and have it computed."""
        return self.forms[name] if name in self.forms and self.uses[name] == 1 else _Form(name)

    def _next(self, node: Node, image: str, other: str) -> _Form:
        form, y, new = self._of(image), node.output, list[Node]()
        if not self._is_small(self.change.shapes[y], form.factor, form.addend, other):
            form = _Form(image)
        both = self._with(form, node, other, new)
        if both is None:
            form = _Form(image)
            both = (other, "") if node.op == "Mul" else ("", other)
            new.clear()
        before = (image,) if form.image != image else ()
        return self._continued(y, new, _Form(form.image, *both, form.nodes + 1), *before)

    def _with(self, form: _Form, node: Node, other: str, new: list[Node]) -> tuple[str, str] | None:
        """Return factor and addend of what a node makes of a form; None if they are none that can be computed first."""
        y = node.output
        if node.op == "Add":
            addend = self._small(y, "addend", "Add", form.addend, other, new)
            return None if addend is None else (form.factor, addend)
        factor = self._small(y, "factor", "Mul", form.factor, other, new)
        addend = self._small(y, "addend", "Mul", form.addend, other, new) if form.addend else ""
        return None if factor is None or addend is None else (factor, addend)

    def _sum(self, node: Node, a: _Form, b: _Form) -> _Form | None:
        y, new = node.output, list[Node]()
        if a.image != b.image or not self._is_small(self.change.shapes[y], a.factor, b.factor, a.addend, b.addend):
            return None
        dtype = self.graph.dtypes[y]
        one = derived(y, "one")
        self.change.constant(one, np.ones((), dtype))
        factor = self._small(y, "factor", "Add", a.factor or one, b.factor or one, new)
        addend = self._small(y, "addend", "Add", a.addend, b.addend, new)
        if factor is None or addend is None:
            return None
        inputs = [name for name in node.inputs if name in self.forms and self.uses[name] == 1]
        return self._continued(y, new, _Form(a.image, factor, addend, a.nodes + b.nodes + 1), *inputs)

    def _continued(self, y: str, new: list[Node], form: _Form, *before: str) -> _Form:
        """Note that a form continues those of other values, and the small nodes that it takes."""
        nodes: list[Node] = []
        for name in before:
            nodes += self.small[name]
            self.within.add(name)
        self.small[y] = nodes + new
        return form

    def _small(self, y: str, what: str, op: str, a: str, b: str, new: list[Node]) -> str | None:
        """Return the product or sum of two small values, computed now if both are constant; either alone if one is missing.

        None if the element type may not hold it, though it holds what the nodes of the model compute.
        """
        if not a or not b:
            return a or b
        shapes, dtypes, constants = self.change.shapes, self.change.dtypes, self.change.constants
        name = derived(y, what)
        combine: Callable[[Array, Array], Array] = np.multiply if op == "Mul" else np.add
        if a in constants and b in constants:
            exact = combine(constants[a].astype(np.float64), constants[b].astype(np.float64))
            value = self.graph.stored(np.asarray(exact), dtypes[b], added=op == "Add")
            if value is None:
                return None
            self.change.constant(name, value)
            return name
        if op == "Mul" and "float16" in (dtypes[b], self.graph.target) and not (self._is_usual(a) or self._is_usual(b)):
            return None
        shapes[name], dtypes[name] = broadcast(shapes[a], shapes[b]), dtypes[b]
        new.append(Node(op, (a, b), (name,), {}, name))
        return name

    def _is_usual(self, name: str) -> bool:
        """Whether a value is constant and of the order of one, so that products with it stay about as large as they were."""
        value = self.change.constants.get(name)
        return value is not None and _USUAL[0] <= np.abs(value).max(initial=0.0) <= _USUAL[1]


def _bias_of_addends(graph: Graph) -> Graph:
    """Let 1x1 convolutions without padding add what a constant for each channel, added to their image, makes of their bias."""
    made, uses = graph.producers(), graph.uses()
    change = Change(graph)
    for node in graph.nodes:
        before = made.get(node.input(0)) if _mixes_channels(node, graph) and uses[node.inputs[0]] == 1 else None
        found = _per_channel(graph, before) if before is not None and before.op == "Add" else None
        w, bias = graph.constant(node.input(1)), graph.constant(node.input(2))
        if found is not None and w is not None and found[1].size == w.shape[1]:
            image, addend = found
            more = w[:, :, 0, 0].astype(np.float64) @ addend.astype(np.float64)
            total = graph.stored(more + (0 if bias is None else bias), w.dtype.name, added=True)
            if total is not None:
                name = derived(node.output, "bias")
                change.constant(name, total)
                node = replace(node, inputs=(image, node.inputs[1], name))
        change.nodes.append(node)
    return change.done("")


def _mixes_channels(node: Node, graph: Graph) -> bool:
    """Whether a node is a convolution of known 1x1 filters and bias, of one group and without padding."""
    w = graph.constant(node.inputs[1]) if node.op == "Conv" else None
    if w is None or w.ndim != 4 or w.shape[2:] != (1, 1) or not known_filter(node, graph.constants):
        return False
    padded = any(node.get("pads", ())) or node.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    return not padded and int(node.get("group", 1)) == 1


def _per_channel(graph: Graph, add: Node) -> tuple[str, Array] | None:
    """Return the image of a sum and the constant for each of its channels that is added."""
    whole = graph.shapes[add.output]
    for x, other in (add.inputs, add.inputs[::-1]):
        value = graph.constant(other)
        if value is not None and len(whole) == 4 and graph.shapes[x] == whole and value.ndim <= 4:
            shape = (1,) * (4 - value.ndim) + value.shape
            if shape == (1, whole[1], 1, 1):
                return x, value.reshape(-1)
    return None
