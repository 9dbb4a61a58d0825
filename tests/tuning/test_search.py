"""The search, with a compiler that crashes on request."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from clconv.cli.group import cli
from clconv.device import DeviceInfo
from clconv.errors import ClconvError, DeviceError, ShapeError
from clconv.notation import parse
from clconv.plan import Plan
from clconv.select import Limits, select
from clconv.tuning import worker
from clconv.tuning.search import Finding, candidates, looked_up, search
from clconv.tuning.store import device_key, load, problem_key
from clconv.tuning.worker import BLAS, Child, Verdict, measure

PROBLEM = parse("3x3 16->16 @10")


class _Stub:
    """Stands in for the child process: known times, and a plan that fails."""

    def __init__(self, times: dict[str, float]) -> None:
        self.times = times

    def measure(self, plan: Plan, seconds: float, yardstick: Plan | None = None) -> Verdict:
        time = self.times.get(plan.algorithm)
        return Verdict(time) if time else Verdict(float("inf"), "crashed")

    def close(self) -> None:
        pass


def test_the_search_keeps_the_fastest_and_goes_on_where_it_stopped(
    device: DeviceInfo, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clconv.tuning.search.Child", lambda: _Stub({"reference": 1.0, "standard/direct_simd": 2.0}))
    problems = [PROBLEM, parse("3x3 8->8 @9")]
    first = next(search(problems, device, path, thorough=True))
    assert first.best.algorithm == "reference"
    assert first.failures
    assert load(path)[device_key(device)][problem_key(PROBLEM)].seconds == 1.0
    assert [f.problem for f in search(problems, device, path, thorough=True)] == problems[1:]
    assert len(list(search(problems, device, path, thorough=True, again=True))) == 2


def test_a_crash_in_the_child_is_survived(device: DeviceInfo) -> None:
    child = Child()
    try:
        plan = select(PROBLEM, device).plan
        assert child.measure(plan, 0.01).reason == ""
        child._process.kill()
        child._process.join()
        assert 0 < child.measure(plan, 0.01).seconds < 10
        assert child._pipe is not None
        child._pipe.send(("not a plan", 0.01, None))  # the child dies of this as it would of a crash in the driver
        verdict = child.measure(plan, 0.01)
        assert "died" in verdict.reason
        assert child.measure(plan, 0.01).reason == ""
    finally:
        child.close()


class _Clock:
    """Stands in for a child process on a machine that runs slower with each measurement: a plan's times, and its ratios."""

    def __init__(self, times: dict[Plan, float], lucky: Plan | None = None) -> None:
        self.times, self.lucky = times, lucky
        self.measured: list[Plan] = []

    def measure(self, plan: Plan, seconds: float, yardstick: Plan | None = None) -> Verdict:
        if plan not in self.times:
            return Verdict(float("inf"), "crashed")
        self.measured.append(plan)
        slower = 1.5 ** len(self.measured)
        if yardstick is None:
            return Verdict(self.times[plan] * slower)
        luck = 0.5 if plan == self.lucky and self.measured.count(plan) == 1 else 1.0
        return Verdict(self.times[plan] * slower, "", (luck * self.times[plan] / self.times[yardstick],) * 3)

    def close(self) -> None:
        pass


def _searched(device: DeviceInfo, path: Path, monkeypatch: pytest.MonkeyPatch, clock: _Clock) -> Finding:
    monkeypatch.setattr("clconv.tuning.search.Child", lambda: clock)
    (finding,) = search([PROBLEM], device, path)
    return finding


def test_a_machine_that_slows_down_does_not_hide_the_fastest(
    device: DeviceInfo, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule, *others = candidates(PROBLEM, device)[:4]
    times = {rule: 1.0, **dict.fromkeys(others, 1.1), others[-1]: 0.5}
    found = _searched(device, path, monkeypatch, _Clock(times))
    assert found.best == others[-1]
    assert found.gain == pytest.approx(2.0)
    assert load(path)[device_key(device)][problem_key(PROBLEM)].seconds == found.seconds


def test_luck_makes_a_finalist_and_no_more(device: DeviceInfo, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, *others = candidates(PROBLEM, device)[:6]
    times = {rule: 1.0, **dict.fromkeys(others, 1.2), others[1]: 0.99}
    clock = _Clock(times, lucky=others[2])
    found = _searched(device, path, monkeypatch, clock)
    assert clock.measured.count(others[2]) > 1
    assert found.best == rule  # others[1] is ahead by less than noise


def test_where_the_rule_s_choice_fails_the_next_is_the_yardstick(
    device: DeviceInfo, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule, *others = candidates(PROBLEM, device)[:4]
    times = {others[0]: 1.0, others[1]: 0.8, others[2]: 1.3}
    found = _searched(device, path, monkeypatch, _Clock(times))
    assert (found.best, found.gain) == (others[1], float("inf"))
    assert rule in [plan for plan, _ in found.failures]


def test_a_plan_takes_turns_with_the_yardstick(device: DeviceInfo) -> None:
    plan, other = select(PROBLEM, device).plan, select(PROBLEM, device, Limits("reference")).plan
    data: dict[str, object] = {}
    assert measure(plan, 0.01, data).ratios == ()
    verdict = measure(other, 0.01, data, yardstick=plan)
    assert min(verdict.ratios) > 1.2  # the reference is slower by far
    assert data["yardstick"] == plan
    again = measure(plan, 0.05, data, yardstick=other)
    assert 0 < max(again.ratios) < 0.8
    assert 0 < again.seconds < verdict.seconds


def test_between_two_turns_of_a_yardstick_that_differ_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    turns = iter([1.0, 2.0, 1.0, 5.0, 4.0, 8.0, 4.0])  # the yardstick first and last; once the clock falls to a quarter

    def burst(_run: object, _seconds: float) -> float:
        nonlocal now
        now += 1.0
        return next(turns)

    monkeypatch.setattr("clconv.tuning.worker._burst", burst)
    monkeypatch.setattr("clconv.tuning.worker.time.perf_counter", lambda: now)
    verdict = worker._in_turns(lambda: None, lambda: None, 5.0)
    assert verdict.ratios == (2.0, 2.0)
    assert verdict.seconds == 2.0


def test_a_plan_with_a_wrong_result_does_not_count(device: DeviceInfo) -> None:
    from dataclasses import replace

    child = Child()
    try:
        plan = select(PROBLEM, device, Limits("reference")).plan
        (launch,) = plan.launches
        wrong = replace(launch, macros=tuple((n, 2 if n == "SH" else v) for n, v in launch.macros))
        assert child.measure(replace(plan, launches=(wrong,)), 0.01).reason == "its result is wrong"
    finally:
        child.close()


def test_the_command(path: Path) -> None:
    result = CliRunner().invoke(cli, ["tune", "1x1", "8->8", "@6", "--seconds", "0.005"])
    assert result.exit_code == 0, result.output
    assert "1 of 1 problems" in result.stdout
    assert "0 of 1 problems" in CliRunner().invoke(cli, ["tune", "1x1", "8->8", "@6"]).stdout
    assert path.exists()


def test_a_candidate_is_timed_once_however_short_the_time(path: Path, device: DeviceInfo) -> None:
    result = CliRunner().invoke(cli, ["tune", "1x1", "8->8", "@6", "--seconds", "1e-9"])
    assert result.exit_code == 0, result.output
    assert "nan" not in result.output
    (record,) = load(path)[device_key(device)].values()
    assert 0 < record.seconds < 10


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "0"])
def test_times_that_are_none_are_refused(seconds: str) -> None:
    result = CliRunner().invoke(cli, ["tune", "--seconds", seconds])
    assert result.exit_code == 2
    assert "Invalid value for '--seconds'" in result.output


def test_a_stopped_search_says_so_by_its_exit_status(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stopped(*_: object, **__: object) -> Iterator[object]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("clconv.cli.tune.search", stopped)
    result = CliRunner().invoke(cli, ["tune", "1x1 8->8 @8", "--store", str(tmp_path / "t.json")])
    assert result.exit_code == 130
    assert "Stopped; what was found is kept." in result.output


def test_candidates_hold_the_rule_s_choice(device: DeviceInfo) -> None:
    assert candidates(PROBLEM, device)[0] == select(PROBLEM, device).plan
    assert len(candidates(PROBLEM, device, thorough=True)) >= len(candidates(PROBLEM, device))


def test_a_batch_is_searched_in_the_parts_that_calls_make(device: DeviceInfo) -> None:
    image = 4 * 8 * 6 * 6
    small = replace(device, max_alloc_bytes=2 * image)
    assert [p.N for p in looked_up(parse("1x1 8->8 @6 batch 5 relu"), small)] == [2, 1]
    with pytest.raises(DeviceError, match="one image"):
        looked_up(parse("1x1 8->8 @6"), replace(device, max_alloc_bytes=image - 1))
    (empty,) = looked_up(parse("1x1 8->8 @6 batch 0"), device)
    with pytest.raises(ShapeError, match="is empty"):
        candidates(empty, device)


def test_a_search_that_finds_nothing_says_why(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clconv.tuning.search.Child", lambda: _Stub({}))
    result = CliRunner().invoke(cli, ["tune", "1x1", "8->8", "@6"])
    assert isinstance(result.exception, ClconvError)
    assert "nothing could be measured for 1 of 1 problems, " in str(result.exception)
    assert ", crashed)" in str(result.exception)
    assert not path.exists()


def test_tensors_beyond_the_memory_are_a_reason(device: DeviceInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise MemoryError("Unable to allocate 150. GiB")

    monkeypatch.setattr("clconv.tuning.worker._inputs", fail)
    assert measure(select(PROBLEM, device).plan, 0.001, {}) == Verdict(float("inf"), "Unable to allocate 150. GiB")


def test_products_in_the_child_use_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of NumPy's would stay awake while a plan is timed."""
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    seen: dict[str, str] = {}

    def start() -> None:
        seen.update({name: os.environ[name] for name in BLAS})

    def process(**_: object) -> SimpleNamespace:
        return SimpleNamespace(start=start, kill=lambda: None, join=lambda: None)

    child = Child()
    monkeypatch.setattr(child._context, "Process", process)
    child._start()
    child.close()
    assert seen == {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "3"}
    assert "OPENBLAS_NUM_THREADS" not in os.environ
