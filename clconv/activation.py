"""Functions that follow a convolution, by name and numbers. No OpenCL here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

from clconv.arguments import shown
from clconv.errors import ShapeError

ActivationLike: TypeAlias = "str | tuple[Any, ...] | Activation | None"

ACTIVATIONS = (
    *("identity", "relu", "relu6", "sigmoid", "tanh", "silu", "hardswish", "hardsigmoid", "leaky_relu", "clip"),
    *("gelu", "gelu_tanh", "scaled_hardswish"),
)
"""In the order of kernels/include/epilogue.clh."""

_PARAMETERS = {"leaky_relu": 1, "clip": 2, "scaled_hardswish": 2}


@dataclass(frozen=True)
class Activation:
    """A function applied to each output, with up to two numbers: slope, or lower and upper limit, or factor and addend."""

    kind: str = "identity"
    a: float = 0.0
    b: float = 0.0

    @classmethod
    def of(cls, value: ActivationLike) -> Activation:
        """Read what a caller may write.

        Parameters
        ----------
        value : None, str, tuple or Activation
            ``None``, ``"relu"``, ``("leaky_relu", 0.1)``, ``("clip", 0, 6)``, ``("scaled_hardswish", 0.9, -0.1)``.

        Returns
        -------
        Activation

        Raises
        ------
        ShapeError
            If the name is unknown or the numbers do not belong to it.
        """
        if value is None:
            return cls()
        if isinstance(value, Activation):
            need = _PARAMETERS.get(value.kind, 0) if isinstance(value.kind, str) else 0
            value = (value.kind, *(value.a, value.b)[:need])
        name, *numbers = value if isinstance(value, (tuple, list)) and value else (value,)
        if not isinstance(name, str) or name not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS[1:])
            raise ShapeError(f"activation {shown(value)} is unknown; use None or one of {known}")
        need = _PARAMETERS.get(name, 0)
        try:
            if any(isinstance(number, str | bytes | bool) for number in numbers):
                raise TypeError
            a, b = (*map(float, numbers), 0.0, 0.0)[:2]
        except (TypeError, ValueError, OverflowError):
            raise ShapeError(f"activation {shown(value)} must carry plain numbers after its name") from None
        if math.isnan(a) or math.isnan(b):
            raise ShapeError(f"activation {shown(value)} carries a number that is none; replace the NaN")
        if len(numbers) != need:
            example = {1: f'("{name}", 0.1)', 2: f'("{name}", 0, 6)'}.get(need, f'"{name}"')
            raise ShapeError(f"activation {shown(value)} carries {len(numbers)} numbers, {name} takes {need}; write {example}")
        if name == "clip" and a > b:
            raise ShapeError(f"activation {shown(value)} has its lower limit above its upper one; swap them")
        return cls(name, a + 0.0, b + 0.0)  # no -0.0, which equals 0.0 and would not be told from it

    def __str__(self) -> str:
        numbers = (self.a, self.b)[: _PARAMETERS.get(self.kind, 0)]
        return self.kind + "".join(f" {n:g}" for n in numbers)
