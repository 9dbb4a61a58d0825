"""Host side of kernels/grouped/lane_simd.cl: NHWC, the output channels of several groups in a vector."""

from __future__ import annotations

from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    far,
    fastest_first,
    places,
    round_up,
    size_arguments,
)
from clconv.algorithms.packing import pack_filter
from clconv.algorithms.reasons import not_nhwc, other_kind, too_little_local, too_many_columns
from clconv.algorithms.ring import Ring, bands, ring
from clconv.algorithms.unrolled import columns_too_far_apart, tiles_of_columns
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Macro, Packing, Plan
from clconv.problem import ConvProblem

TILES = (14, 7, 8, 4, 2, 1)
"""Outputs side by side in a tile: the images of most networks are multiples of 7 wide."""

MOST_SUMS = 8
"""Outputs of a tile with sixteen registers; with AVX-512 there are thirty-two."""

REGISTERS = 28
"""Of AVX-512's, those that can hold sums."""

FEW_SUMS = 7
"""With fewer than eight, a tile's multiply-adds wait for each other: two are begun in a cycle and each takes four."""

BESIDE_MATRIX = 1.5
"""Predicted times are those at work, at a higher clock than drivers report; those of the matrix unit's kernels are not."""

MOST_CHANNELS = 32
"""Channels of a group: with more, a vector of each group's own is as good."""

PIECES = (256, 128)
"""Bytes of a pixel that a work-item takes at least: memory moves in lines of 64, and most arrays do not begin where one does.
The larger one is for inputs that the second caches do not hold, with stride 1: eight images of 512 channels at 28 x 28 take a
fifth longer with the smaller one. With stride 2, 256 channels at 56 x 56 take a tenth longer with the larger one, but eight
images of them, which come from memory, half as long again with the smaller one when memory is slow."""


class GroupedLaneSimd(Algorithm):
    """A band of rows a work-item, of a few vectors of channels that hold whole groups."""

    name = "grouped/lane_simd"
    family = "direct"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Take grouped problems in NHWC with as many channels out as in, up to a vector's in a group, or multiples up to 32."""
        if reason := other_kind(problem, "grouped") or not_nhwc(problem):
            return reason
        vec = self._lanes(problem, device)
        if problem.ICG != problem.OCG:
            return f"takes as many channels in as out in a group, not {problem.ICG} and {problem.OCG}"
        if problem.ICG > MOST_CHANNELS or (vec < problem.ICG and problem.ICG % vec):
            return f"takes groups of up to {vec} channels, or {MOST_CHANNELS}, not {problem.ICG}"
        if reason := too_many_columns(problem) or columns_too_far_apart(problem):
            return reason
        return too_little_local(self._ring(problem, device).bytes, device)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One plan for each tile that the image is wide enough for."""
        most = 2 * MOST_SUMS if wide(problem, device) else MOST_SUMS
        fitting = [tile for tile in tiles_of_columns(TILES, problem) if tile <= most]
        return fastest_first(self._plan(problem, device, tile) for tile in fitting)

    def _lanes(self, p: ConvProblem, device: DeviceInfo) -> int:
        return device.lanes(accumulator_bytes(p)) * (2 if wide(p, device) else 1)

    def _ring(self, p: ConvProblem, device: DeviceInfo) -> Ring:
        vec, acc_bytes = self._lanes(p, device), accumulator_bytes(p)
        inputs = p.N * p.IH * p.IW * p.IC * p.itemsize
        large = far(p, device) or (p.SH == 1 and inputs > device.l2_bytes * device.compute_units)
        group = max(1, p.ICG // vec)  # vectors, all of which a work-item takes
        pieces = (max(1, piece // (vec * acc_bytes)) for piece in (PIECES if large else PIECES[1:]))
        rings = (ring(p, vec, round_up(vectors, group), coming=p.SH) for vectors in pieces)
        return min(rings, key=lambda r: (r.bytes > device.local_mem_bytes, -r.bytes))

    def _plan(self, p: ConvProblem, device: DeviceInfo, tile: int) -> Plan:
        vec = self._lanes(p, device)
        rows = self._ring(p, device)
        step = _step(p, vec)
        chunks = ceil_div(p.OC, rows.vectors * step)
        count = bands(p, device, chunks)
        parts = _parts(p, vec)
        abreast = _abreast(p, device, vec, tile)
        macros = (
            *common_macros(p, device),
            *(("VEC", vec), ("NV", rows.vectors), ("GROUP", p.ICG), ("PARTS", parts), ("TILE_OW", tile)),
            ("ABREAST", abreast),
            ("AVX512", int(wide(p, device))),
        )
        packing = self._pack(p, vec, macros) if parts > 1 else pack_filter(p, device, vec, together=step)
        launch = Launch(
            kernel=self.kernel,
            entry="grouped_lane_simd",
            macros=macros,
            arguments=(
                *("x", "packed", "bias", "residual", "y"),
                Local(rows.bytes),
                *size_arguments(p, "IC", "IH", "IW", "OH", "OW", "PT", "PL", "XC", "YC"),
                Int(count),
                Int(rows.width),
                *epilogue_arguments(p),
            ),
            global_size=(chunks, count, p.N),
            local_size=(1, 1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            packing=packing,
            tile=f"{tile} pixels x {abreast * step} channels",
            seconds=self._seconds(p, device, tile, vec),
            error_factor=direct_error_factor(p),
        )

    def _pack(self, p: ConvProblem, vec: int, macros: tuple[Macro, ...]) -> Packing:
        """Pack a filter group by group."""
        groups = ceil_div(p.OC, vec) * _parts(p, vec)
        launch = Launch(
            kernel=self.kernel,
            entry="pack_lanes",
            macros=macros,
            arguments=("w", "packed", *size_arguments(p, "IC")),
            global_size=(groups,),
            local_size=(1,),
        )
        return Packing(launch, ceil_div(p.OC, vec) * p.ICG * p.KH * p.KW * vec * accumulator_bytes(p))

    def _seconds(self, p: ConvProblem, device: DeviceInfo, tile: int, vec: int) -> float:
        """Predict from the operands and multiply-adds of whole tiles, and the copy into the ring."""
        waste = round_up(p.OW, tile) / p.OW * ceil_div(p.OC, _step(p, vec)) * vec / p.OC
        operands = places(tile, p.SW, p.KW, p.DW) / (tile * p.KW)  # per multiply-add
        loads = operands + 1 / tile  # those and weights
        inputs = p.N * p.IC * p.IH * p.IW
        parts = _parts(p, vec)
        spread = vec > p.ICG and parts == 1
        added = 3.0 * (parts - 1) / (p.ICG * p.KH * p.KW)  # instructions that make one sum of an output's, per multiply-add
        if device.moves_beside and wide(p, device):
            # A sum may be touched every fourth cycle; strides read more lines.
            abreast = _abreast(p, device, vec, tile)
            work = (1.0 + added) * max(0.545, 4.55 / (tile * abreast)) * (0.88 + 0.3 * operands / abreast)
            if parts * tile > REGISTERS:
                work *= 1.18
        elif device.full_avx512 and wide(p, device):
            crowded = 1.3 if parts * tile > REGISTERS else 1.0
            work = (1.0 + added + (operands if spread else 0.0)) * (0.3 + 0.86 / tile) * crowded
            work *= BESIDE_MATRIX if device.amx else 1.35  # measured on two Xeon cores
        elif wide(p, device):
            work = (0.45 + 0.45 * loads) * (1.0 if spread else 1.15)
        else:
            work = 0.6 + 0.6 * loads
        copied = (10.0 if wide(p, device) else 8.0) * inputs
        return (p.flops * waste * work + copied) / (0.95 * device.driver_flops)


def _step(p: ConvProblem, vec: int) -> int:
    """Channels of a vector: whole groups."""
    return vec // p.ICG * p.ICG if vec > p.ICG else vec


def _abreast(p: ConvProblem, device: DeviceInfo, vec: int, tile: int) -> int:
    """Vectors of one group that a tile takes at once: two where it would have too few sums, if that was measured."""
    return 2 if device.moves_beside and tile <= FEW_SUMS and p.ICG % (2 * vec) == 0 else 1


def _parts(p: ConvProblem, vec: int) -> int:
    """Lanes that an output channel has in a vector of one group's sums; 1 where a vector holds other sums, see the kernel."""
    parts = vec // p.ICG
    return parts if parts > 1 and vec % p.ICG == 0 and p.ICG % parts == 0 else 1
