"""ResNet-50 (He et al. 2015, the stride in the 3x3) and ResNeXt-50 32x4d (Xie et al. 2017)."""

from __future__ import annotations

from clconv.networks.builder import Builder


def bottlenecks(
    name: str, size: int, classes: int, *, width: int, groups: int, depth: tuple[int, ...] = (3, 4, 6, 3)
) -> tuple[Builder, str]:
    r"""Describe a network of bottleneck blocks.

    ::

        x ---> 1x1, mid ---> 3x3, mid, in groups ---> 1x1, out ---> + ---> relu
          \--------------- (1x1, out, where shapes change) -------/

    Parameters
    ----------
    name : str
    size, classes : int
    width : int
        Channels of the 3x3 in the first stage; each stage doubles them.
    groups : int
        Groups of the 3x3.
    depth : tuple of int
        Blocks per stage.
    """
    net = Builder(name, size)

    def conv(x: str, oc: int, k: int, stride: int = 1, groups: int = 1, scale: float = 1.0) -> str:
        return net.batch_norm(net.conv(x, oc, k, stride=stride, groups=groups), scale)

    x = net.max_pool(net.relu(conv("x", 64, 7, 2)), 3, 2, 1)
    for stage, blocks in enumerate(depth):
        mid, out = width << stage, 256 << stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            y = net.relu(conv(x, mid, 1))
            y = net.relu(conv(y, mid, 3, stride, groups))
            y = conv(y, out, 1, scale=0.3)  # small, so that sums of many blocks stay of order one
            shortcut = x if block else conv(x, out, 1, stride, scale=0.7)
            x = net.relu(net.add(y, shortcut))
    return net, net.dense(net.global_average(x), classes)


def resnet50(size: int, classes: int) -> tuple[Builder, str]:
    """Describe ResNet-50."""
    return bottlenecks("ResNet-50", size, classes, width=64, groups=1)


def resnext50(size: int, classes: int) -> tuple[Builder, str]:
    """Describe ResNeXt-50 with 32 groups of 4 channels."""
    return bottlenecks("ResNeXt-50 32x4d", size, classes, width=128, groups=32)
