"""Whether a kernel's functions may ask for AVX-512; see kernels/include/wide.clh."""

from __future__ import annotations

from clconv.device import DeviceInfo
from clconv.problem import ConvProblem

_BUILT_IN = ("sigmoid", "tanh", "silu")
"""Activations that call a built-in function of vectors, which a function with AVX-512 cannot."""


def wide(problem: ConvProblem, device: DeviceInfo) -> bool:
    """Tell whether vectors may be twice as long as :meth:`DeviceInfo.lanes` says, and twice as many kept in registers."""
    return device.avx512 and problem.activation.kind not in _BUILT_IN
