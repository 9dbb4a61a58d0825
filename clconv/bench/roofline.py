"""What the machine's limits mean for a layer: the least time that a direct convolution could take."""

from __future__ import annotations

from clconv.bench.machine import Machine
from clconv.problem import ConvProblem


def real_flops(problem: ConvProblem) -> int:
    """Operations of the direct method without the taps that fall on padding: a direct kernel may skip those."""
    p = problem

    def taps(outputs: int, size: int, filt: int, stride: int, dilation: int, before: int) -> int:
        return sum(0 <= o * stride + k * dilation - before < size for o in range(outputs) for k in range(filt))

    rows = taps(p.OH, p.IH, p.KH, p.SH, p.DH, p.PT)
    columns = taps(p.OW, p.IW, p.KW, p.SW, p.DW, p.PL)
    return 2 * p.N * p.OC * p.ICG * rows * columns


def least_seconds(problem: ConvProblem, machine: Machine) -> float:
    """Return the longer of computing and moving: multiply-adds at the peak, or each tensor once.

    The tensors come from the smallest cache that holds all of them, for a benchmark runs the same layer again and again.
    """
    compute = real_flops(problem) / (machine.gflops * 1e9)
    move = problem.bytes / (machine.gb_s(problem.bytes) * 1e9)
    return max(compute, move)


def share(problem: ConvProblem, machine: Machine, milliseconds: float) -> float:
    """Return the achieved share of the roofline. Winograd does with fewer multiply-adds and may pass 1."""
    return least_seconds(problem, machine) * 1e3 / milliseconds


def peak_share(problem: ConvProblem, machine: Machine, milliseconds: float) -> float:
    """Return the achieved share of the multiply-add peak alone."""
    return real_flops(problem) / (machine.gflops * 1e6) / milliseconds
