"""Gather: elements of an axis that constant numbers name."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from clconv.errors import ShapeError, UnsupportedError
from clconv.onnx.graph import Node
from clconv.onnx.lower.movement import emit_copy, required
from clconv.onnx.step import Lowering

_MOST_RUNS = 64
"""Each is a command of its own."""


def lower_gather(node: Node, to: Lowering) -> None:
    """Take the elements of an axis that constant numbers name: a copy for each run of them that are equally far apart."""
    shape = to.shapes[node.inputs[0]]
    axis = int(node.get("axis", 0))
    axis += len(shape) if axis < 0 else 0
    numbers = required(node, to.constants, 1, "indices").reshape(-1).astype(np.int64)
    if not ((-shape[axis] <= numbers) & (numbers < shape[axis])).all():
        raise ShapeError(
            f"the node {node.name!r} (Gather) takes the elements {numbers.min()} to {numbers.max()} of an axis of {shape[axis]}"
        )
    runs = _runs([int(n) % shape[axis] for n in numbers])
    if len(runs) > _MOST_RUNS:
        raise UnsupportedError(
            f"the node {node.name!r} (Gather) takes elements in {len(runs)} runs that are equally far apart, {_MOST_RUNS} are "
            "supported; reorder the weights around it instead"
        )
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    for start, count, step, first in runs:
        emit_copy(
            to,
            node.inputs[0],
            node.output,
            (outer, count, inner),
            (shape[axis] * inner, step * inner, 1),
            (len(numbers) * inner, inner, 1),
            from_offset=first * inner,
            to_offset=start * inner,
        )


def _runs(numbers: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """Cut numbers into runs of a constant step: place of the first one, how many, step, first number."""
    runs: list[tuple[int, int, int, int]] = []
    for place, number in enumerate(numbers):
        if runs:
            start, count, step, first = runs[-1]
            if count == 1:
                step = number - first
            if number == first + count * step:
                runs[-1] = (start, count + 1, step, first)
                continue
        runs.append((place, 1, 1, number))
    return runs
