"""Host side of kernels/depthwise/stride_simd.cl: NCHW, strides of 3 and more; sums are picked apart, and not the image."""

from __future__ import annotations

from clconv.algorithms.base import (
    Algorithm,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    items_wanted,
    size_arguments,
)
from clconv.algorithms.reasons import converted_slowly, not_nchw, other_kind, too_many_taps
from clconv.algorithms.spread import across, far_apart, multiplied, reads, rows, strips, vector
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Plan
from clconv.problem import ConvProblem

LOAD, MULTIPLY, ROW = 1.8, 0.35, 3.3
"""Clock cycles of a vector that is read, of what it is multiplied by, and of a strip's row beside these. Measured on Zen 5."""

NARROW_LOAD, NARROW_STRIP = 2.8, 80.0
"""The same of a vector without AVX-512, and of a strip, whose vectors at the border are read element by element."""

SPREAD, NARROW_SPREAD = 2.6, 28.0
"""And of a vector of taps that is made, with AVX-512 and without."""


class DepthwiseStrideSimd(Algorithm):
    """Strips of a vector's width, down several channels or a band of one; no load or store leaves the tensor, by masks."""

    name = "depthwise/stride_simd"
    family = "direct"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Depthwise problems in NCHW with a horizontal stride of 3 to 16."""
        if reason := other_kind(problem, "depthwise") or not_nchw(problem) or far_apart(problem, device):
            return reason
        return converted_slowly(problem, device) or too_many_taps(problem)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """Return the only plan; there is no tile to choose."""
        return (self._plan(problem, device),)

    def _plan(self, p: ConvProblem, device: DeviceInfo) -> Plan:
        vec = vector(p, device)
        seconds = self._seconds(p, device)
        items = items_wanted(p, device, seconds)
        channels = ceil_div(p.IC, items)
        bands = min(p.OH, max(1, items // p.IC))
        launch = Launch(
            kernel=self.kernel,
            entry="depthwise_stride_simd",
            macros=(*common_macros(p, device), ("VEC", vec), ("AVX512", int(wide(p, device)))),
            arguments=(
                *("x", "w", "bias", "residual", "y"),
                *size_arguments(p, "IC", "IH", "IW", "OH", "OW", "OCG", "PT", "PL"),
                Int(bands),
                Int(channels),
                Int(rows(p)),
                *epilogue_arguments(p),
            ),
            global_size=(bands, ceil_div(p.IC, channels), p.N),
            local_size=(1, 1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            tile=f"strips of {vec - across(p) + 1} columns",
            seconds=seconds,
            error_factor=direct_error_factor(p),
        )

    def _seconds(self, p: ConvProblem, device: DeviceInfo) -> float:
        """Predict from the vectors that are read and what they are multiplied by, the taps that are spread, and the traffic."""
        count = strips(p, device)
        if wide(p, device):
            cycles = reads(p, device) * (LOAD + MULTIPLY * across(p)) + ROW * p.OH * count + SPREAD * multiplied(p)
            cycles *= 1.0 if device.full_avx512 else 1.5
        else:
            cycles = reads(p, device) * (NARROW_LOAD + MULTIPLY * across(p)) + NARROW_STRIP * count
            cycles += NARROW_SPREAD * multiplied(p)
        compute = p.N * p.OC * cycles / (device.clock_mhz * 1e6 * device.compute_units)
        return max(compute, p.bytes / device.bandwidth / 4)
