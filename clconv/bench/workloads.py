"""The convolution layers of four published networks at 224 x 224, and how often each occurs.

MobileNet V1 1.0 (Howard et al. 2017, table 1), ResNet-50 (He et al. 2015) in its v1.5 form with the stride in the 3x3,
ResNeXt-50 32x4d (Xie et al. 2017), VGG-16 configuration D (Simonyan & Zisserman 2014). Fully connected layers are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from clconv.errors import ShapeError
from clconv.problem import ConvProblem


@dataclass(frozen=True)
class Layer:
    """A layer to time.

    Parameters
    ----------
    name : str
        Kind, filter, stride, input channels, output channels, image: ``"cv3x3s1_64_64_56"``. The kind is ``cv`` (dense),
        ``pw`` (pointwise), ``dw`` (depthwise) or ``g32_`` (groups).
    problem : ConvProblem
        In NCHW, float32, without bias.
    counts : tuple of (network, times)
        How often each network contains the layer.
    """

    name: str
    problem: ConvProblem
    counts: tuple[tuple[str, int], ...] = ()

    def problem_in(self, layout: str) -> ConvProblem:
        """Return the problem in another layout."""
        p = self.problem
        if layout == "NCHW":
            return p
        return ConvProblem(
            (p.N, p.IH, p.IW, p.IC),
            (p.KH, p.KW, p.ICG, p.OC),
            stride=p.stride,
            padding=p.padding,
            dilation=p.dilation,
            groups=p.groups,
            layout=layout,
        )


def layer_name(p: ConvProblem) -> str:
    """Name a problem as :class:`Layer` says; unusual windows get a dilation or a padding behind."""
    kind = {"depthwise": "dw", "grouped": f"g{p.G}_", "pointwise": "pw", "standard": "cv"}[p.kind]
    image = f"{p.IH}" if p.IH == p.IW else f"{p.IH}x{p.IW}"
    stride = f"s{p.SH}" if p.SH == p.SW else f"s{p.SH}x{p.SW}"
    dilation = f"d{p.DH}" if (p.DH, p.DW) != (1, 1) else ""
    return f"{kind}{p.KH}x{p.KW}{stride}{dilation}_{p.IC}_{p.OC}_{image}"


def conv(
    ic: int, image: int, oc: int, k: int, stride: int = 1, groups: int = 1, batch: int = 1, dilation: int = 1
) -> ConvProblem:
    """Square convolution with half the (dilated) filter as padding, as all these networks use it."""
    return ConvProblem(
        (batch, ic, image, image),
        (oc, ic // groups, k, k),
        stride=stride,
        padding=dilation * (k - 1) // 2,
        dilation=dilation,
        groups=groups,
    )


def _mobilenet_v1(batch: int) -> Iterator[ConvProblem]:
    yield conv(3, 224, 32, 3, 2, batch=batch)
    channels, image = 32, 112
    for oc, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]:
        yield conv(channels, image, channels, 3, stride, channels, batch=batch)
        image //= stride
        yield conv(channels, image, oc, 1, batch=batch)
        channels = oc


def _bottlenecks(width: int, groups: int, batch: int) -> Iterator[ConvProblem]:
    """Yield ResNet-50 and ResNeXt-50: ``width`` channels in the 3x3 of the first stage, in ``groups`` groups."""
    yield conv(3, 224, 64, 7, 2, batch=batch)
    channels, image = 64, 56
    for stage, blocks in enumerate([3, 4, 6, 3]):
        mid, out = width << stage, 256 << stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            yield conv(channels, image, mid, 1, batch=batch)
            yield conv(mid, image, mid, 3, stride, groups, batch=batch)
            yield conv(mid, image // stride, out, 1, batch=batch)
            if not block:
                yield conv(channels, image, out, 1, stride, batch=batch)
            channels, image = out, image // stride


def _resnet50(batch: int) -> Iterator[ConvProblem]:
    return _bottlenecks(64, 1, batch)


def _resnext50(batch: int) -> Iterator[ConvProblem]:
    return _bottlenecks(128, 32, batch)


def _vgg16(batch: int) -> Iterator[ConvProblem]:
    channels, image = 3, 224
    for layers, oc in [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]:
        for _ in range(layers):
            yield conv(channels, image, oc, 3, batch=batch)
            channels = oc
        image //= 2


NETWORKS = {"mobilenet_v1": _mobilenet_v1, "resnext50": _resnext50, "resnet50": _resnet50, "vgg16": _vgg16}
"""Convolutions of each network in the order of its forward pass, as a function of the batch size."""

TITLES = {"mobilenet_v1": "MobileNet V1", "resnext50": "ResNeXt-50", "resnet50": "ResNet-50", "vgg16": "VGG-16"}
"""How the networks are written for people."""


def distinct_layers(networks: Iterable[str] = tuple(NETWORKS), batch: int = 1, only: Iterable[str] = ()) -> list[Layer]:
    """Return each distinct layer of the networks once, with its counts.

    Parameters
    ----------
    networks : iterable of str
        Keys of :data:`NETWORKS`.
    batch : int
    only : iterable of str
        Keep the layers whose name contains one of these; all if empty.

    Raises
    ------
    ShapeError
        If a network is unknown.
    """
    counts: dict[ConvProblem, dict[str, int]] = {}
    for network in networks:
        if network not in NETWORKS:
            raise ShapeError(f"network {network!r} is unknown; use some of {', '.join(NETWORKS)}")
        for problem in NETWORKS[network](batch):
            of = counts.setdefault(problem, {})
            of[network] = of.get(network, 0) + 1
    wanted = tuple(only)
    layers = [Layer(layer_name(p), p, tuple(c.items())) for p, c in counts.items()]
    return [layer for layer in layers if not wanted or any(part in layer.name for part in wanted)]
