from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from clconv import ClconvError
from clconv.bench import readme, table
from clconv.bench.picture import draw_ratios, draw_sweep
from clconv.bench.results import Results, Timing
from clconv.bench.sweep import judge, series
from tests.bench.records import results, sweep_results


def _text(made: Results, width: int = 220) -> str:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as capture:
        console.print(table.report(made, width))
    return capture.get()


def _line(text: str, *parts: str) -> str:
    (line,) = [line for line in text.splitlines() if all(part in line for part in parts)]
    return line


def test_the_report_says_where_with_what_and_when() -> None:
    text = _text(results())
    assert "a device, a platform 1.0, 2 threads, batch 1" in text
    assert "200 GFLOP/s multiply-add, copies at L1 400, L2 200, memory 40 GB/s, an empty kernel 7 us" in text
    assert "clconv 1.2, torch 3.4; 2026-01-31" in text


def test_a_layer_has_its_time_speed_share_ratio_and_algorithm() -> None:
    made = results(networks=("vgg16",), ratio=2.0)
    made.layouts = ("NCHW",)
    cells = _line(_text(made), "cv3x3s1_64_64_224", "3699.4").split()
    # 3699 MFLOP in 37 ms are 100 GFLOP/s; half of the peak of 200, a little less without the taps on padding.
    assert cells == [
        "cv3x3s1_64_64_224",
        "3699.4",
        "37.0",
        "44.4",
        "100",
        "50%",
        "torch",
        "74.0",
        "2.00",
        "some/kernel",
        "74.0",
    ]


def test_what_does_not_count_is_listed() -> None:
    made = results(networks=("vgg16",))
    text = _text(made)
    assert "off by 1e-03 of the largest output" in _line(text, "ncnn ", "off by")
    assert "and 6 more" in _line(text, "ncnn ", "off by")
    assert "NotImplementedError: no" in _line(text, "litert", "NHWC", "NotImplementedError")


def test_our_own_wrong_result_has_no_time_and_is_loud() -> None:
    made = results(networks=("vgg16",))
    made.layers["cv3x3s1_64_64_224"].timings["clconv"]["NCHW"].error = 0.5
    del made.layers["cv3x3s1_3_64_224"].timings["clconv"]
    made.layers["cv3x3s1_512_512_14"].timings["clconv"]["NCHW"] = Timing(failed="KernelBuildError: no")
    made.layouts = ("NCHW",)
    text = _text(made)
    assert _line(text, "cv3x3s1_64_64_224", "WRONG by 5.0e-01").split()[2:6] == ["-", "-", "-", "-"]
    assert _line(text, "cv3x3s1_3_64_224", "torch").split()[2:6] == ["-", "-", "-", "-"]
    assert "KernelBuildError: no" in _line(text, "cv3x3s1_512_512_14", "torch")


def test_several_algorithms_stand_side_by_side() -> None:
    made = results(networks=("vgg16",))
    made.layouts = ("NCHW",)
    ours = made.layers["cv3x3s1_64_64_224"].timings["clconv"]
    ours["NCHW winograd"] = Timing([[20.0, 21.0, 9]], 1e-6, "some/winograd")
    line = _line(_text(made), "cv3x3s1_64_64_224", "3699.4")
    assert "some/winograd 20.0; some/kernel 37.0" in line
    assert line.split()[2] == "20.0"


def test_a_narrow_terminal_gets_fewer_columns() -> None:
    made = results(networks=("vgg16",))
    made.layouts = ("NCHW",)
    narrow = _text(made, 120)
    assert _line(narrow, "cv3x3s1_64_64_224", "3699.4").split()[-4:] == ["torch", "74.0", "2.00", "some/kernel"]
    assert max(map(len, narrow.splitlines())) <= 120


def test_readme_table_stands_between_its_markers(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("before\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nafter\n")
    made = results()
    readme.write(path, made)
    once = path.read_text()
    readme.write(path, made)
    assert path.read_text() == once
    assert once.startswith("before\n<!-- bench:begin -->\n")
    assert once.endswith("<!-- bench:end -->\nafter\n")
    assert "old" not in once
    assert "| grouped 3x3, 4 channels a group | 1 | **2.00** | 1.8 | **2.00** | 1.6 |" in once
    assert "| `cv3x3s1_64_64_224` | 37.0 | 100 | 50% | some/kernel | 2.00 | 74.0 |" in once
    for block in once.split("\n\n"):
        pipes = {line.count("|") for line in block.splitlines() if line.startswith("|")}
        assert len(pipes) <= 1  # every row of a table has as many cells as its head


def test_readme_without_markers_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("<!-- bench:end --> <!-- bench:begin -->")
    with pytest.raises(ClconvError, match="has no place for the table"):
        readme.write(path, results())
    assert path.read_text() == "<!-- bench:end --> <!-- bench:begin -->"


def test_pictures_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    made = results(networks=("vgg16",))
    draw_ratios(made, tmp_path / "ratios.svg")
    text = (tmp_path / "ratios.svg").read_text()
    assert text.count("<!--") > len(made.layers)  # matplotlib writes each text as a comment beside its outlines
    assert "<!-- cv3x3s1_64_64_224 -->" in text


def test_a_sweep_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    lines = series()
    draw_sweep(judge(lines, sweep_results(lines)), ("NCHW", "NHWC"), tmp_path / "sweep.svg")
    text = (tmp_path / "sweep.svg").read_text()
    for title in lines:
        assert f"<!-- {title} -->" in text


def test_no_picture_without_ratios(tmp_path: Path) -> None:
    made = results(networks=("vgg16",))
    for r in made.layers.values():
        r.timings = {"clconv": r.timings["clconv"]}
    with pytest.raises(ClconvError, match="no ratio to draw"):
        draw_ratios(made, tmp_path / "ratios.png")
    assert not list(tmp_path.iterdir())
