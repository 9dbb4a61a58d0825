"""The command line, as the user sees it."""

from __future__ import annotations

import importlib.util
import re
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner, Result

import clconv.onnx
from clconv import networks
from clconv.onnx.command import _off, run_command
from clconv.onnx.network import Network
from tests.onnx import models
from tests.onnx.models import node


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    path.write_bytes(networks.mobilenet_v1(size=32, classes=10, width=0.25).SerializeToString())
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(run_command, [str(a) for a in arguments])


def test_random_numbers_profile_and_explanation(model: Path) -> None:
    result = run(model, "--batch", 2, "--profile", "--explain")
    assert result.exit_code == 0, result.output
    assert "y[1]:" in result.output
    assert "fold batchnorm" in result.output
    assert re.search(r"ms in \d+ steps", result.output)


def test_a_picture_with_labels(model: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.arange(40 * 50 * 3, dtype=np.uint8).reshape(40, 50, 3)).save(tmp_path / "p.png")
    (tmp_path / "labels.txt").write_text("\n".join(f"class{i}" for i in range(10)), encoding="utf-8")
    result = run(model, "--input", tmp_path / "p.png", "--labels", tmp_path / "labels.txt")
    assert result.exit_code == 0, result.output
    assert "y[0]: class" in result.output


def test_arrays(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 3, 32, 32), np.float32))
    assert "y[2]:" in run(model, "--input", tmp_path / "a.npz").output
    np.savez(tmp_path / "b.npz", z=np.zeros((3, 3, 32, 32), np.float32))
    assert "no input 'z'" in run(model, "--input", tmp_path / "b.npz").output


def test_a_batch_of_none(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((0, 3, 32, 32), np.float32))
    result = run(model, "--input", tmp_path / "a.npz")
    assert result.exit_code == 0, result.output
    assert result.output.endswith("\ny (0, 10)\n")


def test_scores_that_are_no_numbers(tmp_path: Path) -> None:
    proto = models.model([node("Add", "x x", "y"), node("Neg", "x", "z")], {"x": ["N", 3]}, ["y", "z"])
    (tmp_path / "add.onnx").write_bytes(proto.SerializeToString())
    rows = [[0.2, np.nan, 0.8], [0, np.inf, -np.inf], [-np.inf] * 3, [0, 0, -np.inf]]
    np.savez(tmp_path / "a.npz", x=np.array(rows, np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = run(tmp_path / "add.onnx", "--input", tmp_path / "a.npz")
    assert result.exit_code == 0, result.output
    assert [line.split(": ")[1] for line in result.output.splitlines() if line.startswith("y")] == [
        "no scores, 1 of 3 are infinite or nan",
        "no scores, 2 of 3 are infinite or nan",
        "no scores, 3 of 3 are infinite or nan",
        "0 50.0 %, 1 50.0 %, 2 0.0 %",
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "off"),
    [
        ([np.nan, np.inf, 2, 3], [np.nan, np.inf, 2, 4], 0.25),
        ([np.nan, 2], [1, 2], np.inf),
        ([np.inf, 2], [-np.inf, 2], np.inf),
        ([np.nan], [np.nan], 0),
        ([], [], 0),
    ],
)
def test_differences_of_what_is_no_number(ours: list[float], theirs: list[float], off: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _off(np.array(ours, np.float32), np.array(theirs, np.float32)) == off


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_against_onnxruntime(model: Path) -> None:
    result = run(model, "--against", "onnxruntime")
    assert result.exit_code == 0, result.output
    assert float(result.output.split("differ by ")[1].split()[0]) < 1e-4


def test_a_model_that_onnxruntime_does_not_load(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def session(path: str, providers: list[str]) -> None:
        raise RuntimeError("unknown\noperator set")

    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=session))
    result = run(model, "--against", "onnxruntime")
    assert result.exit_code == 1
    assert result.output.endswith("\nError: onnxruntime does not load the model (unknown operator set); leave --against out\n")


def test_batches_that_no_memory_holds_end_in_a_sentence(tmp_path: Path) -> None:
    proto = models.model([node("Relu", "x", "y")], {"x": ["N", 1 << 20]}, ["y"])
    (tmp_path / "wide.onnx").write_bytes(proto.SerializeToString())
    result = run(tmp_path / "wide.onnx", "--batch", 2**31 - 1)
    assert result.exit_code == 1
    assert re.fullmatch(r"Error: the arrays do not fit into memory \(.*\); give a smaller batch\n", result.output)
    assert run(tmp_path / "wide.onnx", "--batch", 2**31).exit_code == 2  # no size is larger


def test_mistakes_end_in_a_sentence(model: Path, tmp_path: Path) -> None:
    (tmp_path / "p.png").write_text("no picture", encoding="utf-8")
    (tmp_path / "bad.onnx").write_text("no model", encoding="utf-8")
    for result in (run(model, "--input", tmp_path / "p.png"), run(tmp_path / "bad.onnx"), run(model, "--input", model)):
        assert result.exit_code == 1
        assert result.output.startswith("Error: ")
        assert "Traceback" not in result.output


def test_the_algorithm_reaches_the_network(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def load(source: Path, *, dtype: str | None, algorithm: str) -> Network:
        asked.append(algorithm)
        return clconv.onnx.load(source, dtype=dtype, algorithm=algorithm)

    monkeypatch.setattr("clconv.onnx.command.load", load)
    assert run(model).exit_code == run(model, "--algorithm", "direct").exit_code == 0
    assert asked == ["auto", "direct"]
    assert run(model, "--algorithm", "winograd").exit_code == 2


def test_inputs_that_cannot_be_read_end_in_a_sentence(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pytest.importorskip("PIL.Image")
    monkeypatch.setattr(image, "MAX_IMAGE_PIXELS", 999)  # an error from twice as many on
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)
    image.fromarray(noise).save(tmp_path / "bomb.png")
    image.fromarray(noise[:20, :20]).save(tmp_path / "half.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "half.png").read_bytes()[:600])
    np.savez(tmp_path / "whole.npz", x=np.arange(3000.0))
    whole = (tmp_path / "whole.npz").read_bytes()
    np.savez(tmp_path / "object.npz", x=np.array([{}], dtype=object))
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    (tmp_path / "text.npz").write_text("no arrays")
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "flipped.npz").write_bytes(whole.replace(np.arange(9.0).tobytes(), bytes(72)))
    for name in ("object.npz", "one.npz", "text.npz", "empty.npz", "half.npz", "flipped.npz", "bomb.png", "half.png"):
        result = run(model, "--input", tmp_path / name)
        assert result.exit_code == 1, name
        assert re.fullmatch(
            r"Error: \S+ is no (.npz of plain arrays|picture that pillow can read) \(.*\); \w[^\n]*\n", result.output
        )
    result = run(model, "--labels", tmp_path / "bomb.png")
    assert result.exit_code == 1
    assert "bomb.png is no text of labels" in result.output


def test_a_batch_repeats_no_arrays(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((1, 3, 32, 32), np.float32))
    result = run(model, "--input", tmp_path / "a.npz", "--batch", 2)
    assert result.exit_code == 1
    assert "--batch 2 repeats a picture, and the arrays of" in result.output


@pytest.mark.parametrize("count", [2, 11])
def test_labels_of_another_number_of_classes(model: Path, tmp_path: Path, count: int) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(f"class{i}" for i in range(count)), encoding="utf-8")
    result = run(model, "--labels", tmp_path / "labels.txt")
    assert result.exit_code == 0, result.output
    assert f"names {count} classes and the network has 10" in result.output
