"""Images that are parts of tensors with more channels, as those that a concatenation puts together: the same bits, there."""

from __future__ import annotations

import pyopencl as cl
import pytest

from clconv.device import DeviceInfo
from tests.algorithms.test_every_algorithm import BY_NAME, COVERED, LAYOUTS, plans_of
from tests.conftest import find_devices
from tests.harness import apart, check_within
from tests.shapes import EPILOGUES, NASTY, problem_of

BOTH = (
    *("depthwise/channel_simd", "depthwise/pixel_simd", "depthwise/stream_simd", "grouped/channel_simd", "grouped/lane_simd"),
    *("pointwise/channel_simd", "pointwise/strassen_simd", "standard/direct_simd", "standard/winograd_simd"),
)
APART = {**dict.fromkeys(BOTH, "xy"), "standard/run_simd": "y"}
"""The images of each algorithm that may be parts; networks copy those of others."""

CASES = [case for case in COVERED if case[0] in APART]


@pytest.mark.parametrize("name", BY_NAME)
def test_who_offers_it(name: str) -> None:
    for device in find_devices(simulator=False):
        info = DeviceInfo.of(device)
        for layout in LAYOUTS:
            problem = next((p for s in NASTY if BY_NAME[name].supports(p := problem_of(s, layout=layout), info) is None), None)
            if problem is not None:
                plan = next(iter(BY_NAME[name].plans(problem, info)))
                assert apart(plan) == set(APART.get(name, ""))


@pytest.mark.parametrize(("name", "shape", "layout"), CASES)
def test_parts(name: str, shape: str, layout: str, cpu_queue: cl.CommandQueue) -> None:
    info = DeviceInfo.of(cpu_queue.device)
    turn = list(NASTY).index(shape)
    for dtype in ("float32", "float16") if turn % 4 == 1 else ("float32",):
        problem = problem_of(shape, layout=layout, dtype=dtype, **EPILOGUES[turn % len(EPILOGUES)])
        if BY_NAME[name].supports(problem, info) is None:
            check_within(plans_of(name, problem, info, 1)[0], cpu_queue, behind=5 + turn % 3 * 16)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape", "layout"), CASES)
def test_every_plan(name: str, shape: str, layout: str, cpu_queue: cl.CommandQueue) -> None:
    info = DeviceInfo.of(cpu_queue.device)
    for epilogue in EPILOGUES:
        for plan in plans_of(name, problem_of(shape, layout=layout, **epilogue), info):
            check_within(plan, cpu_queue)
