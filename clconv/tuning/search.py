"""The search for the fastest plan of each problem, and what it tells while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from clconv.device import DeviceInfo
from clconv.plan import Plan
from clconv.problem import ConvProblem
from clconv.select import batch_parts, select
from clconv.tuning.store import Record, device_key, load, problem_key, save
from clconv.tuning.worker import Child, Verdict

HOPELESS = 4.0
"""Plans whose prediction is this many times the best one's are not tried."""

FINALISTS = 3
"""So many of the fastest plans are measured again."""

ROUNDS = 3
"""How often they are."""

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

    Every candidate takes turns with the rule's choice, so that a clock which rises and falls makes none of them the fastest.

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
    yardstick, least = None, float("inf")  # the rule's choice; the first plan that runs, if that one does not
    shares: dict[Plan, float] = {}  # of the yardstick's time
    failures: list[tuple[Plan, str]] = []
    for plan in dict.fromkeys((rule, *candidates(problem, device, thorough=thorough))):
        verdict = child.measure(plan, seconds, yardstick)
        tell(plan, verdict)
        if verdict.reason:
            failures.append((plan, verdict.reason))
            continue
        if yardstick is None:
            yardstick, least = plan, verdict.seconds
        shares[plan] = _share(verdict, least)
    if yardstick is None:
        return None
    best, share = yardstick, 1.0
    for plan in sorted((p for p in shares if p != yardstick), key=shares.__getitem__)[:FINALISTS]:
        # What made them finalists may have been luck, and counts no more.
        rounds = [child.measure(plan, seconds, yardstick) for _ in range(ROUNDS)]
        again = median(_share(verdict, least) for verdict in rounds)
        if again < min(share, 1 / NOISE):
            best, share = plan, again
    return Finding(problem, best, share * least, rule, least if yardstick == rule else float("inf"), tuple(failures))


def _share(verdict: Verdict, least: float) -> float:
    """Return a plan's share of the yardstick's time."""
    return median(verdict.ratios) if verdict.ratios else verdict.seconds / least
