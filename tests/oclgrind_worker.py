"""Runs one algorithm over the small shapes on Oclgrind; what the simulator finds goes to standard error.

python -m tests.oclgrind_worker ALGORITHM
"""

from __future__ import annotations

import sys

import clconv.algorithms
from clconv.device import DeviceInfo
from clconv.select import over_limit
from tests.conftest import find_devices, queue_on
from tests.harness import check_plan
from tests.shapes import EPILOGUES, SMALL, problem_of


def main(name: str) -> None:
    """Run every distinct set of kernels once or twice; a simulator is slow."""
    (algorithm,) = [a for a in clconv.algorithms.ALGORITHMS if a.name == name]
    (device,) = find_devices(simulator=True)
    queue, info = queue_on(device), DeviceInfo.of(device)
    ran = 0
    for index, shape in enumerate(SMALL):
        for layout in ("NCHW", "NHWC"):
            dtype = ("float32", "float32", "float16")[index % 3]
            problem = problem_of(shape, layout=layout, dtype=dtype, **EPILOGUES[index % 2])
            if algorithm.supports(problem, info) is not None:
                continue
            plans = [p for p in algorithm.plans(problem, info) if over_limit(p, info) is None]
            for plan in plans[:1] if index % 4 else plans[:3]:
                check_plan(plan, queue)
                ran += 1
    print(f"{ran} plans ran")  # noqa: T201 - the test reads this line


if __name__ == "__main__":
    main(sys.argv[1])
