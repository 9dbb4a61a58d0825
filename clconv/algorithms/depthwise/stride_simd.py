"""Host side of kernels/depthwise/stride_simd.cl: NCHW, strides of 3 and more; sums are picked apart, and not the image."""

from __future__ import annotations

from clconv.algorithms.base import (
    Algorithm,
    accumulator_bytes,
    ceil_div,
    common_macros,
    direct_error_factor,
    epilogue_arguments,
    items_wanted,
    size_arguments,
)
from clconv.algorithms.reasons import converted_slowly, not_nchw, other_kind, too_many_taps
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Plan
from clconv.problem import ConvProblem

LEAST_STRIDE, MOST_STRIDE = 3, 16
"""Of smaller ones, rows that are parted serve several outputs; of larger ones, each output has a vector or more to itself."""

MOST_TAPS = 192
"""Vectors that the taps of a channel fill; all of them are unrolled."""

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
        if reason := other_kind(problem, "depthwise") or not_nchw(problem):
            return reason
        if not LEAST_STRIDE <= problem.SW <= MOST_STRIDE:
            return f"takes a horizontal stride of {LEAST_STRIDE} to {MOST_STRIDE}, this one is {problem.SW}"
        if _across(problem) > self._vec(problem, device) // 2:
            return f"has vectors of {self._vec(problem, device)} columns, of which taps may meet half, not {_across(problem)}"
        if (taps := _taps(problem)) > MOST_TAPS:
            return f"unrolls {MOST_TAPS} vectors of taps at most, not {taps}"
        return converted_slowly(problem, device) or too_many_taps(problem)

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """Return the only plan; there is no tile to choose."""
        return (self._plan(problem, device),)

    def _vec(self, p: ConvProblem, device: DeviceInfo) -> int:
        return device.lanes(accumulator_bytes(p)) * (2 if wide(p, device) else 1)

    def _plan(self, p: ConvProblem, device: DeviceInfo) -> Plan:
        vec = self._vec(p, device)
        seconds = self._seconds(p, device, vec)
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
                *epilogue_arguments(p),
            ),
            global_size=(bands, ceil_div(p.IC, channels), p.N),
            local_size=(1, 1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            tile=f"strips of {vec - _across(p) + 1} columns",
            seconds=seconds,
            error_factor=direct_error_factor(p),
        )

    def _seconds(self, p: ConvProblem, device: DeviceInfo, vec: int) -> float:
        """Predict from the vectors that are read and what they are multiplied by, the taps that are spread, and the traffic."""
        across = _across(p)
        columns = vec - across + 1
        strips = ceil_div(p.OW, columns)
        reads = p.OH * p.KH * ((strips - 1) * p.SW + ceil_div((p.OW - (strips - 1) * columns) * p.SW, vec))
        if wide(p, device):
            cycles = reads * (LOAD + MULTIPLY * across) + ROW * p.OH * strips + SPREAD * _taps(p)
            cycles *= 1.0 if device.full_avx512 else 1.5
        else:
            cycles = reads * (NARROW_LOAD + MULTIPLY * across) + NARROW_STRIP * strips + NARROW_SPREAD * _taps(p)
        compute = p.N * p.OC * cycles / (device.clock_mhz * 1e6 * device.compute_units)
        return max(compute, p.bytes / device.bandwidth / 4)


def _across(problem: ConvProblem) -> int:
    """Return the outputs side by side whose elements the taps of one output meet."""
    return (problem.KW - 1) * problem.DW // problem.SW + 1


def _taps(problem: ConvProblem) -> int:
    """Return the vectors that the taps of a channel fill."""
    return problem.KH * _across(problem) * problem.SW
