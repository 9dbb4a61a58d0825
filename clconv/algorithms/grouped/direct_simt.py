"""Host side of kernels/grouped/direct_simt.cl: filters through local memory, register tiles, for GPUs."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
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

_LOCAL_AIM = 8192
"""Local memory of a work-group that leaves room for several of them on a compute unit, in bytes."""


class GroupedTile(NamedTuple):
    """Work-items of a work-group, channels across them, channels and outputs of each."""

    items: int
    oc_lanes: int
    wpt_oc: int
    patch: PatchTile

    @property
    def channels(self) -> int:
        """Output channels of a work-group."""
        return self.oc_lanes * self.wpt_oc

    def input_channels(self, problem: ConvProblem) -> int:
        """Input channels whose filters are in local memory at a time; depends on window and element type alone."""
        count = 8
        while count > 1 and count * self._channel_bytes(problem) > _LOCAL_AIM:
            count //= 2
        return count

    def _channel_bytes(self, problem: ConvProblem) -> int:
        return problem.KH * problem.KW * self.channels * accumulator_bytes(problem)

    def local_bytes(self, problem: ConvProblem) -> int:
        """Local memory that the kernel declares."""
        return self.input_channels(problem) * self._channel_bytes(problem)

    def groups(self, problem: ConvProblem) -> int:
        """Work-groups in all."""
        p = problem
        blocks = ceil_div(p.OC, self.channels) if p.layout == "NHWC" else p.G * ceil_div(p.OCG, self.channels)
        return blocks * ceil_div(self.patch.count(p), self.items // self.oc_lanes)

    def why_not(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Return None if the device can run the tile, else the reason."""
        if not self.patch.fits(problem):
            return f"holds a patch of {self.patch.h} x {self.patch.w} windows in registers, these are too large"
        if self.items > device.max_work_group_size:
            return f"needs work-groups of {self.items} work-items, the device takes {device.max_work_group_size}"
        if (need := self.local_bytes(problem)) > device.local_mem_bytes:
            return f"needs {need} bytes of local memory, the device has {device.local_mem_bytes}"
        return None

    def seconds(self, problem: ConvProblem, device: DeviceInfo) -> float:
        """Predict the time of one call."""
        p = problem
        if device.is_cpu:
            return cpu_seconds(p, device, self.groups(p) * self.items, self.wpt_oc * self.patch.h * self.patch.w)
        return self.patch.gpu_seconds(p, device, self.groups(p), self.items, self.wpt_oc)

    def __str__(self) -> str:
        size = f"{self.wpt_oc} channels x {self.patch.h} rows x {self.patch.w} columns a work-item"
        return f"{self.channels} channels a work-group, {size}"


class GroupedDirectSimt(Algorithm):
    """Patches of the image in registers, filters of a block of output channels in local memory."""

    name = "grouped/direct_simt"
    tiles: ClassVar[dict[str, tuple[GroupedTile, ...]]] = {
        "NCHW": (
            GroupedTile(128, 1, 8, PatchTile(4, 1)),
            GroupedTile(64, 1, 4, PatchTile(4, 1)),
            GroupedTile(64, 1, 4, PatchTile(1, 1)),
        ),
        "NHWC": (
            GroupedTile(128, 32, 1, PatchTile(2, 4)),
            GroupedTile(64, 16, 1, PatchTile(2, 2)),
            GroupedTile(64, 8, 1, PatchTile(1, 1)),
        ),
    }

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Any grouped convolution whose window leaves room for a block of filters in local memory."""
        if reason := other_kind(problem, "grouped"):
            return reason
        if (outputs := problem.N * problem.OH * problem.OW) >= 2**31 - 256:
            return f"counts output pixels in 31 bits, there are {outputs}"
        reasons = [tile.why_not(problem, device) for tile in self.tiles[problem.layout]]
        return None if None in reasons else reasons[-1]

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One plan per tile that the device can run."""
        tiles = [tile for tile in self.tiles[problem.layout] if tile.why_not(problem, device) is None]
        return fastest_first(self._plan(problem, device, tile) for tile in tiles)

    def _plan(self, problem: ConvProblem, device: DeviceInfo, tile: GroupedTile) -> Plan:
        launch = Launch(
            kernel=self.kernel,
            entry="conv_grouped",
            macros=(
                *common_macros(problem, device),
                ("ITEMS", tile.items),
                ("OC_LANES", tile.oc_lanes),
                ("WPT_OC", tile.wpt_oc),
                ("TILE_IC", tile.input_channels(problem)),
                *tile.patch.macros,
            ),
            arguments=(
                *("x", "w", "bias", "residual", "y"),
                *size_arguments(problem, "N", "IC", "IH", "IW", "OC", "OH", "OW", "ICG", "OCG", "PT", "PL"),
                *epilogue_arguments(problem),
            ),
            global_size=(tile.groups(problem) * tile.items, 1, 1),
            local_size=(tile.items, 1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=problem,
            launches=(launch,),
            tile=str(tile),
            seconds=tile.seconds(problem, device),
            error_factor=direct_error_factor(problem),
        )
