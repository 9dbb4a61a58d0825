"""A depthwise convolution with the pointwise ones around it on a matrix unit: kernels/network/block_matrix.cl."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clconv.algorithms.base import ceil_div, common_macros, epilogue_arguments, round_up, size_arguments
from clconv.algorithms.depthwise.pixel_simd import DepthwisePixelSimd
from clconv.algorithms.items import START, seconds
from clconv.algorithms.packing import pack_split
from clconv.algorithms.split import METHODS, STEP, SUMS_BYTES, TILE, busiest
from clconv.algorithms.wide import matrix_lanes, wide
from clconv.device import DeviceInfo
from clconv.plan import Argument, Float, Int, Launch, Local, Packing
from clconv.problem import ConvProblem

NAME = "network/block_matrix"
TILES = (7, 4, 2, 1)
"""Outputs side by side of the depthwise part."""


@dataclass(frozen=True)
class Block:
    """How two or three convolutions run as one: the launch, who packs each filter, and the predicted time."""

    launch: Launch
    expand: Packing | None
    taps: Packing
    packed: Packing
    seconds: float


def plan_block(
    first: ConvProblem | None,
    middle: ConvProblem,
    last: ConvProblem,
    device: DeviceInfo,
    limits: tuple[float, float, float, float],
) -> Block | None:
    """Return the plan with the least predicted time, None if nothing fits the local memory.

    Parameters
    ----------
    first : ConvProblem, optional
        The pointwise convolution before the depthwise one, if it is part of the block.
    middle, last : ConvProblem
        The depthwise convolution and the pointwise one behind it, all in NHWC.
    device : DeviceInfo
    limits : tuple of float
        Least and greatest values of what the first and the middle one give.
    """
    if last.dtype != "float32":
        return None
    bands = sorted({min(last.OH, count * device.compute_units) for count in (1, 2, 3, 4, 8, last.OH)})
    plans = [_plan(first, middle, last, device, limits, ceil_div(last.OH, count)) for count in bands]
    return min((plan for plan in plans if plan is not None), key=lambda plan: plan.seconds, default=None)


def _plan(
    first: ConvProblem | None,
    middle: ConvProblem,
    p: ConvProblem,
    device: DeviceInfo,
    limits: tuple[float, float, float, float],
    rows: int,
) -> Block | None:
    bands = ceil_div(p.OH, rows)
    method = METHODS[p.dtype][0]
    avx512 = wide(p, device)
    lanes = matrix_lanes(device, avx512)
    columns = next(tile for tile in TILES if tile <= p.OW)
    steps = ceil_div(middle.IC, STEP)
    steps_x = ceil_div(first.IC, STEP) if first else 0
    rows_e = (rows - 1) * middle.SH + middle.EKH
    width = max((p.OW - 1) * middle.SW + middle.EKW, middle.PL + middle.IW)
    inside = min(rows_e, middle.IH) * middle.IW
    # A tile reads what lies behind the last position; rows of tiles begin in different sets of the first cache.
    positions_x, positions = (round_up(n, 2 * TILE) | 1 for n in (inside, rows * p.OW))
    number = 2 * method.parts * STEP
    local = (
        Local(max(4, steps_x * positions_x * number)),
        Local(rows_e * width * STEP * 4),
        Local(steps * positions * number),
        Local(SUMS_BYTES + 4),
    )
    if sum(each.bytes for each in local) > min(device.local_mem_bytes, 2 * device.l2_bytes * 5 // 8):
        return None
    taps = DepthwisePixelSimd().packing(middle, device)
    window = {name: getattr(middle, name) for name in ("KH", "KW", "SH", "SW", "DH", "DW")}
    common = {name: value for name, value in common_macros(p, device) if name != "NHWC"} | window
    macros = (
        *common.items(),
        *(("VEC", lanes), ("AVX512", int(avx512)), ("AMX", int(device.amx)), ("TILE_OW", columns)),
        *(("PARTS", method.parts), ("PRODUCTS", method.products)),
        *(("EXPAND", int(first is not None)), ("HAS_LIFT", int(first is not None and first.bias))),
        ("HAS_SHIFT", int(middle.bias)),
    )
    arguments: tuple[Argument, ...] = (
        # Without a first part its filter and bias are not read, so any buffers will do.
        *("x", *(("expand", "lift") if first else ("packed", "bias")), "taps", "shift", "packed", "bias", "residual", "y"),
        *local,
        *size_arguments(first or middle, "IC", "IH", "IW"),
        *(Int(middle.IC), Int(p.OC), Int(p.OH), Int(p.OW), Int(middle.PT), Int(middle.PL)),
        *map(Int, (bands, width, round_up(middle.IC, lanes) + 2 * lanes, positions_x, positions)),
        *map(Float, limits),
        *epilogue_arguments(p),
    )
    size = (bands, p.N)
    product = TILE if device.amx else 4 * TILE * TILE * STEP
    term = 4 * product * method.products + 55
    unit = 16 / lanes  # vectors of 16 numbers
    expand = ceil_div(inside, 2 * TILE) * (steps_x * term + 350 * unit) if first else inside * 6 * unit
    window_cycles = middle.KH * middle.KW * 0.75 + 5  # of a vector of outputs
    depthwise = rows * ceil_div(p.OW, columns) * columns * 2 * window_cycles * unit
    project = ceil_div(p.OC, 2 * TILE) * ceil_div(rows * p.OW, 2 * TILE) * (steps * term + 320 * unit)
    filters = (steps_x * middle.IC + steps * p.OC) * STEP * method.parts * 2
    cycles = START + inside * steps_x * 15 * unit + steps * (expand + depthwise + 300) + project + filters / 15
    return Block(
        Launch(f"{NAME}.cl", "block_matrix", macros, arguments, size, (1, 1)),
        None if first is None else pack_split(first, device, method.parts, True),
        taps,
        pack_split(p, device, method.parts, True),
        seconds(p, device, busiest(math.prod(size), device, cycles)),
    )
