"""Runs one algorithm over small problems on Oclgrind; what the simulator finds goes to standard error.

python -m tests.oclgrind_worker ALGORITHM [avx512 | every]
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import clconv.algorithms
from clconv.algorithms.base import Algorithm
from clconv.device import DeviceInfo
from clconv.plan import Launch, Macro, Plan
from clconv.problem import ConvProblem
from clconv.select import over_limit
from tests.conftest import find_devices, queue_on
from tests.harness import apart, check_plan, check_within
from tests.shapes import EPILOGUES, NASTY, SMALL, problem_of

MOST_FLOPS = 100_000
"""A simulator is slow: larger problems are left to the real devices."""

SLOW_FLOPS = MOST_FLOPS // 2
"""The same for slow plans, unless every one is asked for."""

COMMON = ("KH", "KW", "SH", "SW", "DH", "DW", "HAS_BIAS", "HAS_RESIDUAL", "ACTIVATION", "UNALIGNED_VECTORS")


LAYOUTS = ("NCHW", "NHWC")


def problems(
    names: Iterable[str], types: Sequence[str] = ("float32", "float32", "float16"), *, in_turn: bool = False
) -> Iterator[ConvProblem]:
    """Each shape in both layouts, or in one of them in turn, with types and epilogues in turn."""
    for index, shape in enumerate(names):
        for layout in LAYOUTS[index // 2 % 2 :][:1] if in_turn else LAYOUTS:
            yield problem_of(shape, layout=layout, dtype=types[index % len(types)], **EPILOGUES[index % 2])


def without_avx512(plan: Plan) -> Plan:
    """The same tile from the code for every device: the simulator knows no instructions of a processor."""

    def launch(one: Launch) -> Launch:
        return replace(one, macros=tuple((name, 0 if name == "AVX512" else value) for name, value in one.macros))

    return replace(
        plan,
        launches=tuple(map(launch, plan.launches)),
        packing=plan.packing and plan.packing._replace(launch=launch(plan.packing.launch)),
    )


def variants(plan: Plan) -> set[object]:
    """What tells a plan's code from that of others: kernels, entries and tiles, not the type, the window and the epilogue."""

    def tile(one: Launch) -> tuple[Macro, ...]:
        return tuple(m for m in one.macros if m[0] not in COMMON and not m[0].startswith("REAL"))

    return {(one.kernel, one.entry, tile(one)) for one in plan.every_launch}


def slow(plan: Plan) -> bool:
    """Work-groups of many work-items are slow to simulate, and so is a matrix unit."""
    return any(math.prod(one.local_size) > 1 or "AMX" in dict(one.macros) for one in plan.launches)


def traits(problem: ConvProblem) -> set[object]:
    """What a problem is, for the kernels' own branches."""
    return {problem.kind, (problem.dtype, problem.layout)}


def smallest(algorithm: Algorithm, info: DeviceInfo, dtype: str, layout: str) -> Plan | None:
    """The rule's plan for the smallest problem of a type and a layout with several channels."""
    small = (problem_of(shape, layout=layout, dtype=dtype, **EPILOGUES[1]) for shape in NASTY)
    served = [p for p in small if min(p.IC, p.OC) > 1 and algorithm.supports(p, info) is None]
    fitting = (
        (p for p in algorithm.plans(min(served, key=lambda p: p.flops), info) if over_limit(p, info) is None) if served else ()
    )
    return next(iter(fitting), None)


def plans(algorithm: Algorithm, info: DeviceInfo, *, avx512: bool = False, every: bool = False) -> Iterator[Plan]:
    """The rule's plan for each small shape in a layout, then each launch that was not among them once, on the smallest problem.

    Or only the tiles that a processor with AVX-512 gets beside them. Of slow plans one in four for the small shapes, one in
    three of the others, one for each kind of problem, and the smallest of each type in each layout; or all.
    """
    seen: set[object] = set()
    met: set[object] = set()  # kinds of problems, types in layouts that ran
    turn = 0  # of slow plans among the others
    for number, problem in enumerate(problems(SMALL, in_turn=not every)):
        if algorithm.supports(problem, info) is None:
            plan = next(p for p in algorithm.plans(problem, info) if over_limit(p, info) is None)
            if every or not slow(plan) or (number % 4 == 1 and problem.flops <= SLOW_FLOPS):
                seen |= variants(plan)
                met |= traits(problem)
                if not avx512:
                    yield plan
    wide = replace(info, avx512=True, full_avx512=True, moves_beside=True, vector_bytes=32)
    for device in (info, wide) if avx512 else (info,):
        for problem in sorted(problems(NASTY, ("float32", "float64", "float16")), key=lambda p: p.flops):
            if problem.flops > MOST_FLOPS:
                break
            if algorithm.supports(problem, device) is None:
                for plan in map(without_avx512, algorithm.plans(problem, device)):
                    first = slow(plan) and problem.kind not in met
                    large = slow(plan) and problem.flops > SLOW_FLOPS
                    wanted = first or (not variants(plan) <= seen and (every or not large))
                    if wanted and over_limit(plan, info) is None:
                        seen |= variants(plan)
                        turn += slow(plan)
                        if (device is wide or not avx512) and (every or first or not slow(plan) or turn % 3 == 1):
                            met |= traits(problem)
                            yield plan
    for dtype, layout in itertools.product(("float32", "float64", "float16"), LAYOUTS):
        if turn and not avx512 and (dtype, layout) not in met and (last := smallest(algorithm, info, dtype, layout)):
            yield last


def main(name: str, which: str = "") -> None:
    """Run the plans of one algorithm."""
    (algorithm,) = [a for a in clconv.algorithms.ALGORITHMS if a.name == name]
    (device,) = find_devices(simulator=True)
    ran = 0
    for plan in plans(algorithm, DeviceInfo.of(device), avx512=which == "avx512", every=which == "every"):
        check_plan(plan, queue_on(device))
        if apart(plan) and ran % 4 == 0:
            check_within(plan, queue_on(device))
        ran += 1
    print(f"{ran} plans ran")  # noqa: T201 - the test reads this line


if __name__ == "__main__":
    main(*sys.argv[1:])
