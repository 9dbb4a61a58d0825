"""ShuffleNet V2 1.0 (Ma et al. 2018)."""

from __future__ import annotations

import numpy as np

from clconv.networks.builder import Builder

_STAGES = [(4, 116), (8, 232), (4, 464)]


def shufflenet_v2(size: int, classes: int) -> tuple[Builder, str]:
    """Describe ShuffleNet V2: half of the channels passes by, the other half is convolved, then both are shuffled."""
    net = Builder("ShuffleNet V2", size)

    def conv(x: str, oc: int, k: int, stride: int = 1, groups: int = 1, act: bool = True) -> str:
        y = net.batch_norm(net.conv(x, oc, k, stride=stride, groups=groups))
        return net.relu(y) if act else y

    def branch(x: str, oc: int, stride: int) -> str:
        y = conv(x, oc, 1)
        return conv(conv(y, oc, 3, stride, oc, act=False), oc, 1)

    def shuffle(a: str, b: str, image: int) -> str:
        c = net.channels[a] + net.channels[b]
        x = net.node("Concat", [a, b], c, axis=1)
        shape = net.fixed(f"pairs{c}x{image}", np.array([0, 2, c // 2, image, image]))
        x = net.node("Transpose", [net.node("Reshape", [x, shape], c)], c, perm=[0, 2, 1, 3, 4])
        return net.node("Reshape", [x, net.fixed(f"image{c}x{image}", np.array([0, c, image, image]))], c)

    def half(x: str, part: int) -> str:
        c = net.channels[x] // 2
        numbers = [part * c, (part + 1) * c, 1]
        limits = [net.fixed(f"{kind}{n}", np.array([n])) for kind, n in zip(("start", "end", "axis"), numbers, strict=True)]
        return net.node("Slice", [x, *limits], c)

    def halved(image: int) -> int:
        return (image + 1) // 2

    image = halved(halved(size))
    x = net.max_pool(conv("x", 24, 3, 2), 3, 2, 1)
    for blocks, channels in _STAGES:
        oc, ic = channels // 2, net.channels[x]
        image = halved(image)
        x = shuffle(conv(conv(x, ic, 3, 2, ic, act=False), oc, 1), branch(x, oc, 2), image)
        for _ in range(blocks - 1):
            x = shuffle(half(x, 0), branch(half(x, 1), oc, 1), image)
    return net, net.dense(net.global_average(conv(x, 1024, 1)), classes)
