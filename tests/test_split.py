"""Split elements: nothing is lost in three parts, two lose what their bound says, and a caller can rule them out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyopencl as cl
import pytest

from clconv.algorithms import split
from clconv.algorithms.split import METHODS
from clconv.algorithms.standard.run_matrix import RunMatrix
from clconv.algorithms.standard.split_matrix import SplitMatrix, flat, window_of
from clconv.device import DeviceInfo
from clconv.notation import parse
from clconv.plan import Plan
from clconv.problem import ConvProblem
from clconv.reference import error_bound, reference
from clconv.select import Limits, select
from tests.harness import Array, Data, check_plan, run_plan

MADE_UP = DeviceInfo(
    "made up", "Portable Computing Language", unaligned_vectors=True, avx512=True, amx=True, local_mem_bytes=1 << 21
)
ALGORITHMS = (SplitMatrix(), RunMatrix())
SMALL = (
    "1x1 40->48 @5x7 batch 2",
    "3x3 33->17 @9 stride 2 padding 1",
    "3x3 3->20 @12 padding 1",
    "3x3 32->32 @9 padding 1 groups 8",
)


def plan_with(problem: ConvProblem, queue: cl.CommandQueue, products: int) -> Plan:
    """The first plan that computes so many products of parts."""
    plans = SplitMatrix().plans(problem, DeviceInfo.of(queue.device))
    return next(plan for plan in plans if dict(plan.launches[0].macros)["PRODUCTS"] == products)


def copied(x: Array, queue: cl.CommandQueue, products: int) -> Array:
    """Numbers that a filter of a single one multiplies by 1."""
    problem = ConvProblem((1, 1, 1, x.size), (1, 1, 1, 1))
    data = Data(x.astype(np.float32).reshape(problem.x_shape), np.ones((1, 1, 1, 1), np.float32), None, None)
    return run_plan(plan_with(problem, queue, products), queue, data).ravel()


RNG = np.random.default_rng(1)
NUMBERS = RNG.standard_normal(500).astype(np.float32) * 10.0 ** RNG.integers(-20, 20, 500)


def test_three_parts_hold_every_bit(cpu_queue: cl.CommandQueue) -> None:
    x = np.concatenate([NUMBERS, [1 + 2.0**-23, -1 - 2.0**-8, 3.4e38, -3.3895314e38, 0.0, 2.0**-100]]).astype(np.float32)
    np.testing.assert_array_equal(copied(x, cpu_queue, 6), x)


def test_two_parts_lose_little(cpu_queue: cl.CommandQueue) -> None:
    y = copied(NUMBERS, cpu_queue, 3)
    error = np.abs(y - NUMBERS.astype(np.float32)) / np.abs(NUMBERS)
    assert 0 < error.max() <= 2.0**-17


def test_a_number_that_is_not_finite_spoils_the_outputs_that_it_meets_and_no_others(cpu_queue: cl.CommandQueue) -> None:
    problem = parse("3x3 32->16 @6 padding 1")
    rng = np.random.default_rng(4)
    x = rng.standard_normal(problem.x_shape).astype(np.float32)
    w = rng.standard_normal(problem.w_shape).astype(np.float32)
    x[0, 3, 0, 0], x[0, 5, 5, 5] = np.inf, np.nan
    y = run_plan(plan_with(problem, cpu_queue, 3), cpu_queue, Data(x, w, None, None))
    met = np.zeros((6, 6), bool)
    met[:2, :2] = met[4:, 4:] = True
    assert not np.isfinite(y[0][:, met]).any()
    assert np.isfinite(y[0][:, ~met]).all()


def test_folded_taps_end_in_zeros(cpu_queue: cl.CommandQueue) -> None:
    """What lies behind an output's last tap belongs to others, and may not be finite."""
    problem = parse("3x3 3->16 @10 padding 1 nhwc")
    rng = np.random.default_rng(5)
    x = rng.standard_normal(problem.x_shape).astype(np.float32)
    x[0, 4, 5] = np.nan
    plans = RunMatrix().plans(problem, DeviceInfo.of(cpu_queue.device))
    folded = [plan for plan in plans if dict(plan.launches[0].macros)["FOLD"]]
    assert folded
    assert len(folded) < len(plans)
    data = Data(x, rng.standard_normal(problem.w_shape).astype(np.float32), None, None)
    for plan in folded[:3]:
        y = run_plan(plan, cpu_queue, data)[0]
        met = np.zeros((10, 10), bool)
        met[3:6, 4:7] = True
        assert np.isnan(y[met]).all()
        assert np.isfinite(y[~met]).all()


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.name)
@pytest.mark.parametrize("text", ["3x3 3->48 @9x7 padding 1 nhwc batch 2", "3x3 16->37 @8 stride 2 padding 1 nhwc relu"])
def test_outputs_past_the_caches(
    algorithm: SplitMatrix | RunMatrix, text: str, cpu_queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole vectors where they are aligned, the rest as always; so far it was too small to be streamed."""
    device = DeviceInfo.of(cpu_queue.device)
    plans = algorithm.plans(parse(text), device)
    assert not any(dict(plan.launches[0].macros)["STREAM"] for plan in plans)
    monkeypatch.setattr(split, "STREAMED", 0)
    streamed = algorithm.plans(parse(text), device)[:2]
    assert all(dict(plan.launches[0].macros)["STREAM"] == device.unaligned_vectors for plan in streamed)
    for plan in streamed:
        check_plan(plan, cpu_queue)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_bound_holds_where_that_of_the_direct_method_does_not(layout: str, cpu_queue: cl.CommandQueue) -> None:
    """All numbers lie in the middle between two bfloat16 numbers, and all errors have one sign."""
    problem = parse(f"1x1 32->16 @8 {layout}")
    x = np.full(problem.x_shape, 1 + 2.0**-8 - 2.0**-16, np.float32)
    w = np.full(problem.w_shape, 1 + 2.0**-8 - 2.0**-16, np.float32)
    want = reference(problem, x, w)
    direct = select(problem, DeviceInfo.of(cpu_queue.device), Limits("direct")).plan
    for products, worse in ((3, True), (6, False)):
        plan = plan_with(problem, cpu_queue, products)
        error = np.abs(run_plan(plan, cpu_queue, Data(x, w, None, None)) - want)
        assert (error <= error_bound(problem, plan, x, w)).all()
        assert (error > error_bound(problem, direct, x, w)).any() == worse


@pytest.mark.parametrize("dtype", METHODS)
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("text", SMALL)
def test_the_instructions_in_plain_c_do_the_same(text: str, layout: str, dtype: str, cpu_queue: cl.CommandQueue) -> None:
    own = DeviceInfo.of(cpu_queue.device)
    if not own.amx:
        pytest.skip("without a matrix unit, every test runs them")
    problem = replace(parse(f"{text} {layout}"), dtype=dtype, bias=True)
    device = replace(own, amx=False)
    for algorithm in ALGORITHMS:
        if algorithm.supports(problem, device) is None:
            check_plan(next(iter(algorithm.plans(problem, device))), cpu_queue)
            check_plan(next(iter(algorithm.plans(problem, device))), cpu_queue, integers=True)


@pytest.mark.parametrize("dtype", METHODS)
@pytest.mark.parametrize(
    "text",
    [
        "3x3 64->32 @14x13 groups 2 stride 2 padding 1 batch 2",
        "3x3 36->36 @9x47 groups 3 stride 2 padding 2",
        "4x2 40->16 @11x8 groups 2 stride 1x2 dilation 2x3",
        "1x1 64->32 @9 groups 2 stride 2",
        "3x3 32->32 @7 groups 2 padding 1",
        "3x5 32->48 @12x70 groups 2 stride 3x1 padding 2",
        "3x3 32->32 @16x13 groups 2 stride 3x2 padding 1",
    ],
)
def test_groups_may_have_their_positions_in_columns(text: str, dtype: str, cpu_queue: cl.CommandQueue) -> None:
    """Rows of the panel run on into the next one, halves of vectors into the next plane; zeros are put over what is left."""
    own = DeviceInfo.of(cpu_queue.device)
    problem = replace(parse(text), dtype=dtype, bias=True, activation="relu")
    windows = set()
    for plan in SplitMatrix().plans(problem, replace(own, amx=True)):
        macros = dict(plan.launches[0].macros)
        if not macros["LEFT"] and (plan.tile.split(";")[1], macros["PARTS"]) not in windows:
            windows.add((plan.tile.split(";")[1], macros["PARTS"]))
            on_device = tuple(
                replace(one, macros=tuple({**dict(one.macros), "AMX": int(own.amx)}.items())) for one in plan.launches
            )
            check_plan(replace(plan, launches=on_device), cpu_queue)
            check_plan(replace(plan, launches=on_device), cpu_queue, integers=True)
    assert windows


def test_a_caller_can_rule_it_out() -> None:
    """By a family, a name, or a limit of the error, under which six products may remain."""
    problem = parse("1x1 512->512 @14 nhwc")

    def products(limits: Limits | None = None, device: DeviceInfo = MADE_UP) -> int | None:
        return dict(select(problem, device, limits).plan.launches[0].macros).get("PRODUCTS")  # type: ignore[return-value]  # a number

    assert products() == 3
    assert products(Limits(error_factor=200)) == 6
    assert products(Limits("direct")) is None
    assert products(Limits(error_factor=1000)) == 3
    assert products(device=replace(MADE_UP, amx=False)) is None


@pytest.mark.parametrize("text", ["1x1 512->512 @14", "3x3 256->256 @14 padding 1", "7x7 3->64 @224 stride 2 padding 3"])
def test_a_matrix_unit_is_used_where_there_is_one(text: str) -> None:
    for layout in ("nchw", "nhwc"):
        problem = parse(f"{text} {layout}")
        assert select(problem, MADE_UP).plan.algorithm.endswith("_matrix")
        assert not select(problem, replace(MADE_UP, amx=False)).plan.algorithm.endswith("_matrix")


def test_sixteen_bits_lose_no_more_than_their_storage() -> None:
    """Their parts hold every bit, so that only the sums round."""
    for dtype in ("float16", "bfloat16"):
        problem = replace(parse("3x3 64->64 @14 padding 1"), dtype=dtype)
        for plan in SplitMatrix().plans(problem, MADE_UP):
            assert plan.error_factor < 64 * 9


def test_images_of_a_batch_are_strung_together() -> None:
    assert flat(parse("1x1 8->8 @7 batch 4 nhwc")).x_shape == (1, 1, 4 * 49, 8)
    assert flat(parse("1x1 8->8 @7 batch 4")).x_shape == (4, 8, 1, 49)
    assert flat(parse("1x1 8->8 @7 stride 2")).x_shape == (1, 8, 7, 7)


def test_one_column_of_zeros_serves_two_rows() -> None:
    """Seven columns and two of padding lie eight apart, unless a part of a row is all there is."""
    problem = parse("3x3 32->32 @7 padding 1 nhwc")
    assert window_of(problem, 7, 7).width == 8
    assert window_of(problem, 1, 3).width == 5
    assert window_of(parse("3x3 32->32 @14 padding 1 stride 2 nhwc"), 7, 7).width == 8


def test_no_columns_are_turned_for_a_stride_beyond_the_image() -> None:
    for stride, nchw, nhwc in ((2, True, True), (16, True, True), (17, False, True), (100000, False, True)):
        for layout, takes in (("nchw", nchw), ("nhwc", nhwc)):
            reason = SplitMatrix().supports(parse(f"3x3 32->32 @8 stride {stride} {layout}"), MADE_UP)
            assert (reason is None) == takes, reason
    assert SplitMatrix().supports(parse("3x3 32->32 @100 stride 90"), MADE_UP) is None


def test_columns_have_two_phases_at_most() -> None:
    for stride, forms in ((2, {0, 1}), (3, {1})):
        plans = SplitMatrix().plans(parse(f"3x3 64->64 @14 groups 2 stride {stride}"), MADE_UP)
        assert {dict(plan.launches[0].macros)["LEFT"] for plan in plans} == forms
