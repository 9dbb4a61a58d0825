"""Every plan of every algorithm against the oracle, on every real device: nasty shapes, layouts, types, epilogues."""

from __future__ import annotations

import pyopencl as cl
import pytest

from clconv.algorithms import ALGORITHMS
from clconv.algorithms.reasons import not_cpu
from clconv.device import DeviceInfo
from clconv.plan import Plan
from clconv.problem import ConvProblem
from clconv.select import over_limit
from tests.conftest import find_devices
from tests.harness import check_plan
from tests.shapes import EPILOGUES, NASTY, problem_of

BY_NAME = {a.name: a for a in ALGORITHMS}
DEVICES = [DeviceInfo.of(d) for d in find_devices(simulator=False)]
LAYOUTS = ("NCHW", "NHWC")


def covers(name: str, problem: ConvProblem) -> bool:
    """Whether an algorithm covers a problem on some device that is here."""
    return any(BY_NAME[name].supports(problem, info) is None for info in DEVICES)


COVERED = [
    (name, shape, layout)
    for name in BY_NAME
    for shape in NASTY
    for layout in LAYOUTS
    if covers(name, problem_of(shape, layout=layout))
]


def plans_of(name: str, problem: ConvProblem, info: DeviceInfo, most: int | None = None) -> list[Plan]:
    """Plans that the device can run; skips the test where the algorithm does not cover the problem."""
    reason = BY_NAME[name].supports(problem, info)
    if reason is not None:
        pytest.skip(reason)
    plans = [p for p in BY_NAME[name].plans(problem, info) if over_limit(p, info) is None]
    return plans[:most]


def varied(plans: list[Plan], turn: int) -> list[Plan]:
    """The rule's plan, and two other programs, whose turn it is: over the shapes of the list all of them get theirs."""
    programs = {tuple((x.kernel, x.entry, x.macros) for x in plan.launches): plan for plan in reversed(plans)}
    others = list(programs.values())
    chosen = (plans[0], others[turn % len(others)], plans[turn * 7 % len(plans)])
    return list(dict.fromkeys(chosen))


def for_other_devices(name: str) -> bool:
    """Whether an algorithm is for CPUs, and no device here is one."""
    problem = problem_of("resnet_like")
    return all(not_cpu(info) is not None and BY_NAME[name].supports(problem, info) == not_cpu(info) for info in DEVICES)


def test_every_algorithm_is_covered() -> None:
    assert {name for name, _, _ in COVERED} == {name for name in BY_NAME if not for_other_devices(name)}


@pytest.mark.parametrize(("name", "shape", "layout"), COVERED)
def test_float32(name: str, shape: str, layout: str, queue: cl.CommandQueue) -> None:
    info = DeviceInfo.of(queue.device)
    turn = COVERED.index((name, shape, layout))
    for plan in varied(plans_of(name, problem_of(shape, layout=layout), info), turn):
        check_plan(plan, queue, integers=True)
        check_plan(plan, queue)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape", "layout"), COVERED)
def test_every_plan(name: str, shape: str, layout: str, queue: cl.CommandQueue) -> None:
    info = DeviceInfo.of(queue.device)
    for plan in plans_of(name, problem_of(shape, layout=layout), info):
        check_plan(plan, queue, integers=True)
        check_plan(plan, queue)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", BY_NAME)
def test_other_types(name: str, dtype: str, queue: cl.CommandQueue) -> None:
    info = DeviceInfo.of(queue.device)
    problems = [
        problem_of(shape, layout=LAYOUTS[index % 2], dtype=dtype, **EPILOGUES[index % 3]) for index, shape in enumerate(NASTY)
    ]
    covered = [p for p in problems if BY_NAME[name].supports(p, info) is None]
    if not covered:
        pytest.skip(f"{name} covers no {dtype} problem of the list")
    for problem in covered[:: -(-len(covered) // 5)]:
        check_plan(plans_of(name, problem, info, 1)[0], queue)


@pytest.mark.parametrize(("name", "layout"), sorted({(name, layout) for name, _, layout in COVERED}))
def test_epilogues(name: str, layout: str, queue: cl.CommandQueue) -> None:
    info = DeviceInfo.of(queue.device)
    covered = [s for s in NASTY if BY_NAME[name].supports(problem_of(s, layout=layout), info) is None]
    if not covered:
        pytest.skip(f"{name} covers no {layout} problem of the list")
    for index, epilogue in enumerate(EPILOGUES):
        problem = problem_of(covered[index * 7 % len(covered)], layout=layout, **epilogue)
        check_plan(plans_of(name, problem, info, 1)[0], queue)
