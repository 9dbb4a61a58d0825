"""Host side of kernels/grouped/channel_simd.cl: groups with enough output channels to fill vectors, on CPUs."""

from __future__ import annotations

from clconv.algorithms.base import Algorithm
from clconv.algorithms.channel_tile import lanes_of, plans_of, reason_against
from clconv.device import DeviceInfo
from clconv.plan import Plan
from clconv.problem import ConvProblem


class GroupedChannelSimd(Algorithm):
    """Register tiles of pixels by vectors of a group's output channels, over a panel of the group's input in local memory."""

    name = "grouped/channel_simd"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Cover groups with more than half a vector of output channels, and rows that fit local memory."""
        if problem.G == 1:
            return "covers several groups, the problem has one"
        lanes = lanes_of(problem, device)
        if lanes // 2 >= problem.OCG:
            return f"covers more than {lanes // 2} output channels a group, the problem has {problem.OCG}"
        return reason_against(problem, device)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One to three register tiles with their best cuts."""
        return plans_of(self.name, "grouped_channel_simd", problem, device)
