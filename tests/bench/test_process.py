from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clconv import ConvProblem
from clconv.bench.case import encode, exact
from clconv.bench.peers import Peer
from clconv.bench.process import Process, WorkerDiedError
from clconv.bench.results import LayerResult, Timing
from clconv.bench.timing import measure_round
from clconv.bench.workloads import Layer

P = ConvProblem((1, 2, 5, 5), (3, 2, 3, 3), padding=1)
FAKE = Peer("fake", "tests.bench.fake_peer:load", ("NCHW",), ("numpy",), "numpy")


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the worker find the fake library, wherever pytest was started."""
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))


@pytest.fixture
def process() -> Iterator[Process]:
    with Process(FAKE, threads=3) as p:
        yield p


def _state(process: Process) -> str:
    """Return the letter that Linux has for the state of the child: T is stopped."""
    assert process._child is not None
    return Path(f"/proc/{process._child.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_layer_is_loaded_timed_checked_and_dropped(process: Process, tmp_path: Path) -> None:
    reference = tmp_path / "y.npy"
    np.save(reference, exact(P))
    assert process.ask("load", problem=encode(P), variant="NCHW") == {"note": "fake in 3 threads"}
    answer = process.ask("time", variant="NCHW", seconds=1e-4)
    assert 0 < answer["min_ms"] <= answer["median_ms"]
    assert answer["samples"] >= 3
    assert process.ask("check", variant="NCHW", reference=str(reference))["error"] < 1e-6
    assert process.ask("drop") == {}
    assert process.ask("time", variant="NCHW", seconds=1e-4)["failed"].startswith("KeyError")


def test_what_a_library_raises_is_one_line_of_the_answer(process: Process) -> None:
    answer = process.ask("load", problem=encode(P), variant="NCHW refuses")
    assert answer == {"failed": "NotImplementedError: no such convolution here"}
    assert process.ask("drop") == {}  # and it is still there


def test_a_death_is_noticed_and_the_next_request_starts_anew(process: Process) -> None:
    with pytest.raises(WorkerDiedError, match="exit code 3: a library that talks"):
        process.ask("load", problem=encode(P), variant="NCHW silent")
    assert "note" in process.ask("load", problem=encode(P), variant="NCHW")


def test_a_loader_that_does_not_import_says_so() -> None:
    with (
        Process(dataclasses.replace(FAKE, loader="no_such_module:load"), 1) as process,
        pytest.raises(WorkerDiedError, match="exit code 1: ModuleNotFoundError: No module named 'no_such_module'"),
    ):
        process.ask("drop")


def test_a_request_that_takes_too_long_is_given_up() -> None:
    with Process(FAKE, 1, timeout=1e-3) as process:
        with pytest.raises(WorkerDiedError, match=r"no answer within 0\.001 s"):
            process.ask("load", problem=encode(P), variant="NCHW")
        assert process._child is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_worker_sleeps_between_requests_and_ends_with_its_owner(process: Process) -> None:
    process.ask("load", problem=encode(P), variant="NCHW")
    deadline = time.monotonic() + 10
    while _state(process) != "T" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _state(process) == "T"
    assert process._child is not None
    pid = process._child.pid
    process.close()
    assert not Path(f"/proc/{pid}").exists()


def test_rounds_over_libraries_that_work_fail_and_crash() -> None:
    told: list[str] = []
    result = LayerResult(Layer("a", P))
    variants = ("NCHW", "NCHW wrong", "NCHW refuses", "NCHW crashes")
    with Process(FAKE, 1) as one, Process(dataclasses.replace(FAKE, name="other"), 1) as two:
        processes = [(one, variants), (two, ("NCHW",)), (two, ())]
        measure_round(result, processes, 1e-4, told.append)
        assert result.rounds == 1
        assert told == ["a: exact result", "a: load fake", "a: load other", "a: fake", "a: other"]
        del told[:]
        measure_round(result, processes, 1e-4, told.append)
        assert told == ["a: load fake", "a: load other", "a: fake", "a: other"]  # compared once is enough
    mine = result.timings["fake"]
    for timing in (mine["NCHW"], result.timings["other"]["NCHW"]):
        assert timing.counts
        assert timing.note == "fake in 1 threads"
        assert [samples >= 3 for _, _, samples in timing.rounds] == [True, True]
    assert not mine["NCHW wrong"].counts
    assert mine["NCHW wrong"].error == pytest.approx(1e-3, rel=0.01)
    assert mine["NCHW refuses"] == Timing(failed="NotImplementedError: no such convolution here")
    assert mine["NCHW crashes"].failed.startswith("signal SIGSEGV")
    assert not mine["NCHW crashes"].counts


def test_an_interrupted_round_leaves_the_result_as_it_was() -> None:
    result = LayerResult(Layer("a", P))

    def interrupt(text: str) -> None:
        if text == "a: fake":
            raise KeyboardInterrupt

    with Process(FAKE, 1) as process, pytest.raises(KeyboardInterrupt):
        measure_round(result, [(process, ("NCHW",))], 1e-4, interrupt)
    assert result == LayerResult(Layer("a", P))
