"""A network that is being drawn at random, node by node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import helper

from tests.onnx.models import Array

Shape = tuple[int, ...]


@dataclass
class Builder:
    """A network that is being drawn: its nodes, the constants of the right size, and the values that can be read on."""

    draw: st.DrawFn
    images: list[tuple[str, Shape]] = field(default_factory=list)
    """Names and shapes of what has N C H W; the first axis, which may be of any length, is 1 here."""
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    count: int = 0

    def some(self, *choices: Any) -> Any:
        """Draw one of several; the first is the simplest."""
        return self.draw(st.sampled_from(choices))

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node and return the name of what it gives, or the names."""
        names = [f"{op.lower()}{self.count}_{i}" for i in range(outputs)]
        self.count += 1
        self.nodes.append(helper.make_node(op, list(inputs), names, name=names[0], **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, *shape: int, low: float = -1.0, high: float = 1.0) -> str:
        """Return the name of numbers of a shape, which others may have asked for before."""
        kind = f"{low} {high}"
        same = [n for n, a in self.constants.items() if a.shape == shape and n.endswith(kind)]
        if same and self.some(False, False, True):
            return str(self.some(*same))
        name = f"c{len(self.constants)} {kind}"
        random = np.random.default_rng(len(self.constants))
        self.constants[name] = random.uniform(low, high, shape).astype(np.float32)
        return name

    def number(self, value: float, rank: int = 4) -> str:
        """Return the name of one number, as a scalar or as a tensor of one element and up to so many axes."""
        name = f"n{len(self.constants)}"
        self.constants[name] = np.full(self.some((), (1,), (1,) * rank), value, np.float32)
        return name

    def integers(self, *values: int) -> str:
        """Return the name of some integers."""
        name = f"i{len(self.constants)}"
        self.constants[name] = np.array(values, np.int64)
        return name

    def image(self) -> tuple[str, Shape]:
        """Draw an image that is there, the last one most of the time."""
        back: int = self.some(0, 0, 0, 0, 1, 2)
        return self.images[-1 - back % len(self.images)]

    def another(self, shape: Shape) -> str | None:
        """Draw an image of the same shape, if there is another one."""
        same = [name for name, other in self.images if other == shape]
        return str(self.some(*same)) if same else None

    def pair(self, op: str, a: str, b: str) -> str:
        """Add a node of two inputs in either order."""
        return str(self.node(op, a, b) if self.some(True, False) else self.node(op, b, a))
