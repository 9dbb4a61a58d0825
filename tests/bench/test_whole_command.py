"""``clconv bench --networks``, with worker processes that only say numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result

from clconv.bench import memory, peers, whole, whole_command
from clconv.bench.command import bench_command
from clconv.bench.peers import Peer
from clconv.bench.process import WorkerDiedError
from clconv.bench.whole_results import NetworkResults
from tests.bench.records import MACHINE

MS = {"clconv": 4.0, "torch": 8.0, "ncnn": 6.0, "litert": 2.0}


class Told:
    """Stands for a process: answers at once, and keeps what it was asked."""

    asked: ClassVar[list[tuple[str, str]]] = []
    checked: ClassVar[list[str]] = []
    interrupt_at = -1

    def __init__(self, peer: Peer, threads: int) -> None:
        self.peer, self.threads = peer, threads

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing runs."""

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        if do == "time":
            if len(Told.asked) == Told.interrupt_at:
                raise KeyboardInterrupt
            Told.asked.append((self.peer.name, arguments["variant"]))
        if self.peer.name == "litert" and do == "time":
            raise WorkerDiedError("signal SIGSEGV")
        if self.peer.name == "torch" and do == "load_network" and arguments["batch"] > 1:
            return {"failed": "RuntimeError: no"}
        if do == "check_network":
            Path(arguments["reference"]).touch()
            Told.checked.append(self.peer.name)
        return {"note": "", "error": 1e-7, "min_ms": MS[self.peer.name], "median_ms": 1.5 * MS[self.peer.name], "samples": 9}


@pytest.fixture(autouse=True)
def _told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Told, "asked", [])
    monkeypatch.setattr(Told, "checked", [])
    monkeypatch.setattr(Told, "interrupt_at", -1)
    known = {name: Peer(name, f"m:{name}", ("NCHW",), ("numpy",), "numpy") for name in MS if name != "clconv"}
    monkeypatch.setattr(peers, "PEERS", known)
    monkeypatch.setattr(whole, "Process", Told)
    monkeypatch.setattr(whole_command, "Process", Told)
    monkeypatch.setattr(whole_command, "measure_machine", lambda process, earlier, others: MACHINE)
    monkeypatch.setattr(memory, "peak_mib", lambda library, model, batch, threads: 100.0 * batch * model.is_file())


def _run(*arguments: str) -> Result:
    few = ("--networks", "--of", "resnet50", "--against", "torch", "--rounds", "2")
    return CliRunner().invoke(bench_command, [*few, *arguments], env={"COLUMNS": "200"})


def _row(text: str, batch: int) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.split()[:2] == ["ResNet-50", str(batch)]]
    return line.split()[2:]


def test_batches_one_and_eight_in_rounds(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    result = _run("--against", "torch,ncnn", "--json", str(path))
    assert result.exit_code == 0, result.output
    assert _row(result.output, 1) == ["4.000", "6.000", "1.50", "1.15", "8.000", "6.000", "100", "/", "-"]
    assert _row(result.output, 8) == ["4.000", "6.000", "1.50", "1", "-", "6.000", "800", "/", "-"]
    assert "torch, resnet50, batch 8: RuntimeError: no" in result.output
    assert "1 threads, batch 1 and 8" in _run("--threads", "1").output
    assert [(t.library, t.batch, len(t.medians)) for t in NetworkResults.load(path).timings] == [
        *[(name, 1, 2) for name in ("clconv", "torch", "ncnn")],
        *[("clconv", 8, 2), ("torch", 8, 0), ("ncnn", 8, 2)],
    ]


def test_libraries_take_turns_and_one_that_dies_is_left_out() -> None:
    result = _run("--against", "litert,ncnn", "--batch", "1")
    assert [name for name, _ in Told.asked] == ["clconv", "litert", "ncnn", "clconv", "ncnn"]
    assert "litert, resnet50, batch 1: signal SIGSEGV" in result.output


@pytest.mark.parametrize("batch", [("--batch", "2,4"), ("--batch", "2", "--batch", "4")])
def test_batches_in_a_list_or_one_by_one(batch: tuple[str, ...]) -> None:
    assert "batch 2 and 4" in _run(*batch, "--against", "none").output


def test_readme_gets_the_table(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- networks:begin -->\nold\n<!-- networks:end -->\nafter\n")
    assert _run("--readme", str(readme)).exit_code == 0
    text = readme.read_text()
    assert text.startswith("before\n<!-- networks:begin -->\n| forward pass, ms |")
    assert text.endswith("<!-- networks:end -->\nafter\n")
    assert "| ResNet-50 | 1 | 4.000 | **2.00** | 1.15 | 8.000 | 100 / - |" in text


def test_times_of_an_earlier_run_stand_for_libraries(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    assert _run("--batch", "1", "--json", str(path)).exit_code == 0
    assert _row(_run("--against", str(path), "--batch", "1").output, 1)[2:] == ["2.00", "1.15", "8.000", "100", "/", "-"]


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Told, "interrupt_at", 5)  # in batch 8, after ours and torch's failure
    path = tmp_path / "r.json"
    result = _run("--json", str(path))
    assert result.exit_code == 130
    assert "interrupted after 6 of 8 measurements" in result.output
    kept = [(t.library, t.batch, len(t.medians)) for t in NetworkResults.load(path).timings]
    assert kept == [("clconv", 1, 2), ("torch", 1, 2), ("clconv", 8, 1), ("torch", 8, 0)]
    assert _row(result.output, 8) == ["4.000", "6.000", "-", "1", "-", "-", "/", "-"]


def test_resume_measures_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Told, "interrupt_at", 5)  # in batch 1, before the second round's last
    path = tmp_path / "r.json"
    _run("--against", "torch,ncnn", "--json", str(path), "--resume")  # there is no file yet
    monkeypatch.setattr(Told, "interrupt_at", -1)
    assert [name for name, _ in Told.asked] == ["clconv", "torch", "ncnn", "clconv", "torch"]
    Told.asked.clear()
    Told.checked.clear()
    result = _run("--against", "torch,ncnn", "--json", str(path), "--resume")
    assert result.exit_code == 0, result.output
    assert [name for name, _ in Told.asked] == ["ncnn", "clconv", "ncnn", "clconv", "ncnn"]
    assert Told.checked[:2] == ["clconv", "ncnn"]  # a result is not compared with itself
    assert {(t.library, t.batch): len(t.medians) for t in NetworkResults.load(path).timings} == {
        **dict.fromkeys([(name, 1) for name in ("clconv", "torch", "ncnn")], 2),
        ("clconv", 8): 2,
        ("torch", 8): 0,
        ("ncnn", 8): 2,
    }
    assert _row(result.output, 8)[-3:] == ["800", "/", "-"]


def test_resume_with_more_rounds_and_with_none_left(tmp_path: Path) -> None:
    path = str(tmp_path / "r.json")
    few = ("--batch", "1", "--json", path)
    _run(*few)
    assert _run(*few, "--resume").exit_code == 0
    assert len(Told.asked) == 4
    assert len(Told.checked) == 2  # nothing is even loaded
    assert _run(*few, "--resume", "--rounds", "3").exit_code == 0
    assert [name for name, _ in Told.asked[4:]] == ["clconv", "torch"]
    assert [len(t.medians) for t in NetworkResults.load(Path(path)).timings] == [3, 3]


def test_resume_goes_on_only_with_the_same(tmp_path: Path) -> None:
    few = ("--batch", "1", "--json", str(tmp_path / "r.json"))
    _run(*few)
    result = _run(*few, "--against", "ncnn", "--resume")
    assert result.exit_code == 1
    assert "start anew without --resume" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--of", "alexnet"), "network 'alexnet' is unknown"),
        (("--against", "caffe"), "no library 'caffe' to measure against"),
        (("--against", "absent.json"), "absent.json is not a record of clconv bench --networks"),
        (("--batch", "1,zero"), "1,zero is no list of batch sizes"),
        (("--batch", ","), ", is no list of batch sizes"),
        (("--batch", "0"), "0 is no list of batch sizes"),
        (("--only", "dw"), "--only is for layers"),
        (("--sweep",), "--sweep is for layers"),
        (("--resume",), "--resume goes on with the file of --json"),
    ],
)
def test_mistakes_end_in_a_sentence(arguments: tuple[str, ...], message: str) -> None:
    result = _run(*arguments)
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.output.split())


def test_layers_are_timed_at_one_batch_size() -> None:
    result = CliRunner().invoke(bench_command, ["--batch", "1,8", "--against", "none"])
    assert result.exit_code == 2
    assert "one batch size" in result.output
