"""Host side of kernels/standard/direct_simd.cl: any convolution without groups but 1x1, on CPUs."""

from __future__ import annotations

from clconv.algorithms.base import Algorithm
from clconv.algorithms.channel_tile import plans_of, reason_against
from clconv.device import DeviceInfo
from clconv.plan import Plan
from clconv.problem import ConvProblem


class DirectSimd(Algorithm):
    """Register tiles of pixels by vectors of output channels, over a panel of the input in local memory."""

    name = "standard/direct_simd"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Every problem with one group whose rows fit local memory; 1x1 has kernels of its own."""
        if problem.G > 1:
            return f"covers one group, the problem has {problem.G}"
        if problem.kind == "pointwise":
            return "covers windows; the kernels in pointwise/ serve 1x1 without tables of taps"
        return reason_against(problem, device)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One to three register tiles with their best cuts."""
        return plans_of(self.name, "direct_simd", problem, device)
