"""MobileNet V2's block as one step: its kernels, and where one of them is faster."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from clconv.algorithms.base import (
    accumulator_bytes,
    ahead,
    ceil_div,
    common_macros,
    epilogue_arguments,
    round_up,
    size_arguments,
)
from clconv.algorithms.depthwise.pixel_simd import DepthwisePixelSimd
from clconv.algorithms.items import START, seconds
from clconv.algorithms.packing import pack_filter
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.onnx import separable
from clconv.onnx.bands import mean_of_bands
from clconv.onnx.block_matrix import plan_block
from clconv.onnx.chains import fuse_chains
from clconv.onnx.graph import Graph
from clconv.onnx.separable import TILES, clamp_of, pixel_pitch, plan_separable
from clconv.plan import Argument, Float, Int, Launch, Local, Packing
from clconv.problem import ConvProblem

Limits: TypeAlias = tuple[float, float, float, float]
"""Least and greatest values of what the first and the middle convolution give."""


@dataclass(frozen=True)
class Inverted:
    """How three convolutions run as one: the launch, who packs each filter, and the predicted time."""

    launch: Launch
    expand: Packing
    taps: Packing
    packed: Packing
    seconds: float

    @property
    def algorithm(self) -> str:
        """Name of the kernel, for people."""
        return self.launch.kernel.removesuffix(".cl")


def fuse_inverted(graph: Graph, device: DeviceInfo, apart: Callable[[ConvProblem], float], *, direct: bool = False) -> Graph:
    """Let one kernel do a pointwise, a depthwise and a pointwise convolution where that is predicted to be faster.

    Parameters
    ----------
    graph : Graph
        With every shape and layout known.
    device : DeviceInfo
    apart : callable
        Predicted time of a convolution by itself.
    direct : bool
        Rule out the matrix unit, and Strassen's product for what it is compared with.
    """

    def faster(problems: Sequence[ConvProblem]) -> bool:
        first, middle, last = problems
        together = plan_inverted(first, middle, last, device, direct=direct)
        if together is None:
            return False
        pair = plan_separable(middle, last, device, direct=direct)
        launch = separable.launch_seconds(device)
        rest = apart(middle) + launch + apart(last)
        return together.seconds < apart(first) + launch + (rest if pair is None else min(rest, pair.seconds))

    fused, count = fuse_chains(graph, "InvertedResidual", 3, faster)
    note = f"fuse inverted residual: {2 * count} convolutions done by the ones behind them" if count else ""
    return fused.with_nodes(fused.nodes, note)


def plan_inverted(
    first: ConvProblem, middle: ConvProblem, last: ConvProblem, device: DeviceInfo, *, direct: bool = False
) -> Inverted | None:
    """Return the plan of three convolutions as one, None if the kernel does not serve them."""
    lift, shift = clamp_of(first.activation), clamp_of(middle.activation)
    plain = all(p.kind == "pointwise" and not p.padded and p.stride == (1, 1) for p in (first, last))
    if not plain or lift is None or shift is None or not device.is_cpu or middle.SH > middle.EKH:
        return None
    if DepthwisePixelSimd().supports(middle, device) is not None or wide(middle, device) != wide(last, device):
        return None
    forms = (simd_form,) if direct else FORMS
    plans = [form(first, middle, last, device, (*lift, *shift)) for form in forms]
    return min((plan for plan in plans if plan is not None), key=lambda plan: plan.seconds, default=None)


def matrix_form(
    first: ConvProblem, middle: ConvProblem, last: ConvProblem, device: DeviceInfo, limits: Limits
) -> Inverted | None:
    """Return the best plan with pointwise parts on the matrix unit."""
    block = plan_block(first, middle, last, device, limits)
    if block is None or block.expand is None:
        return None
    return Inverted(block.launch, block.expand, block.taps, block.packed, block.seconds)


def simd_form(
    first: ConvProblem, middle: ConvProblem, last: ConvProblem, device: DeviceInfo, limits: Limits
) -> Inverted | None:
    """Return the best plan with vectors alone."""
    bands = sorted({min(last.OH, count * device.compute_units) for count in (1, 2, 4, 8)})
    plans = [_plan(first, middle, last, device, limits, count) for count in bands]
    return min((plan for plan in plans if plan is not None), key=lambda plan: plan.seconds, default=None)


FORMS = (simd_form, matrix_form)
"""Of the pointwise parts."""


def _plan(
    first: ConvProblem, middle: ConvProblem, p: ConvProblem, device: DeviceInfo, limits: Limits, bands: int
) -> Inverted | None:
    itemsize = accumulator_bytes(p)
    avx512 = wide(p, device)
    lanes = (2 if avx512 else 1) * device.lanes(itemsize)
    vectors, pixels_tile = 2, 14 if avx512 or device.vector_registers >= 32 else 6
    oc_block = vectors * lanes
    columns = next(tile for tile in TILES if tile <= p.OW)
    width = max((p.OW - 1) * middle.SW + middle.EKW, middle.PL + middle.IW)
    pitch = pixel_pitch(round_up(middle.IC, oc_block), lanes, itemsize)
    local = (Local((middle.EKH + 1) * width * pitch * itemsize), Local(p.OW * pitch * itemsize))
    if sum(each.bytes for each in local) > min(device.local_mem_bytes, device.l2_bytes // 2):
        return None
    taps = DepthwisePixelSimd().packing(middle, device)
    tap_pitch = round_up(middle.IC, lanes) + 2 * lanes
    expand, packed = (pack_filter(each, device, oc_block) for each in (first, p))
    window = {name: getattr(middle, name) for name in ("KH", "KW", "SH", "SW", "DH", "DW")}
    common = {name: value for name, value in common_macros(p, device) if name != "NHWC"} | window
    macros = (
        *common.items(),
        *(("VEC", lanes), ("PXB", pixels_tile), ("OCV", vectors), ("TILE_OW", columns), ("AVX512", int(avx512))),
        ahead(p, device, max(first.IC, p.IC) * oc_block * itemsize),
        *(("HAS_LIFT", int(first.bias)), ("HAS_SHIFT", int(middle.bias))),
    )
    arguments: tuple[Argument, ...] = (
        *("x", "expand", "lift", "taps", "shift", "packed", "bias", "residual", "y", *local),
        *size_arguments(first, "IC", "IH", "IW", "OC"),
        *size_arguments(p, "OC", "OH", "OW"),
        *size_arguments(middle, "PT", "PL"),
        *size_arguments(p, "YC"),
        *(Int(bands), Int(width), Int(tap_pitch), Int(pitch)),
        *map(Float, limits),
        *epilogue_arguments(p),
    )
    size = (bands, p.N)
    launch = Launch("network/inverted_residual.cl", "inverted_residual", macros, arguments, size, (1, 1))
    unit = device.multiply_cycles(lanes * itemsize)

    def pointwise(row: int, inputs: int, outputs: int) -> float:
        """Clock cycles of a row of pixels; most of the filter, read again for each row, comes in behind the arithmetic."""
        half = pixels_tile // 2
        multiply = ceil_div(row, half) * half * vectors * inputs * unit
        return ceil_div(outputs, oc_block) * (multiply + 30 * ceil_div(row, pixels_tile) + oc_block * itemsize * inputs / 128)

    tile = columns * middle.KH * middle.KW * unit * 1.2 + 15
    depthwise = ceil_div(p.OW, columns) * ceil_div(middle.IC, lanes) * tile
    expanded, projected = pointwise(first.OW, first.IC, first.OC), pointwise(p.OW, p.IC, p.OC)

    def cycles(rows: int) -> float:
        return START + min((rows - 1) * middle.SH + middle.EKH, middle.IH) * expanded + rows * (depthwise + projected)

    items = math.prod(size)
    item = mean_of_bands(p.OH, bands, items, device.compute_units, cycles)
    return Inverted(
        launch,
        expand,
        taps,
        packed,
        seconds(p, device, ceil_div(items, device.compute_units) * item),
    )
