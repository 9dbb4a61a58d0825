from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clconv.bench import command, layers, peers
from clconv.bench.peers import Peer
from clconv.bench.results import LayerResult, Results
from clconv.bench.timing import measure_round
from tests.bench.records import MACHINE, results


@pytest.fixture(autouse=True)
def _fake_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put stand-ins in the place of every library, ours too, and leave the device alone."""
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))

    def fake(name: str, *variants: str) -> Peer:
        return Peer(name, "tests.bench.fake_peer:load", variants, ("numpy",), "numpy", takes_filter=name == "torch")

    monkeypatch.setattr(peers, "OURS", fake("clconv", "NCHW", "NHWC"))
    known = {"torch": fake("torch", "NCHW", "NHWC packed"), "ncnn": fake("ncnn", "NCHW wrong")}
    known["absent"] = Peer("absent", "no_such_module:load", ("NCHW",), ("no_such_module",), "no-such-distribution")
    monkeypatch.setattr(peers, "PEERS", known)
    monkeypatch.setattr(layers, "measure_machine", lambda process, earlier, others: MACHINE)


def _run(*arguments: str) -> Result:
    few = (
        "--only",
        "dw3x3s2_512_512_14,pw1x1s1_512_1024_7",
        "--seconds",
        "1e-4",
        "--rounds",
        "1",
        "--threads",
        "1",
        *(() if "--sweep" in arguments else ("--against", "torch")),
    )
    return CliRunner().invoke(command.bench_command, [*few, *arguments], env={"COLUMNS": "200"})


def test_a_function_is_given_its_filter_in_each_call(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    result = _run("--function", "--against", "torch,ncnn", "--json", str(path))
    assert result.exit_code == 0, result.output
    assert "each call was given its filter" in result.output
    for layer in json.loads(path.read_text())["layers"].values():
        assert {name: sorted(variants) for name, variants in layer["timings"].items()} == {
            "clconv": ["NCHW function", "NHWC function"],
            "torch": ["NCHW"],  # the other one is packed, and ncnn keeps its filter
        }
    other = _run("--json", str(path), "--resume")
    assert other.exit_code != 0
    assert "the earlier run has function True, this one False" in other.output
    for option in (["--algorithm", "winograd"], ["--sweep"]):
        refused = _run("--function", *option)
        assert refused.exit_code != 0
        assert "means nothing to --function" in refused.output


def test_measures_keeps_and_shows(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    result = _run("--against", "torch,ncnn,absent", "--json", str(path))
    assert result.exit_code == 0, result.output
    assert "not installed, left out: absent" in result.output
    assert "fake in 1 threads" in result.output
    assert "off by 1e-03" in result.output
    record = json.loads(path.read_text())
    assert sorted(record["layers"]) == ["dw3x3s2_512_512_14", "pw1x1s1_512_1024_7"]
    assert sorted(record["layers"]["dw3x3s2_512_512_14"]["timings"]) == ["clconv", "ncnn", "torch"]


def test_resume_adds_the_missing_rounds_and_layers_only(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    assert _run("--against", "none", "--only", "dw3x3s2_512_512_14", "--json", str(path)).exit_code == 0
    first = Results.load(path).layers["dw3x3s2_512_512_14"].timings["clconv"]["NCHW"].rounds
    assert _run("--against", "none", "--rounds", "2", "--json", str(path), "--resume").exit_code == 0
    kept = Results.load(path).layers
    assert {name: r.rounds for name, r in kept.items()} == {"dw3x3s2_512_512_14": 2, "pw1x1s1_512_1024_7": 2}
    assert kept["dw3x3s2_512_512_14"].timings["clconv"]["NCHW"].rounds[:1] == first


def test_resume_refuses_another_kind_of_run(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    results(batch=8).save(path)
    result = _run("--against", "none", "--json", str(path), "--resume")
    assert result.exit_code == 1
    assert "the earlier run has batch 8, this one 1; start anew without --resume" in result.output


def test_resume_needs_a_file() -> None:
    result = _run("--resume")
    assert result.exit_code == 2
    assert "--resume goes on with the file of --json" in result.output


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"

    def interrupt_second(result: LayerResult, *arguments: object) -> None:
        if result.layer.name.startswith("pw"):
            raise KeyboardInterrupt
        measure_round(result, *arguments)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(layers, "measure_round", interrupt_second)
    result = _run("--against", "torch", "--json", str(path))
    assert result.exit_code == 130
    assert "interrupted after 1 of 2 visits" in result.output
    assert list(Results.load(path).layers) == ["dw3x3s2_512_512_14"]
    assert "dw3x3s2_512_512_14" in result.output


def test_a_budget_ends_the_run_in_time() -> None:
    result = _run("--against", "none", "--budget", "1e-9")
    assert result.exit_code == 0
    assert "the budget is spent after 0 of 2 visits" in result.output


def test_times_of_an_earlier_run_stand_for_the_libraries(tmp_path: Path) -> None:
    path = tmp_path / "earlier.json"
    results(ratio=3.0).save(path)
    result = _run("--against", str(path), "--layout", "NCHW", "--threads", "2")
    assert result.exit_code == 0
    line = next(line for line in result.output.splitlines() if "pw1x1s1_512_1024_7" in line)
    assert "torch 1.541" in line  # 51.4 MFLOP at 100 GFLOP/s, three times


@pytest.mark.parametrize(("what", "other"), [("batch", 8), ("threads", 16)])
def test_an_earlier_run_has_to_be_alike(what: str, other: object, tmp_path: Path) -> None:
    path = tmp_path / "earlier.json"
    earlier = results(ratio=3.0)
    setattr(earlier, what, other)
    earlier.save(path)
    result = _run("--against", str(path), "--layout", "NCHW", "--threads", "2")
    assert result.exit_code == 1
    assert f"the earlier run has {what} {other}, this one" in result.output


def test_picture_and_readme(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("<!-- bench:begin -->\n<!-- bench:end -->\n")
    result = _run("--against", "torch", "--picture", str(tmp_path / "p.png"), "--readme", str(readme))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "p.png").stat().st_size > 1000
    assert "`dw3x3s2_512_512_14`" in readme.read_text()


@pytest.mark.parametrize("option", ["--against", "--of"])
def test_a_sweep_takes_no_option_that_means_nothing_to_it(option: str) -> None:
    result = _run("--sweep", option, {"--against": "torch", "--of": "vgg16"}[option])
    assert result.exit_code == 2
    assert f"{option} means nothing to a sweep" in " ".join(result.output.split())


def test_sweep_prints_and_draws(tmp_path: Path) -> None:
    result = _run("--sweep", "--only", "dw3x3s2", "--picture", str(tmp_path / "s.png"))
    assert result.exit_code == 0, result.output
    assert "stride, depthwise 3x3, 128 channels at 56" in result.output
    assert "of 2 points" in result.output
    assert (tmp_path / "s.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--against", "caffe"), "no library 'caffe' to measure against; use some of torch"),
        (("--of", "lenet"), "network 'lenet' is unknown"),
        (("--only", "cv9x9"), "no layer of mobilenet_v1"),
        (("--against", "absent.json"), "absent.json is not a record of clconv bench"),
        (("--seconds", "nan"), "'nan' is no number of seconds; use one above 0"),
        (("--seconds", "inf"), "Invalid value for '--seconds'"),
        (("--budget", "nan"), "Invalid value for '--budget'"),
        (("--algorithm", "auto,foo"), "'--algorithm': algorithm 'foo' is unknown; use one of auto, reference"),
        (("--algorithm", ","), "it names no algorithm"),
        (("--batch", ","), ", is no list of batch sizes"),
        (("--batch", "1" * 5000), "is no list of batch sizes"),
        (("--threads", "100000"), "100000 is more than this machine has processors; use 1 to"),
        (("--json", "/nodir/x.json"), "/nodir/x.json cannot be written, its folder is missing"),
        (("--json", f"{__file__}/x.json"), "cannot be written, its folder is missing"),
        (("--picture", "/nodir/x.png"), "/nodir/x.png cannot be written"),
        (("--picture", "ratios"), "ratios ends in no format that is drawn; let it end in one of .png, .jpg, .jpeg, .svg, .pdf"),
        (("--json", "x" * 300), "cannot be written (File name too long); name another file"),
        (("--readme", "/nodir/x"), "'/nodir/x' does not exist"),
        (("--layout", "CHWN"), "Invalid value for '--layout'"),
        (("--sweep", "--readme", __file__), "a sweep has no table for a README; leave out --readme"),
    ],
)
def test_mistakes_end_in_a_sentence_before_anything_is_measured(
    arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "measure_machine", lambda *_: pytest.fail("it measures"))
    result = _run(*arguments)
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no such thing")
def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    pipe = tmp_path / "run.json"
    os.mkfifo(pipe)
    result = _run("--json", str(pipe))
    assert result.exit_code == 2
    assert "is no file, and would be replaced by one" in " ".join(result.output.split())
    assert pipe.is_fifo()


@pytest.mark.parametrize("option", ["--json", "--readme", "--picture"])
def test_a_disk_that_is_full_later_is_told_in_a_sentence(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.png"
    path.write_text("<!-- bench:begin -->\n<!-- bench:end -->\n")
    before = path.read_bytes()

    def fill(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fill)
    result = _run(option, str(path))
    assert result.exit_code == 1
    assert re.search(r"kept.png (cannot be written )?\(.*No space left on device\); (make room|name another)", result.output)
    assert "Traceback" not in result.output
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [before]


@pytest.mark.parametrize("content", [b"\xff\xfe\x80", b"no markers"])
def test_a_readme_without_a_place_is_refused_before_anything_is_measured(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "measure_machine", lambda *_: pytest.fail("it measures"))
    (tmp_path / "x.md").write_bytes(content)
    result = _run("--readme", str(tmp_path / "x.md"))
    assert result.exit_code == 1
    assert re.search(r"x\.md (cannot be read as text|has no place for the table)", result.output)
    assert (tmp_path / "x.md").read_bytes() == content
