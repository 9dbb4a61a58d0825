"""One small model per kernel and shape of trouble: tails, borders, broadcasting, every stride."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pyopencl.array as cla

import clconv.onnx
from tests.onnx.models import Array, exact, model, node, numbers

ELEMENT = {"float16": onnx.TensorProto.FLOAT16, "float32": onnx.TensorProto.FLOAT, "float64": onnx.TensorProto.DOUBLE}
BOUND = {"float16": 4e-3, "float32": 1e-5, "float64": 1e-12}
"""Largest deviation as a share of the largest output: some roundings of each type, more for float16's storage."""

SPLIT_BOUND = 5e-5
"""The same for three products of split elements, each of which may lack 2**-15 of itself."""

REDUCTIONS = (
    *("ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare"),
    *("ReduceProd", "ReduceLogSum", "ReduceLogSumExp"),
)
"""But the mean, whose axes are an attribute below."""

_OPSETS = {
    "Gelu": 20,
    "GroupNormalization": 21,
    "Mish": 18,
    **dict.fromkeys(REDUCTIONS, 18),
}
"""Versions of ONNX's operators from which on these are as the cases below have them; of the others, 17."""

Case = tuple[onnx.NodeProto, list[tuple[int, ...]], dict[str, Array]]


def cases() -> dict[str, Case]:
    """Return node, shapes of the inputs ``a b ...`` and constants, by name."""
    return {**_elementwise(), **_pooling(), **_normalised(), **_movement(), **_products()}


def channels_last_cases() -> list[str]:
    """Return the names of the cases whose nodes also work on images in N H W C."""
    ops = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Concat", "Split", "Add", "BatchNormalization")
    images = {n: spec.op_type for n, (spec, shapes, _) in cases().items() if all(len(shape) == 4 for shape in shapes)}
    return [n for n, op in images.items() if op in ops or n == "GroupNormalization of an image"]


def _elementwise() -> dict[str, Case]:
    plain = (
        *("Relu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "LeakyRelu", "Elu", "Gelu", "Erf", "Exp", "Abs", "Neg"),
        *("Softplus", "Mish", "Log", "Selu", "Celu", "Softsign", "Floor", "Ceil", "Round", "Sign", "Sin", "Cos"),
    )
    made: dict[str, Case] = {op: (node(op, "a", "y"), [(2, 3, 7)], {}) for op in plain}
    made["Selu of others"] = (node("Selu", "a", "y", alpha=2.0, gamma=3.0), [(19,)], {})
    made["Celu of others"] = (node("Celu", "a", "y", alpha=0.5), [(19,)], {})
    made["ThresholdedRelu"] = (node("ThresholdedRelu", "a", "y", alpha=0.25), [(19,)], {})
    made["Clip"] = (node("Clip", "a low high", "y"), [(3, 11)], {"low": np.array(-0.5), "high": np.array(0.25)})
    made["Gelu tanh"] = (node("Gelu", "a", "y", approximate="tanh"), [(35,)], {})
    made["Reciprocal"] = (node("Reciprocal", "a", "y"), [(9,)], {})
    pairs: dict[str, list[tuple[int, ...]]] = {
        "same": [(2, 3, 5, 7), (2, 3, 5, 7)],
        "channel": [(2, 3, 5, 7), (3, 1, 1)],
        "row": [(2, 3, 5, 7), (7,)],
        "column": [(2, 3, 5, 7), (5, 1)],
        "number": [(2, 3, 5, 7), (1,)],
        "both": [(2, 1, 5, 1), (3, 1, 7)],
        "reversed": [(3, 1, 1), (2, 3, 9, 9)],
        "image": [(2, 3, 1, 1), (2, 3, 5, 7)],
    }
    for name, shapes in pairs.items():
        made[f"Add {name}"] = (node("Add", "a b", "y"), shapes, {})
    for op in ("Sub", "Mul", "Div", "Max", "Min", "PRelu"):
        made[op] = (node(op, "a b", "y"), [(2, 3, 9), (3, 1)], {})
    made["Max of three"] = (node("Max", "a b c", "y"), [(2, 9), (9,), (2, 1)], {})
    stats = {k: numbers(5, seed=i) for i, k in enumerate(("scale", "shift", "mean"))} | {
        "var": np.abs(numbers(5, seed=7)) + 0.5
    }
    made["BatchNormalization"] = (node("BatchNormalization", "a scale shift mean var", "y"), [(2, 5, 3, 5)], stats)
    made["BatchNormalization of few"] = (
        node("BatchNormalization", "a scale shift mean var", "y"),
        [(2, 19, 3, 1)],
        {key: np.abs(numbers(19, seed=i)) + 0.5 for i, key in enumerate(stats)},
    )
    made["BatchNormalization vector"] = (node("BatchNormalization", "a scale shift mean var", "y"), [(3, 5)], stats)
    return made


def _pooling() -> dict[str, Case]:
    windows: dict[str, dict[str, Any]] = {
        "2x2 s2": {"kernel_shape": [2, 2], "strides": [2, 2]},
        "3x3 s2 p1": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        "3x3 s1 p1": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
        "3x2 s3 uneven": {"kernel_shape": [3, 2], "strides": [3, 3], "pads": [0, 1, 2, 0]},
        "5x5 s1 p2": {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]},
        "ceil": {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
        "dilated": {"kernel_shape": [2, 3], "dilations": [2, 2], "pads": [1, 1, 1, 2]},
        "whole": {"kernel_shape": [9, 23]},
    }
    made: dict[str, Case] = {}
    for name, window in windows.items():
        made[f"MaxPool {name}"] = (node("MaxPool", "a", "y", **window), [(2, 3, 9, 23)], {})
        if "dilations" not in window:
            made[f"AveragePool {name}"] = (node("AveragePool", "a", "y", **window), [(2, 3, 9, 23)], {})
            if "ceil_mode" not in window:
                counted = node("AveragePool", "a", "y", count_include_pad=1, **window)
                made[f"AveragePool counted {name}"] = (counted, [(2, 3, 9, 23)], {})
    tiles = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 0]}  # more channels than a vector has, and tiles of outputs
    made["MaxPool tiles"] = (node("MaxPool", "a", "y", strides=[1, 2], **tiles), [(2, 19, 5, 17)], {})
    made["AveragePool tiles"] = (node("AveragePool", "a", "y", count_include_pad=1, **tiles), [(2, 17, 4, 7)], {})
    made["MaxPool narrow"] = (node("MaxPool", "a", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1]), [(1, 2, 4, 2)], {})
    many = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 0, 1]}
    for op in ("MaxPool", "AveragePool"):
        made[f"{op} many channels"] = (node(op, "a", "y", **many), [(2, 19, 5, 6)], {})
    for size in ((3, 5), (7, 7), (1, 1), (4, 8)):
        made[f"GlobalAveragePool {size}"] = (node("GlobalAveragePool", "a", "y"), [(2, 5, *size)], {})
    made["GlobalMaxPool"] = (node("GlobalMaxPool", "a", "y"), [(2, 5, 5, 5)], {})
    for axes in ([1], [2, 3], [0, 2], [-1], [0, 1, 2, 3]):
        made[f"ReduceMean {axes}"] = (node("ReduceMean", "a", "y", axes=axes), [(2, 5, 3, 7)], {})
    for op in REDUCTIONS:
        made[f"{op} row"] = (node(op, "a axes", "y"), [(3, 29)], {"axes": np.array([-1])})
        made[f"{op} columns"] = (node(op, "a axes", "y", keepdims=0), [(2, 5, 19)], {"axes": np.array([1])})
    for op in ("ReduceSumSquare", "ReduceProd", "ReduceLogSum", "ReduceLogSumExp"):
        made[f"{op} apart"] = (node(op, "a axes", "y"), [(2, 5, 3, 7)], {"axes": np.array([0, 2])})
    made["ReduceL2 none"] = (
        node("ReduceL2", "a axes", "y", noop_with_empty_axes=1),
        [(2, 9)],
        {"axes": np.array([], np.int64)},
    )
    for axis in (0, 1, 2):
        for op in ("Softmax", "LogSoftmax"):
            made[f"{op} {axis}"] = (node(op, "a", "y", axis=axis), [(3, 5, 19)], {})
    return made


def _normalised() -> dict[str, Case]:
    """With means far from 0, which a variance made of a sum of squares would not survive."""
    made: dict[str, Case] = {}

    def add(name: str, op: str, shape: tuple[int, ...], size: tuple[int, ...], shift: bool = True, **attributes: Any) -> None:
        spec = node(op, "a scale shift" if shift else "a scale", "y", **attributes)
        constants = {"scale": numbers(*size, seed=3), "shift": numbers(*size, seed=4)}
        made[name] = (spec, [shape], constants if shift else {"scale": constants["scale"]})

    add("LayerNormalization", "LayerNormalization", (3, 5, 21), (21,))
    add("LayerNormalization without a shift", "LayerNormalization", (7, 8), (8,), False, epsilon=1e-3)
    add("LayerNormalization over images", "LayerNormalization", (2, 3, 5, 7), (3, 5, 7), axis=1)
    add("LayerNormalization with one scale", "LayerNormalization", (2, 3, 5), (1,))
    add("LayerNormalization of one", "LayerNormalization", (4, 1), (1,))
    for shape in ((2, 5, 7, 9), (3, 4, 1, 1), (2, 3, 33)):
        add(f"InstanceNormalization {shape}", "InstanceNormalization", shape, shape[1:2])
        add(f"GroupNormalization {shape}", "GroupNormalization", shape, shape[1:2], num_groups=shape[1])
    add("GroupNormalization of two", "GroupNormalization", (3, 6, 3, 5), (6,), num_groups=2)
    add("GroupNormalization of one", "GroupNormalization", (2, 6, 5), (6,), num_groups=1)
    add("GroupNormalization of an image", "GroupNormalization", (2, 11, 3, 5), (11,), num_groups=1)
    return made


def _movement() -> dict[str, Case]:
    pads = np.array([0, 0, 2, 1, 0, 0, 1, 3])
    made: dict[str, Case] = {
        f"Pad {mode}": (node("Pad", "a pads", "y", mode=mode), [(2, 3, 5, 7)], {"pads": pads})
        for mode in ("constant", "reflect", "edge")
    }
    for order in ([0, 2, 3, 1], [0, 3, 1, 2], [3, 2, 1, 0], [0, 2, 1, 3], [1, 0, 2, 3]):
        made[f"Transpose {order}"] = (node("Transpose", "a", "y", perm=order), [(2, 3, 5, 9)], {})
    for shape, order in (((37, 50), [1, 0]), ((2, 33, 67), [0, 2, 1]), ((1, 16, 48), [0, 2, 1]), ((2, 3, 40, 3), [0, 1, 3, 2])):
        made[f"Transpose {order} of {shape}"] = (node("Transpose", "a", "y", perm=order), [shape], {})
    for axis in (0, 1, 3):
        shapes = [tuple(n if i == axis else s for i, s in enumerate((2, 3, 5, 33))) for n in (1, 4, 2)]
        made[f"Concat {axis}"] = (node("Concat", "a b c", "y", axis=axis), shapes, {})
    for block, shape in ((2, (2, 12, 3, 5)), (2, (1, 4, 3, 19)), (3, (1, 18, 4, 3)), (1, (1, 2, 3, 3))):
        for mode in ("DCR", "CRD"):
            spec = node("DepthToSpace", "a", "y", blocksize=block, mode=mode)
            made[f"DepthToSpace {mode} {block} of {shape}"] = (spec, [shape], {})
    for block in (2, 3):
        made[f"SpaceToDepth {block}"] = (node("SpaceToDepth", "a", "y", blocksize=block), [(2, 3, 6, 12)], {})
    steps = {"starts": np.array([3, -2]), "ends": np.array([0, 99]), "axes": np.array([1, 3]), "steps": np.array([-2, 1])}
    made["Slice"] = (node("Slice", "a starts ends axes steps", "y"), [(2, 4, 3, 7)], steps)
    for axis, numbers_ in ((0, [1]), (2, [2, -1, 0, 0]), (-1, [6, 4, 2, 0, 1, 3])):
        made[f"Gather {axis}"] = (node("Gather", "a indices", "y", axis=axis), [(2, 4, 3, 7)], {"indices": np.array(numbers_)})
    made["Gather one"] = (node("Gather", "a indices", "y", axis=1), [(2, 4, 3)], {"indices": np.array(-2)})
    made["Gather table"] = (node("Gather", "a indices", "y"), [(12,)], {"indices": np.arange(12).reshape(1, 3, 4)})
    for repeats in ([1, 2, 1, 1], [2, 1, 1, 3], [3, 2, 1, 2], [2, 2, 3, 2], [1, 1, 1, 1]):
        made[f"Tile {repeats}"] = (node("Tile", "a repeats", "y"), [(2, 3, 5, 7)], {"repeats": np.array(repeats)})
    made["Expand"] = (node("Expand", "a shape", "y"), [(3, 1)], {"shape": np.array([2, 3, 17])})
    for mode in ("nearest", "linear", "cubic"):
        for scales in ((2, 2), (1.5, 0.6)):
            constants = {"scales": np.array([1, 1, *scales], np.float32)}
            made[f"Resize {mode} {scales}"] = (node("Resize", "a _ scales", "y", mode=mode), [(1, 2, 5, 10)], constants)
    for scales in ((3, 1), (1, 5), (2, 3)):
        constants = {"scales": np.array([1, 1, *scales], np.float32)}
        made[f"Resize nearest {scales}"] = (node("Resize", "a _ scales", "y", mode="nearest"), [(2, 3, 5, 11)], constants)
    return made


def _products() -> dict[str, Case]:
    made: dict[str, Case] = {
        "MatMul": (node("MatMul", "a b", "y"), [(2, 3, 5, 6), (3, 6, 11)], {}),
        "MatMul batch": (node("MatMul", "a b", "y"), [(2, 3, 2, 5, 6), (2, 3, 2, 6, 11)], {}),
        "MatMul repeated": (node("MatMul", "a b", "y"), [(2, 3, 1, 5, 6), (2, 6, 3)], {}),
        "MatMul repeated both": (node("MatMul", "a b", "y"), [(2, 3, 5, 6), (4, 1, 1, 6, 3)], {}),
        "MatMul vector": (node("MatMul", "a b", "y"), [(7,), (7, 9)], {}),
        "MatMul constant": (node("MatMul", "a w", "y"), [(2, 5, 6)], {"w": numbers(6, 11)}),
        "Gemm": (node("Gemm", "a b c", "y", alpha=0.5, beta=2.0, transA=1, transB=1), [(6, 5), (11, 6), (5, 1)], {}),
        "Gemm constant": (
            node("Gemm", "a w k", "y", alpha=0.5, beta=3.0, transB=1),
            [(3, 6)],
            {"w": numbers(11, 6), "k": numbers(11)},
        ),
        "ConvTranspose": (
            node("ConvTranspose", "a w", "y", strides=[2, 3], pads=[1, 0, 0, 1]),
            [(1, 4, 3, 4)],
            {"w": numbers(4, 3, 3, 3)},
        ),
        "Gemm of several tiles": (node("Gemm", "a b c", "y", beta=0.5, transA=1), [(7, 15), (7, 70), (1, 70)], {}),
        "MatMul shared": (node("MatMul", "a b", "y"), [(7, 90), (90, 400)], {}),
    }
    for columns in (16, 35, 64, 100, 150):
        made[f"MatMul to {columns}"] = (node("MatMul", "a b", "y"), [(2, 13, 9), (2, 9, columns)], {})
    return made


def guarded(net: clconv.onnx.Network, feeds: dict[str, Array], like: Array) -> Array:
    """Run on tensors that lie between bands of NaN, and return the output. Asserts that nothing outside of it was written."""
    queue = net.queue
    band = max(1024, queue.device.mem_base_addr_align // 8)

    def between(array: Array) -> tuple[Any, Any]:
        edge = np.full(band // array.itemsize, np.nan, array.dtype)
        whole = cla.to_device(queue, np.concatenate([edge, array.ravel(), edge]))
        return whole, whole[edge.size : edge.size + array.size].reshape(array.shape)

    inputs = {name: between(a)[1] for name, a in feeds.items()}
    whole, y = between(np.full_like(like, np.nan))
    net(inputs, out=y)
    everything = whole.get(queue)
    edge = band // like.itemsize
    assert np.isnan(everything[:edge]).all(), "something before the output was written"
    assert np.isnan(everything[edge + like.size :]).all(), "something behind the output was written"
    result: Array = everything[edge : edge + like.size].reshape(like.shape)
    return result


def deviation(name: str, dtype: str, queue: Any = None) -> float:
    """Run a case and return its largest deviation from the reference in float64, as a share of the largest output."""
    spec, shapes, constants = cases()[name]
    letters = "abc"[: len(shapes)]
    feeds = {
        letter: numbers(*shape, seed=i + 1).astype(dtype) for i, (letter, shape) in enumerate(zip(letters, shapes, strict=True))
    }
    if name in ("Reciprocal", "Log") or name.startswith(
        "ReduceLogSum "
    ):  # of which the domain, or accuracy, is on one side of 0
        feeds["a"] = np.abs(feeds["a"]) + np.array(1, dtype)
    held = {
        n: (a.astype(dtype) if a.dtype.kind == "f" and not spec.op_type.startswith("Resize") else a)
        for n, a in constants.items()
    }
    opset = _OPSETS.get(spec.op_type, 17)
    sizes: dict[str, list[int | str | None]] = {n: list(a.shape) for n, a in feeds.items()}
    proto = model([spec], sizes, ["y"], held, dtype=ELEMENT[dtype], opset=opset)
    if spec.op_type == "Resize":
        from onnx.reference import ReferenceEvaluator

        single = {n: a.astype(np.float32) for n, a in feeds.items()}
        outputs: Any = ReferenceEvaluator(proto).run(None, single)
        want = np.asarray(outputs[0])
    else:
        want = exact(proto, feeds)[0]
    net = clconv.onnx.load(proto, queue=queue)
    y = guarded(net, feeds, np.empty(want.shape, dtype))
    return float(np.abs(y.astype(np.float64) - want).max() / max(np.abs(want).max(), 1e-3))
