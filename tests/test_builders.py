"""Programs that other processes build: all of them are there afterwards, and whatever becomes of the processes is survived."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyopencl as cl
import pytest

import clconv.onnx
from clconv import binaries, builders
from clconv.device import DeviceInfo
from clconv.errors import DeviceError, KernelBuildError
from clconv.networks import mobilenet_v1
from clconv.plan import Launch
from clconv.programs import Programs
from tests.conftest import find_devices

POCL = [d for d in find_devices(simulator=False) if DeviceInfo.of(d).is_pocl]
pytestmark = pytest.mark.skipif(not POCL, reason="only PoCL's programs are kept")

SMALL = [Launch("network/stay_awake.cl", "stay_awake", (("LOOKS", n),), (), (1,), (1,)) for n in range(6)]
READY = "import os, time; os.write(1, b'ready\\n'); "


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, two builders, and no programs that other tests built."""
    monkeypatch.setenv("CLCONV_CACHE", str(tmp_path))
    monkeypatch.setenv("CLCONV_BUILDERS", "2")
    monkeypatch.setattr(binaries, "_unsaved", {})
    monkeypatch.setattr(atexit, "register", lambda function: function)
    return tmp_path / "programs"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that the test starts."""
    found: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def noting(*args: Any, **kwargs: Any) -> Any:
        found.append(start(*args, **kwargs))
        return found[-1]

    monkeypatch.setattr(subprocess, "Popen", noting)
    return found


def programs() -> Programs:
    """Those of a new context: none yet."""
    return Programs(cl.Context([POCL[0]]), POCL[0], DeviceInfo.of(POCL[0]))


def build_all(mine: Programs) -> int:
    """Ask for every kernel, and return how many programs were built from their sources in this process."""
    for launch in SMALL:
        assert mine.kernel(launch).function_name == "stay_awake"
    return len(binaries._unsaved)


def test_a_network_is_built_by_others(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = mobilenet_v1(size=32, width=0.25)
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32), dtype=np.float32)

    def run() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.asarray(clconv.onnx.load(model, queue=cl.CommandQueue(cl.Context([POCL[0]])))(x))

    first = run()
    assert not binaries._unsaved  # else this process had built some
    assert list(cache.iterdir())
    monkeypatch.setenv("CLCONV_CACHE", "off")
    assert (run() == first).all()


def test_all_programs_are_there(cache: Path, started: list[subprocess.Popen[bytes]]) -> None:
    assert builders.build_ahead(programs(), SMALL) == len(SMALL) == len(list(cache.iterdir()))
    assert build_all(programs()) == 0
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_what_is_known_is_not_built(cache: Path, started: list[subprocess.Popen[bytes]]) -> None:
    mine = programs()
    build_all(mine)
    assert builders.build_ahead(mine, SMALL) == 0
    binaries.save(60)
    assert builders.build_ahead(programs(), SMALL) == 0
    assert not started


@pytest.mark.parametrize(("variable", "cached", "count"), [("2", "", 5), ("1", "", 6), ("0", "", 6), ("2", "off", 6)])
def test_no_process_is_started(
    variable: str, cached: str, count: int, monkeypatch: pytest.MonkeyPatch, cache: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    monkeypatch.setenv("CLCONV_BUILDERS", variable)
    if cached:
        monkeypatch.setenv("CLCONV_CACHE", cached)
    assert builders.build_ahead(programs(), SMALL[:count]) == 0
    assert not started


def test_who_has_pocl_compile_for_each_size_is_left_alone(
    cache: Path, monkeypatch: pytest.MonkeyPatch, started: list[subprocess.Popen[bytes]]
) -> None:
    """The caller would compile the kernels once more, whatever others have built."""
    monkeypatch.setenv("POCL_WORK_GROUP_SPECIALIZATION", "1")
    assert builders.build_ahead(programs(), SMALL) == 0
    assert os.environ["POCL_WORK_GROUP_SPECIALIZATION"] == "1"
    assert not started


DYING = {
    "at once": "raise SystemExit",
    "when it is ready": READY,
    "in the compiler": READY + "input(); os.kill(os.getpid(), 11)",
    "deaf": READY + "os.close(0); time.sleep(0.5)",
}


@pytest.mark.parametrize("code", DYING.values(), ids=DYING)
@pytest.mark.skipif(sys.platform == "win32", reason="signal 11 is not Windows'")
def test_processes_that_die_are_survived(code: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builders, "_START", code)
    mine = programs()
    builders.build_ahead(mine, SMALL)
    assert build_all(mine) == len(SMALL)


def test_one_that_dies_leaves_its_work_to_the_other(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mark = tmp_path / "first"
    code = (
        "import os, pathlib\n"
        f"try: pathlib.Path({str(mark)!r}).touch(exist_ok=False)\n"
        f"except FileExistsError: {builders._START}\n"
        "else: os.write(1, b'ready\\n'); input()\n"
    )
    monkeypatch.setattr(builders, "_START", code)
    mine = programs()
    builders.build_ahead(mine, SMALL)
    assert mark.exists()
    assert build_all(mine) <= 1


def test_without_processes_all_is_built_here(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(cache / "python"))
    mine = programs()
    assert builders.build_ahead(mine, SMALL) == 0
    assert build_all(mine) == len(SMALL)


@pytest.mark.parametrize("executable", [None, "", "/opt/an_app"])
def test_a_program_that_is_no_python_is_not_started(executable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLCONV_BUILDERS", raising=False)
    monkeypatch.setattr(sys, "executable", executable)
    assert builders.builders() == 1


def test_a_faulty_program_is_told_of_here(cache: Path) -> None:
    faulty = [Launch("network/stay_awake.cl", "stay_awake", (("LOOKS", f"error{n}"),), (), (1,), (1,)) for n in range(6)]
    mine = programs()
    assert builders.build_ahead(mine, faulty) == 6
    with pytest.raises(KernelBuildError, match=r"stay_awake\.cl does not build .*error0"):
        mine.kernel(faulty[0])


def test_a_wish_that_is_no_number(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLCONV_BUILDERS", "all")
    with pytest.raises(DeviceError, match="CLCONV_BUILDERS='all' is no number"):
        builders.build_ahead(programs(), SMALL)


@pytest.mark.skipif(sys.platform == "win32", reason="signals come otherwise on Windows")
def test_an_interrupt_ends_the_processes(
    cache: Path, monkeypatch: pytest.MonkeyPatch, started: list[subprocess.Popen[bytes]]
) -> None:
    monkeypatch.setattr(builders, "_START", "import time; time.sleep(600)")

    def interrupt() -> None:
        while len(started) < 2:
            time.sleep(0.01)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        builders.build_ahead(programs(), SMALL)
    thread.join()
    assert all(process.poll() is not None for process in started)
