"""Depthwise and the pointwise convolution behind it as one step: kernels/network/separable.cl, and where it is faster."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clconv.algorithms.base import (
    accumulator_bytes,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    round_up,
    size_arguments,
)
from clconv.algorithms.depthwise.pixel_simd import DepthwisePixelSimd
from clconv.algorithms.packing import pack_filter
from clconv.algorithms.pointwise.items import busiest_unit, seconds
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.onnx.chains import fuse_chains
from clconv.onnx.graph import Graph
from clconv.plan import Argument, Float, Int, Launch, Local, Plan
from clconv.problem import Activation, ConvProblem

LAUNCH = 25e-6
"""Seconds that one launch more costs a CPU beside the work of its kernel, in the measure of predicted times: 13 us between
two kernels, and as much until all threads of the second one work."""

_CLAMPS = {"identity": (-math.inf, math.inf), "relu": (0.0, math.inf), "relu6": (0.0, 6.0)}
TILES = (7, 4, 2, 1)
"""Outputs side by side of the depthwise part."""


@dataclass(frozen=True)
class Separable:
    """How two convolutions run as one: the launch, who packs each filter, and the predicted time."""

    launch: Launch
    taps: Plan
    packed: Plan
    seconds: float


def fuse_separable(graph: Graph, device: DeviceInfo, apart: Callable[[ConvProblem], float]) -> Graph:
    """Let one kernel do a depthwise convolution and the pointwise one behind it where that is predicted to be faster.

    Parameters
    ----------
    graph : Graph
        With every shape and layout known.
    device : DeviceInfo
    apart : callable
        Predicted time of a convolution by itself.
    """

    def faster(problems: Sequence[ConvProblem]) -> bool:
        together = plan_separable(problems[0], problems[1], device)
        return together is not None and together.seconds < sum(map(apart, problems)) + LAUNCH

    fused, count = fuse_chains(graph, "Separable", 2, faster)
    note = f"fuse separable: {count} depthwise convolutions done by the pointwise ones behind them" if count else ""
    return fused.with_nodes(fused.nodes, note)


def plan_separable(first: ConvProblem, second: ConvProblem, device: DeviceInfo) -> Separable | None:
    """Return the plan of a depthwise and a pointwise convolution as one, None if the kernel does not serve them."""
    clamp = clamp_of(first.activation)
    plain = second.kind == "pointwise" and not second.padded and second.stride == (1, 1)
    if not plain or clamp is None or not device.is_cpu or DepthwisePixelSimd().supports(first, device) is not None:
        return None
    plans = [_plan(first, second, device, clamp, rows, splits) for rows in (1, 2, 4, 8) for splits in (1, 2, 4)]
    return min((plan for plan in plans if plan is not None), key=lambda plan: plan.seconds, default=None)


def clamp_of(activation: Activation) -> tuple[float, float] | None:
    """Return the limits of an activation that is a clamp, None for another."""
    return (activation.a, activation.b) if activation.kind == "clip" else _CLAMPS.get(activation.kind)


def _plan(
    first: ConvProblem, p: ConvProblem, device: DeviceInfo, clamp: tuple[float, float], rows: int, splits: int
) -> Separable | None:
    itemsize = accumulator_bytes(p)
    avx512 = wide(p, device)
    lanes = (2 if avx512 else 1) * device.lanes(itemsize)
    vectors, pixels_tile = (1 if lanes >= p.OC else 2), (14 if avx512 or device.vector_registers >= 32 else 6)
    columns = next(tile for tile in TILES if tile <= p.OW)
    rows = min(rows, p.OH)
    blocks = ceil_div(p.OC, vectors * lanes)
    blocks_item = ceil_div(blocks, splits)
    pitch = round_up(p.IC, lanes)
    if pitch * itemsize % 512 == 0:
        pitch += lanes  # else the pixels of a tile would share few sets of the first cache
    panel = Local(rows * p.OW * pitch * itemsize)
    if panel.bytes > min(device.local_mem_bytes, device.l2_bytes // 2):
        return None
    taps_plan = next(plan for plan in DepthwisePixelSimd().plans(first, device))
    pack, packed_bytes = pack_filter(p, vectors * lanes)
    tap_pitch = round_up(p.IC, lanes) + 2 * lanes
    size = (ceil_div(p.OH, rows), ceil_div(blocks, blocks_item), p.N)
    window = (("KH", first.KH), ("KW", first.KW), ("SH", first.SH), ("SW", first.SW), ("DH", first.DH), ("DW", first.DW))
    common = {name: value for name, value in common_macros(p, device) if name not in (*dict(window), "NHWC")}
    macros = (
        *common.items(),
        *window,
        *(("VEC", lanes), ("PXB", pixels_tile), ("OCV", vectors), ("TILE_OW", columns), ("AVX512", int(avx512))),
        *(("HAS_SHIFT", int(first.bias)), ("CLAMP", int(clamp != _CLAMPS["identity"]))),
    )
    arguments: tuple[Argument, ...] = (
        *("x", "taps", "shift", "packed", "bias", "residual", "y", panel),
        *size_arguments(first, "IC", "IH", "IW"),
        *size_arguments(p, "OC", "OH", "OW"),
        *size_arguments(first, "PT", "PL"),
        *(Int(rows), Int(blocks_item), Int(tap_pitch), Int(pitch), Float(clamp[0]), Float(clamp[1])),
        *epilogue_arguments(p),
    )
    launch = Launch("network/separable.cl", "separable", macros, arguments, size, (1, 1, 1))
    unit = lanes * itemsize / device.vector_bytes / 2  # clock cycles of a multiply-add
    tile = columns * first.KH * first.KW * unit * 1.2 + 25
    depthwise = rows * ceil_div(p.OW, columns) * ceil_div(p.IC, lanes) * tile
    half = pixels_tile // 2
    multiply = ceil_div(rows * p.OW, half) * half * vectors * p.IC * unit
    edges = 30 * ceil_div(rows * p.OW, pixels_tile) + vectors * lanes * itemsize * p.IC / 64
    cycles = depthwise + blocks_item * (multiply + edges)
    return Separable(
        launch,
        Plan("network/separable", first, (), taps_plan.prepare, taps_plan.packed_bytes),
        Plan("network/separable", p, (), (pack,), packed_bytes, error_factor=direct_error_factor(p)),
        seconds(p, device, busiest_unit(math.prod(size), device) * cycles),
    )
