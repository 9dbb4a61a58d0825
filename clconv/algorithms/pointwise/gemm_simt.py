"""Host side of kernels/pointwise/gemm_simt.cl: a matrix product through local memory, for GPUs."""

from __future__ import annotations

from clconv.algorithms.base import Algorithm, common_macros, direct_error_factor, epilogue_arguments, size_arguments
from clconv.algorithms.gemm_tile import GemmTile, legal, refusal
from clconv.algorithms.reasons import other_kind
from clconv.device import DeviceInfo
from clconv.plan import Launch, Plan
from clconv.problem import ConvProblem


class GemmSimt(Algorithm):
    """Output channels x pixels of all images in tiles of a work-group."""

    name = "pointwise/gemm_simt"
    tiles = (
        GemmTile(128, 128, 8, 8, 8),
        GemmTile(64, 128, 8, 8, 4),
        GemmTile(32, 64, 8, 4, 4),
        GemmTile(16, 64, 8, 4, 4),
    )
    """Largest first; the last one fits 64 work-items and 16 KiB."""

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Any 1x1 filter with one group, where the device's work-groups are large enough for the smallest tile."""
        return other_kind(problem, "pointwise") or refusal(self.tiles, problem, device)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> list[Plan]:
        """One plan per tile that the device can run."""
        return [self._plan(problem, device, tile) for tile in legal(self.tiles, problem, device)]

    def _plan(self, problem: ConvProblem, device: DeviceInfo, tile: GemmTile) -> Plan:
        launch = Launch(
            kernel=self.kernel,
            entry="conv_gemm",
            macros=(*common_macros(problem, device), *tile.macros),
            arguments=(
                *("x", "w", "bias", "residual", "y"),
                *size_arguments(problem, "N", "IC", "IH", "IW", "OC", "OH", "OW", "PT", "PL"),
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
