from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clconv import ClconvError
from clconv.bench.results import Results, Timing
from clconv.bench.resume import resumed
from clconv.bench.timing import measure_machine
from clconv.bench.whole_results import NetworkResults
from tests.bench.records import MACHINE, results


def test_json_keeps_everything(tmp_path: Path) -> None:
    before = results()
    path = tmp_path / "run.json"
    before.save(path)
    assert Results.load(path) == before
    assert "Infinity" not in path.read_text()
    assert json.loads(path.read_text())["machine"]["levels"][-1]["bytes"] == 0
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]
    path.chmod(0o640)
    before.save(path)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("what", [results(), NetworkResults(1, 1, 1.0, "2026-01-31", {})], ids=["layers", "networks"])
def test_results_that_cannot_be_written_leave_the_earlier_ones(
    what: Results | NetworkResults, tmp_path: Path, fill_disk: Callable[[], None]
) -> None:
    path = tmp_path / "run.json"
    what.save(path)
    before = path.read_bytes()
    fill_disk()
    with pytest.raises(ClconvError, match=r"run.json cannot be written \(No space left on device\); make room there"):
        what.save(path)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [before]


def test_a_link_stays_one(tmp_path: Path) -> None:
    target, link = tmp_path / "kept.json", tmp_path / "run.json"
    target.write_text("old")
    link.symlink_to(target)
    results().save(link)
    assert link.is_symlink()
    assert Results.load(target).date == results().date


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "{}", '{"format": 99}', '{"format": 1}', "[" * 200_000], ids=lambda text: text[:9]
)
def test_a_strange_file_is_refused_in_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(ClconvError, match=r"run\.json is not a record of clconv bench"):
        Results.load(path)
    with pytest.raises(ClconvError, match="not a record"):
        Results.load(tmp_path / "absent.json")


def test_the_fastest_right_variant_of_a_layout_counts() -> None:
    r = results(ratio=2.0).layers["g32_3x3s1_128_128_56"]
    ours = r.of("clconv", "NCHW")
    torch = r.of("torch", "NCHW")
    assert ours is not None
    assert torch is not None
    assert torch.min_ms == pytest.approx(2 * ours.min_ms)  # packed, not the plain one that takes 6
    assert r.of("ncnn", "NCHW") is None  # faster than all, but wrong
    assert r.of("litert", "NHWC") is None  # failed
    assert r.of("openvino", "NCHW") is None  # not measured
    assert r.best_peer("NCHW") == ("torch", torch)
    assert r.ratio("NCHW") == pytest.approx(2.0)
    del r.timings["clconv"]
    assert r.ratio("NCHW") is None


def test_least_and_median_of_the_rounds() -> None:
    timing = Timing([[3.0, 4.0, 5], [2.0, 9.0, 3], [2.5, 3.0, 4]], 1e-6, "k")
    assert (timing.min_ms, timing.median_ms) == (2.0, 4.0)
    assert timing.counts
    assert not Timing(timing.rounds, 1.1e-4).counts
    assert not Timing(timing.rounds, math.nan).counts
    assert not Timing().counts
    assert Timing().min_ms == math.inf


def test_adopting_an_earlier_run_takes_the_others_only() -> None:
    now, earlier = results(ratio=2.0), results(ratio=3.0)
    for r in now.layers.values():
        del r.timings["torch"]
    ours = {name: r.timings["clconv"] for name, r in now.layers.items()}
    earlier.versions["ncnn"] = "5.6"
    now.adopt(earlier)
    assert {name: r.timings["clconv"] for name, r in now.layers.items()} == ours
    assert [r.ratio("NCHW") for r in now.layers.values()] == [pytest.approx(3.0)] * len(now.layers)
    assert now.versions == {"clconv": "1.2", "torch": "3.4", "ncnn": "5.6"}
    assert now.peers == ["ncnn", "litert", "torch"]


def test_what_is_adopted_from_another_day_has_its_date() -> None:
    now, earlier = results(ratio=2.0), results(ratio=3.0)
    earlier.date, earlier.versions["ncnn"] = "1999-12-31", "5.6"
    now.adopt(earlier)
    assert now.versions["ncnn"] == "5.6 of 1999-12-31"
    assert now.versions["clconv"] == "1.2"


def test_an_earlier_run_on_another_device_is_no_measure() -> None:
    class Told:
        def ask(self, do: str, seconds: float) -> dict[str, Any]:
            return MACHINE.record()

    process: Any = Told()
    another = dataclasses.replace(MACHINE, device="another")
    assert measure_machine(process, MACHINE, [MACHINE, None]) == MACHINE
    for arguments in ((another,), (None, [another])):
        with pytest.raises(ClconvError, match="the earlier run was made on another, this one is on"):
            measure_machine(process, *arguments)


def test_a_resumed_run_has_both_days() -> None:
    now, earlier = results(ratio=2.0), results(ratio=3.0)
    now.date, earlier.date = "2000-01-02", "2000-01-01"
    assert resumed(earlier, now, ()).date == "2000-01-01 to 2000-01-02"
    now.date = "2000-01-03"
    assert resumed(earlier, now, ()).date == "2000-01-01 to 2000-01-03"
