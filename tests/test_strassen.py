"""Strassen's product: how pixels are cut and paired, and a bound that holds where that of the direct method does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyopencl as cl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clconv.device import DeviceInfo
from clconv.notation import parse
from clconv.reference import error_bound, reference
from clconv.select import Limits, select
from clconv.strassen import Array, cut, halves, magnitude, roundings
from tests.harness import Data, make_data, run_plan

HEIGHTS = st.sampled_from([(14, 11), (6, 5), (48, 32), (24, 16)])


@given(st.integers(1, 5000), HEIGHTS)
def test_every_pixel_is_in_one_half_and_few_are_added(pixels: int, heights: tuple[int, int]) -> None:
    upper, lower = halves(pixels, heights)
    assert sorted([*upper, *lower]) == list(range(2 * len(upper)))
    tiles, small = cut(pixels, heights)
    assert 0 <= small <= tiles
    spare = 2 * len(upper) - pixels
    assert spare >= 0
    # One tile less, or one more of the smaller ones, and there would be no room.
    assert spare < 2 * (heights[0] - heights[1]) or small == tiles


U = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, -1, -1], [0, 0, 0, 1], [0, 0, 1, 1], [-1, 0, 1, 1], [1, 0, -1, 0]])
"""Factors of the quarters A11, A12, A21, A22 in each of the seven products."""

V = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, -1, -1, 1], [-1, 1, 0, 0], [1, -1, 0, 1], [0, -1, 0, 1]])
"""The same of B11, B12, B21, B22."""

W = np.array([[1, 1, 0, 0, 0, 0, 0], [1, 0, 1, 0, 1, 1, 0], [1, 0, 0, -1, 0, 1, 1], [1, 0, 0, 0, 1, 1, 1]])
"""Factors of the products in the quarters C11, C12, C21, C22."""


def products(u: Array, v: Array, w: Array, a: Array, b: Array) -> Array:
    """``w ((u a) * (v b))``, of quarters along the first axis."""
    quarters: Array = np.tensordot(w, np.tensordot(u, a, 1) @ np.tensordot(v, b, 1), 1)
    return quarters


def test_the_three_matrices_multiply() -> None:
    rng = np.random.default_rng(0)
    (a11, a12, a21, a22), (b11, b12, b21, b22) = a, b = rng.standard_normal((4, 5, 6)), rng.standard_normal((4, 6, 7))
    want = [a11 @ b11 + a12 @ b21, a11 @ b12 + a12 @ b22, a21 @ b11 + a22 @ b21, a21 @ b12 + a22 @ b22]
    np.testing.assert_allclose(products(U, V, W, a, b), want, atol=1e-12)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("part", [None, 4])
@pytest.mark.parametrize("text", ["1x1 9->70 @5x7 batch 2", "1x1 8->64 @9 stride 2", "1x1 64->33 @3"])
def test_paths_are_those_of_the_three_matrices_without_their_signs(text: str, part: int | None, layout: str) -> None:
    problem = parse(f"{text} {layout}")
    plan = select(problem, DeviceInfo("made up", "somewhere"), Limits("strassen")).plan
    rng = np.random.default_rng(3)
    x, w = np.abs(rng.standard_normal(problem.x_shape)), np.abs(rng.standard_normal(problem.w_shape))
    assert plan.strassen is not None
    large, small, channels, together = plan.strassen
    assert together == problem.IC
    together = part or together
    strided = (
        x[:, :, :: problem.SH, :: problem.SW].transpose(0, 2, 3, 1) if layout == "nchw" else x[:, :: problem.SH, :: problem.SW]
    )
    pixels = strided.reshape(problem.N if layout == "nchw" else 1, -1, problem.IC)  # tiles go on in the next image
    upper, lower = halves(pixels.shape[1], (large, small))
    want = np.zeros((len(pixels), 2 * len(upper), 2 * channels))
    for first in range(0, problem.IC, together):
        some = slice(first, first + together)
        half = -(-pixels[..., some].shape[2] // 2)
        a = np.zeros((len(pixels), 2 * len(upper), 2 * half))
        a[:, : pixels.shape[1], : pixels[..., some].shape[2]] = pixels[..., some]
        b = np.zeros((2 * half, 2 * channels))
        rows = w[:, some, 0, 0].T if layout == "nchw" else w[0, 0, some]
        b[: len(rows), : problem.OC] = rows
        quarters = np.array([b[:half, :channels], b[:half, channels:], b[half:, :channels], b[half:, channels:]])
        for image, c in zip(a, want, strict=True):
            parts = np.array([image[upper, :half], image[upper, half:], image[lower, :half], image[lower, half:]])
            sums = products(abs(U), abs(V), abs(W), parts, quarters)
            for where, columns, quarter in zip((upper, upper, lower, lower), (0, channels) * 2, sums, strict=True):
                c[where, columns : columns + channels] += quarter
    found = magnitude(problem, (large, small, channels, together), x, w)
    found = found.transpose(0, 2, 3, 1) if layout == "nchw" else found
    np.testing.assert_allclose(found.reshape(*pixels.shape[:2], problem.OC), want[:, : pixels.shape[1], : problem.OC])


def test_roundings_by_hand() -> None:
    """Three on the way into a product on either side, 32 channels of four products, a fifth, bias, residual, the last one."""
    assert roundings(parse("1x1 64->64 @14")) == 3 + 3 + 4 * 32 + 1 + 3


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_bound_holds_where_that_of_the_direct_method_does_not(layout: str, queue: cl.CommandQueue) -> None:
    """Pixels of very different sizes meet in a tile: the small ones inherit the rounding of the large ones."""
    problem = parse(f"1x1 64->128 @8 {layout}")
    plan = select(problem, DeviceInfo.of(queue.device), Limits("strassen")).plan
    direct = select(problem, DeviceInfo.of(queue.device), Limits("direct")).plan
    rng = np.random.default_rng(5)
    x = rng.standard_normal(problem.x_shape).astype(np.float32)
    w = rng.standard_normal(problem.w_shape).astype(np.float32)
    assert plan.strassen is not None
    large, small, *_ = plan.strassen
    factor = np.ones(64, np.float32)
    factor[halves(64, (large, small))[0][:8]] = 1e4
    x *= factor.reshape((8, 8) if layout == "nchw" else (8, 8, 1))
    data = Data(x, w, None, None)
    want = reference(problem, x, w)
    error = np.abs(run_plan(plan, queue, data) - want)
    assert (error <= error_bound(problem, plan, x, w)).all()
    assert (error > error_bound(problem, direct, x, w)).any()
    assert (np.abs(run_plan(direct, queue, data) - want) <= error_bound(problem, direct, x, w)).all()


@pytest.mark.parametrize(
    "text", ["1x1 32->70 @5x7 batch 2", "1x1 64->128 @13 residual relu", "1x1 1024->40 @6", "1x1 35->33 @9"]
)
def test_quarters_where_they_are(text: str, queue: cl.CommandQueue) -> None:
    """Tiles whose pixels all exist read x; others copies, and all where too many rows share a set, or halves are no vectors."""
    problem = parse(f"{text} nhwc")
    info = DeviceInfo.of(queue.device)
    plans = [p for p in select(problem, info, Limits("strassen")).candidates if p.algorithm == "pointwise/strassen_simd"][:3]
    data = make_data(problem)
    want = reference(problem, data.x, data.w, data.bias, data.residual)
    assert plans
    for plan in plans:
        in_place = dict(plan.launches[0].macros)["IN_PLACE"]
        assert plan.strassen is not None
        fitting = (32, 64) if plan.strassen[0] > 8 else (32, 64, 1024)
        assert in_place == int(info.is_pocl and info.is_cpu and problem.IC in fitting)
        error = np.abs(run_plan(plan, queue, data) - want)
        assert (error <= error_bound(problem, plan, data.x, data.w, data.bias, data.residual)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "text", ["1x1 1024->70 @5x7 batch 2", "1x1 1057->64 @9 stride 2 residual silu", "1x1 1300->33 @7 relu"]
)
def test_input_channels_in_parts(text: str, dtype: str, queue: cl.CommandQueue) -> None:
    """Also where the last part is a short one, of an odd number of channels."""
    info = DeviceInfo.of(queue.device)
    if dtype == "float64" and not info.fp64:
        pytest.skip("the device has no float64")
    problem = replace(parse(f"{text} nhwc"), dtype=dtype)
    plans = [p for p in select(problem, info, Limits("strassen")).candidates if p.strassen and p.strassen[3] < problem.IC]
    data = make_data(problem)
    want = reference(problem, data.x, data.w, data.bias, data.residual)
    assert plans
    for plan in plans[:3]:
        assert f"{plan.strassen and plan.strassen[3]} in" in plan.tile
        error = np.abs(run_plan(plan, queue, data) - want)
        assert (error <= error_bound(problem, plan, data.x, data.w, data.bias, data.residual)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "size", ["28 stride 2", "15x13 stride 2", "14 stride 2", "9x70 stride 2x3", "21x3 stride 2", "9x4 stride 3"]
)
def test_pixels_that_lie_apart(size: str, dtype: str, queue: cl.CommandQueue) -> None:
    """Picked from two vectors, or one by one where those do not hold all: bit for bit as if they lay side by side."""
    info = DeviceInfo.of(queue.device)
    if dtype == "float64" and not info.fp64:
        pytest.skip("the device has no float64")
    problem = replace(parse(f"1x1 5->40 @{size} batch 2"), dtype=dtype)
    data = make_data(problem)
    near = Data(np.ascontiguousarray(data.x[:, :, :: problem.SH, :: problem.SW]), data.w, data.bias, data.residual)
    dense = replace(problem, x_shape=near.x.shape, stride=(1, 1))
    ours = [
        next(p for p in select(p, info, Limits("strassen")).candidates if p.algorithm == "pointwise/strassen_simd")
        for p in (problem, dense)
    ]
    np.testing.assert_array_equal(run_plan(ours[0], queue, data), run_plan(ours[1], queue, near))


def test_a_caller_can_rule_it_out() -> None:
    """By a family, a name, or a limit of the error."""
    problem = parse("1x1 512->512 @14 nhwc")
    info = DeviceInfo("made up", "Portable Computing Language", unaligned_vectors=True, avx512=True, local_mem_bytes=1 << 20)
    assert select(problem, info).plan.strassen
    assert not select(problem, info, Limits("direct")).plan.strassen
    assert not select(problem, info, Limits(error_factor=1000)).plan.strassen
    assert not select(replace(problem, dtype="float16"), info).plan.strassen
