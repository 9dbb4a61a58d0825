"""What a caller passes to a network: by place or by name, arrays or shapes, checked against the model's inputs."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clconv.errors import ShapeError
from clconv.onnx.graph import Port, Shape
from clconv.tensors import Tensor, as_tensor, is_device_array

_KEPT = 16  # sets of shapes and element types that need not be checked again


class Inputs:
    """The inputs of a model.

    Parameters
    ----------
    ports : sequence of Port
    """

    def __init__(self, ports: Sequence[Port]) -> None:
        self.ports = tuple(ports)
        self._accepted: set[Any] = set()

    def named(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """Return what was passed for each input, in the model's order."""
        names = [port.name for port in self.ports]
        if len(args) == 1 and isinstance(args[0], Mapping) and not kwargs:
            kwargs, args = args[0], ()
        listed = "; ".join(map(str, self.ports)) or "none"
        unknown = [name for name in kwargs if name not in names]
        if unknown:
            raise ShapeError(f"the network has no input {unknown[0]!r}; its inputs are {listed}")
        if len(args) > len(names):
            raise ShapeError(f"{len(args)} inputs were given and the network takes {len(names)}; its inputs are {listed}")
        given = dict(zip(names, args, strict=False))
        twice = [name for name in kwargs if name in given]
        if twice:
            raise ShapeError(f"the input {twice[0]!r} was given twice, by its place and by its name; give it once")
        given.update(kwargs)
        missing = [name for name in names if name not in given]
        if missing:
            raise ShapeError(f"the input {missing[0]!r} is missing; the network's inputs are {listed}")
        return [given[name] for name in names]

    def tensors(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[Tensor]:
        """Return the inputs in the model's order, checked. Those that are like an earlier call's are not checked again.

        The check is Python that the processor's caches have long forgotten by the next call: 0.1 ms.
        """
        plain = not kwargs and all(type(t) is np.ndarray and t.flags.c_contiguous for t in args)
        if plain and tuple([(t.shape, t.dtype) for t in args]) in self._accepted:
            return args
        tensors = self._checked(args, kwargs)
        if plain:
            if len(self._accepted) >= _KEPT:
                self._accepted.clear()
            self._accepted.add(tuple((t.shape, t.dtype) for t in args))
        return tensors

    def _checked(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
        tensors = []
        for port, value in zip(self.ports, self.named(args, kwargs), strict=True):
            if value.__class__ in (int, float, list):
                raise ShapeError(
                    f"the input {port.name!r} is a {type(value).__name__}; pass a NumPy array or a pyopencl.array.Array"
                )
            tensor = as_tensor(np.asarray(value) if isinstance(value, np.generic) else value, f"the input {port.name!r}")
            if tensor.dtype.name != port.dtype:
                raise ShapeError(f"the input {port.name!r} has the element type {tensor.dtype.name}; it must be {port.dtype}")
            if not tensor.dtype.isnative:
                raise ShapeError(
                    f"the input {port.name!r} has the foreign byte order {tensor.dtype.str}; "
                    f"convert it with astype({port.dtype!r})"
                )
            _check_shape(port, tuple(tensor.shape))
            tensors.append(tensor)
        if len({is_device_array(t) for t in tensors}) > 1:
            raise ShapeError("some inputs are NumPy arrays and some device arrays; pass all of one kind")
        return tensors

    def shapes(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Shape, ...]:
        """Return the shape of each input, given as one or with an array; the model's own where nothing is given."""
        if not args and not kwargs:
            return tuple(_own_shape(port) for port in self.ports)
        shapes = [_given_shape(port, v) for port, v in zip(self.ports, self.named(args, kwargs), strict=True)]
        for port, shape in zip(self.ports, shapes, strict=True):
            _check_shape(port, shape)
        return tuple(shapes)


def _given_shape(port: Port, value: Any) -> Shape:
    """Return a shape that was passed as one, or with an array."""
    try:
        return tuple(operator.index(size) for size in getattr(value, "shape", value))
    except TypeError:
        raise ShapeError(
            f"the input {port.name!r} has no shape {value!r}; pass whole numbers, as in explain((1, 3, 224, 224))"
        ) from None


def _check_shape(port: Port, shape: Shape) -> None:
    if port.shape is None:
        return
    fits = len(shape) == len(port.shape) and all(
        w is None or i == 0 or g == w for i, (g, w) in enumerate(zip(shape, port.shape, strict=True))
    )
    if not fits:
        want = "(" + ", ".join("any" if s is None or i == 0 else str(s) for i, s in enumerate(port.shape)) + ")"
        raise ShapeError(f"the input {port.name!r} has the shape {shape}; it must be {want}")


def _own_shape(port: Port) -> Shape:
    if port.shape is None or any(s is None for s in port.shape[1:]):
        raise ShapeError(f"the model leaves sizes of its input open ({port}); pass a shape, as in explain((1, 3, 224, 224))")
    return tuple(1 if s is None else s for s in port.shape)
