"""Matrix products: with a constant matrix a pointwise convolution over N pixels, else a kernel of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from clconv.activation import ACTIVATIONS
from clconv.device import DeviceInfo
from clconv.errors import ShapeError, UnsupportedError
from clconv.onnx.graph import Array, Node, fits
from clconv.onnx.lower.convolution import emit_convolution
from clconv.onnx.lower.elementwise import fused, joined
from clconv.onnx.lower.movement import emit_copy, strides_of
from clconv.onnx.step import Argument, Float, Int, Lowering, describe
from clconv.problem import ConvProblem

_ENOUGH = 1 << 16
"""Multiply-adds of a work-item, on a CPU: 1 to 2 us of them."""


@dataclass(frozen=True)
class _Tile:
    """Outputs that kernels/network/matmul.cl keeps in registers: rows, vectors of a row, lanes of a vector."""

    rows: int
    vectors: int
    lanes: int
    avx512: bool

    @classmethod
    def of(cls, to: Lowering, dtype: str, function: int) -> _Tile:
        """Return the tile for a device; functions that it computes by built-in ones keep a kernel from AVX-512."""
        lanes = to.lanes(dtype)
        if not to.device.is_cpu:
            return cls(4, 1, lanes, avx512=False)
        if to.device.avx512 and dtype != "float64" and function < len(ACTIVATIONS):
            return cls(6, 4, 2 * lanes, avx512=True)
        return cls(6, 2, lanes, avx512=False)

    @property
    def macros(self) -> dict[str, int]:
        """Macros of the kernel."""
        return {"VEC": self.lanes, "TILE_M": self.rows, "TILE_N": self.vectors, "AVX512": int(self.avx512)}

    def cut(self, sizes: tuple[int, int, int], batch: int, device: DeviceInfo) -> tuple[int, int]:
        """Return how many work-items share the tiles of rows of a product, and those of columns."""
        m, n, k = sizes
        down, across = -(-m // self.rows), -(-n // (self.vectors * self.lanes))
        if not device.is_cpu:
            return down, across
        items = max(1, min(8 * device.compute_units, batch * m * n * k // _ENOUGH))
        parts = min(down, -(-items // batch))
        return parts, min(across, -(-items // (batch * parts)))


def lower_gemm(node: Node, to: Lowering) -> None:
    """``alpha * a @ b + beta * c``, either of ``a`` and ``b`` transposed."""
    a, b, c = (node.input(i) for i in range(3))
    dtype = to.floating(node, a)
    alpha, beta = float(node.get("alpha", 1.0)), float(node.get("beta", 1.0))
    trans_a, trans_b = bool(node.get("transA", 0)), bool(node.get("transB", 0))
    if beta == 0:  # nothing is added, whatever it is
        c = ""
    m, k = to.shapes[a][::-1] if trans_a else to.shapes[a]
    n = to.shapes[b][0 if trans_b else 1]  # the output may be another view
    if c and not fits(to.shapes[c], (m, n)):
        raise ShapeError(f"the node {node.name!r} (Gemm) adds {to.shapes[c]} to {(m, n)}; its sizes must be the same or 1")
    constant, bias = to.constants.get(b), to.constants.get(c) if c else None
    row = bias is None or bias.size == 1 or (bias.shape[-1:] == (n,) and bias.size == n)
    if constant is not None and not trans_a and row and (not c or bias is not None):
        w = constant.T if trans_b else constant
        shift = None if bias is None else np.broadcast_to(bias.reshape(-1).astype(np.float64) * beta, (n,)).astype(dtype)
        _emit_dense(node, to, a, (w.astype(np.float64) * alpha).astype(dtype) if alpha != 1 else w, shift, m)
        return
    if trans_b:
        turned = to.value("b", (k, n), dtype)
        emit_copy(to, b, turned, (k, n), [1, k], [n, 1], op="transpose")
        b = turned
    _emit_product(
        node, to, a, b, c, (m, n, k), a_strides=(0, 0, 1 if trans_a else k, m if trans_a else 1), alpha=alpha, beta=beta
    )


def lower_matmul(node: Node, to: Lowering) -> None:
    """NumPy's matmul; a third input is a constant row that is added, a fourth a tensor of the result's shape.

    See :func:`clconv.onnx.dense.add_rows` and :func:`clconv.onnx.passes.fuse_residual`.
    """
    a, b = node.inputs[:2]
    dtype = to.floating(node, a)
    sa, sb = to.shapes[a], to.shapes[b]
    m, k = (sa[-2] if len(sa) > 1 else 1), sa[-1]
    n = sb[-1] if len(sb) > 1 else 1
    constant = to.constants.get(b)
    if constant is not None and math.prod(sb[:-2]) == 1:
        w = constant.reshape(k, n)
        _emit_dense(node, to, a, w, to.constants.get(node.input(2)), math.prod(sa[:-1]), node.input(3))
        return
    batch, strides = joined(np.broadcast_shapes(sa[:-2], sb[:-2]), [sa[:-2], sb[:-2]])
    if len(batch) > 2:
        raise UnsupportedError(
            f"the node {node.name!r} (MatMul) multiplies {sa} and {sb}; at most 2 groups of axes of matrices are supported"
        )
    outer, inner = ([1] * (2 - len(batch)) + batch)[:2]
    (a0, a1), (b0, b1) = ([0] * (2 - len(own)) + own for own in strides)  # in matrices
    a_strides, b_strides = (a0 * m * k, a1 * m * k, k, 1), (b0 * k * n, b1 * k * n)
    _emit_product(
        node, to, a, b, "", (m, n, k), batch=(outer, inner), a_strides=a_strides, b_strides=b_strides, op=f"{node.op} {dtype}"
    )


def _emit_dense(node: Node, to: Lowering, a: str, w: Array, bias: Array | None, m: int, residual: str = "") -> None:
    """Add the product with a constant matrix: ``m`` pixels in NHWC, a channel per column."""
    k, n = w.shape
    filt = to.constant("w", w.reshape(1, 1, k, n))  # a view: the matrix stays in the file that it is read from
    shift = "" if bias is None else to.constant("bias", bias)
    if k == 0:  # no convolution is without channels; sums of nothing are 0
        _emit_product(node, to, a, filt, shift, (m, n, k), a_strides=(0, 0, 0, 0))
        return
    activation = node.get("activation")
    late = activation is not None and activation.kind not in ACTIVATIONS
    y = to.value("product", (m, n), to.dtypes[a]) if late else node.output
    problem = ConvProblem(
        (1, 1, m, k),
        (1, 1, k, n),
        layout="NHWC",
        dtype=to.dtypes[a],
        bias=bias is not None,
        residual=bool(residual),
        activation=None if late else activation,
    )
    emit_convolution(to, problem, x=a, w=filt, bias=shift, residual=residual, y=y, op=describe(node))
    if late:
        from clconv.onnx.lower.elementwise import emit_unary

        emit_unary(to, y, node.output, activation, to.dtypes[a])


def _emit_product(
    node: Node,
    to: Lowering,
    a: str,
    b: str,
    c: str,
    sizes: tuple[int, int, int],
    *,
    batch: tuple[int, int] = (1, 1),
    a_strides: tuple[int, int, int, int],
    b_strides: tuple[int, int] = (0, 0),
    alpha: float = 1.0,
    beta: float = 1.0,
    op: str = "",
) -> None:
    m, n, k = sizes
    dtype = to.floating(node, a)
    c_strides = (0, 0)
    if c:
        shape = (1, 1, *to.shapes[c])[-2:]
        own = strides_of(shape)
        c_strides = (0 if shape[0] == 1 else own[0], 0 if shape[1] == 1 else own[1])
    function, numbers = fused(node)
    tile = _Tile.of(to, dtype, function)
    macros = to.macros(dtype, FUNCTION=function, HAS_C=int(bool(c)), **tile.macros)
    parts, shares = tile.cut(sizes, batch[0] * batch[1], to.device)
    integers = (m, n, k, batch[1], *a_strides, *b_strides, *c_strides, parts, shares)
    arguments: tuple[Argument, ...] = ("a", "w", "c", "y", *map(Int, integers), Float(alpha), Float(beta), *numbers)
    size = batch[0] * batch[1] * parts * shares
    launch = to.launch("matmul", macros, arguments, (size,))
    values = {"a": a, "w": b, "c": c, "y": node.output}
    to.emit("network/matmul", launch, values, flops=2 * m * n * k * batch[0] * batch[1], op=op)
