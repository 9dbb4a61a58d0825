"""Every algorithm of the library, in the order in which they are explained."""

from __future__ import annotations

from clconv.algorithms.base import Algorithm
from clconv.algorithms.pointwise.channel_simd import ChannelSimd
from clconv.algorithms.pointwise.panel_simd import PanelSimd
from clconv.algorithms.reference import Reference

ALGORITHMS: tuple[Algorithm, ...] = (Reference(), PanelSimd(), ChannelSimd())
"""All of them. An algorithm is added here and nowhere else; see kernels/README.md."""
