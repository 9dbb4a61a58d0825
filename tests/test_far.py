"""Tensors that pass through memory: pixels are asked for ahead of their use, and what lies between two steps stays near."""

from __future__ import annotations

from dataclasses import replace

import pyopencl as cl
import pytest

from clconv.algorithms import base
from clconv.algorithms.standard import winograd_simd
from clconv.device import DeviceInfo
from clconv.notation import parse
from tests.algorithms.test_every_algorithm import BY_NAME
from tests.harness import check_plan


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pointwise/channel_simd", "1x1 20->9 @13x11 batch 3 bias relu"),
        ("pointwise/channel_simd", "1x1 5->70 @9x17 residual"),
        ("pointwise/channel_simd", "1x1 24->40 @5x7 float64"),
        ("pointwise/strassen_simd", "1x1 32->70 @13x11 batch 3 bias relu"),
        ("pointwise/strassen_simd", "1x1 64->24 @29 residual"),
        ("pointwise/strassen_simd", "1x1 32->130 @9x17 float64"),
        ("standard/run_simd", "3x3 3->40 @9x31 pad 1 batch 2 bias"),
        ("standard/run_simd", "7x7 3->9 @20x9 stride 2 pad 3 residual"),
        ("standard/run_simd", "3x3 2->17 @9x8 pad 1 float64"),
    ],
)
def test_pixels_are_asked_for(name: str, words: str, queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each plan is another program than that of the same problem near by, for asking costs what is not far."""
    problem, info = parse(f"{words} nhwc"), replace(DeviceInfo.of(queue.device), full_avx512=False)  # which may be Intel's
    reason = BY_NAME[name].supports(problem, info)
    if reason is not None or not (info.is_cpu and info.is_pocl):
        pytest.skip(reason or "asks for memory with PoCL on a CPU alone")
    assert {dict(plan.launches[0].macros)["FAR"] for plan in BY_NAME[name].plans(problem, info)} == {0}
    monkeypatch.setattr(base, "FAR", 0)
    plans = list(BY_NAME[name].plans(problem, info))
    assert {dict(plan.launches[0].macros)["FAR"] for plan in plans} == {1}
    for plan in plans[:6]:
        check_plan(plan, queue)


def test_intel_sees_rows_of_pixels_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "FAR", 0)
    problem = parse("1x1 64->256 @56 batch 8 nhwc")
    xeon = DeviceInfo("a Xeon", "Portable Computing Language", avx512=True, full_avx512=True, unaligned_vectors=True)
    for name, asked in (("pointwise/channel_simd", 0), ("pointwise/strassen_simd", 1)):
        assert {dict(plan.launches[0].macros)["FAR"] for plan in BY_NAME[name].plans(problem, xeon)} == {asked}


@pytest.mark.parametrize(
    "words",
    ["1x1 20->9 @13 nchw", "1x1 20->9 @13 pad 1 nhwc", "1x1 20->9 @13 stride 2 nhwc", "1x1 20->9 @13 nhwc float16"],
)
def test_pixels_that_lie_otherwise_are_not_asked_for(
    words: str, queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "FAR", 0)
    problem, info = parse(words), DeviceInfo.of(queue.device)
    for name in ("pointwise/channel_simd", "pointwise/strassen_simd"):
        if BY_NAME[name].supports(problem, info) is None:
            assert {dict(plan.launches[0].macros)["FAR"] for plan in BY_NAME[name].plans(problem, info)} == {0}


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize(
    ("words", "tile"),
    [
        ("3x3 20->40 @31 batch 2 pad 1 bias relu", 6),
        ("3x3 20->40 @31 pad 1 stride 2 residual", 3),
        ("3x3 12->20 @23 pad 1 groups 2", 2),
        ("3x3 9->17 @21 pad 2 dilation 2", 4),
    ],
)
@pytest.mark.parametrize(("runs", "shares"), [(1, 2), (2, 1), (5, 1), (5, 2)])
def test_transformed_tiles_stay_near(
    words: str, tile: int, runs: int, shares: int, layout: str, queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few runs of tiles are transformed and multiplied, then the next few, in the place of the first."""
    problem, info = parse(f"{words} {layout}"), DeviceInfo.of(queue.device)
    reason = BY_NAME["standard/winograd_simd"].supports(problem, info)
    if reason is not None:
        pytest.skip(reason)
    blocking = winograd_simd.Blocking(tile, runs, shares, 1, fused=False)
    whole = winograd_simd.plan_of(problem, info, blocking, 1e-3)
    assert len(whole.launches) == 2
    monkeypatch.setattr(winograd_simd, "NEAR_V", 1)
    plan = winograd_simd.plan_of(problem, info, blocking, 1e-3)
    at_once = winograd_simd.runs_at_once(problem, info, blocking)
    assert (at_once * shares * problem.G) % info.compute_units == 0 or at_once == runs
    assert len(plan.launches) == 2 * -(-runs // at_once)
    assert plan.scratch_bytes[0] * runs == whole.scratch_bytes[0] * at_once
    check_plan(plan, queue)


@pytest.mark.parametrize("words", ["3x3 70->20 @70x67 pad 1", "3x3 20->70 @70x67 pad 1 dilation 2", "5x5 33->33 @96x90 pad 2"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_strips_of_large_images(words: str, layout: str, queue: cl.CommandQueue) -> None:
    problem, info = parse(f"{words} {layout}"), DeviceInfo.of(queue.device)
    reason = BY_NAME["standard/winograd_simd"].supports(problem, info)
    if reason is not None:
        pytest.skip(reason)
    check_plan(next(iter(BY_NAME["standard/winograd_simd"].plans(problem, info))), queue)
