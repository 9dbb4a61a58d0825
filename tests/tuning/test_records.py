"""Records: when one is taken, of which device, and those that the package brings."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import clconv
from clconv.algorithms import ALGORITHMS
from clconv.bench.workloads import distinct_layers
from clconv.cli.group import cli
from clconv.device import DeviceInfo
from clconv.explain import explain
from clconv.notation import parse
from clconv.select import Limits, select
from clconv.tuning import store
from clconv.tuning.store import Record, device_key, load, problem_key, recall, save

PROBLEM = parse("3x3 16->16 @10")


def test_a_record_is_recalled(device: DeviceInfo, path: Path) -> None:
    assert not select(PROBLEM, device, recall=recall).tuned
    plan = select(PROBLEM, device, Limits("reference")).plan
    save(path, device_key(device), {problem_key(PROBLEM): Record(plan.algorithm, plan.tile, 1.0)})
    choice = select(PROBLEM, device, recall=recall)
    assert choice.tuned
    assert choice.plan == plan
    assert not select(parse("3x3 16->16 @11"), device, recall=recall).tuned


def test_explain_tells_what_share_of_the_roofline_was_measured(device: DeviceInfo, path: Path) -> None:
    told = explain(PROBLEM, device)
    assert told.as_dict()["measured_roofline_share"] is None
    assert "measured" not in str(told)
    plan, predicted = told.plan, told.as_dict()["predicted_roofline_share"]
    save(path, device_key(device), {problem_key(PROBLEM): Record(plan.algorithm, plan.tile, 4 * plan.seconds)})
    told = explain(PROBLEM, device)
    assert told.as_dict()["measured_roofline_share"] == pytest.approx(predicted / 4)
    assert f"predicted {100 * predicted:.0f} %, measured {25 * predicted:.0f} % of it" in str(told)


def test_records_of_another_device_or_a_vanished_plan_are_left_alone(device: DeviceInfo, path: Path) -> None:
    save(path, "another device", {problem_key(PROBLEM): Record("reference", "x", 1.0)})
    assert not select(PROBLEM, device, recall=recall).tuned
    save(path, device_key(device), {problem_key(PROBLEM): Record("standard/of_old", "7 x 7", 1.0)})
    assert not select(PROBLEM, device, recall=recall).tuned


def test_limits_go_before_records(device: DeviceInfo, path: Path) -> None:
    fast = select(PROBLEM, device).plan
    save(path, device_key(device), {problem_key(PROBLEM): Record(fast.algorithm, fast.tile, 1.0)})
    assert select(PROBLEM, device, Limits("reference"), recall).plan.algorithm == "reference"


OTHERS: dict[str, dict[str, Any]] = {
    "name": {"name": "another"},
    "platform": {"platform": "another"},
    "driver": {"driver": "4.0"},
    "units": {"compute_units": 3},
    "matrix unit": {"amx": True},
}


@pytest.mark.parametrize("what", OTHERS)
def test_times_of_a_device_that_differs_in_one_thing_are_not_taken(what: str, path: Path) -> None:
    one = DeviceInfo("one", "Portable Computing Language", driver="3.0", compute_units=2)
    plan = select(PROBLEM, one, Limits("reference")).plan
    save(path, device_key(one), {problem_key(PROBLEM): Record(plan.algorithm, plan.tile, 1.0)})
    assert recall(PROBLEM, one, [plan]) == (plan, 1.0)
    assert recall(PROBLEM, replace(one, **OTHERS[what]), [plan]) is None


def test_records_of_the_user_go_before_those_of_the_package(device: DeviceInfo, path: Path) -> None:
    theirs, own = select(PROBLEM, device).candidates[:2]
    for where, plan in ((store.SHIPPED / "a.json", theirs), (path, own)):
        save(where, device_key(device), {problem_key(PROBLEM): Record(plan.algorithm, plan.tile, 1.0)})
    assert recall(PROBLEM, device, [theirs, own]) == (own, 1.0)


def test_a_record_names_a_tile_and_not_only_an_algorithm(device: DeviceInfo, path: Path) -> None:
    several = (list(a.plans(PROBLEM, device)) for a in ALGORITHMS if a.supports(PROBLEM, device) is None)
    plans = next(plans for plans in several if len({plan.tile for plan in plans}) > 1)
    save(path, device_key(device), {problem_key(PROBLEM): Record(plans[-1].algorithm, plans[-1].tile, 1.0)})
    assert recall(PROBLEM, device, plans) == (plans[-1], 1.0)
    save(path, device_key(device), {problem_key(PROBLEM): Record(plans[0].algorithm, "a tile of old", 1.0)})
    assert recall(PROBLEM, device, plans) is None


def test_records_can_be_switched_off(device: DeviceInfo, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, device_key(device), {problem_key(PROBLEM): Record("reference", "1 output a work-item", 1.0)})
    monkeypatch.setenv("CLCONV_NO_TUNING", "1")
    assert not select(PROBLEM, device, recall=recall).tuned


def test_shipped_records_name_algorithms_that_there_are() -> None:
    files = sorted((Path(clconv.__file__).parent / "tuning" / "records").glob("*.json"))
    assert files
    names = {algorithm.name for algorithm in ALGORITHMS}
    for file in files:
        for device, records in load(file).items():
            assert re.fullmatch(r"[^|]+ \| [^|]+ \| [^|]+ \| \d+ units( \| amx| \| (full )?avx512)?", device)
            assert {record.algorithm for record in records.values()} <= names


def test_processors_of_one_name_have_records_of_their_own(device: DeviceInfo) -> None:
    units = ((False, False, False), (True, False, False), (True, True, False), (True, True, True))
    kinds = [replace(device, avx512=avx512, full_avx512=full, amx=amx) for avx512, full, amx in units]
    assert len({device_key(kind) for kind in kinds}) == 4


SHIPPED_FOR = {
    "pthread-Intel(R) Xeon(R) Processor | 3.0-rc2 | 2 units | amx": {
        "local_mem_bytes": 2 << 20, "avx512": True, "full_avx512": True, "amx": True,
    },
    "pthread-AMD EPYC | 3.0-rc2 | 2 units | avx512": {"local_mem_bytes": 1 << 20, "avx512": True, "l2_bytes": 1 << 20},
    "pthread-AMD EPYC | 3.0-rc2 | 2 units": {"local_mem_bytes": 1 << 19, "l2_bytes": 1 << 19, "clock_mhz": 2445},
}  # fmt: skip


@pytest.mark.parametrize("key", SHIPPED_FOR)
def test_shipped_records_are_found_on_the_device_that_they_are_of(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records name plans as explain does: one that is worded anew would be lost without a word, as under another key."""
    facts: Any = {"driver": "3.0-rc2", "max_work_group_size": 4096, "unaligned_vectors": True, **SHIPPED_FOR[key]}
    device = DeviceInfo(key.split(" | ")[0], "Portable Computing Language", **facts)
    assert device_key(device) == f"Portable Computing Language | {key}"
    shipped = Path(clconv.__file__).parent / "tuning" / "records"
    (records,) = [found for file in shipped.glob("*.json") if (found := load(file).get(device_key(device)))]
    monkeypatch.setattr(store, "SHIPPED", shipped)
    store._known.cache_clear()
    problems = [layer.problem_in(layout) for layer in distinct_layers() for layout in ("NCHW", "NHWC")]
    kept = [problem for problem in problems if problem_key(problem) in records]
    assert len(kept) == len(records)
    for problem in kept:
        assert select(problem, device, recall=recall).tuned, problem


def test_a_record_is_for_the_problem_with_and_without_an_epilogue(path: Path, device: DeviceInfo) -> None:
    words = ["1x1", "8->8", "@6", "bias", "residual", "relu"]
    result = CliRunner().invoke(cli, ["tune", *words, "--seconds", "1e-9"])
    assert result.exit_code == 0, result.output
    problem = parse(" ".join(words))
    assert problem.bias
    assert load(path)[device_key(device)].keys() == {problem_key(problem)}
    assert "0 of 1 problems" in CliRunner().invoke(cli, ["tune", "1x1", "8->8", "@6"]).stdout
