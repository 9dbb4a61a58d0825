"""Resize: nearest, linear and cubic, with every way to map coordinates that ONNX has but cropping."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from clconv.errors import ShapeError, UnsupportedError
from clconv.onnx.graph import Array, Node, Shape
from clconv.onnx.lower.movement import emit_copy, required, strides_of
from clconv.onnx.step import Int, Lowering, itemsize, pieces

_TRANSFORMATION = "coordinate_transformation_mode"

_HALFWAY = 1e-6
"""How near to the middle of two elements a place is taken for it. Places are float32 numbers, and 2 / (4 / 7) is less than 3.5
then; ONNX Runtime takes the same elements, for sizes up to 48 and 64 all of them, but for some
by half_pixel_symmetric."""


def lower_resize(node: Node, to: Lowering) -> None:
    """One axis after the other, each by a table of places and weights; both at once where elements are only repeated."""
    x, shape, out = node.inputs[0], to.shapes[node.inputs[0]], to.shapes[node.output]
    dtype = to.floating(node, x)
    if 0 in shape:
        raise ShapeError(
            f"the node {node.name!r} (Resize) takes its elements from {x!r} of the shape {shape}; pass one that holds some"
        )
    scales = _scales(node, to.constants, shape)
    axes = [a for a in range(len(shape)) if shape[a] != out[a] or scales[a] not in (None, 1.0)]
    if not axes:
        emit_copy(to, x, node.output, shape, strides_of(shape), strides_of(shape))
        return
    sizes = list(shape)
    tables = {axis: table(node, shape[axis], out[axis], scales[axis]) for axis in axes}
    last = len(shape) - (1 if node.get("layout") == "NHWC" else 0)  # behind the columns
    if to.device.is_cpu and _repeats(shape, out, {axis: places for axis, (places, _) in tables.items()}, last):
        _emit_repeated(to, x, node.output, last)
        return
    for index, axis in enumerate(_in_turn(axes, shape, out)):
        places, weights = tables[axis]
        sizes[axis] = out[axis]
        y = node.output if index == len(axes) - 1 else to.value(f"axis{axis}", tuple(sizes), dtype)
        outer, inner = math.prod(sizes[:axis]), math.prod(sizes[axis + 1 :])
        weights = weights.astype(np.float64 if dtype == "float64" else np.float32)
        names = {
            "x": x,
            "places": to.constant(f"places{axis}", places.astype(np.int32)),
            "weights": to.constant(f"weights{axis}", weights),
            "y": y,
        }
        macros = to.macros(dtype, TAPS=places.shape[1])
        length, rows, entry = (out[axis], outer, "rows") if inner == 1 else (inner, outer * out[axis], "columns")
        per_item = max(1, pieces(rows * length, 1, to.device) // length)
        numbers = (outer, shape[axis], out[axis], *((inner,) if inner > 1 else ()), per_item)
        launch = to.launch(f"resample_{entry}", macros, (*names, *map(Int, numbers)), (-(-rows // per_item),), "resample")
        to.emit("network/resample", launch, names, flops=2 * outer * out[axis] * inner * places.shape[1])
        x = y


def _in_turn(axes: list[int], shape: Shape, out: Shape) -> list[int]:
    """Return the axes so that the last one, whose elements come one by one, comes where the others make the fewest rows."""
    fewer = [axis for axis in axes if axis < len(shape) - 1 and out[axis] < shape[axis]]
    return [*fewer, *(axis for axis in reversed(axes) if axis not in fewer)]


def _repeats(shape: Shape, out: Shape, places: Mapping[int, Array], last: int) -> bool:
    """Whether each element is only taken several times, along the two axes before one."""
    return all(
        last - 2 <= axis < last
        and out[axis] % shape[axis] == 0
        and np.array_equal(taken, np.arange(out[axis])[:, None] // (out[axis] // shape[axis]))
        for axis, taken in places.items()
    )


def _emit_repeated(to: Lowering, x: str, y: str, last: int) -> None:
    """Add a step that repeats elements along the two axes before one, at once."""
    shape, out = ((1, *to.shapes[name][:last]) for name in (x, y))
    channels = math.prod(to.shapes[x][last:])
    width, rows = shape[-1], math.prod(shape[:-1])
    per_item = max(1, pieces(math.prod(out), 1, to.device) * rows // math.prod(out))
    macros = (
        ("BYTES", itemsize(to.dtypes[x])),
        ("UNALIGNED_VECTORS", int(to.device.unaligned_vectors)),
        ("TIMES_W", out[-1] // width),
    )
    integers = (rows, width, channels, out[-2] // shape[-2], per_item)
    launch = to.launch("repeat_pixels", macros, ("x", "y", *map(Int, integers)), (-(-rows // per_item),))
    to.emit("network/repeat_pixels", launch, {"x": x, "y": y})


def _scales(node: Node, constants: Mapping[str, Array], shape: Shape) -> list[float | None]:
    """Return the scale of each axis, None where the sizes say it."""
    rank = len(shape)
    result: list[float | None] = [None] * rank
    axes = [int(a) % rank for a in node.get("axes", range(rank))]
    if node.input(3) and required(node, constants, 3, "sizes").size:
        policy = node.text("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":  # one scale for all axes: the sizes are bounds that only one of them need reach
            wanted = required(node, constants, 3, "sizes").tolist()
            own = [size / shape[axis] for axis, size in zip(axes, wanted, strict=True)]
            for axis in axes:
                result[axis] = min(own) if policy == "not_larger" else max(own)
        return result
    if node.input(2) and required(node, constants, 2, "scales").size:
        for axis, scale in zip(axes, required(node, constants, 2, "scales").tolist(), strict=True):
            result[axis] = scale
    return result


def resized_shape(node: Node, shape: Shape, scales: Array) -> Shape:
    """Return the shape of an image whose sizes are multiplied with scales: products in float32, rounded down.

    ONNX's inference takes them in float64: the float32 next to 2.6 is less than it, and 5 times that rounded down is 12.
    """
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        raise ShapeError(f"the node {node.name!r} (Resize) has the scales {scales.tolist()}; they must be numbers above 0")
    sizes = list(shape)
    for axis, scale in zip(node.get("axes", range(len(shape))), scales.reshape(-1), strict=True):
        sizes[int(axis)] = int(np.float32(shape[int(axis)]) * np.float32(scale))
    return tuple(sizes)


def offered(node: Node) -> bool:
    """Whether an image is neither smoothed nor cropped."""
    return not node.get("antialias", 0) and node.text(_TRANSFORMATION, "half_pixel") != "tf_crop_and_resize"


def resized(node: Node, image: Array, shape: Shape, constants: Mapping[str, Array]) -> Array:
    """Return a constant image with another shape."""
    scales, dtype = _scales(node, constants, image.shape), image.dtype
    for axis, count in enumerate(shape):
        if image.shape[axis] == count and scales[axis] in (None, 1.0):
            continue
        places, weights = table(node, image.shape[axis], count, scales[axis])
        taps = [np.take(image, column, axis) for column in places.astype(np.int64).T]
        if len(taps) == 1:
            image = taps[0]
        else:
            along = (-1, *(1,) * (image.ndim - axis - 1))
            image = np.asarray(sum(w.reshape(along) * tap for w, tap in zip(weights.T, taps, strict=True)))
    return image.astype(dtype)


def table(node: Node, size: int, count: int, scale: float | None) -> tuple[Array, Array]:
    """Return, for each of ``count`` places on a new axis, old places and their weights: two arrays ``(count, taps)``."""
    mode = node.text("mode", "nearest")
    if not offered(node):
        raise UnsupportedError(f"the node {node.name!r} (Resize) smooths or crops the image, which is not supported")
    factor = count / size if scale is None else scale
    # Which element is the nearest depends on the last bit; others take float32.
    number = np.float32 if mode == "nearest" and node.text(_TRANSFORMATION, "") != "align_corners" else np.float64
    # ONNX takes this product as it is, PyTorch the number that it is rounded to.
    length = count if scale is None or node.get("whole_sizes") else scale * size
    at: Array = _coordinates(node, np.arange(count, dtype=number), size, count, factor, length).astype(np.float64)
    if mode == "nearest":
        rounding = "ceil" if node.get("old_nearest") and factor < 1 else node.text("nearest_mode", "round_prefer_floor")
        places = _rounded(at, rounding)
        return np.clip(places, 0, size - 1)[:, None], np.ones((count, 1))
    low = np.floor(at)
    part = at - low
    if mode == "linear":
        offsets, weights = np.array([0, 1]), np.stack([1 - part, part], 1)
    else:
        a = float(node.get("cubic_coeff_a", -0.75))
        offsets, weights = np.array([-1, 0, 1, 2]), _cubic(part, a)
    places = low[:, None] + offsets
    if node.get("exclude_outside", 0):
        weights = np.where((places < 0) | (places >= size), 0, weights)
        weights = weights / weights.sum(1, keepdims=True)
    return np.clip(places, 0, size - 1), weights


def _coordinates(node: Node, i: Array, size: int, count: int, scale: float, length: float) -> Array:
    """Return the place on the old axis of each place on the new one, in the type of ``i``."""
    mode = node.text(_TRANSFORMATION, "half_pixel")
    if mode == "asymmetric":
        return i / scale
    if mode == "align_corners":
        return i * (size - 1) / (length - 1) if length > 1 else np.zeros_like(i)
    if mode == "pytorch_half_pixel" and count == 1:
        return np.zeros_like(i)
    if mode == "half_pixel_symmetric":
        adjustment = count / (scale * size)
        center = size / 2
        return center * (1 - adjustment) + (i + 0.5) / scale - 0.5
    if mode == "tf_half_pixel_for_nn":  # of operator sets 11 and 12
        return (i + 0.5) / scale
    if mode not in ("half_pixel", "pytorch_half_pixel"):
        raise UnsupportedError(
            f"the node {node.name!r} (Resize) maps coordinates by {mode!r}, which is not supported; export it with half_pixel"
        )
    return (i + 0.5) / scale - 0.5


def _rounded(at: Array, mode: str) -> Array:
    if mode == "floor":
        return np.floor(at)
    if mode == "ceil":
        return np.ceil(at)
    if mode == "round_prefer_ceil":
        return np.floor(at + 0.5 + _HALFWAY)
    return np.ceil(at - 0.5 - _HALFWAY)


def _cubic(t: Array, a: float) -> Array:
    """Keys' weights of the four neighbours at distances 1 + t, t, 1 - t, 2 - t."""

    def near(d: Array) -> Array:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Array) -> Array:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return np.stack([far(1 + t), near(t), near(1 - t), far(2 - t)], 1)
