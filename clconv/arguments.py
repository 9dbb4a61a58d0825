"""Numbers, pairs, shapes and padding as a caller may write them, read and checked. No OpenCL here."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, SupportsIndex, TypeAlias, cast

from clconv.errors import ShapeError, UnsupportedError

Pair: TypeAlias = "tuple[int, int]"
Size: TypeAlias = "SupportsIndex | Sequence[SupportsIndex]"
"""One integer, or one for the height and one for the width; of any kind, NumPy's as well."""

Padding: TypeAlias = "Size | str | Sequence[Sequence[SupportsIndex]]"

MOST = 2**31 - 1
"""Kernels take sizes, steps and padding as 32-bit integers; offsets into a tensor have 64."""


_SHOWN = 200  # characters of a value in a sentence


def shown(value: object) -> str:
    """Return how a value is shown in a sentence: in one line that is not long, and whatever it is."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # of so many digits that Python does not write them
        return "an integer of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def read_integer(value: object, name: str, must: str = "must be an integer", *, of: object = None) -> int:
    """Return an integer of any kind but a truth value; else raise a ShapeError that tells what it ``must`` be.

    It shows what the integer is a part ``of``.
    """
    try:
        number = operator.index(cast("Any", value))
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise ShapeError(f"{name}={shown(value if of is None else of)} {must}")
    if abs(number) > MOST:
        raise ShapeError(f"{name}={shown(value)} must not exceed {MOST}{' in magnitude' * (number < 0)}")
    return number


def read_shape(value: Sequence[SupportsIndex], name: str, axes: str) -> tuple[int, ...]:
    """Return a shape of four axes, or an array's, named by ``axes``; an UnsupportedError is raised for three and for five."""
    if getattr(value, "ndim", 0) > 1:
        value = cast("Any", value).shape
    try:
        shape = tuple(read_integer(v, f"a size in the shape of {name}") for v in value)
    except TypeError:
        raise ShapeError(f"the shape of {name} must be a sequence of 4 integers, got {shown(value)}") from None
    letters = ", ".join(axes)
    if len(shape) in (3, 5):
        raise UnsupportedError(
            f"{name} has {len(shape)} axes {shape}; only 2-D convolutions with the 4 axes ({letters}) are offered"
        )
    if len(shape) != 4:
        raise ShapeError(f"{name} has {len(shape)} axes {shown(shape)}; give it the 4 axes ({letters})")
    if min(shape) < 0:
        raise ShapeError(f"the shape {shape} of {name} has a negative size")
    return shape


def read_pair(
    value: Any, name: str, least: int, must: str = "must be one integer or two, for height and width", *, of: object = None
) -> Pair:
    """Return a number for the height and one for the width, each at ``least`` so large.

    A sentence shows what the pair is a part ``of``.
    """
    value = _listed(value)
    of = value if of is None else of
    values = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else (value, value)
    if len(values) != 2:
        raise ShapeError(f"{name}={shown(of)} {must}")
    pair = (read_integer(values[0], name, must, of=of), read_integer(values[1], name, must, of=of))
    if min(pair) < least:
        raise ShapeError(f"{name}={shown(of)} must be at least {least}")
    return pair


def _listed(value: Any) -> Any:
    """Return the numbers of an array as lists, as they are written without one."""
    return value.tolist() if getattr(value, "ndim", 0) > 0 and hasattr(value, "tolist") else value


def read_padding(value: Any, size: Pair, filt: Pair, stride: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """Return the padding before and behind of height and width; ``size`` and the others are the image's and the filter's."""
    if isinstance(value, str):
        mode = value.lower()
        if mode == "valid":
            return ((0, 0), (0, 0))
        if mode not in ("same", "same_lower"):
            raise ShapeError(f'padding {value!r} is unknown; use numbers, "valid", "same" or "same_lower"')
        pads = []
        for s, k, st, d in zip(size, filt, stride, dilation, strict=True):
            total = max((-(-s // st) - 1) * st + (k - 1) * d + 1 - s, 0)
            small, large = total // 2, total - total // 2
            pads.append((small, large) if mode == "same" else (large, small))
        return (pads[0], pads[1])
    value = _listed(value)
    must = 'must be an integer, (h, w), ((top, bottom), (left, right)), "valid", "same" or "same_lower"'
    if isinstance(value, Sequence) and len(value) == 2 and all(isinstance(v, Sequence) for v in value):
        return (read_pair(value[0], "padding", 0, must, of=value), read_pair(value[1], "padding", 0, must, of=value))
    h, w = read_pair(value, "padding", 0, must)
    return ((h, h), (w, w))
