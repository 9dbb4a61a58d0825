"""VGG-16, configuration D (Simonyan and Zisserman 2014)."""

from __future__ import annotations

from clconv.networks.builder import Builder

_STAGES = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]


def vgg16(size: int, classes: int, head: bool = True) -> tuple[Builder, str]:
    """Describe VGG-16; without ``head`` the three fully connected layers, nine tenths of its weights, become a mean."""
    net = Builder("VGG-16", size)
    x = "x"
    for layers, oc in _STAGES:
        for _ in range(layers):
            x = net.relu(net.conv(x, oc, 3, bias=True))
        x = net.max_pool(x, 2, 2)
    if not head:
        return net, net.global_average(x)
    x = net.node("Flatten", [x], 512 * (size // 32) ** 2)
    x = net.relu(net.dense(x, 4096, gain=2.0))
    x = net.relu(net.dense(x, 4096, gain=2.0))
    return net, net.dense(x, classes)
