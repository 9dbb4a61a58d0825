"""The search for the fastest plan of each problem, and what it tells while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from clconv.device import DeviceInfo
from clconv.plan import Plan
from clconv.problem import ConvProblem
from clconv.select import batch_parts, select
from clconv.tuning.store import Record, device_key, load, problem_key, save
from clconv.tuning.worker import Child, Verdict

HOPELESS = 4.0
"""Plans whose prediction is this many times the best one's are not tried."""

ROUNDS = 3
"""How often the finalists are measured again."""

NOISE = 1.03
"""A plan that is ahead of the rule's choice by less may owe that to chance."""


@dataclass(frozen=True)
class Finding:
    """The outcome for one problem."""

    problem: ConvProblem
    best: Plan
    seconds: float
    rule: Plan
    rule_seconds: float
    failures: tuple[tuple[Plan, str], ...] = ()

    @property
    def gain(self) -> float:
        """How many times faster the best plan is than the rule's choice."""
        return self.rule_seconds / self.seconds


def candidates(problem: ConvProblem, device: DeviceInfo, *, thorough: bool = False) -> list[Plan]:
    """Return the plans to try, most promising first, the rule's choice among them."""
    plans = list(select(problem, device).candidates)
    return plans if thorough else [p for p in plans if p.seconds <= HOPELESS * plans[0].seconds]


def looked_up(problem: ConvProblem, device: DeviceInfo) -> list[ConvProblem]:
    """Return the problems whose records a call looks for: the parts of a batch, without what records leave aside.

    Raises
    ------
    DeviceError
        If the device has no room for a single image.
    """
    plain = replace(problem, bias=False, residual=False, activation=None)
    parts = dict.fromkeys(count for _, count in batch_parts(plain, device)) if plain.N else (0,)
    return [plain.with_batch(count) for count in parts]


def search(
    problems: Iterable[ConvProblem],
    device: DeviceInfo,
    path: Path,
    *,
    seconds: float = 0.1,
    again: bool = False,
    thorough: bool = False,
    tell: Callable[[Plan, Verdict], None] = lambda _plan, _verdict: None,
) -> Iterator[Finding]:
    """Measure every candidate of every problem in a child process, and store the fastest of each as soon as it is known.

    Parameters
    ----------
    problems : iterable of ConvProblem
        As :func:`looked_up` returns them.
    device : DeviceInfo
    path : Path
        The store. Problems that it has are passed over, so that a search that was stopped goes on.
    seconds : float
        How long each candidate is repeated.
    again : bool
        Search also what the store has.
    thorough : bool
        Try also plans whose prediction is hopeless.
    tell : callable
        Called after each candidate.

    Yields
    ------
    Finding
    """
    key = device_key(device)
    child = Child()
    try:
        for problem in problems:
            if not again and problem_key(problem) in load(path).get(key, {}):
                continue
            finding = _search_one(problem, device, child, seconds, thorough, tell)
            if finding is not None:
                record = Record(finding.best.algorithm, finding.best.tile, finding.seconds)
                save(path, key, {problem_key(problem): record})
                yield finding
    finally:
        child.close()


def _search_one(
    problem: ConvProblem,
    device: DeviceInfo,
    child: Child,
    seconds: float,
    thorough: bool,
    tell: Callable[[Plan, Verdict], None],
) -> Finding | None:
    rule = select(problem, device).plan
    times: dict[Plan, float] = {}
    failures: list[tuple[Plan, str]] = []
    for plan in dict.fromkeys((rule, *candidates(problem, device, thorough=thorough))):
        verdict = child.measure(plan, seconds)
        tell(plan, verdict)
        if verdict.reason:
            failures.append((plan, verdict.reason))
        else:
            times[plan] = verdict.seconds
    if not times:
        return None
    # The leaders and the rule's choice take turns, for a slow spell of the machine may have struck any of them.
    finalists = dict.fromkeys((*sorted(times, key=times.__getitem__)[:3], *(p for p in (rule,) if p in times)))
    for _ in range(ROUNDS):
        for plan in finalists:
            times[plan] = min(times[plan], child.measure(plan, seconds).seconds)
    best = min(times, key=times.__getitem__)
    if rule in times and times[rule] <= NOISE * times[best]:
        best = rule
    return Finding(problem, best, times[best], rule, times.get(rule, float("inf")), tuple(failures))
