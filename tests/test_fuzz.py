"""Random problems: what ConvProblem accepts, every algorithm computes within its bound."""

from __future__ import annotations

from typing import Any

import pyopencl as cl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from clconv import ConvProblem, ShapeError
from clconv.algorithms import ALGORITHMS
from clconv.device import DeviceInfo
from clconv.select import over_limit
from tests.harness import check_plan

small = st.integers(1, 4)


@st.composite
def problems(draw: st.DrawFn) -> ConvProblem:
    """Any small convolution; the windows are few, for each new one compiles a kernel."""
    groups = draw(st.sampled_from([1, 1, 2, 3, 8]))
    icg, ocg = draw(st.sampled_from([1, 1, 2, 5, 16, 19])), draw(st.sampled_from([1, 2, 4, 7, 17]))
    filt = draw(st.sampled_from([(1, 1), (3, 3), (2, 3), (5, 1)]))
    stride, dilation = draw(st.sampled_from([((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 3), (2, 1))]))
    pads = draw(st.tuples(*[st.integers(0, 3)] * 4))
    size = (draw(st.integers(1, 26)), draw(st.integers(1, 26)))
    options: dict[str, Any] = {
        "stride": stride,
        "dilation": dilation,
        "padding": ((pads[0], pads[1]), (pads[2], pads[3])),
        "groups": groups,
        "layout": draw(st.sampled_from(["NCHW", "NHWC"])),
        "bias": draw(st.booleans()),
    }
    n, ic, oc = draw(st.integers(1, 3)), icg * groups, ocg * groups
    nchw = options["layout"] == "NCHW"
    try:
        return ConvProblem(
            (n, ic, *size) if nchw else (n, *size, ic), (oc, icg, *filt) if nchw else (*filt, icg, oc), **options
        )
    except ShapeError:
        assume(False)
        raise


def check(problem: ConvProblem, seed: int, queue: cl.CommandQueue, *, both: bool) -> None:
    """Run the first two plans of every algorithm that covers the problem, or one of the two, by the seed."""
    info = DeviceInfo.of(queue.device)
    for algorithm in ALGORITHMS:
        if algorithm.supports(problem, info) is None:
            plans = [p for p in algorithm.plans(problem, info) if over_limit(p, info) is None][:2]
            turn = seed // 2 % max(1, len(plans))
            for plan in plans if both else plans[turn : turn + 1]:
                check_plan(plan, queue, integers=bool(seed % 2), seed=seed)


fuzz = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@settings(max_examples=20, derandomize=True, **fuzz)  # type: ignore[arg-type]  # a dict of mixed options
@given(problem=problems(), seed=st.integers(0, 1000))
def test_random_problems(problem: ConvProblem, seed: int, queue: cl.CommandQueue) -> None:
    check(problem, seed, queue, both=False)


@pytest.mark.slow
@settings(max_examples=3000, **fuzz)  # type: ignore[arg-type]  # a dict of mixed options
@given(problem=problems(), seed=st.integers(0, 1000))
def test_many_random_problems(problem: ConvProblem, seed: int, queue: cl.CommandQueue) -> None:
    check(problem, seed, queue, both=True)
