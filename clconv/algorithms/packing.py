"""Host side of the kernels/pack_*.cl: filters in blocks of output channels, and in tiles for a matrix unit."""

from __future__ import annotations

from clconv.algorithms.base import accumulator_bytes, ceil_div, size_arguments
from clconv.algorithms.wide import matrix_lanes
from clconv.device import DeviceInfo
from clconv.plan import Argument, Int, Launch, Local, Macro, Packing, Plan
from clconv.problem import ConvProblem

ROWS = 64
"""Rows of a filter that a work-item packs: with 16 output channels a block of 4 KiB, which is in the first cache meanwhile."""


def pack_filter(problem: ConvProblem, device: DeviceInfo, oc_block: int, *, together: int = 0, items: int = 1) -> Packing:
    """Pack a filter as ``[G][BLOCKS][ICG][KH][KW][oc_block]``.

    Parameters
    ----------
    problem : ConvProblem
    device : DeviceInfo
    oc_block : int
        Output channels of a tile; the tail of a group's last block is zero.
    together : int
        Output channels that share blocks, if these are not a group's: ``[ceil(OC/together)][blocks][ICG][KH][KW][oc_block]``.
    items : int
        Work-items of a work-group: one on a CPU, which takes several rows; ``oc_block`` on a GPU.
    """
    per_group = together or problem.OCG
    groups = ceil_div(problem.OC, per_group)
    blocks = ceil_div(per_group, oc_block)
    taps, rows = problem.ICG * problem.KH * problem.KW, ROWS if items == 1 else 1
    chunks = ceil_div(taps, rows)
    launch = Launch(
        kernel="pack_filter.cl",
        entry="pack_filter",
        macros=(*_macros(problem, device), ("ITEMS", items)),
        arguments=(
            *("w", "packed"),
            *size_arguments(problem, "OC", "ICG"),
            *map(Int, (per_group, problem.KH * problem.KW, blocks, oc_block, rows)),
        ),
        global_size=(groups * blocks, chunks) if problem.layout == "NHWC" and items == 1 else (items * chunks, groups * blocks),
        local_size=(items, 1),
    )
    return Packing(launch, groups * blocks * taps * oc_block * accumulator_bytes(problem))


def _macros(problem: ConvProblem, device: DeviceInfo) -> tuple[Macro, ...]:
    return (
        *((f"REAL_{problem.dtype.upper()}", 1), ("NHWC", int(problem.layout == "NHWC"))),
        *(("VEC", device.lanes(accumulator_bytes(problem))), ("UNALIGNED_VECTORS", int(device.unaligned_vectors))),
    )


RATE = 5e9
"""Bytes of a packed filter per second and compute unit of a CPU, if it is packed in each call. On two Zen 3 cores Winograd's
filters are written with 6 to 16 GB/s, others with 16 to 30; but then they lie beyond the caches in which plans expect them."""


def packing_seconds(plan: Plan, device: DeviceInfo) -> float:
    """Predict what the packing of a plan's filter takes, where that is done in each call."""
    if plan.packing is None:
        return 0.0
    return plan.packing.bytes / (RATE * device.compute_units if device.is_cpu else device.bandwidth)


STEPS = 7
"""Products of quarters in Strassen's scheme."""


def pack_strassen(problem: ConvProblem, device: DeviceInfo, oc_block: int, part: int | None = None) -> Packing:
    """Pack a 1x1 filter as ``[PARTS][BLOCKS][STEPS][ceil(part/2)][oc_block]``, the last part with the channels that are left.

    Parameters
    ----------
    problem : ConvProblem
    device : DeviceInfo
    oc_block : int
        Output channels of a tile; each has a partner in the other half of them.
    part : int, optional
        Input channels of a part, an even number; all of them if left out.
    """
    part = part or problem.IC
    parts, blocks = ceil_div(problem.IC, part), ceil_div(problem.OC, 2 * oc_block)
    half = ceil_div(part, 2) * (parts - 1) + ceil_div(problem.IC - part * (parts - 1), 2)  # of all parts
    chunks = ceil_div(ceil_div(part, 2), ROWS)
    launch = Launch(
        kernel="pack_strassen.cl",
        entry="pack_strassen",
        macros=_macros(problem, device),
        arguments=("w", "packed", *size_arguments(problem, "IC", "OC"), Int(oc_block), Int(ROWS), Int(part)),
        global_size=(blocks, chunks, parts) if problem.layout == "NHWC" else (chunks, blocks, parts),
        local_size=(1, 1, 1),
    )
    return Packing(launch, blocks * STEPS * half * oc_block * accumulator_bytes(problem))


def pack_split(problem: ConvProblem, device: DeviceInfo, parts: int, left: bool) -> Packing:
    """Pack a filter as ``[G][BLOCKS][KH*KW][STEPS][parts]`` tiles.

    Parameters
    ----------
    problem : ConvProblem
    device : DeviceInfo
    parts : int
        bfloat16 numbers that an element is split into; a tile has 16 output channels by 32 input channels of them.
    left : bool
        Positions are left operands of the matrix unit, the filter right ones.
    """
    blocks, steps, taps = ceil_div(problem.OCG, 16), ceil_div(problem.ICG, 32), problem.KH * problem.KW
    steps_item = STEPS_ITEM if taps == 1 and problem.layout == "NCHW" else 1
    grid = (ceil_div(steps, steps_item), problem.G * blocks)
    return _pack_tiles(
        "pack_split",
        problem,
        device,
        parts,
        (("LEFT", int(left)),),
        (*size_arguments(problem, "OC", "ICG", "OCG"), *map(Int, (taps, steps, steps_item, blocks))),
        grid[::-1] if problem.layout == "NHWC" else grid,
        problem.G * blocks * steps * taps,
        taps,
    )


def pack_run(
    problem: ConvProblem, device: DeviceInfo, taps: tuple[int, int], parts: int, run: int, bunches: int, blocks: int
) -> Packing:
    """Pack a filter as ``[bunches][blocks][rows][STEPS][parts]`` tiles.

    Parameters
    ----------
    problem : ConvProblem
    device : DeviceInfo
    taps : tuple of int
        Rows of taps, and taps of a row that lie side by side.
    parts : int
        bfloat16 numbers that an element is split into; a tile has 16 output channels by 32 numbers of a row.
    run : int
        Channels of a position in such a row.
    bunches, blocks : int
        Of 16 output channels each; blocks in a bunch.
    """
    steps = ceil_div(taps[1] * run, 32)
    return _pack_tiles(
        "pack_run",
        problem,
        device,
        parts,
        (),
        (*size_arguments(problem, "OC", "ICG", "OCG"), *map(Int, (*taps, run, steps, blocks))),
        (taps[0] * steps, bunches * blocks),
        taps[0] * steps * bunches * blocks,
        1,
    )


TAPS = 16
"""Tiles that are gathered at a time, at most."""

STEPS_ITEM = 8
"""Steps of a work-item, where a row of the filter has them side by side: 1 KiB."""


def _pack_tiles(
    entry: str,
    problem: ConvProblem,
    device: DeviceInfo,
    parts: int,
    macros: tuple[Macro, ...],
    sizes: tuple[Argument, ...],
    grid: tuple[int, int],
    tiles: int,
    gathered: int,
) -> Packing:
    """Pack tiles for every part, of which a work-item gathers so many at a time, or :data:`TAPS`."""
    launch = Launch(
        kernel=f"{entry}.cl",
        entry=entry,
        macros=(
            *((f"REAL_{problem.dtype.upper()}", 1), ("NHWC", int(problem.layout == "NHWC"))),
            *(("PARTS", parts), ("VEC", matrix_lanes(device, device.avx512))),
            *(("UNALIGNED_VECTORS", int(device.unaligned_vectors)), ("AVX512", int(device.avx512))),
            *macros,
        ),
        arguments=("w", "packed", Local(min(gathered, TAPS) * (512 + 16) * 4), *sizes),
        global_size=grid,
        local_size=(1, 1),
    )
    return Packing(launch, tiles * parts * 1024)
