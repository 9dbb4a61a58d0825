"""The types of what callers pass by name, for programs whose types are checked."""

from __future__ import annotations

from typing import SupportsIndex, TypedDict

import pyopencl as cl

from clconv.activation import ActivationLike
from clconv.arguments import Padding, Size
from clconv.tensors import Tensor


class SeparableOptions(TypedDict, total=False):
    """What :func:`separable_conv2d` takes by name, see there."""

    stride: Size
    padding: Padding
    dilation: Size
    layout: str
    activation: ActivationLike
    residual: Tensor
    algorithm: str
    workspace: int | None
    error_factor: float | None
    out: Tensor
    queue: cl.CommandQueue | None


class Options(SeparableOptions, total=False):
    """What :func:`conv2d` takes by name, see there."""

    groups: SupportsIndex
