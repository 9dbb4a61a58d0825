"""The store of records and the search, with a compiler that crashes on request."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import clconv
from clconv import folders
from clconv.algorithms import ALGORITHMS
from clconv.bench.workloads import distinct_layers
from clconv.cli.group import cli
from clconv.device import DeviceInfo
from clconv.discovery import choose_device
from clconv.errors import ClconvError, DeviceError, ShapeError
from clconv.explain import explain
from clconv.notation import parse
from clconv.plan import Plan
from clconv.select import Limits, select
from clconv.tuning import store
from clconv.tuning.search import candidates, looked_up, search
from clconv.tuning.store import Record, device_key, load, problem_key, recall, save
from clconv.tuning.worker import Child, Verdict, measure

PROBLEM = parse("3x3 16->16 @10")


@pytest.fixture
def device() -> DeviceInfo:
    return DeviceInfo.of(choose_device())


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's own records out of the tests, and the tests' out of the user's."""
    monkeypatch.setenv("CLCONV_TUNING", str(tmp_path / "tuning.json"))
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "shipped")
    store._known.cache_clear()
    return tmp_path / "tuning.json"


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


def _timed(seconds: str) -> str:
    return f'{{"version": 1, "devices": {{"d": {{"p": {{"algorithm": "a", "tile": "t", "seconds": {seconds}}}}}}}}}'


DAMAGED = {
    "empty": "",
    "blanks": " \n",
    "torn": "{",
    "torn in the number": '{\n "version": 1',
    "torn in a name": '{\n "version": 12,\n "dev',
    "torn in a record": '{\n "version": 1,\n "devices": {\n  "d": {\n   "p": {\n    "algor',
    "more behind it": '{"version": 1, "devices": {}}}',
    "no tile": '{"version": 1, "devices": {"d": {"p": {"algorithm": 3}}}}',
    "deep": '{"version": 1, "devices": {"d": ' + "[" * 200_000,
    **{name: _timed(name) for name in ("NaN", "Infinity", "0", "-1", "1e400")},
    "400 digits": _timed("9" * 400),
    "5000 digits": _timed("9" * 5000),
}


NO_UTF_8 = _timed("1").encode().replace(b'"t"', b'"\xff"')


@pytest.mark.parametrize("raw", [*(t.encode() for t in DAMAGED.values()), NO_UTF_8], ids=[*DAMAGED, "no UTF-8"])
def test_a_damaged_store_is_set_aside(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    with pytest.warns(UserWarning, match="are damaged"):
        assert load(path) == {}
    assert not path.exists()
    assert path.with_name("tuning.json.damaged").read_bytes() == raw
    save(path, "d", {"p": Record("a", "t", 1.0)})
    assert load(path) == {"d": {"p": Record("a", "t", 1.0)}}


FOREIGN = {
    "text": b"theme=dark\n",
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "deep": b"[" * 200_000,
    "no UTF-8": b"\xff\xfe",
    "settings": b'{"theme": "dark"}',
    "torn settings": b'{"theme": "da',
    "a version": b'{"version": 1}',
    "another version": b'{"version": 3, "packages": {}}',
    "a version in words": b'{"version": "1.0", "devices": {}}',
    "torn after a version in words": b'{"version": "1.0", "dev',
    "a list of devices": b'{"version": 1, "devices": []}',
    "devices alone": b'{"devices": {}}',
}


@pytest.mark.parametrize("raw", FOREIGN.values(), ids=FOREIGN)
def test_a_file_of_something_else_is_left_alone(path: Path, raw: bytes, device: DeviceInfo) -> None:
    path.write_bytes(raw)
    with pytest.warns(UserWarning, match=r"tuning.json is no file of tuning records and is left alone; name another one"):
        assert not select(PROBLEM, device, recall=recall).tuned
    words = r"is no file of tuning records and is left alone; name another one with --store"
    with pytest.raises(ClconvError, match=words):
        save(path, "d", {"p": Record("a", "t", 1.0)})
    with pytest.raises(ClconvError, match=words):
        store.make_folder(path)
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == {path.name: raw}


def test_tune_refuses_a_file_of_something_else_before_it_measures(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clconv.cli.tune.search", lambda *_, **__: pytest.fail("it searches"))
    path.write_text("{}")
    result = CliRunner().invoke(cli, ["tune", "1x1 8->8 @6"])
    assert isinstance(result.exception, ClconvError)
    assert path.read_text() == "{}"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no such thing")
def test_what_is_no_file_is_neither_read_nor_renamed_nor_replaced(path: Path) -> None:
    """As a device; a pipe is none that others need."""
    os.mkfifo(path)
    assert load(path) == {}
    with pytest.raises(ClconvError, match="is no file of tuning records"):
        save(path, "d", {"p": Record("a", "t", 1.0)})
    assert path.is_fifo()
    assert list(path.parent.iterdir()) == [path]


def test_a_store_that_cannot_be_read_is_not_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, "d", {"p": Record("a", "t", 1.0)})
    text = path.read_text()

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        with pytest.warns(UserWarning, match="cannot be read .*; going on without them"):
            assert load(path) == {}
        with pytest.raises(ClconvError, match=r"cannot be written to .* \(Permission denied\); name another file"):
            save(path, "d", {"q": Record("a", "t", 1.0)})
    assert path.read_text() == text


def test_a_store_that_cannot_be_written_stays_as_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, "d", {"p": Record("a", "t", 1.0)})
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}

    plain = Path.write_text

    def fill(path: Path, text: str, **options: Any) -> None:
        plain(path, text[:1], **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill)
    with pytest.raises(ClconvError, match=r"cannot be written to .*tuning.json \(No space left on device\); name another file"):
        save(path, "d", {"q": Record("a", "t", 1.0)})
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before


def test_a_second_damaged_store_leaves_the_first_one_alone(path: Path) -> None:
    texts = [DAMAGED[name] for name in ("torn", "NaN", "torn in a name")]
    for raw in texts:
        path.write_text(raw)
        with pytest.warns(UserWarning, match="are damaged"):
            load(path)
    aside = {p.name: p.read_text() for p in path.parent.glob("tuning.json.damaged*")}
    assert aside == dict(zip(("tuning.json.damaged", "tuning.json.damaged2", "tuning.json.damaged3"), texts, strict=True))


def test_a_store_of_a_later_version_is_not_damaged(path: Path) -> None:
    text = json.dumps({"version": 99, "devices": {}})
    path.write_text(text)
    assert load(path) == {}
    assert path.read_text() == text
    with pytest.warns(UserWarning, match=r"are of version 99 and this clconv writes version 1; they are set aside"):
        save(path, "d", {"p": Record("a", "t", 1.0)})
    assert path.with_name("tuning.json.other").read_text() == text
    assert load(path) == {"d": {"p": Record("a", "t", 1.0)}}


def test_stores_beside_each_other_keep_their_records(tmp_path: Path) -> None:
    """A lock has the whole name of its store: that of ``x.json`` is neither that of ``x.lock`` nor ``x.lock`` itself."""
    names = ("x.lock", "x.json", "x", "x.damaged")
    for name in names:
        save(tmp_path / name, "d", {name: Record("a", "t", 1.0)})
    for name in names:
        assert list(load(tmp_path / name)["d"]) == [name]


def test_a_folder_in_place_of_a_store_is_told_of(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="cannot be read"):
        assert load(tmp_path) == {}


@pytest.mark.parametrize("folder", ["/", ".", "", "here"])
def test_a_folder_is_no_store(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clconv.cli.tune.search", lambda *_, **__: pytest.fail("it searches"))
    where = folder if folder != "here" else str(tmp_path)
    with pytest.raises(clconv.ClconvError, match="is a folder; name a file with --store or CLCONV_TUNING"):
        CliRunner().invoke(cli, ["tune", "1x1 8->8 @6", "--store", where], catch_exceptions=False)


def _write(path: Path, who: int) -> None:
    for i in range(15):
        save(path, "d", {f"{who}-{i}": Record("a", "t", i + 1.0)})


def test_many_processes_write_at_once(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, who)) for who in range(4)]
    for w in writers:
        w.start()
    for w in writers:
        w.join()
    assert [w.exitcode for w in writers] == [0] * 4
    assert len(load(path)["d"]) == 60


class _Stub:
    """Stands in for the child process: known times, and a plan that fails."""

    def __init__(self, times: dict[str, float]) -> None:
        self.times = times

    def measure(self, plan: Plan, seconds: float) -> Verdict:
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
        child._pipe.send(("not a plan", 0.01))  # the child dies of this as it would of a crash in the driver
        verdict = child.measure(plan, 0.01)
        assert "died" in verdict.reason
        assert child.measure(plan, 0.01).reason == ""
    finally:
        child.close()


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


def test_a_relative_path_is_of_the_folder_where_it_was_read_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLCONV_TUNING", "of this test.json")
    monkeypatch.chdir(tmp_path)
    first = folders.tuning_file()
    monkeypatch.chdir(tmp_path.parent)
    assert folders.tuning_file() == first == tmp_path / "of this test.json"


def test_a_record_is_for_the_problem_with_and_without_an_epilogue(path: Path, device: DeviceInfo) -> None:
    words = ["1x1", "8->8", "@6", "bias", "residual", "relu"]
    result = CliRunner().invoke(cli, ["tune", *words, "--seconds", "1e-9"])
    assert result.exit_code == 0, result.output
    problem = parse(" ".join(words))
    assert problem.bias
    assert load(path)[device_key(device)].keys() == {problem_key(problem)}
    assert "0 of 1 problems" in CliRunner().invoke(cli, ["tune", "1x1", "8->8", "@6"]).stdout


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
