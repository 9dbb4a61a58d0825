"""Winograd's transforms: their coefficients, and the numbers that their bound is made of."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pyopencl as cl
import pytest

from clconv import winograd
from clconv.device import DeviceInfo
from clconv.notation import parse
from tests.algorithms.test_every_algorithm import BY_NAME
from tests.harness import check_plan
from tests.shapes import problem_of


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("name", "stride", "sizes"),
    [
        ("standard/winograd_simd", 1, [2, 4, 6]),
        ("standard/winograd_simd", 2, [2, 3, 4]),
        ("standard/winograd_simt", 1, [2, 4, 6]),
    ],
)
def test_coefficients_of_every_tile_are_exact_to_double_precision(
    name: str, stride: int, sizes: list[int], layout: str, queue: cl.CommandQueue
) -> None:
    """Within float32's wide bound, a coefficient of the largest tile may be off by 1e-5 unseen."""
    info = DeviceInfo.of(queue.device)
    problem = replace(problem_of("odd_channels", layout=layout, dtype="float64"), stride=(stride, stride))
    reason = BY_NAME[name].supports(problem, info)
    if reason is not None:
        pytest.skip(reason)
    tiles = {plan.winograd: plan for plan in BY_NAME[name].plans(problem, info)}
    assert sorted(tile for tile in tiles if tile) == sizes
    for plan in tiles.values():
        check_plan(plan, queue)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize(
    "words",
    [
        "3x3 24->40 @31 dilation 2 pad 2 bias relu",
        "3x3 6->6 @10x37 dilation 2x1 pad 1 batch 2 groups 2 residual",
        "3x3 20->9 @9x50 dilation 1x3 pad 2x4",
        "3x3 5->7 @5x7 dilation 3x5 pad 3x5 batch 3",
        "3x3 16->16 @14 dilation 12 pad 12 bias",
    ],
)
def test_a_dilated_filter_meets_an_image_of_its_own(words: str, layout: str, queue: cl.CommandQueue) -> None:
    """Tiles of every size: of images that have several of them in a row, and of some that have fewer than others."""
    problem, info = parse(f"{words} {layout}"), DeviceInfo.of(queue.device)
    reason = BY_NAME["standard/winograd_simd"].supports(problem, info)
    if reason is not None:
        pytest.skip(reason)
    plans = BY_NAME["standard/winograd_simd"].plans(problem, info)
    assert {plan.winograd for plan in plans} == {2, 4, 6}
    for plan in plans:
        check_plan(plan, queue)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize(("taps", "sizes"), [(2, [3, 5, 7]), (4, [3, 5]), (5, [2, 4]), (6, [3]), (7, [2])])
def test_other_filters_have_tiles_of_as_many_pixels(
    taps: int, sizes: list[int], layout: str, dtype: str, queue: cl.CommandQueue
) -> None:
    """In float64, where a coefficient that is off by 1e-5 is seen."""
    problem = parse(f"{taps}x{taps} 10->22 @15x22 groups 2 pad {taps // 2} bias {layout} {dtype}")
    info = DeviceInfo.of(queue.device)
    reason = BY_NAME["standard/winograd_simd"].supports(problem, info)
    if reason is not None:
        pytest.skip(reason)
    plans = {plan.winograd: plan for plan in BY_NAME["standard/winograd_simd"].plans(problem, info)}
    assert sorted(tile for tile in plans if tile) == sizes
    for plan in plans.values():
        check_plan(plan, queue)


def test_paths_of_the_smallest_tile_by_hand() -> None:
    """Three products of sums of two pixels, with a tap once whole and twice by half: 2 (1 + 1/2 + 1/2)."""
    assert winograd.amplification(2) == 4
    assert winograd.amplification(2) < winograd.amplification(4) < winograd.amplification(6) < 40


def test_paths_of_the_smallest_tile_with_stride_2_by_hand() -> None:
    """The first tap meets a difference of two pixels and, with the last tap, one: 2 + 1; the tap between them, one pixel."""
    assert winograd.amplification(2, 2) == 3
    assert winograd.amplification(2, 2) < winograd.amplification(3, 2) < winograd.amplification(4, 2) < 8


@pytest.mark.parametrize(("stride", "taps"), [*((1, taps) for taps in winograd.TAPS), (2, 3)])
def test_matrices_are_a_convolution(stride: int, taps: int) -> None:
    """In rational numbers: pixel k reaches output i with the tap of k - i*stride, and no other."""
    for tile in winograd.tiles(stride, taps):
        check_matrices(tile, stride, taps)


def check_matrices(tile: int, stride: int, taps: int) -> None:
    at, g, bt = winograd.matrices(tile, stride, taps)
    n = winograd.side(tile, stride, taps)
    assert (len(at[0]), len(g), len(bt), len(bt[0])) == (n, n, n, n)
    for i, k, tap in product(range(tile), range(n), range(taps)):
        paths = sum(at[i][f] * g[f][tap] * bt[f][k] for f in range(n))
        assert paths == int(k == i * stride + tap)


@pytest.mark.parametrize("words", ["5x5 8->8 @14 stride 2", "3x5 8->8 @14", "8x8 8->8 @14", "1x1 8->8 @14"])
def test_other_filters_are_refused(words: str) -> None:
    assert "the filter must be " in str(winograd.refusal(parse(words), (1, 2), winograd.TAPS))


@pytest.mark.parametrize(("stride", "dilation"), [((2, 1), (1, 1)), ((3, 3), (1, 1)), ((2, 2), (2, 2))])
def test_other_strides_and_dilations_are_refused(stride: tuple[int, int], dilation: tuple[int, int]) -> None:
    problem = replace(parse("3x3 8->8 @14"), stride=stride, dilation=dilation)
    assert "the stride must be 1 or 2 both ways and the dilation 1" in str(winograd.refusal(problem, (1, 2)))


def test_roundings_by_hand() -> None:
    """Six transforms along an axis of four roundings, 64 products in a sum, the bias, the residual and the last one."""
    assert winograd.roundings(parse("3x3 64->64 @14 padding 1")) == 24 + 64 + 3


def test_roundings_of_a_larger_filter_by_hand() -> None:
    """Of seven taps four have even powers: a product, three sums, one more, and a quotient, along both axes."""
    assert winograd.roundings(parse("7x7 64->64 @14")) == 16 + 2 * 6 + 64 + 3
    assert winograd.roundings(parse("2x2 64->64 @14")) == 24 + 64 + 3
