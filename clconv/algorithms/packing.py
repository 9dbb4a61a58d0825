"""Host side of the kernels/pack_*.cl: filters in blocks of output channels, and in tiles for a matrix unit."""

from __future__ import annotations

from clconv.algorithms.base import accumulator_bytes, ceil_div, size_arguments
from clconv.plan import Int, Launch, Macro, Packing
from clconv.problem import ConvProblem


def pack_filter(problem: ConvProblem, oc_block: int, *, together: int = 0) -> Packing:
    """Pack a filter as ``[G][BLOCKS][ICG][KH][KW][oc_block]``.

    Parameters
    ----------
    problem : ConvProblem
    oc_block : int
        Output channels of a tile; the tail of a group's last block is zero.
    together : int
        Output channels that share blocks, if these are not a group's: ``[ceil(OC/together)][blocks][ICG][KH][KW][oc_block]``.
    """
    per_group = together or problem.OCG
    groups = ceil_div(problem.OC, per_group)
    blocks = ceil_div(per_group, oc_block)
    taps = problem.ICG * problem.KH * problem.KW
    launch = Launch(
        kernel="pack_filter.cl",
        entry="pack_filter",
        macros=((f"REAL_{problem.dtype.upper()}", 1), ("NHWC", int(problem.layout == "NHWC"))),
        arguments=(
            *("w", "packed"),
            *size_arguments(problem, "OC", "ICG"),
            *(Int(per_group), Int(problem.KH * problem.KW), Int(blocks)),
        ),
        global_size=(oc_block * taps, groups * blocks, 1),
        local_size=(oc_block, 1, 1),
    )
    return Packing(launch, groups * blocks * taps * oc_block * accumulator_bytes(problem))


STEPS = 7
"""Products of quarters in Strassen's scheme."""


def pack_strassen(problem: ConvProblem, oc_block: int) -> Packing:
    """Pack a 1x1 filter as ``[BLOCKS][STEPS][ceil(IC/2)][oc_block]``.

    Parameters
    ----------
    problem : ConvProblem
    oc_block : int
        Output channels of a tile; each has a partner in the other half of them.
    """
    half, blocks = ceil_div(problem.IC, 2), ceil_div(problem.OC, 2 * oc_block)
    launch = Launch(
        kernel="pack_strassen.cl",
        entry="pack_strassen",
        macros=((f"REAL_{problem.dtype.upper()}", 1), ("NHWC", int(problem.layout == "NHWC"))),
        arguments=("w", "packed", *size_arguments(problem, "IC", "OC")),
        global_size=(oc_block, half, blocks),
        local_size=(oc_block, 1, 1),
    )
    return Packing(launch, blocks * STEPS * half * oc_block * accumulator_bytes(problem))


def pack_split(problem: ConvProblem, parts: int, left: bool) -> Packing:
    """Pack a filter as ``[G][BLOCKS][KH*KW][STEPS][parts]`` tiles.

    Parameters
    ----------
    problem : ConvProblem
    parts : int
        bfloat16 numbers that an element is split into; a tile has 16 output channels by 32 input channels of them.
    left : bool
        Positions are left operands of the matrix unit, the filter right ones.
    """
    blocks, steps, taps = ceil_div(problem.OCG, 16), ceil_div(problem.ICG, 32), problem.KH * problem.KW
    return _pack_tiles(
        "pack_split",
        problem,
        parts,
        (("LEFT", int(left)),),
        (*size_arguments(problem, "OC", "ICG", "OCG"), Int(taps), Int(steps), Int(blocks)),
        taps * steps,
        problem.G * blocks,
    )


def pack_run(problem: ConvProblem, taps: tuple[int, int], parts: int, run: int, bunches: int, blocks: int) -> Packing:
    """Pack a filter as ``[bunches][blocks][rows][STEPS][parts]`` tiles.

    Parameters
    ----------
    problem : ConvProblem
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
        parts,
        (),
        (*size_arguments(problem, "OC", "ICG", "OCG"), *map(Int, (*taps, run, steps, blocks))),
        taps[0] * steps,
        bunches * blocks,
    )


def _pack_tiles(
    entry: str, problem: ConvProblem, parts: int, macros: tuple[Macro, ...], sizes: tuple[Int, ...], terms: int, blocks: int
) -> Packing:
    """Pack ``blocks`` of 16 output channels, ``terms`` tiles each for every part."""
    launch = Launch(
        kernel=f"{entry}.cl",
        entry=entry,
        macros=(
            *((f"REAL_{problem.dtype.upper()}", 1), ("NHWC", int(problem.layout == "NHWC"))),
            *(("PARTS", parts), ("VEC", 2), ("UNALIGNED_VECTORS", 0)),
            *macros,
        ),
        arguments=("w", "packed", *sizes),
        global_size=(256, terms, blocks),
        local_size=(256, 1, 1),
    )
    return Packing(launch, blocks * terms * parts * 1024)
