"""Host side of kernels/standard/winograd_simd.cl: Winograd's minimal filtering."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
    ceil_div,
    common_macros,
    epilogue_arguments,
    far_cycles,
    image_bytes,
    round_up,
    scattered_cycles,
    size_arguments,
)
from clconv.algorithms.channel_tile import boost
from clconv.algorithms.reasons import not_cpu
from clconv.device import DeviceInfo
from clconv.plan import Argument, Int, Launch, Local, Macro, Packing, Plan
from clconv.problem import ConvProblem
from clconv.winograd import POINTS, TAPS, error_factor, refusal, side, tiles

STRIP = 48
"""Pixels of a row that are transformed together, in whole tiles, and their overlap: such a strip fits a first-level cache."""

FULL_AVX512 = {4: 0.78, 5: 0.72, 6: 0.85, 7: 0.78, 8: 0.92}
"""The products' clock cycles with two whole AVX-512 units, by side of the tile's pixels, where the model, made without, says 1.
Measured on a Xeon, the layers of four networks in both layouts."""

BESIDE = {4: 0.78, 6: 0.85, 8: 0.89}
"""The same where others are moved and added beside, of which the largest tiles have the most. Measured on two Zen 5 cores."""

PARTLY_FAR = 48 << 20
"""Bytes of U of which a part stays in a third cache. Measured on two Zen 5 cores: 38 MB, 512 channels at 14 x 14, take 0.69 to
0.8 ms by F(4x4), 17 MB 0.86 by F(2x2); of 1024 channels 151 MB take 4.2, 67 MB 3.6."""

FAR_FILTER = 16 << 20
"""Bytes of U that come from memory in each call, at half the pace. Measured with AVX2, on 512 channels at 14 x 14, stride 2:
26 MB in 1.13 to 1.25 ms on two cores of a Xeon, 1.4 on two of Zen 3, where direct convolution takes 1.02 and 1.28. With AVX-512
the model holds for 38 MB with stride 1 on the Xeon; on two Zen 5 cores a quarter of the pace, or a third, see above, tells
tiles apart. On two Zen 4 cores the model holds for 38 MB with stride 1; 26 MB with stride 2 take 0.99 to 1.07 ms, direct
convolution 0.93."""

NEAR_V = 1 << 20
"""Bytes of V for each compute unit that are written before they are read. Measured on two Zen 4 cores, eight images in N H W C,
256 channels at 56 x 56: 44 ms with all of V, 38 with 4 MiB, 37 with 2 and 1; VGG-16: 385, 345, 342 and 340 ms."""

SHARED_BYTE = 0.45
"""Clock cycles that a byte takes on a Xeon which several units read or write beside each other: V of a run in shares, for
all but one, and images in N H W C of whose pixels each unit writes some channels. Measured on 256 channels at 56 x 56 by
F(4x4): 3.8 ms in two shares of one run, 3.2 in two runs; on 128 at 28 x 28 in N H W C 0.28 and 0.22, in N C H W 0.25, 0.22."""

OF_GROUPS = 1.35
"""How much longer the products of groups take on a Xeon: 512 channels in 32 of them at 14 x 14, against standard/row_simd."""

PASSING_BYTE = 0.11
"""Clock cycles that a byte takes from the third cache. Measured for eight images of 1024 channels in 32 groups at 14 x 14 with
stride 2 on two Zen 3 cores: Winograd's method takes 1.7 ms, 1.4 without this by its prediction; one image as predicted."""

SCATTERED_BYTE = 0.14
"""Clock cycles that a byte of a group's image takes in N H W C wherever it is: pixels come a vector at a time. Measured with
AVX2, on 256 channels at 28 x 28 and 512 with stride 2 in 32 groups: 30 and 37 us more than in N C H W."""

PARTS_OF_LINES = 4
"""How many times that is in N H W C with stride 2, where a vector of a pixel's channels comes at a time. The same layer takes
2.4 ms there, 1.5 by its prediction with PASSING_BYTE alone; 512 channels at 28 x 28 take 3.2 ms, 2.7 by that."""

VECTORS_OF_LINES = 3
"""How many times that is with stride 1 where multiply-adds take 64 bytes at once and leave less to hide behind: eight images of
512 channels in 32 groups at 14 x 14 take 0.57 ms on two Zen 5 cores, and 0.475 by grouped/lane_simd."""

SINGLE_ELEMENT = 0.7
"""Clock cycles that an element takes in N C H W where those that follow each other in a row belong to several images, as with
a dilated filter: they come and go one by one. Measured on 32 and 64 channels at 56 x 56 on two Zen 5 cores."""


@dataclass(frozen=True)
class Blocking:
    """How the work is cut: runs of tiles, shares of the panels of output channels, blocks a panel, V in local memory or not."""

    tile: int
    runs: int
    shares: int
    panel_blocks: int
    fused: bool


class WinogradSimd(Algorithm):
    """F(2x2, 3x3), F(4x4, 3x3), F(6x6, 3x3), and other filters by tiles of as many pixels; with stride 2 up to F(4x4, 3x3).

    Fewer products, paid for with accuracy.
    """

    name = "standard/winograd_simd"
    family = "winograd"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """On a CPU, filters of 2x2 to 7x7, dilated ones too, and 3x3 with stride 2; two input channels a group or more."""
        return not_cpu(device) or refusal(problem, tuple(POINTS), TAPS, dilated=True)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> list[Plan]:
        """For each size of tiles the blockings with the least predicted times, the best of all first."""
        chosen: list[tuple[float, Blocking]] = []
        for tile in tiles(problem.SH, problem.KH):
            found = sorted(
                ((cycles(problem, device, b), b) for b in blockings(problem, device, tile)), key=lambda item: item[0]
            )
            chosen += found[:3]
        chosen.sort(key=lambda item: item[0])
        # With less than half a vector of input channels the fit, made with more, promises too much.
        filled = device.lanes(accumulator_bytes(problem)) <= 2 * problem.ICG
        clock = device.clock_mhz * 1e6 * (boost(device) if filled else 1.0)
        return [plan_of(problem, device, b, c / clock) for c, b in chosen]


def pixels_of(problem: ConvProblem, tile: int) -> int:
    """Pixels under a tile along an axis, and products."""
    return side(tile, problem.SH, problem.KH)


def images(problem: ConvProblem) -> int:
    """How many images are covered with tiles: a dilated filter takes every DH-th row and DW-th column for one."""
    return problem.N * problem.DH * problem.DW


def grid(problem: ConvProblem, tile: int) -> tuple[int, int]:
    """Rows and columns of tiles of such an image."""
    return ceil_div(ceil_div(problem.OH, problem.DH), tile), ceil_div(ceil_div(problem.OW, problem.DW), tile)


def tiles_of(problem: ConvProblem, tile: int) -> int:
    """All tiles of a size."""
    rows, columns = grid(problem, tile)
    return images(problem) * rows * columns


def block_vectors(problem: ConvProblem, device: DeviceInfo) -> int:
    """Vectors of a block of output channels: four where two are multiplied in a cycle and no more of them are empty.

    Elements of V are then read once for two multiply-adds, not for each.
    """
    vec = device.lanes(accumulator_bytes(problem))
    return 4 if device.full_avx512 and round_up(problem.OCG, 4 * vec) == round_up(problem.OCG, 2 * vec) else 2


def blockings(problem: ConvProblem, device: DeviceInfo, tile: int) -> Iterator[Blocking]:
    """Every blocking of a size of tiles that may be worth it and whose V and M fit local memory."""
    count = tiles_of(problem, tile)
    units = device.compute_units
    for runs in (1 << i for i in range(12)):
        if runs > 1 and runs * 4 > count:
            break
        fits = [
            (panel_blocks, fused)
            for panel_blocks in (1, 2, 4)
            for fused in (True, False)
            if sum(local_bytes(problem, device, Blocking(tile, runs, 1, panel_blocks, fused))) <= device.local_mem_bytes
        ]
        for shares in (1 << i for i in range((2 * units).bit_length())):
            if shares > 1 and runs * shares * problem.G > 8 * units and shares > 2:
                break
            for panel_blocks, fused in fits:
                yield Blocking(tile, runs, shares, panel_blocks, fused)


def local_bytes(problem: ConvProblem, device: DeviceInfo, blocking: Blocking) -> tuple[int, int, int]:
    """Local memory of a work-item: V (of a fused blocking), M and the strip, in bytes."""
    size = accumulator_bytes(problem)
    vec = device.lanes(size)
    pixels, step = pixels_of(problem, blocking.tile), blocking.tile * problem.SH
    strip = pixels * (STRIP // step * step + pixels - step) * vec * size
    v, m = slab_bytes(problem, device, blocking)
    return (v if blocking.fused else 0, m * blocking.panel_blocks, strip)


def slab_bytes(problem: ConvProblem, device: DeviceInfo, blocking: Blocking) -> tuple[int, int]:
    """V of a run of tiles, and M of the same and one block of output channels, in bytes."""
    size = accumulator_bytes(problem)
    vec = device.lanes(size)
    frequencies, oc_block = pixels_of(problem, blocking.tile) ** 2, block_vectors(problem, device) * vec
    most = ceil_div(tiles_of(problem, blocking.tile), blocking.runs)
    v = frequencies * size * _slab(round_up(problem.ICG, vec) * most, oc_block)
    return v, frequencies * size * _slab(most * oc_block, oc_block)


def runs_at_once(problem: ConvProblem, device: DeviceInfo, blocking: Blocking) -> int:
    """Return of how many runs V is written before it is read: few enough for it to stay near, and as many as units want."""
    bytes_of_run = problem.G * slab_bytes(problem, device, blocking)[0]
    even = ceil_div(device.compute_units, math.gcd(device.compute_units, blocking.shares * problem.G))
    return min(blocking.runs, even * max(1, NEAR_V * device.compute_units // (bytes_of_run * even)))


def cycles(problem: ConvProblem, device: DeviceInfo, b: Blocking) -> float:
    """Predict the clock cycles of one call.

    The constants were fitted to some 2000 measurements of 15 problems on two Zen 4 cores; on these the blocking that is
    predicted to be the fastest takes at most 7 % longer than the fastest, 1 % in the mean.
    """
    p, vec = problem, device.lanes(accumulator_bytes(problem))
    frequencies = pixels_of(p, b.tile) ** 2
    vectors = block_vectors(p, device)
    ic_blocks, oc_blocks = ceil_div(p.ICG, vec), ceil_div(p.OCG, vectors * vec)
    most = ceil_div(tiles_of(p, b.tile), b.runs)
    share = min(oc_blocks, ceil_div(ceil_div(oc_blocks, b.panel_blocks), b.shares) * b.panel_blocks)
    # A part of t tiles takes t cycles a step for two vectors of each, if loads and latencies leave it at that.
    parts = ceil_div(most, 8 if device.avx512 else 6)
    even, more = divmod(most, parts)
    pair = vectors / 2
    steps = more * max(pair * (even + 1), 4.0) + (parts - more) * max(pair * even, 4.0)
    multiply = frequencies * share * (ic_blocks * vec * steps * 1.05 + 30 * parts) + 25 * frequencies * share / b.panel_blocks
    if device.full_avx512:
        multiply *= (BESIDE if device.moves_beside else FULL_AVX512).get(pixels_of(p, b.tile), 1.0)
        multiply *= OF_GROUPS if device.moves_among and p.G > 1 else 1.0
    v, m = slab_bytes(p, device, b)
    # U comes from beyond the second-level cache.
    block = 4 * frequencies * vectors * vec * ic_blocks * vec  # bytes of it, for a block of output channels
    stream = block * share / (14 if device.moves_beside and p.G == 1 else 8.5 if device.full_avx512 else 10)
    waits = device.moves_beside or not device.avx512 or (p.SH > 1 and not device.full_avx512)
    if waits and (size := block * p.G * oc_blocks) > FAR_FILTER:
        stream *= 2 if not device.moves_beside or p.SH > 1 else 3 if size <= PARTLY_FAR else 4
    item = max(multiply, stream) + 0.3 * min(multiply, stream) + 2.2 * frequencies * share * vectors * most
    transform = 1.6 * frequencies * ic_blocks * most
    moved = scattered_cycles(p, device) + passing_cycles(p, device) + single_cycles(p, device, b.tile)
    if device.moves_among and b.shares > 1 and p.layout == "NHWC":
        moved += SHARED_BYTE * math.prod(p.output_shape) * p.itemsize / device.compute_units
    waves = ceil_div(b.runs * b.shares * p.G, device.compute_units)
    if b.fused:
        item += transform
        if v + m * b.panel_blocks > 0.7 * device.l2_bytes:
            item += (0.6 if device.moves_among else 0.3) * share * v / 16
        return waves * (item + 2000) + 30e3 + moved
    item += 0.05 * v * (1 if v < device.l2_bytes else min(share / b.panel_blocks, 16) / 4)
    if device.moves_among and b.shares > 1:
        item += SHARED_BYTE * v * (1 - 1 / device.compute_units)
    live = v * min(b.runs, ceil_div(device.compute_units, b.shares))  # V of the runs that are at work at the same time
    item += far_cycles(v * share / b.panel_blocks, live, device)
    put = 0.25 if device.moves_among else 0.1
    first = ceil_div(b.runs * ic_blocks * p.G, device.compute_units) * (transform + put * v) / ic_blocks
    needed = waves * (item + 2000) + first
    if device.moves_beside and p.SH > 1:
        needed *= 0.8  # measured; V passes through a third cache that is near
    return needed + 60e3 + moved


def passing_cycles(problem: ConvProblem, device: DeviceInfo) -> float:
    """Clock cycles for images whose groups are read tile by tile, by few multiply-adds a byte; more beyond second caches."""
    if problem.G == 1:
        return 0.0
    nhwc = problem.layout == "NHWC"
    times = PARTS_OF_LINES if problem.SH > 1 and nhwc else VECTORS_OF_LINES if device.moves_beside and nhwc else 1
    share = image_bytes(problem) / device.compute_units
    scattered = SCATTERED_BYTE * share if nhwc else 0.0
    return scattered + times * PASSING_BYTE * max(0.0, share - device.l2_bytes)


def single_cycles(problem: ConvProblem, device: DeviceInfo, tile: int) -> float:
    """Clock cycles for elements that are moved one by one."""
    if problem.layout == "NHWC" or problem.DW == 1:
        return 0.0
    share = tiles_of(problem, tile) / device.compute_units
    return SINGLE_ELEMENT * share * (pixels_of(problem, tile) * tile * problem.IC + tile * tile * problem.OC)


def plan_of(problem: ConvProblem, device: DeviceInfo, blocking: Blocking, seconds: float) -> Plan:
    """Return the plan with a given blocking."""
    kernel = "standard/winograd_simd.cl"
    size = accumulator_bytes(problem)
    vec = device.lanes(size)
    vectors = block_vectors(problem, device)
    tile, oc_block, frequencies = blocking.tile, vectors * vec, pixels_of(problem, blocking.tile) ** 2
    icb, ocb = ceil_div(problem.ICG, vec), ceil_div(problem.OCG, oc_block)
    ty, tx = grid(problem, tile)
    most = ceil_div(tiles_of(problem, tile), blocking.runs)
    macros: tuple[Macro, ...] = (
        *common_macros(problem, device),
        ("VEC", vec),
        ("TILE", tile),
        ("STRIP_TILES", STRIP // (tile * problem.SH)),
        ("FUSED", int(blocking.fused)),
        ("OCV", vectors),
        ("AVX512", int(device.avx512)),
    )
    sizes: tuple[Argument, ...] = (
        *size_arguments(problem, "XC", "IH", "IW", "YC", "OH", "OW", "ICG", "OCG", "PT", "PL"),
        *(Int(ty), Int(tx), Int(images(problem))),
    )
    v_bytes, m_bytes, strip = map(Local, local_bytes(problem, device, blocking))
    last = (Int(blocking.panel_blocks), *epilogue_arguments(problem))
    work = (blocking.runs, blocking.shares, problem.G)
    one = (1, 1, 1)
    launches: tuple[Launch, ...]
    if blocking.fused:
        buffers: tuple[Argument, ...] = ("x", "packed", "bias", "residual", "y", v_bytes, m_bytes, strip)
        launches = (Launch(kernel, "winograd_fused", macros, (*buffers, *sizes, *last), work, one),)
    else:
        buffers = ("scratch0", "packed", "bias", "residual", "y", m_bytes, strip)
        at_once = runs_at_once(problem, device, blocking)
        pairs = []
        for run in range(0, blocking.runs, at_once):
            count = min(at_once, blocking.runs - run)
            these = (*sizes, Int(run), Int(blocking.runs))
            pairs += [
                Launch(kernel, "winograd_input", macros, ("x", "scratch0", strip, *these), (count, icb, problem.G), one),
                Launch(kernel, "winograd_output", macros, (*buffers, *these, *last), (count, *work[1:]), one),
            ]
        launches = tuple(pairs)
    pack = Launch(
        kernel,
        "winograd_filter",
        macros,
        ("w", "packed", *size_arguments(problem, "OC", "ICG", "OCG"), Int(ocb), Int(blocking.panel_blocks)),
        (problem.G * ocb, icb) if problem.layout == "NHWC" else (icb, problem.G * ocb),
        (1, 1),
    )
    return Plan(
        algorithm=WinogradSimd.name,
        problem=problem,
        launches=launches,
        packing=Packing(pack, problem.G * frequencies * icb * vec * ocb * oc_block * size),
        scratch_bytes=() if blocking.fused else (problem.G * at_once * slab_bytes(problem, device, blocking)[0],),
        tile=f"F({tile}x{tile}, {problem.KH}x{problem.KW}); runs: {blocking.runs} of {most} tiles; shares: {blocking.shares}; "
        f"blocks a panel: {blocking.panel_blocks}{'' if blocking.fused else '; two steps'}",
        seconds=seconds,
        error_factor=error_factor(problem, tile),
        winograd=tile,
    )


def _slab(elements: int, oc_block: int) -> int:
    """Elements from one frequency to the next, as ``slab_of`` in the kernel."""
    return (ceil_div(elements, oc_block) | 1) * oc_block
