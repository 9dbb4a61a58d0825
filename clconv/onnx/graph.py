"""A network between file and device: nodes, constants, and what is known of each value. Data only."""

from __future__ import annotations

import math
import mmap
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]

MARK = "\x1f"
"""In the names of values that passes make, and in none of a model's: ASCII's unit separator."""

_PIECE = 1 << 16  # elements of a filter that are multiplied at a time
_LARGE = 1 << 20  # bytes

VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")
"""Nodes that give another shape to the same elements in the same order."""


def derived(name: str, what: str) -> str:
    """Return the name of a value that is made from, or for, another one; none of the model's has it."""
    return f"{name}{MARK}{what}"


def fits(shape: Shape, whole: Shape) -> bool:
    """Whether a shape is repeated to the whole one without changing that."""
    return len(shape) <= len(whole) and all(s in (1, w) for s, w in zip(shape[::-1], whole[::-1], strict=False))


@dataclass(frozen=True)
class Node:
    """One operation.

    Parameters
    ----------
    op : str
        ONNX's name of it.
    inputs, outputs : tuple of str
        Names of values; an absent optional one is ``""``.
    attributes : mapping
        ONNX's, and what passes fused into the node: ``activation``.
    name : str
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    name: str

    @property
    def output(self) -> str:
        """The first output."""
        return self.outputs[0]

    def input(self, index: int) -> str:
        """Return the name of an input, ``""`` if it is absent."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.attributes.get(name, default)

    def text(self, name: str, default: str) -> str:
        """Return an attribute that is a word, which files hold as bytes."""
        value = self.get(name, default)
        return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

    def having(self, **attributes: Any) -> Node:
        """Return the node with more attributes."""
        return replace(self, attributes={**self.attributes, **attributes})


@dataclass(frozen=True)
class Port:
    """An input of the network.

    Parameters
    ----------
    name, dtype : str
    shape : tuple, optional
        Sizes, None where any will do; None as a whole if the model does not say.
    steers : bool
        What the tensor holds decides shapes or limits: it is like a part of the model, and new contents prepare anew.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    steers: bool = False

    def __str__(self) -> str:
        sizes = "any shape" if self.shape is None else "(" + ", ".join("any" if s is None else str(s) for s in self.shape) + ")"
        return f"{self.name}: {self.dtype} {sizes}"


@dataclass(frozen=True)
class Graph:
    """A network.

    Parameters
    ----------
    nodes : tuple of Node
        Each after those whose outputs it reads.
    constants : mapping of str to array
    inputs : tuple of Port
    outputs : tuple of str
    shapes, dtypes : mapping
        Of every value; filled when the input shapes are known.
    aliases : mapping of str to str
        Values that are another one's memory with another shape.
    notes : tuple of str
        What the passes did.
    target : str, optional
        The type that floating-point constants will be converted to.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    inputs: tuple[Port, ...]
    outputs: tuple[str, ...]
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    target: str | None = None

    def stored(self, values: Array, dtype: str, *, added: bool = False) -> Array | None:
        """Return numbers, computed in float64, as constants of a type; None if that, or the target, does not hold them.

        It does not where one would be infinite, or the largest is so small that others lose digits, unless they are ``added``.
        """
        return values.astype(dtype) if self._holds(np.abs(values).max(initial=0.0), dtype, added=added) else None

    def multiplied(self, w: Array, factors: Any) -> Array | None:
        """Return ``w * factors``, computed in float64, as :meth:`stored` does, without all of that in memory at once.

        Large weights come in memory of their own. NumPy takes it from the heap and asks for huge pages there, which stay, and
        which small objects fill later.

        Parameters
        ----------
        w : array
            With one axis or more.
        factors : array or float
            What is broadcast to the shape of ``w``.
        """
        product: Array = own_memory(w.shape, w.dtype)
        factors = np.broadcast_to(factors, w.shape)
        rows = max(1, len(w) * _PIECE // max(1, w.size))
        largest = np.float64(0)
        with np.errstate(over="ignore"):  # such products are not returned
            for first in range(0, len(w), rows):
                some = slice(first, first + rows)
                wide = w[some].astype(np.float64) * factors[some]
                largest = np.maximum(largest, np.abs(wide).max(initial=0.0))  # NaN stays
                product[some] = wide
        return product if self._holds(largest, w.dtype.name, added=False) else None

    def _holds(self, largest: np.floating[Any], dtype: str, *, added: bool) -> bool:
        if dtype not in ("float32", "float16", "float64"):
            return False  # nothing computes with them, which is said where it is tried
        for info in (np.finfo(dtype), np.finfo(self.target or dtype)):
            least = 0.0 if added or largest == 0 else 4 * float(info.tiny)
            if not least <= largest <= float(info.max):
                return False
        return True

    def with_nodes(self, nodes: Iterable[Node], note: str = "", **changes: Any) -> Graph:
        """Return the graph with other nodes, and a note if there is one."""
        notes = (*self.notes, note) if note else self.notes
        return replace(self, nodes=tuple(nodes), notes=notes, **changes)

    def root(self, name: str) -> str:
        """Return the value whose memory a value is."""
        while name in self.aliases:
            name = self.aliases[name]
        return name

    def constant(self, name: str) -> Array | None:
        """Return a value that is constant, None for others."""
        return self.constants.get(name) if name else None

    def producers(self) -> dict[str, Node]:
        """Return the node that computes each value."""
        return {output: node for node in self.nodes for output in node.outputs if output}

    def uses(self) -> Counter[str]:
        """Return how often each value is read: by nodes, as an output, or under another name."""
        count = Counter(name for node in self.nodes for name in node.inputs if name)
        count.update(self.outputs)
        count.update(self.aliases.values())
        return count

    @property
    def parameters(self) -> int:
        """Numbers that training changes: floating-point tensors, neither statistics of batches nor single numbers."""
        statistics = {name for node in self.nodes if node.op == "BatchNormalization" for name in node.inputs[3:5]}
        weights = [a for name, a in self.constants.items() if a.dtype.kind == "f" and a.ndim and name not in statistics]
        return sum(a.size for a in weights)


def without_dead(graph: Graph) -> Graph:
    """Drop the nodes whose results nobody reads, and their constants."""
    wanted: set[str] = set()

    def want(name: str) -> None:
        while name and name not in wanted:
            wanted.add(name)
            name = graph.aliases.get(name, "")

    for name in graph.outputs:
        want(name)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if any(output in wanted for output in node.outputs):
            kept.append(node)
            for name in node.inputs:
                want(name)
    constants = {name: array for name, array in graph.constants.items() if name in wanted}
    return replace(graph, nodes=tuple(reversed(kept)), constants=constants)


class Change:
    """A graph while a pass adds nodes: with constants, shapes and types of its own."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.nodes: list[Node] = []
        self.constants = dict(graph.constants)
        self.shapes, self.dtypes = dict(graph.shapes), dict(graph.dtypes)

    def constant(self, name: str, value: Array) -> None:
        """Add a constant."""
        self.constants[name] = np.ascontiguousarray(value)
        self.value(name, value.shape, value.dtype.name)

    def value(self, name: str, shape: Shape, dtype: str) -> None:
        """Say what a value is that a new node gives."""
        self.shapes[name], self.dtypes[name] = shape, dtype

    def done(self, note: str, **more: Any) -> Graph:
        """Return the new graph, with a note if there is one, and with ``more`` changed."""
        own = {"constants": self.constants, "shapes": self.shapes, "dtypes": self.dtypes, **more}
        return without_dead(self._graph.with_nodes(self.nodes, note, **own))


def own_memory(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array that is no part of the heap, if it is large: all of it goes back to the system when it is deleted."""
    size = math.prod(shape) * dtype.itemsize
    if size < _LARGE:
        return np.empty(shape, dtype)
    return np.frombuffer(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), dtype).reshape(shape)
