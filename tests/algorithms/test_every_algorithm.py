"""Every plan of every algorithm against the oracle, on every real device: nasty shapes, layouts, types, epilogues."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby

import pyopencl as cl
import pytest

from clconv.algorithms import ALGORITHMS
from clconv.algorithms.reasons import not_cpu
from clconv.device import DeviceInfo
from clconv.notation import parse
from clconv.plan import Plan
from clconv.problem import ConvProblem
from clconv.select import over_limit
from tests.conftest import find_devices
from tests.harness import check_plan
from tests.shapes import EPILOGUES, NASTY, problem_of

BY_NAME = {a.name: a for a in ALGORITHMS}
DEVICES = [DeviceInfo.of(d) for d in find_devices(simulator=False)]
LAYOUTS = ("NCHW", "NHWC")
SLOW_TO_BUILD = ("_simt", "_matrix")
PROBLEMS_OF_TYPE = {"float64": 3, "float16": 4, "bfloat16": 4}  # the latter two differ in how elements are read and written


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


def emulated(name: str) -> bool:
    """Whether an algorithm is made for other devices than are here: GPUs, a matrix unit, thirty-two registers."""
    if name.endswith("_simt"):
        return all(info.is_cpu for info in DEVICES)
    if name == "depthwise/pixel_simd":
        return not any(info.avx512 for info in DEVICES)
    return name.endswith("_matrix") and not any(info.amx for info in DEVICES)


def in_turn(covered: list[tuple[str, str, str]]) -> Iterator[tuple[str, str, str]]:
    """Each shape in every layout; every other shape in one of them, in turn, where the algorithm is made for other devices."""
    for name, cases in groupby(covered, key=lambda case: case[0]):
        for turn, (shape, group) in enumerate(groupby(cases, key=lambda case: case[1])):
            layouts = [layout for _, _, layout in group]
            which = turn // 4 % len(layouts)  # two at a time, since `varied` takes turns from shape to shape
            if not emulated(name):
                yield from ((name, shape, layout) for layout in layouts)
            elif turn % 2 == 0:
                yield name, shape, layouts[which]


def plans_of(name: str, problem: ConvProblem, info: DeviceInfo, most: int | None = None) -> list[Plan]:
    """Plans that the device can run; skips the test where the algorithm does not cover the problem."""
    reason = BY_NAME[name].supports(problem, info)
    if reason is not None:
        pytest.skip(reason)
    plans = [p for p in BY_NAME[name].plans(problem, info) if over_limit(p, info) is None]
    return plans[:most]


def varied(plans: list[Plan], turn: int) -> list[Plan]:
    """The rule's plan, and every fourth time another, which changes from shape to shape; ``test_every_plan`` has them all.

    Of kernels that take a processor's compiler long, one of the two in turn.
    """
    slow = plans[0].algorithm.endswith(SLOW_TO_BUILD)
    every = 2 if slow else 4
    if turn % every:
        return plans[:1]
    programs = {tuple((x.kernel, x.entry, x.macros) for x in plan.launches): plan for plan in plans[1:]}
    others = list(programs.values()) or plans
    other = others[turn // every % len(others)]
    return [other] if slow else list(dict.fromkeys((plans[0], other)))


def for_other_devices(name: str) -> bool:
    """Whether an algorithm is for CPUs, and no device here is one."""
    problem = problem_of("resnet_like")
    return all(not_cpu(info) is not None and BY_NAME[name].supports(problem, info) == not_cpu(info) for info in DEVICES)


def test_every_algorithm_is_covered() -> None:
    assert {name for name, _, _ in COVERED} == {name for name in BY_NAME if not for_other_devices(name)}


@pytest.mark.parametrize(("name", "shape", "layout"), list(in_turn(COVERED)))
def test_float32(name: str, shape: str, layout: str, queue: cl.CommandQueue) -> None:
    info = DeviceInfo.of(queue.device)
    turn = list(NASTY).index(shape) // (2 if emulated(name) else 1) + LAYOUTS.index(layout) + list(BY_NAME).index(name)
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


@pytest.mark.parametrize("dtype", PROBLEMS_OF_TYPE)
@pytest.mark.parametrize("name", BY_NAME)
def test_other_types(name: str, dtype: str, queue: cl.CommandQueue) -> None:
    info = DeviceInfo.of(queue.device)
    problems = [
        problem_of(shape, layout=LAYOUTS[index % 2], dtype=dtype, **EPILOGUES[index % 3]) for index, shape in enumerate(NASTY)
    ]
    covered = [p for p in problems if BY_NAME[name].supports(p, info) is None]
    if not covered:
        pytest.skip(f"{name} covers no {dtype} problem of the list")
    some = 1 if emulated(name) else PROBLEMS_OF_TYPE[dtype]
    for problem in covered[list(PROBLEMS_OF_TYPE).index(dtype) % len(covered) :: -(-len(covered) // some)]:
        check_plan(plans_of(name, problem, info, 1)[0], queue)


NAMES_AND_LAYOUTS = sorted({(name, layout) for name, _, layout in COVERED})


@pytest.mark.parametrize(("name", "layout"), NAMES_AND_LAYOUTS)
def test_epilogues(name: str, layout: str, queue: cl.CommandQueue) -> None:
    """A quarter of them, in turn, or one; ``test_every_epilogue`` has them all."""
    step = len(EPILOGUES) if emulated(name) else 4
    check_epilogues(name, layout, range(NAMES_AND_LAYOUTS.index((name, layout)) % step, len(EPILOGUES), step), queue)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layout"), NAMES_AND_LAYOUTS)
def test_every_epilogue(name: str, layout: str, queue: cl.CommandQueue) -> None:
    check_epilogues(name, layout, range(len(EPILOGUES)), queue)


def check_epilogues(name: str, layout: str, which: Iterable[int], queue: cl.CommandQueue) -> None:
    """Check some of the epilogues, each with another shape."""
    info = DeviceInfo.of(queue.device)
    covered = [s for s in NASTY if BY_NAME[name].supports(problem_of(s, layout=layout), info) is None]
    if not covered:
        pytest.skip(f"{name} covers no {layout} problem of the list")
    for index in which:
        problem = problem_of(covered[index * 7 % len(covered)], layout=layout, **EPILOGUES[index])
        check_plan(plans_of(name, problem, info, 1)[0], queue)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_sequences_of_kernels_end_with_the_epilogue(layout: str, queue: cl.CommandQueue) -> None:
    """Sums that are added up from parts by a second kernel, say, where the first choice has no parts."""
    info = DeviceInfo.of(queue.device)
    for algorithm in ALGORITHMS:
        first, plans = set(), defaultdict(list)
        for problem in (problem_of(shape, layout=layout, **EPILOGUES[1]) for shape in NASTY):
            if algorithm.supports(problem, info) is None:
                for plan in plans_of(algorithm.name, problem, info):
                    plans[sequence(plan)].append(plan)
                first.add(sequence(plans_of(algorithm.name, problem, info, 1)[0]))
        for kernels in plans.keys() - first:
            check_plan(min(plans[kernels], key=lambda plan: plan.problem.flops), queue, integers=True)
            check_plan(max(plans[kernels], key=lambda plan: plan.problem.OC * plan.problem.N), queue)


def sequence(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Kernels that a plan launches."""
    return tuple((launch.kernel, launch.entry) for launch in plan.launches)


NARROW = {"8 lanes": 32, "4 lanes": 16}
"""Processors with shorter vectors, for which each kernel has lines of its own; one with longer ones computes the same."""


def check_narrow(name: str, problem: ConvProblem, lanes: str, queue: cl.CommandQueue) -> None:
    """Check an algorithm's first plan for a processor with short vectors; skips the test where there is none."""
    own = DeviceInfo.of(queue.device)
    info = replace(own, vector_bytes=NARROW[lanes], avx512=False, full_avx512=False, amx=False)
    for plan in plans_of(name, problem, info, 1):
        check_plan(plan, queue)


@pytest.mark.parametrize("lanes", NARROW)
@pytest.mark.parametrize(
    ("name", "shape", "layout"),
    [
        *((f"depthwise/{kernel}_simd", "depthwise_stride_2_wide", "NCHW") for kernel in ("direct", "masked", "panel")),
        *((f"depthwise/{kernel}_simd", "depthwise_stride_3", "NCHW") for kernel in ("direct", "masked", "panel")),
        ("depthwise/rolled_simd", "depthwise_12x13_stride_2", "NCHW"),
        ("depthwise/rolled_simd", "depthwise_13x13", "NHWC"),
        ("grouped/direct_simd", "grouped_stride_3", "NCHW"),
        ("grouped/lane_simd", "grouped_pairs_many", "NHWC"),
        ("grouped/lane_simd", "grouped_by_3", "NHWC"),
        ("grouped/channel_simd", "grouped_8_stride_2", "NCHW"),
    ],
)
def test_short_vectors_whose_lanes_are_moved(
    name: str, shape: str, layout: str, lanes: str, cpu_queue: cl.CommandQueue
) -> None:
    check_narrow(name, problem_of(shape, layout=layout), lanes, cpu_queue)


@pytest.mark.slow
@pytest.mark.parametrize("lanes", NARROW)
@pytest.mark.parametrize(("name", "shape", "layout"), COVERED)
def test_short_vectors(name: str, shape: str, layout: str, lanes: str, cpu_queue: cl.CommandQueue) -> None:
    check_narrow(name, problem_of(shape, layout=layout), lanes, cpu_queue)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("words", ["3x3 9->60 @13 batch 2 bias relu", "3x3 64->124 @9 stride 2 groups 2 residual"])
def test_winograd_with_four_vectors_a_block(words: str, layout: str, cpu_queue: cl.CommandQueue) -> None:
    """As where two whole vectors of AVX-512 are multiplied in a cycle; the last of the four has a tail."""
    info = replace(DeviceInfo.of(cpu_queue.device), full_avx512=True, vector_bytes=32)
    plans = plans_of("standard/winograd_simd", parse(f"{words} {layout.lower()}"), info)
    assert {dict(plan.launches[0].macros)["OCV"] for plan in plans} == {4}
    for plan in plans:
        check_plan(plan, cpu_queue)


@pytest.mark.parametrize(
    "words", ["3x3 64->64 @7 groups 2 bias relu", "3x3 96->96 @9 stride 2 dilation 2 pad 3 groups 3 residual batch 2"]
)
def test_two_vectors_of_a_group_abreast(words: str, cpu_queue: cl.CommandQueue) -> None:
    """As where two are multiplied in a cycle and others moved beside; rows of the window lie above and below the image."""
    info = replace(DeviceInfo.of(cpu_queue.device), moves_beside=True)
    plans = plans_of("grouped/lane_simd", parse(f"{words} nhwc"), info)
    assert 2 in {dict(plan.launches[0].macros)["ABREAST"] for plan in plans}
    for plan in plans:
        check_plan(plan, cpu_queue)


@pytest.mark.parametrize(
    "words", ["13->60 @9x7 batch 2 bias relu", "40->30 @5x3 residual", "9->53 @3", "33->64 @20x4 stride 2"]
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_tiles_of_seven_pixels(words: str, layout: str, cpu_queue: cl.CommandQueue) -> None:
    """As with 32 registers, which hold 7 pixels by four vectors as well as 14 by two; a few pixels are left."""
    info = replace(DeviceInfo.of(cpu_queue.device), vector_registers=32, vector_bytes=32, avx512=False, full_avx512=False)
    plans = plans_of("pointwise/channel_simd", parse(f"1x1 {words} {layout.lower()}"), info)
    assert {(macros["PXB"], macros["OCV"]) for macros in (dict(p.launches[0].macros) for p in plans)} == {(14, 2), (7, 4)}
    for plan in plans:
        check_plan(plan, cpu_queue)
