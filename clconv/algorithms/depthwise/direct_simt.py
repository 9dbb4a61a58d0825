"""Host side of kernels/depthwise/direct_simt.cl: a register tile of one channel a work-item, for GPUs."""

from __future__ import annotations

from typing import ClassVar

from clconv.algorithms.base import (
    Algorithm,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    fastest_first,
    size_arguments,
)
from clconv.algorithms.patch import PatchTile, cpu_seconds
from clconv.algorithms.reasons import other_kind
from clconv.device import DeviceInfo
from clconv.plan import Launch, Plan
from clconv.problem import ConvProblem

WORK_GROUP = 64


class DepthwiseDirectSimt(Algorithm):
    """Neighbouring work-items are neighbouring columns in NCHW, neighbouring channels in NHWC."""

    name = "depthwise/direct_simt"
    tiles: ClassVar[dict[str, tuple[PatchTile, ...]]] = {
        "NCHW": (PatchTile(4, 1), PatchTile(2, 1), PatchTile(1, 1)),
        "NHWC": (PatchTile(2, 4), PatchTile(2, 2), PatchTile(1, 1)),
    }

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Every depthwise convolution whose outputs can be counted in 31 bits, any channel multiplier."""
        if reason := other_kind(problem, "depthwise"):
            return reason
        if (outputs := problem.N * problem.OC * problem.OH * problem.OW) >= 2**31 - WORK_GROUP:
            return f"counts outputs in 31 bits, there are {outputs}"
        return None

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One plan per tile; tiles of several rows only for small windows without dilation."""
        plans = [self._plan(problem, device, tile) for tile in self.tiles[problem.layout] if tile.fits(problem)]
        return fastest_first(plans)

    def _plan(self, problem: ConvProblem, device: DeviceInfo, tile: PatchTile) -> Plan:
        width = min(WORK_GROUP, device.max_work_group_size)
        items = tile.count(problem) * problem.OC
        groups = ceil_div(items, width)
        if device.is_cpu:
            seconds = cpu_seconds(problem, device, items, tile.h * tile.w)
        else:
            seconds = tile.gpu_seconds(problem, device, groups, width, 1)
        launch = Launch(
            kernel=self.kernel,
            entry="conv_depthwise",
            macros=(*common_macros(problem, device), *tile.macros),
            arguments=(
                *("x", "w", "bias", "residual", "y"),
                *size_arguments(problem, "N", "IC", "IH", "IW", "OC", "OH", "OW", "PT", "PL"),
                *epilogue_arguments(problem),
            ),
            global_size=(groups * width, 1, 1),
            local_size=(width, 1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=problem,
            launches=(launch,),
            tile=f"{tile.h} rows x {tile.w} columns a work-item",
            seconds=seconds,
            error_factor=direct_error_factor(problem),
        )
