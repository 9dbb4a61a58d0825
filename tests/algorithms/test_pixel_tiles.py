"""Into which work-items images are cut by kernels that take tiles of pixels in NHWC."""

from __future__ import annotations

import pytest

from clconv.algorithms.depthwise.pixel_tiles import bands_and_blocks
from clconv.device import DeviceInfo
from clconv.notation import parse


@pytest.mark.parametrize(
    ("problem", "height", "seconds", "beside", "cut"),
    [
        ("3x3 512->512 @14 depthwise stride 2", 1, 5e-6, False, (1, 2)),  # seven rows for two units: half the channels each
        ("3x3 240->240 @28 depthwise stride 2", 2, 5e-6, False, (4, 1)),  # half the channels would be too short a run
        ("3x3 512->512 @28 depthwise", 2, 50e-6, False, (14, 1)),
        ("3x3 512->512 @28 depthwise", 2, 50e-6, True, (4, 4)),  # rows of a block of channels stay in the first cache
        ("3x3 512->512 @56 depthwise stride 2", 2, 50e-6, True, (14, 1)),  # one row of five is that of the tile before
        ("3x3 32->32 @14 depthwise", 2, 50e-6, True, (7, 1)),  # all rows of a tile are near without
    ],
)
def test_bands_and_blocks(problem: str, height: int, seconds: float, beside: bool, cut: tuple[int, int]) -> None:
    device = DeviceInfo("made up", "somewhere", is_cpu=True, compute_units=2, avx512=True, moves_beside=beside)
    assert bands_and_blocks(parse(f"{problem} nhwc"), device, height, 16, seconds) == cut
