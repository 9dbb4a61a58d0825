"""Whether a kernel's functions may ask for AVX-512, see kernels/include/wide.clh; vectors beside a matrix unit."""

from __future__ import annotations

from clconv.device import DeviceInfo
from clconv.problem import ConvProblem

_BUILT_IN = ("sigmoid", "tanh", "silu", "gelu", "gelu_tanh")
"""Activations that call a built-in function of vectors in double precision, which a function with AVX-512 cannot."""


def wide(problem: ConvProblem, device: DeviceInfo) -> bool:
    """Tell whether vectors may be twice as long as :meth:`DeviceInfo.lanes` says, and twice as many kept in registers."""
    return device.avx512 and not (problem.dtype == "float64" and problem.activation.kind in _BUILT_IN)


def matrix_lanes(device: DeviceInfo, avx512: bool) -> int:
    """Return the lanes of a vector in kernels for the matrix unit: 16 float32 numbers, a row of a tile, or a part of one."""
    return 16 if avx512 else max(4, min(16, device.lanes(4)))
