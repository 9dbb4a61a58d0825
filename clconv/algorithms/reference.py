"""Host side of kernels/reference.cl: any problem, one work-item per output."""

from __future__ import annotations

from clconv.algorithms import gpu
from clconv.algorithms.base import (
    Algorithm,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    round_up,
    size_arguments,
)
from clconv.device import DeviceInfo
from clconv.plan import Launch, Plan
from clconv.problem import ConvProblem


class Reference(Algorithm):
    """The definition itself. It always works, and it is never the fast choice."""

    name = "reference"
    family = "reference"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Every problem."""
        return None

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One plan: work-groups along a row of the output."""
        width = min(64, device.max_work_group_size)
        while width > 1 and width // 2 >= problem.OW:
            width //= 2
        launch = Launch(
            kernel=self.kernel,
            entry="conv_reference",
            macros=common_macros(problem, device),
            arguments=(
                *("x", "w", "bias", "residual", "y"),
                *size_arguments(problem, "IC", "IH", "IW", "OC", "OH", "OW", "ICG", "OCG", "PT", "PL"),
                *epilogue_arguments(problem),
            ),
            global_size=(round_up(problem.OW, width) * problem.OH * problem.OC * problem.N, 1, 1),
            local_size=(width, 1, 1),
        )
        return (
            Plan(
                algorithm=self.name,
                problem=problem,
                launches=(launch,),
                tile="1 output a work-item",
                seconds=problem.flops / (0.01 * device.driver_flops) + (0.0 if device.is_cpu else 2 * gpu.LAUNCH),
                error_factor=direct_error_factor(problem),
            ),
        )
