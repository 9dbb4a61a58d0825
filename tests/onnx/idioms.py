"""The idioms that exports are made of, each with what it may vary in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.onnx.builder import Builder, Shape


def convolution(b: Builder, x: str, shape: Shape, *, channels: int = 0, kind: str = "", stride: int = 0) -> tuple[str, Shape]:
    """Add a convolution of some kind."""
    n, c, h, w = shape
    kind = kind or b.some("3x3", "1x1", "depthwise", "grouped", "5x5")
    stride = stride or (b.some(1, 1, 2) if min(h, w) > 5 else 1)
    groups = {"depthwise": c, "grouped": 2 if c % 2 == 0 else 1}.get(kind, 1)
    out = c if kind == "depthwise" else channels or b.some(8, 4, 12, 16)
    size = {"1x1": 1, "5x5": 5}.get(kind, 3)
    pad = size // 2
    bound = (3 / (size * size * (c // groups))) ** 0.5
    inputs = [x, b.constant(out, c // groups, size, size, low=-bound, high=bound)]
    if b.some(True, False):
        inputs.append(b.constant(out))
    if pad and b.some(False, False, False, True):
        amounts = b.integers(0, 0, pad, pad, 0, 0, pad, pad)
        inputs[0], pads = b.node("Pad", x, amounts), 0
    else:
        pads = pad
    y = b.node("Conv", *inputs, group=groups, strides=[stride] * 2, pads=[pads] * 4, kernel_shape=[size] * 2)
    return y, (n, out, (h - 1) // stride + 1, (w - 1) // stride + 1)


def normalised(b: Builder, x: str, shape: Shape) -> tuple[str, Shape]:
    """Add a normalisation, as one node or written out."""
    _, c, h, w = shape
    kind = b.some("batch", "batch", "group", "instance", "layer", "layer written", "channels written")
    scale, shift = b.constant(c, low=0.5, high=1.5), b.constant(c)
    if kind == "batch":
        y = b.node("BatchNormalization", x, scale, shift, b.constant(c), b.constant(c, low=0.5, high=1.5))
    elif kind == "instance":
        y = b.node("InstanceNormalization", x, scale, shift)
    elif kind == "group":
        groups = b.some(2, 4) if c % 4 == 0 else 1
        flat = b.node("Reshape", x, b.integers(0, groups, -1))
        unit = b.constant(groups, low=1.0, high=1.0), b.constant(groups, low=0.0, high=0.0)
        back = b.node("Reshape", b.node("InstanceNormalization", flat, *unit), b.integers(-1, c, h, w))
        y = b.pair("Mul", back, b.constant(c, 1, 1, low=0.5, high=1.5))
        y = b.pair("Add", y, b.constant(c, 1, 1))
    elif kind == "channels written":
        y = written_norm(b, x, 1)
        y = b.pair("Mul", y, b.constant(c, 1, 1, low=0.5, high=1.5))
        y = b.pair("Add", y, b.constant(c, 1, 1))
    else:
        last = b.node("Transpose", x, perm=[0, 2, 3, 1])
        if kind == "layer":
            inner = b.node("LayerNormalization", last, scale, shift, axis=-1)
        else:
            inner = b.pair("Add", b.pair("Mul", written_norm(b, last, b.some(-1, 3)), scale), shift)
        y = b.node("Transpose", inner, perm=[0, 3, 1, 2])
    return y, shape


def written_norm(b: Builder, x: str, axis: int) -> str:
    """Add the nodes of ``(x - mean) / sqrt(variance + epsilon)``."""
    centred = b.node("Sub", x, b.node("ReduceMean", x, b.integers(axis)))
    two = b.number(2.0)
    square = b.node("Pow", centred, two) if b.constants[two].ndim == 0 else b.node("Mul", centred, centred)
    total = b.pair("Add", b.node("ReduceMean", square, b.integers(axis)), b.number(1e-3))
    return str(b.node("Div", centred, b.node("Sqrt", total)))


def function(b: Builder, x: str, shape: Shape) -> tuple[str, Shape]:
    """Add a function of each element, as one node or written out."""
    kind = b.some(
        *("Relu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "LeakyRelu", "Clip", "PRelu", "Mish", "Softplus", "Elu"),
        *("silu", "hard swish", "gelu", "hard sigmoid"),
    )
    if kind == "Clip":
        y = b.node("Clip", x, *b.some(("", b.number(0.5)), (b.number(-0.25), ""), (b.number(0.0), b.number(6.0))))
    elif kind == "PRelu":
        y = b.node("PRelu", x, b.constant(*b.some((shape[1], 1, 1), (1, 1, 1))))
    elif kind == "silu":
        y = b.pair("Mul", x, b.node("Sigmoid", x))
    elif kind in ("hard swish", "hard sigmoid"):
        gate = b.node("Clip", b.pair("Add", x, b.number(3.0)), b.number(0.0), b.number(6.0))
        y = gate if kind == "hard sigmoid" else b.pair("Mul", x, gate)
        y = b.node("Div", y, b.number(6.0)) if b.some(True, False) else b.pair("Mul", y, b.number(1 / 6))
    elif kind == "gelu":
        gate = b.pair("Add", b.node("Erf", b.node("Div", x, b.number(2**0.5))), b.number(1.0))
        y = b.pair("Mul", b.pair("Mul", x, gate), b.number(0.5))
    else:
        y = b.node(kind, x)
    return y, shape


def arithmetic(b: Builder, x: str, shape: Shape) -> tuple[str, Shape]:
    """Add a sum or product with a constant, or with another image."""
    op = b.some("Mul", "Add", "Sub", "Div")
    _, c, h, w = shape
    kind = b.some("number", "channels", "other", "pixels", "all", "columns", "unit")
    low, high = (0.5, 1.5) if op in ("Mul", "Div") else (-1.0, 1.0)
    other = b.another(shape) if kind == "other" and op != "Div" else None
    if kind == "unit":
        return str(b.node(op, x, b.number(1.0 if op in ("Mul", "Div") else 0.0))), shape
    if other is None:
        sizes = {"channels": (c, 1, 1), "pixels": (1, 1, h, w), "all": (1, c, h, w), "columns": (w,)}
        other = b.number(b.some(0.5, -1.5)) if kind not in sizes else b.constant(*sizes[kind], low=low, high=high)
        if op == "Div":
            return str(b.node("Div", x, other)), shape
    return b.pair(op, x, other), shape


def residual(b: Builder, x: str, shape: Shape) -> tuple[str, Shape]:
    """Add a block whose result is added to what it reads."""
    y, size = x, shape
    for _ in range(b.some(1, 2)):
        y, size = convolution(b, y, size, channels=shape[1], stride=1)
        if b.some(False, True):
            y, size = b.some(normalised, function)(b, y, size)
    return b.pair("Add", x, y), shape


def separable(b: Builder, x: str, shape: Shape) -> tuple[str, Shape]:
    """Add an inverted residual: 1x1, depthwise, 1x1, with functions between them."""
    y, size = x, shape
    if b.some(True, False):
        y, size = function(b, *convolution(b, y, size, kind="1x1", channels=16))
    y, size = function(b, *convolution(b, y, size, kind="depthwise"))
    y, size = convolution(b, y, size, kind="1x1", channels=b.some(shape[1], 8))
    return (b.pair("Add", x, y) if size == shape and b.some(True, False) else y), size


def gate(b: Builder, x: str, shape: Shape) -> tuple[str, Shape]:
    """Add what weighs the channels by their means, as SENet does."""
    c = shape[1]
    mean = b.node("GlobalAveragePool", x) if b.some(True, False) else b.node("ReduceMean", x, b.integers(2, 3))
    y, size = convolution(b, mean, (1, c, 1, 1), kind="1x1", channels=4, stride=1)
    y, size = function(b, y, size)
    y, size = convolution(b, y, size, kind="1x1", channels=c, stride=1)
    return b.pair("Mul", x, b.node(b.some("Sigmoid", "HardSigmoid"), y)), shape


def branches(b: Builder, x: str, shape: Shape) -> tuple[str, Shape]:
    """Add a sum of convolutions of one image, and of its batch normalisation at times."""
    channels = shape[1]
    y, size = convolution(b, x, shape, kind=b.some("3x3", "depthwise"), channels=channels, stride=b.some(1, 2))
    stride = -(-shape[2] // size[2])
    for _ in range(b.some(1, 2)):
        if stride == 1 and b.some(False, True):
            numbers = [b.constant(channels, low=0.5, high=1.5) for _ in range(4)]
            z = b.node("BatchNormalization", x, *numbers)
        else:
            z, _ = convolution(b, x, shape, kind=b.some("1x1", "3x3", "depthwise"), channels=channels, stride=stride)
        y = b.pair("Add", y, z)
    return y, size


def side_by_side(b: Builder, x: str, shape: Shape) -> tuple[str, Shape]:
    """Add images that are computed side by side and put together: of Inception, GhostNet, DenseNet or YOLO."""
    n, _, h, w = shape
    kind = b.some("inception", "ghost", "dense", "stage")
    if kind == "inception":
        parts = [convolution(b, x, shape, stride=1) for _ in range(b.some(2, 3))]
        if b.some(False, True):
            pool = b.node(b.some("MaxPool", "AveragePool"), x, kernel_shape=[3, 3], pads=[1] * 4)
            parts.append(convolution(b, pool, shape, kind="1x1", stride=1))
    elif kind == "ghost":
        first = function(b, *convolution(b, x, shape, kind="1x1", stride=1))
        parts = [first, function(b, *convolution(b, *first, kind="depthwise", stride=1))]
    elif kind == "dense":
        parts = [(x, shape)]
        for _ in range(b.some(1, 2)):
            whole = b.node("Concat", *(name for name, _ in parts), axis=1)
            y, size = function(b, *normalised(b, str(whole), (n, sum(s[1] for _, s in parts), h, w)))
            parts.append(convolution(b, y, size, channels=b.some(4, 8), stride=1))
    else:
        y, _ = function(b, *convolution(b, x, shape, kind="1x1", channels=16, stride=1))
        half = (n, 8, h, w)
        first, last = b.node("Split", y, b.integers(8, 8), axis=1, outputs=2)
        parts = [(first, half), (last, half)]
        for _ in range(b.some(1, 2)):
            parts.append(residual(b, *parts[-1]) if b.some(True, False) else convolution(b, *parts[-1], channels=8, stride=1))
    channels = sum(size[1] for _, size in parts)
    y = str(b.node("Concat", *(name for name, _ in parts), axis=b.some(1, -3)))
    if b.some(False, True):
        y = b.node("Slice", y, b.integers(0), b.integers(channels), b.integers(1))
    for behind in b.some((), (normalised,), (function,), (normalised, function)):
        y, _ = behind(b, y, (n, channels, h, w))
    return y, (n, channels, h, w)


def transition(b: Builder, x: str, shape: Shape) -> tuple[str, Shape]:
    """Add a 1x1 convolution and means of what it gives: what is between the blocks of DenseNet."""
    y, (n, c, h, w) = convolution(b, x, shape, channels=b.some(16, 32), kind="1x1", stride=1)
    if b.some(False, False, True):
        return b.node("GlobalAveragePool", y), (n, c, 1, 1)
    if min(h, w) < 3:
        return y, (n, c, h, w)
    size, pad = b.some((2, 0), (3, 0), (3, 1))
    pads, counted = [b.some(0, pad), pad, pad, pad], b.some(0, 1)
    y = b.node("AveragePool", y, kernel_shape=[size] * 2, strides=[2, 2], pads=pads, count_include_pad=counted)
    return y, (n, c, (h + pads[0] + pads[2] - size) // 2 + 1, (w + 2 * pad - size) // 2 + 1)


def response(b: Builder, x: str, shape: Shape) -> tuple[str, Shape]:
    """Add ConvNeXt V2's normalisation of responses, and what else multiplies and adds small tensors one after the other."""
    c = shape[1]
    mean = b.node("GlobalAveragePool", x)
    if b.some(False, True):
        mean = b.node("Expand", mean, b.node("Shape", x))
    y = b.pair("Mul", x, mean)
    for op in b.some(("Mul", "Add"), ("Add",), ("Mul", "Add", "Mul", "Add")):
        y = b.pair(op, y, b.constant(c, 1, 1))
    y = b.pair("Add", x, y)
    return convolution(b, y, shape, kind="1x1") if b.some(True, False) else (y, shape)


def shuffled(b: Builder, x: str, shape: Shape) -> tuple[str, Shape]:
    """Add what moves channels: a shuffle, a split and a concatenation, or a slice."""
    n, c, h, w = shape
    kind = b.some("concat", "shuffle", "split", "slice", "pixels")
    if kind == "shuffle" and c % 2 == 0:
        y = b.node("Reshape", x, b.integers(-1, 2, c // 2, h, w))
        y = b.node("Transpose", y, perm=[0, 2, 1, 3, 4])
        return str(b.node("Reshape", y, b.integers(-1, c, h, w))), shape
    if kind == "split" and c % 2 == 0:
        first = b.some(c // 2, 1)
        p, q = b.node("Split", x, b.integers(first, c - first), axis=1, outputs=2)
        q, _ = b.some(function, arithmetic)(b, q, (n, c - first, h, w))
        return str(b.node("Concat", *b.some((p, q), (q, p)), axis=1)), shape
    if kind == "slice" and c > 2:
        starts, ends = b.integers(b.some(0, 1)), b.integers(c - 1)
        y = b.node("Slice", x, starts, ends, b.integers(1))
        return str(y), (n, c - 1 - int(b.constants[starts][0]), h, w)
    if kind == "pixels" and c % 4 == 0:
        return str(b.node("DepthToSpace", x, blocksize=2, mode=b.some("DCR", "CRD"))), (n, c // 4, 2 * h, 2 * w)
    others = [(name, size) for name, size in b.images if size[2:] == (h, w)]
    name, size = b.some(*others)
    return str(b.node("Concat", *b.some((x, name), (name, x)), axis=1)), (n, c + size[1], h, w)


def resized(b: Builder, x: str, shape: Shape) -> tuple[str, Shape]:
    """Add pooling, padding or a change of size."""
    n, c, h, w = shape
    kind = b.some("MaxPool", "AveragePool", "Resize", "Pad", "mean")
    if kind == "Resize":
        b.constants[name := f"s{len(b.constants)}"] = np.array([1, 1, 2, 2], np.float32)
        mode = b.some("nearest", "linear")
        return str(b.node("Resize", x, "", name, mode=mode, coordinate_transformation_mode="asymmetric")), (n, c, 2 * h, 2 * w)
    if kind == "Pad":
        amounts = b.integers(0, b.some(0, 1), 0, 1, 0, 0, 1, b.some(0, 2))
        size = tuple(s + int(p) + int(q) for s, p, q in zip(shape, *np.split(b.constants[amounts], 2), strict=True))
        return str(b.node("Pad", x, amounts)), size
    if kind == "mean":
        return b.pair("Sub", x, b.node(b.some("ReduceMean", "ReduceMax"), x, b.integers(b.some(1, 2, 3)))), shape
    stride = b.some(1, 2)
    y = b.node(kind, x, kernel_shape=[3, 3], strides=[stride] * 2, pads=[1] * 4)
    return str(y), (n, c, (h - 1) // stride + 1, (w - 1) // stride + 1)


def tokens(b: Builder, x: str, shape: Shape) -> tuple[str, Shape]:
    """Add products along the channels, of pixels as a sequence or as an image with channels last."""
    n, c, h, w = shape
    sequence = b.some(False, True)
    if sequence:
        y = b.node("Transpose", b.node("Reshape", x, b.integers(0, c, -1)), perm=[0, 2, 1])
    else:
        y = b.node("Transpose", x, perm=[0, 2, 3, 1])
    start, width = y, c
    for _ in range(b.some(1, 2)):
        to = b.some(c, 12)
        bound = (3 / width) ** 0.5
        y, width = b.node("MatMul", y, b.constant(width, to, low=-bound, high=bound)), to
        if b.some(True, False):
            y = b.pair("Add", y, b.constant(width))
        if b.some(False, True):
            y = b.pair("Mul", y, b.constant(width, low=0.5, high=1.5))
        if b.some(False, True):
            y = b.node(b.some("Relu", "HardSwish", "Tanh"), y) if sequence else function(b, y, (1, 1, 1, 1))[0]
    if width == c and b.some(True, False):
        y = b.pair("Add", start, y)
    if sequence and width == c and b.some(False, True):
        scores = b.node("MatMul", y, b.node("Transpose", start, perm=[0, 2, 1]))
        y = b.node("MatMul", b.node("Softmax", b.pair("Mul", scores, b.number(0.2, 3)), axis=-1), start)
    if sequence:
        y = b.node("Reshape", b.node("Transpose", y, perm=[0, 2, 1]), b.integers(-1, width, h, w))
    else:
        y = b.node("Transpose", y, perm=[0, 3, 1, 2])
    return str(y), (n, width, h, w)


IDIOMS: tuple[Callable[[Builder, str, Shape], tuple[str, Shape]], ...] = (
    *(convolution, convolution, function, normalised, arithmetic, residual, separable),
    *(gate, branches, side_by_side, transition, response, shuffled, resized, tokens),
)
