"""Why an algorithm does not cover a problem: the conditions that several share, each a sentence or None.

They are joined with ``or``, so that the first that fails is what ``explain`` shows::

    return other_kind(problem, "depthwise") or not_nhwc(problem) or too_many_taps(problem)
"""

from __future__ import annotations

from clconv.device import DeviceInfo
from clconv.problem import ConvProblem, Kind

MOST_TAPS = 11
"""Largest filter side, or width, of the kernels that unroll all taps, or all columns of them."""


def other_kind(problem: ConvProblem, kind: Kind) -> str | None:
    """Refuse every kind of convolution but one."""
    return None if problem.kind == kind else f"serves {kind} problems, this one is {problem.kind}"


def not_nchw(problem: ConvProblem) -> str | None:
    """Refuse NHWC, for kernels whose vectors lie along the width."""
    return None if problem.layout == "NCHW" else "has its vectors along the width, whose elements lie apart in NHWC"


def not_nhwc(problem: ConvProblem) -> str | None:
    """Refuse NCHW, for kernels whose vectors lie along the channels."""
    return None if problem.layout == "NHWC" else "has its vectors along the channels, which lie apart in NCHW"


def too_many_taps(problem: ConvProblem) -> str | None:
    """Refuse filters too large to be unrolled."""
    if max(problem.KH, problem.KW) <= MOST_TAPS:
        return None
    return f"unrolls all {problem.KH} x {problem.KW} taps of the filter, at most {MOST_TAPS} a side"


def too_many_columns(problem: ConvProblem) -> str | None:
    """Refuse filters too wide for their columns to be unrolled."""
    return None if problem.KW <= MOST_TAPS else f"unrolls the {problem.KW} columns of the filter, at most {MOST_TAPS}"


def far_columns(problem: ConvProblem) -> str | None:
    """Refuse strides of which outputs side by side read columns far apart; depthwise/stride_simd takes these."""
    return None if problem.SW <= 2 else f"takes a horizontal stride of 1 or 2, this one is {problem.SW}"


def one_by_one(problem: ConvProblem, device: DeviceInfo) -> bool:
    """Tell whether elements of 16 bits are converted one by one, and not in vectors as by kernels/include/vector16.clh."""
    vectors = device.unaligned_vectors and (problem.dtype == "bfloat16" or device.vector_bytes >= 32)  # with F16C, AVX2 comes
    return problem.itemsize == 2 and not vectors


def converted_slowly(problem: ConvProblem, device: DeviceInfo) -> str | None:
    """Refuse elements that are converted one by one, for kernels that read vectors once a tap, straight from the tensor."""
    return converted_often(problem) if one_by_one(problem, device) else None


def converted_often(problem: ConvProblem) -> str | None:
    """Refuse element types of 16 bits, for kernels that read single elements, and each several times."""
    if problem.itemsize >= 4:
        return None
    return f"reads each element several times, and {problem.dtype} would be converted as often"


def not_cpu(device: DeviceInfo) -> str | None:
    """Refuse all devices but CPUs, for kernels that were seen to fail on a GPU, where others do the same."""
    return None if device.is_cpu else "is made for CPUs and does not run on GPUs, which have kernels of their own"


def too_little_local(need: int, device: DeviceInfo, what: str = "one row of outputs") -> str | None:
    """Refuse what needs more bytes of local memory than the device has."""
    if need <= device.local_mem_bytes:
        return None
    return f"needs {need} bytes of local memory for {what}, the device has {device.local_mem_bytes}"
