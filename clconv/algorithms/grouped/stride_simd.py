"""Host side of kernels/grouped/stride_simd.cl: NCHW, strides of 3 and more; sums are picked apart, and not the image."""

from __future__ import annotations

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
from clconv.algorithms.reasons import converted_slowly, not_nchw, other_kind, too_little_local, too_many_taps
from clconv.algorithms.spread import across, far_apart, multiplied, reads, rows, strips, vector
from clconv.algorithms.wide import wide
from clconv.device import DeviceInfo
from clconv.plan import Int, Launch, Local, Plan
from clconv.problem import ConvProblem

BLOCKS = (4, 2, 1)
"""Output channels at once."""

LOAD, MULTIPLY, ROW, SPREAD = 0.8, 0.7, 3.0, 3.0
"""Clock cycles of a vector that is read, of one of taps that it is multiplied by, of a row that is read for a strip, and of a
vector of taps that is made. Measured on Zen 5."""

NARROW_LOAD, NARROW_SPREAD = 2.5, 28.0
"""The same without AVX-512, where vectors at the border are read element by element."""

MOST_SUMS = 28
"""Vectors of sums that stay in AVX-512's registers beside the operands."""


class GroupedStrideSimd(Algorithm):
    """A band of rows of one group a work-item, strips of a vector's width; no load or store leaves the tensor, by masks."""

    name = "grouped/stride_simd"
    family = "direct"

    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Take grouped problems in NCHW with a horizontal stride of 3 to 16."""
        if reason := other_kind(problem, "grouped") or not_nchw(problem) or far_apart(problem, device):
            return reason
        if reason := converted_slowly(problem, device) or too_many_taps(problem):
            return reason
        return too_little_local(self._taps(problem, device, 1), device, "the taps of an output channel")

    def plans(self, problem: ConvProblem, device: DeviceInfo) -> tuple[Plan, ...]:
        """One plan for each number of output channels at once."""
        p, most = problem, device.local_mem_bytes
        blocks = [b for b in BLOCKS if b == 1 or (b <= p.OCG and self._taps(p, device, b) <= most)]
        return fastest_first(self._plan(p, device, block) for block in blocks)

    def _taps(self, p: ConvProblem, device: DeviceInfo, block: int) -> int:
        """Bytes of the taps of some output channels, each where it repeats."""
        return p.ICG * p.KH * block * across(p) * p.SW * vector(p, device) * accumulator_bytes(p)

    def _plan(self, p: ConvProblem, device: DeviceInfo, block: int) -> Plan:
        vec = vector(p, device)
        bands = min(p.OH, ceil_div(8 * device.compute_units, p.G * p.N))
        launch = Launch(
            kernel=self.kernel,
            entry="grouped_stride_simd",
            macros=(*common_macros(p, device), ("VEC", vec), ("OC_BLOCK", block), ("AVX512", int(wide(p, device)))),
            arguments=(
                *("x", "w", "bias", "residual", "y"),
                Local(self._taps(p, device, block)),
                *size_arguments(p, "IC", "IH", "IW", "OC", "OH", "OW", "ICG", "OCG", "PT", "PL"),
                Int(bands),
                Int(rows(p)),
                *epilogue_arguments(p),
            ),
            global_size=(bands, p.G, p.N),
            local_size=(1, 1, 1),
        )
        return Plan(
            algorithm=self.name,
            problem=p,
            launches=(launch,),
            tile=f"{block} channels x {vec - across(p) + 1} columns",
            seconds=self._seconds(p, device, block, bands),
            error_factor=direct_error_factor(p),
        )

    def _seconds(self, p: ConvProblem, device: DeviceInfo, block: int, bands: int) -> float:
        """Predict from the vectors that are read and what they are multiplied by, the taps that are spread, and the traffic."""
        avx512 = wide(p, device)
        load, spread = (LOAD, SPREAD) if avx512 else (NARROW_LOAD, NARROW_SPREAD)
        cycles = reads(p, device) * (load + MULTIPLY * across(p) * block) + ROW * p.OH * p.KH * strips(p, device)
        cycles *= 1.3 if avx512 and block * across(p) * p.SW > MOST_SUMS else 1.0
        cycles += spread * bands * block * multiplied(p)
        cycles *= 1.5 if avx512 and not device.full_avx512 else 1.0
        blocks = p.N * p.G * ceil_div(p.OCG, block)
        return max(blocks * p.ICG * cycles / (device.clock_mhz * 1e6 * device.compute_units), p.bytes / device.bandwidth / 4)
