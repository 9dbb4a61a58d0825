from __future__ import annotations

import dataclasses
import io

from rich.console import Console

from clconv.bench.sweep import count_flags, distinct, judge, series, tables
from tests.bench.records import MACHINE, sweep_results


def _slow_down(name: str, factor: float, call_us: float = 0.0) -> tuple[dict[str, dict[str, str]], tuple[int, int]]:
    """Return the flags, by series and label, when one layer takes ``factor`` times as long in NCHW."""
    lines = series()
    made = sweep_results(lines)
    made.machine = dataclasses.replace(MACHINE, call_us=call_us)
    for one in made.layers[name].timings["clconv"]["NCHW"].rounds:
        one[0] *= factor
    judged = judge(lines, made)
    flags = {title: {p.label: p.flags["NCHW"] for p in points if "NCHW" in p.flags} for title, points in judged.items()}
    return {title: f for title, f in flags.items() if f}, count_flags(judged)


def test_the_series_cover_what_they_should() -> None:
    problems = [layer.problem for layer in distinct(series())]
    assert {p.KH for p in problems} == {1, 2, 3, 4, 5, 6, 7}
    assert {p.SH for p in problems} == {1, 2, 3, 4}
    assert {p.DH for p in problems} >= {1, 2, 4}
    assert {7, 224} <= {p.IH for p in problems} <= set(range(7, 225))
    assert {p.kind for p in problems} == {"standard", "grouped", "depthwise", "pointwise"}
    assert len({layer.name for layer in distinct(series())}) == len(set(problems)) == len(problems)


def test_equal_speed_everywhere_is_no_cliff() -> None:
    flags, (flagged, measured) = _slow_down("cv3x3s1_64_64_28", 1.0)
    assert flags == {}
    assert flagged == 0
    assert measured == 2 * sum(len(points) for points in series().values())


def test_a_slow_point_is_flagged_in_its_series_and_its_neighbours_are_not() -> None:
    flags, _ = _slow_down("cv3x3s1_96_96_28", 1.6)
    assert flags["channels, dense 3x3 at 28"] == {"96": "1.6x its neighbour's time per FLOP"}
    assert _slow_down("cv3x3s1_96_96_28", 1.4)[0] == {}


def test_grouped_slower_than_dense_is_flagged() -> None:
    # Half the work of the dense one, so 2.2 times the time per operation is 1.1 times the time.
    flags, _ = _slow_down("g2_3x3s1_128_128_28", 2.2)
    assert flags["groups, 128 channels, 3x3 at 28"] == {"2": "slower than dense by 1.10"}


def test_the_dense_twin_may_be_in_another_series() -> None:
    flags, _ = _slow_down("g16_3x3s1_64_64_28", 20.0)  # a sixteenth of the work of the dense one
    assert "slower than dense by 1.25" in flags["filter, 16 groups of 4 at 28"].values()


def test_a_call_of_a_few_microseconds_is_forgiven_what_an_empty_kernel_takes() -> None:
    name = "pw1x1s1_64_64_7"  # 0.4 MFLOP, 4 us
    assert "image, pointwise, 64 channels" in _slow_down(name, 3.0)[0]
    assert _slow_down(name, 3.0, call_us=10.0)[0] == {}
    assert "image, pointwise, 64 channels" in _slow_down(name, 9.0, call_us=10.0)[0]


def test_only_what_was_measured_is_shown() -> None:
    lines = series()
    made = sweep_results(lines)
    made.layers = {name: r for name, r in made.layers.items() if name.startswith("dw")}
    judged = judge(lines, made)
    assert {p.layer.problem.kind for points in judged.values() for p in points} == {"depthwise"}
    console = Console(width=200, file=io.StringIO())
    with console.capture() as capture:
        for part in tables(judged, made):
            console.print(part)
    assert "dw3x3s1_64_64_56" in capture.get()
    assert "100.0" in capture.get()
    assert {layer.name for layer in distinct(lines, ["dw3x3s2"])} == {"dw3x3s2_128_128_56"}
