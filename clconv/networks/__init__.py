"""Published networks as ONNX models, with weights from a seed.

They have the shapes of the real ones and no training: good for timing and for comparing results. Each function takes the
image's ``size``, the number of ``classes`` and a ``seed``, and returns an ``onnx.ModelProto`` with input ``x``
``(N, 3, size, size)`` and output ``y`` ``(N, classes)``.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

from clconv.errors import ShapeError, UnsupportedError

try:
    import onnx
except ImportError as error:
    raise UnsupportedError("clconv.networks needs the package onnx; install it with pip install 'clconv[onnx]'") from error

from clconv.networks import mobilenet, resnet, shufflenet, vgg
from clconv.networks.builder import Builder

_DESCRIPTIONS: dict[str, Callable[..., tuple[Builder, str]]] = {
    "mobilenet_v1": mobilenet.mobilenet_v1,
    "mobilenet_v2": mobilenet.mobilenet_v2,
    "resnet50": resnet.resnet50,
    "resnext50": resnet.resnext50,
    "shufflenet_v2": shufflenet.shufflenet_v2,
    "vgg16": vgg.vgg16,
}

NETWORKS = tuple(_DESCRIPTIONS)
"""Names of the networks."""


def build(name: str, *, size: int = 224, classes: int = 1000, seed: int = 0, **options: Any) -> onnx.ModelProto:
    """Return a network by its name.

    Parameters
    ----------
    name : str
        One of :data:`NETWORKS`.
    size : int
        Height and width of the image, in pixels.
    classes : int
        Numbers in the output.
    seed : int
        Of the weights.
    **options
        ``width`` of MobileNet V1, ``head`` of VGG-16.

    Returns
    -------
    onnx.ModelProto
        Of any batch.

    Raises
    ------
    ShapeError
        If the name is unknown, or a number makes no such network.
    """
    if not isinstance(seed, Integral) or seed < 0:
        raise ShapeError(f"seed={seed!r} draws no weights; use a whole number from 0 on")
    net, output = _describe(name, size, classes, options)
    return net.model(output, seed)


def parameters(name: str, *, size: int = 224, classes: int = 1000, **options: Any) -> int:
    """Return how many numbers training would change; the statistics of batch normalisation are not among them.

    Parameters
    ----------
    name, size, classes, **options
        As in :func:`build`.
    """
    net, _ = _describe(name, size, classes, options)
    return net.parameters


def _describe(name: str, size: int, classes: int, options: dict[str, Any]) -> tuple[Builder, str]:
    if name not in _DESCRIPTIONS:
        raise ShapeError(f"network {name!r} is unknown; use one of {', '.join(NETWORKS)}")
    least = 32 if name == "vgg16" else 1  # VGG-16 halves its image five times and rounds down
    for what, number, smallest in (("size", size, least), ("classes", classes, 1)):
        if not isinstance(number, Integral) or isinstance(number, bool) or number < smallest:
            raise ShapeError(f"{what}={number!r} makes no {name}; use a whole number from {smallest} on")
    known = {"mobilenet_v1": {"width"}, "vgg16": {"head"}}.get(name, set())
    other = next((option for option in options if option not in known), None)
    if other is not None:
        raise ShapeError(f"{name} has no option {other!r}; {' and '.join(sorted(known)) or 'none'} is what may be given")
    width = options.get("width", 1.0)
    if not isinstance(width, (int, float)) or not 1 / 32 <= width <= 32:
        raise ShapeError(f"width={width!r} makes no {name}; use a number from 1/32 to 32")
    return _DESCRIPTIONS[name](size, classes, **options)


def mobilenet_v1(*, size: int = 224, classes: int = 1000, seed: int = 0, width: float = 1.0) -> onnx.ModelProto:
    """Return MobileNet V1 with ``width`` times the published channels."""
    return build("mobilenet_v1", size=size, classes=classes, seed=seed, width=width)


def mobilenet_v2(*, size: int = 224, classes: int = 1000, seed: int = 0) -> onnx.ModelProto:
    """Return MobileNet V2."""
    return build("mobilenet_v2", size=size, classes=classes, seed=seed)


def resnet50(*, size: int = 224, classes: int = 1000, seed: int = 0) -> onnx.ModelProto:
    """Return ResNet-50."""
    return build("resnet50", size=size, classes=classes, seed=seed)


def resnext50(*, size: int = 224, classes: int = 1000, seed: int = 0) -> onnx.ModelProto:
    """Return ResNeXt-50 32x4d."""
    return build("resnext50", size=size, classes=classes, seed=seed)


def shufflenet_v2(*, size: int = 224, classes: int = 1000, seed: int = 0) -> onnx.ModelProto:
    """Return ShuffleNet V2 1.0."""
    return build("shufflenet_v2", size=size, classes=classes, seed=seed)


def vgg16(*, size: int = 224, classes: int = 1000, seed: int = 0, head: bool = True) -> onnx.ModelProto:
    """Return VGG-16, or its convolutions alone."""
    return build("vgg16", size=size, classes=classes, seed=seed, head=head)
