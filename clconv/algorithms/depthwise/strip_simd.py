"""Host side of kernels/depthwise/strip_simd.cl: NCHW, down strips of the image, each row read once."""

from __future__ import annotations

import math

from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    round_up,
    size_arguments,
)
from clconv.algorithms.depthwise.plane_tiles import cut
from clconv.algorithms.reasons import converted_slowly, far_columns, not_nchw, other_kind
from clconv.algorithms.sets import WAY
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Plan
from clconv.problem import ConvProblem

TAPS = 9
"""Taps of a filter that sixteen registers hold beside the sums."""

BETWEEN = 16
"""Elements of the image for each output, at most: the kernel asks for all of them, unrolled; 256 take 5 s to build."""

PLANE = 1 << 16
"""Bytes of a channel's image of which the first cache keeps all rows until the next strip, and the processor where they are.
Of larger ones, 224 x 224 pixels take as long as in tiles along the rows, 1000 x 1000 pixels 1.7 times as long."""


class DepthwiseStripSimd(Algorithm):
    """Strips of a vector's width, down several channels or a band of one: each row is read once, the next channel asked for."""

    name = "depthwise/strip_simd"
    family = "direct"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Depthwise problems in NCHW with few taps and a horizontal stride of 1 or 2."""
        if reason := other_kind(problem, "depthwise") or not_nchw(problem) or far_columns(problem):
            return reason
        if problem.DH > 1:
            return f"takes a vertical dilation of 1, this one is {problem.DH}"
        if problem.KH * problem.KW > TAPS:
            return f"keeps up to {TAPS} taps in registers, the filter has {problem.KH * problem.KW}"
        if problem.SH * problem.SW > BETWEEN:
            return f"asks for all {problem.SH * problem.SW} elements of the image for each output, at most {BETWEEN}"
        return converted_slowly(problem, device)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """Return the only plan; there is no tile to choose."""
        return (self._plan(problem, device),)

    def _plan(self, p: ConvProblem, device: DeviceInfo) -> Plan:
        vec = device.lanes(accumulator_bytes(p))
        bands, channels = cut(p, device, 1)
        launch = Launch(
            kernel=self.kernel,
            entry="depthwise_strip_simd",
            macros=(*common_macros(p, device), ("VEC", vec), ("AVX512", 0)),
            arguments=(
                *("x", "w", "bias", "residual", "y"),
                *size_arguments(p, "N", "IC", "IH", "IW", "OH", "OW", "OCG", "PT", "PL"),
                Int(bands),
                Int(channels),
                *epilogue_arguments(p),
            ),
            global_size=(bands, ceil_div(p.IC, channels), p.N),
            local_size=(1, 1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            tile=f"strips of {vec} columns",
            seconds=self._seconds(p, device, vec),
            error_factor=direct_error_factor(p),
        )

    def _seconds(self, p: ConvProblem, device: DeviceInfo, vec: int) -> float:
        """Predict from multiply-adds of whole vectors, what is read for them, the ends of the strips, and the traffic."""
        reads = p.SH * p.SW / p.KH  # vectors read and put in order per multiply-add
        ends = 1 + 2 / p.OH  # measured: they take as long as two rows
        far = 1 + 0.1 * max(0.0, math.log2(p.IH * p.IW * p.itemsize / PLANE))
        far *= 1.4 if p.IW * p.itemsize % WAY == 0 else 1.0
        compute = p.flops * round_up(p.OW, vec) / p.OW * (1 + reads) * ends * far / (0.98 * device.driver_flops)
        return max(compute, p.bytes / device.bandwidth / 4)
