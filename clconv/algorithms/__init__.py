"""Every algorithm of the library, in the order in which they are explained."""

from __future__ import annotations

from clconv.algorithms.base import Algorithm
from clconv.algorithms.depthwise.channel_simd import DepthwiseChannelSimd
from clconv.algorithms.depthwise.direct_simd import DepthwiseDirectSimd
from clconv.algorithms.depthwise.direct_simt import DepthwiseDirectSimt
from clconv.algorithms.depthwise.masked_simd import DepthwiseMaskedSimd
from clconv.algorithms.depthwise.panel_simd import DepthwisePanelSimd
from clconv.algorithms.depthwise.pixel_simd import DepthwisePixelSimd
from clconv.algorithms.depthwise.rolled_simd import DepthwiseRolledSimd
from clconv.algorithms.depthwise.stream_simd import DepthwiseStreamSimd
from clconv.algorithms.depthwise.stride_simd import DepthwiseStrideSimd
from clconv.algorithms.depthwise.strip_simd import DepthwiseStripSimd
from clconv.algorithms.depthwise.twin_simd import DepthwiseTwinSimd
from clconv.algorithms.grouped.channel_simd import GroupedChannelSimd
from clconv.algorithms.grouped.direct_simd import GroupedDirectSimd
from clconv.algorithms.grouped.direct_simt import GroupedDirectSimt
from clconv.algorithms.grouped.lane_simd import GroupedLaneSimd
from clconv.algorithms.grouped.stride_simd import GroupedStrideSimd
from clconv.algorithms.pointwise.channel_simd import ChannelSimd
from clconv.algorithms.pointwise.panel_simd import PanelSimd
from clconv.algorithms.pointwise.strassen_panel_simd import StrassenPanelSimd
from clconv.algorithms.pointwise.strassen_simd import StrassenSimd
from clconv.algorithms.reference import Reference
from clconv.algorithms.standard.direct_simd import DirectSimd
from clconv.algorithms.standard.implicit_gemm_simt import ImplicitGemmSimt
from clconv.algorithms.standard.pixel_simd import PixelSimd
from clconv.algorithms.standard.row_simd import RowSimd
from clconv.algorithms.standard.run_matrix import RunMatrix
from clconv.algorithms.standard.run_simd import RunSimd
from clconv.algorithms.standard.split_matrix import SplitMatrix
from clconv.algorithms.standard.winograd_simd import WinogradSimd
from clconv.algorithms.standard.winograd_simt import WinogradSimt

ALGORITHMS: tuple[Algorithm, ...] = (
    Reference(),
    PanelSimd(),
    ChannelSimd(),
    StrassenSimd(),
    StrassenPanelSimd(),
    DirectSimd(),
    PixelSimd(),
    RunSimd(),
    RowSimd(),
    WinogradSimd(),
    SplitMatrix(),
    RunMatrix(),
    GroupedChannelSimd(),
    GroupedDirectSimd(),
    GroupedLaneSimd(),
    GroupedStrideSimd(),
    DepthwiseDirectSimd(),
    DepthwiseStripSimd(),
    DepthwiseMaskedSimd(),
    DepthwiseTwinSimd(),
    DepthwiseStrideSimd(),
    DepthwisePanelSimd(),
    DepthwisePixelSimd(),
    DepthwiseStreamSimd(),
    DepthwiseChannelSimd(),
    DepthwiseRolledSimd(),
    ImplicitGemmSimt(),
    WinogradSimt(),
    GroupedDirectSimt(),
    DepthwiseDirectSimt(),
)
"""All of them. An algorithm is added here and nowhere else; see kernels/README.md."""
