"""MobileNet V1 (Howard et al. 2017) and V2 (Sandler et al. 2018)."""

from __future__ import annotations

from clconv.networks.builder import Builder

_V1 = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
_V2 = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


def _conv(net: Builder, x: str, oc: int, k: int, stride: int = 1, groups: int = 1, act: bool = True, scale: float = 1.0) -> str:
    y = net.batch_norm(net.conv(x, oc, k, stride=stride, groups=groups), scale)
    return net.relu6(y) if act else y


def mobilenet_v1(size: int, classes: int, width: float = 1.0) -> tuple[Builder, str]:
    """Describe MobileNet V1: a depthwise 3x3 and a pointwise convolution, thirteen times."""
    net = Builder("MobileNet V1", size)
    x = _conv(net, "x", int(32 * width), 3, 2)
    for oc, stride in _V1:
        x = _conv(net, x, net.channels[x], 3, stride, net.channels[x])
        x = _conv(net, x, int(oc * width), 1)
    return net, net.dense(net.global_average(x), classes)


def mobilenet_v2(size: int, classes: int) -> tuple[Builder, str]:
    """Describe MobileNet V2: thin tensors between blocks that widen, convolve depthwise, and narrow again."""
    net = Builder("MobileNet V2", size)
    x = _conv(net, "x", 32, 3, 2)
    for widen, oc, times, first_stride in _V2:
        for index in range(times):
            stride = 1 if index else first_stride
            ic = net.channels[x]
            y = _conv(net, x, ic * widen, 1) if widen > 1 else x
            y = _conv(net, y, ic * widen, 3, stride, ic * widen)
            y = _conv(net, y, oc, 1, act=False, scale=0.7)
            x = net.add(x, y) if stride == 1 and ic == oc else y
    return net, net.dense(net.global_average(_conv(net, x, 1280, 1)), classes)
