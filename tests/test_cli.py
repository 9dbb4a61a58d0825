from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from clconv import DeviceError, ShapeError, UnsupportedError
from clconv.cli.group import cli
from clconv.discovery import devices as all_devices
from tests.test_discovery import run_python


def clconv(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    code = "from clconv.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300, check=False)


def test_demo_checks_five_convolutions_and_draws_them(tmp_path: Path) -> None:
    picture = tmp_path / "demo.png"
    result = CliRunner().invoke(cli, ["demo", "--picture", str(picture.with_suffix("")), "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["picture"] == str(picture)  # under this name it lies there
    rows = told["rows"]
    assert [r["kind"] for r in rows] == ["standard", "grouped", "depthwise", "pointwise", "separable"]
    assert all(r["ok"] and 0 < r["error"] <= r["bound"] for r in rows)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("picture", [".", ""])
def test_demo_refuses_a_picture_that_is_no_file(picture: str) -> None:
    assert CliRunner().invoke(cli, ["demo", "--picture", picture]).exit_code == 2


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("x.pgf", "ends in no format that is drawn; let it end in one of .png, .jpg, .jpeg, .svg, .pdf"),
        ("x.eps", "ends in no format that is drawn"),
        ("none/x.png", "x.png cannot be written, its folder is missing"),
        ("x" * 300 + ".png", "cannot be written (File name too long); name another file"),
    ],
)
def test_demo_refuses_a_picture_that_could_not_be_drawn_before_it_measures(
    name: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clconv.cli import demo

    monkeypatch.setattr(demo, "_one", lambda *_, **__: pytest.fail("it measures"))
    result = CliRunner().invoke(cli, ["demo", "--picture", str(tmp_path / name)])
    assert result.exit_code == 2, result.output
    assert why in " ".join(result.output.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x.jpg", "x.jpeg", "x.SVG", "x.pdf"])
def test_every_format_that_is_offered_is_drawn(name: str, tmp_path: Path) -> None:
    import numpy as np

    from clconv.cli import demo

    results = [demo.Result("kind", "title", (), (), "", 1.0, 0.0, 1.0, True, np.zeros((8, 8), "f"))] * 5
    demo._draw(np.zeros((1, 3, 8, 8), "f"), results, tmp_path / name)
    start = {"SVG": b"<?xml", "pdf": b"%PDF"}.get(name[2:], b"\xff\xd8")
    assert (tmp_path / name).read_bytes().startswith(start)


def test_demo_takes_a_photograph_and_prints_a_table(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    photo = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (70, 40, 3), np.uint8)).save(photo)
    result = CliRunner().invoke(cli, ["demo", str(photo), "--picture", str(tmp_path / "out.png")])
    assert result.exit_code == 0, result.output
    assert "@70x40" in result.stdout
    assert "5·5·3 + 3·3 = 84" in result.stdout


def test_demo_ends_non_zero_when_a_kernel_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    from clconv.cli import demo

    monkeypatch.setattr(demo, "error_bound", lambda *a: np.full(a[0].output_shape, 1e-12))
    result = CliRunner().invoke(cli, ["demo", "--picture", str(tmp_path / "out.png")])
    assert result.exit_code == 1
    assert "NO" in result.stdout


def test_demo_refuses_a_file_that_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no image")
    done = clconv("demo", str(tmp_path / "x.png"))
    assert done.returncode == 1
    assert done.stderr.startswith("clconv: ")
    assert done.stderr.count("\n") == 1


def test_demo_refuses_a_picture_of_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    Image.new("RGB", (60, 60)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 999)  # an error from twice as many on
    with pytest.raises(ShapeError, match=r"x.png is no picture that pillow can read \(.*bomb.*\); give a JPEG or PNG file"):
        CliRunner().invoke(cli, ["demo", str(tmp_path / "x.png")], catch_exceptions=False)


def test_devices() -> None:
    result = CliRunner().invoke(cli, ["devices", "--json"])
    assert result.exit_code == 0
    found = json.loads(result.stdout)["devices"]
    assert sum(d["default"] for d in found) == 1
    assert not any(d["default"] and d["is_simulator"] for d in found)
    assert "compute units" in CliRunner().invoke(cli, ["devices"]).stdout


def test_the_commands_use_the_device_that_calls_use(monkeypatch: pytest.MonkeyPatch) -> None:
    platforms = list(dict.fromkeys(d.platform for d in all_devices()))
    monkeypatch.delenv("CLCONV_DEVICE", raising=False)
    for number, platform in enumerate(platforms):
        monkeypatch.setenv("PYOPENCL_CTX", f"{number}:0")
        found = json.loads(CliRunner().invoke(cli, ["devices", "--json"]).stdout)["devices"]
        assert [d["platform"] for d in found if d["default"]] == [platform.name.strip()]
        text = CliRunner().invoke(cli, ["explain", "3x3 4->4 @8"]).stdout
        assert f"({platform.name.strip()})" in text


def test_explain() -> None:
    text = CliRunner().invoke(cli, ["explain", "g32ic128ih56oc128oh56kh3ph1"]).stdout
    assert "grouped" in text
    assert "kernels/" in text
    facts = json.loads(
        CliRunner().invoke(cli, ["explain", "3x3", "64->64", "@56", "--json", "--algorithm", "reference"]).stdout
    )
    assert facts["algorithm"] == "reference"
    assert facts["parameters"] == 64 * 64 * 9


def test_explain_takes_every_limit() -> None:
    def facts(*limits: str) -> Any:
        return json.loads(CliRunner().invoke(cli, ["explain", "3x3 64->64 @56", "--json", *limits]).stdout)

    direct = facts("--algorithm", "direct")["error_factor"]
    assert facts("--error-factor", str(direct))["error_factor"] <= direct
    assert facts("--workspace", "0")["workspace_bytes"] == 0
    with pytest.raises(UnsupportedError, match=r"with error_factor=0\.5: the least error factor is "):
        CliRunner().invoke(cli, ["explain", "3x3 64->64 @56", "--error-factor", "0.5"], catch_exceptions=False)


def test_tune_takes_the_batch_that_the_problem_names(tmp_path: Path) -> None:
    for number, options in enumerate(([], ["--batch", "3"])):
        store = tmp_path / f"{number}.json"
        done = clconv("tune", "1x1 8->8 @4 batch 2 nhwc", "--seconds", "0.001", "--store", str(store), *options)
        assert done.returncode == 0, done.stderr
        (records,) = json.loads(store.read_text())["devices"].values()
        assert [f"mb{3 if options else 2}ic8" in key and "NHWC" in key for key in records] == [True]
    done = clconv("tune", "1x1 8->8 @4", "--layout", "nhwc", "--store", str(tmp_path / "none.json"))
    assert "PROBLEM names its own layout" in done.stderr


def test_mistakes_end_in_one_sentence() -> None:
    for arguments in (
        ["explain", "banana"],
        ["--device", "nonesuch", "explain", "3x3 4->4 @8"],
        ["tune", "--only", "nonesuch"],
        ["tune", "--store", "/dev/null/tuning.json", "3x3 4->4 @8"],
    ):
        done = clconv(*arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("clconv: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="the system has no disk that is always full")
@pytest.mark.parametrize(
    "command", ["devices", "devices --json", "explain 3x3 4->4 @8", "explain 3x3 4->4 @8 --json", "--help"]
)
def test_output_that_cannot_be_written_ends_in_one_sentence(command: str) -> None:
    code = "from clconv.cli import main; main()"
    with Path("/dev/full").open("w") as full:
        run = [sys.executable, "-c", code, *command.split()]
        done = subprocess.run(run, stdout=full, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
    assert done.returncode == 1
    want = "clconv: the output cannot be written (No space left on device); make room there, or name another file\n"
    assert done.stderr == want


@pytest.mark.skipif(not hasattr(os, "fork"), reason="elsewhere, a closed pipe is another error")
def test_a_closed_pipe_ends_a_command_without_a_word() -> None:
    read, write = os.pipe()
    os.close(read)
    run = [sys.executable, "-c", "from clconv.cli import main; main()", "devices", "--json"]
    done = subprocess.run(run, stdout=write, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_check_finds_a_broken_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    from clconv import selfcheck
    from clconv.device import DeviceInfo
    from clconv.discovery import default_queue
    from clconv.reference import reference as oracle

    queue = default_queue()
    plans = [p for p in selfcheck.work(DeviceInfo.of(queue.device)) if p.algorithm == "reference"][:6]
    assert all(o.passed and 0 <= o.error <= 1 for o in selfcheck.run(plans, queue))
    monkeypatch.setattr(selfcheck, "reference", lambda *a: oracle(*a) + 1)
    assert not any(o.passed for o in selfcheck.run(plans, queue))


def test_check_prints_json_that_any_program_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    from clconv import ClconvError, selfcheck

    def fail(*_: object) -> None:
        raise ClconvError("broken [on purpose]")

    monkeypatch.setattr(selfcheck, "CASES", ("3x3 4->4 @5",))
    monkeypatch.setattr(selfcheck, "_check", fail)
    result = CliRunner().invoke(cli, ["check", "--json"])
    assert result.exit_code == 1
    outcomes = json.loads(result.stdout, parse_constant=pytest.fail)["outcomes"]
    assert {(o["passed"], o["error_over_bound"], o["message"]) for o in outcomes} == {(False, None, "broken [on purpose]")}
    assert "broken [on purpose]" in CliRunner().invoke(cli, ["check"]).stdout


def test_without_a_linker_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from clconv import discovery, drivers
    from clconv.device import DeviceInfo

    if not DeviceInfo.of(discovery.default_queue().device).is_pocl:
        pytest.skip("only PoCL needs a linker")
    monkeypatch.setattr(drivers, "linker", lambda: None)
    with pytest.raises(DeviceError, match="with the program ld"):
        CliRunner().invoke(cli, ["check"], catch_exceptions=False)
    result = CliRunner().invoke(cli, ["devices", "--json"])
    assert result.exit_code == 0
    assert "with the program ld" in json.loads(result.stdout)["problems"][0]


def test_without_a_device_the_table_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from clconv.cli import devices

    def nothing() -> None:
        raise DeviceError('install PoCL with: pip install "pyopencl[pocl]"')

    monkeypatch.setattr(devices, "all_devices", list)
    monkeypatch.setattr(devices, "default_queue", nothing)
    result = CliRunner().invoke(cli, ["devices"])
    assert result.exit_code == 1
    assert 'pip install "pyopencl[pocl]"' in result.stdout


def test_check_prints_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    from clconv import selfcheck

    monkeypatch.setattr(selfcheck, "CASES", ("3x3 4->4 @5",))
    result = CliRunner().invoke(cli, ["check"])
    assert result.exit_code == 0, result.output
    assert "reference" in result.stdout


def test_check_without_a_terminal_tells_each_algorithm_as_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    from clconv import selfcheck

    monkeypatch.setattr(selfcheck, "CASES", ("3x3 4->4 @5", "1x1 4->4 @5"))
    result = CliRunner().invoke(cli, ["check", "--only", "reference,pointwise/panel"])
    assert result.exit_code == 0, result.output
    lines = result.stderr.splitlines()
    assert [line.split(":")[0] for line in lines] == ["reference", "pointwise/panel_simd"]
    assert lines[0].endswith("8 of 8 plans passed")
    result = CliRunner().invoke(cli, ["check", "--only", " reference , nonesuch"])
    assert isinstance(result.exception, ShapeError)
    assert "contains 'nonesuch' in its name" in str(result.exception)
    result = CliRunner().invoke(cli, ["check", "--only", " reference , pointwise/panel "])
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["reference", "pointwise/panel_simd"]


def test_check_that_is_stopped_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    from clconv import selfcheck

    plain, tested = selfcheck._check, []

    def check(*arguments: Any) -> selfcheck.Outcome:
        tested.append(arguments)
        if len(tested) == 3:
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(selfcheck, "CASES", ("3x3 4->4 @5",))
    monkeypatch.setattr(selfcheck, "_check", check)
    result = CliRunner().invoke(cli, ["check", "--only", "reference", "--json"])
    assert result.exit_code == 130
    told = json.loads(result.stdout)
    assert (len(told["outcomes"]), told["untested"]) == (2, 2)
    assert "Stopped: 2 of 4 plans were not tested" in result.stderr


def test_check_emulates_no_tile_of_a_matrix_unit_twice() -> None:
    """But each way to split the elements once on every problem."""
    from dataclasses import replace

    from clconv import selfcheck
    from clconv.device import DeviceInfo
    from clconv.discovery import default_queue

    info = DeviceInfo.of(default_queue().device)
    if not info.is_cpu:
        pytest.skip("matrix kernels are for CPUs")
    without, having = (selfcheck.work(replace(info, amx=amx), ["_matrix"], thorough=True) for amx in (False, True))
    singles = [[p for p in plans if p.problem.dtype == "float32"] for plans in (without, having)]
    ways = [{(p.algorithm, p.problem, p.error_factor) for p in plans} for plans in singles]
    assert len(ways[0]) == len(singles[0]) < len(singles[1])
    assert len(ways[0]) == len(ways[1])


@pytest.mark.parametrize("package", ["PIL", "matplotlib"])
def test_a_command_without_its_packages_says_which(package: str) -> None:
    """In a process of its own: a package that could not be imported half way stays broken."""
    done = run_python(
        f"import sys; sys.modules[{package!r}] = None; sys.argv[1:] = ['demo']; import clconv.cli; clconv.cli.main()"
    )
    assert done.returncode == 1
    assert f'clconv demo needs {package}; install it with: pip install "clconv[demo]"' in " ".join(done.stderr.split())


def test_the_list_of_commands_needs_no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.startswith(("clconv.onnx", "clconv.bench", "clconv.networks"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0, result.output
    for command in ("bench", "check", "demo", "devices", "explain", "run", "tune"):
        assert f"  {command} " in result.output
