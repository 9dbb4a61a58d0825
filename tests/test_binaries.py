"""Programs kept as binaries between processes: found, refused when damaged, left alone when switched off."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyopencl as cl
import pytest

import clconv
from clconv import binaries
from clconv.device import DeviceInfo
from clconv.digest import BYTES
from tests.conftest import find_devices

POCL = [d for d in find_devices(simulator=False) if DeviceInfo.of(d).is_pocl]
pytestmark = pytest.mark.skipif(not POCL, reason="only PoCL's programs are kept")

X = np.random.default_rng(0).standard_normal((1, 4, 9, 9), dtype=np.float32)
W = np.random.default_rng(1).standard_normal((4, 1, 3, 3), dtype=np.float32)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, and no programs that other tests built."""
    monkeypatch.setenv("CLCONV_CACHE", str(tmp_path))
    monkeypatch.setattr(binaries, "_unsaved", {})
    monkeypatch.setattr(atexit, "register", lambda function: function)
    return tmp_path / "programs"


def convolve() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A convolution in a new context, which has no programs yet."""
    context = cl.Context([POCL[0]])
    return np.asarray(clconv.depthwise_conv2d(X, W, padding=1, queue=cl.CommandQueue(context)))


def test_a_saved_program_is_not_built_again(cache: Path) -> None:
    first = convolve()
    waiting = len(binaries._unsaved)
    assert waiting > 0
    assert not cache.exists()  # nothing is written while somebody waits for a result
    assert binaries.save(60) == waiting == len(list(cache.iterdir()))
    second = convolve()
    assert not binaries._unsaved  # else it was built from its source
    assert (second == first).all()


@pytest.mark.parametrize("damage", [b"", binaries._MARK, b"nonsense" * 100])
def test_a_damaged_file_is_built_anew(cache: Path, damage: bytes) -> None:
    first = convolve()
    binaries.save(60)
    for path in cache.iterdir():
        path.write_bytes(damage)
    assert (convolve() == first).all()
    assert binaries.save(60) > 0
    assert all(path.read_bytes() != damage for path in cache.iterdir())


def test_half_a_file_is_built_anew(cache: Path) -> None:
    convolve()
    count = binaries.save(60)
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    convolve()
    assert len(binaries._unsaved) == count


def test_a_binary_that_the_driver_refuses_is_built_anew(cache: Path) -> None:
    first = convolve()
    binaries.save(60)
    foreign = b"made for another processor"
    for path in cache.iterdir():
        path.write_bytes(binaries._head(path, foreign) + foreign)
    assert (convolve() == first).all()
    assert binaries._unsaved


def test_off(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("CLCONV_CACHE", "off")
    convolve()
    assert not binaries._unsaved
    assert not cache.exists()


def test_nothing_is_begun_after_the_time_is_up(cache: Path) -> None:
    convolve()
    assert binaries.save(0) == 0
    assert not cache.exists()


def test_none_is_begun_that_takes_too_long(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convolve()
    built = {path: seconds for path, (_, seconds) in binaries._unsaved.items()}
    assert all(0 < seconds < 60 for seconds in built.values())
    slow = next(iter(built))
    binaries._unsaved[slow] = binaries._unsaved[slow][0], 61.0
    assert binaries.save(60) == len(built) - 1
    assert not slow.exists()


def test_a_folder_that_cannot_be_written_to_is_no_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write_text("a file in the folder's place")
    convolve()
    assert binaries.save(60) == 0


def test_a_damaged_file_in_a_folder_of_others_is_no_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    first = convolve()
    binaries.save(60)
    for path in cache.iterdir():
        path.write_bytes(b"damaged")
    monkeypatch.setattr(Path, "unlink", refuse)
    assert (convolve() == first).all()


def test_the_oldest_files_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "MOST", 4)
    for age in range(5):
        path = tmp_path / str(age).zfill(64)
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    (tmp_path / "somebody else's").touch()
    os.utime(tmp_path / "somebody else's", (1, 1))
    binaries._prune(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0".zfill(64), "1".zfill(64), "somebody else's"]


def test_a_program_is_kept_by_source_options_and_device(cache: Path) -> None:
    info = DeviceInfo.of(POCL[0])
    places = {
        binaries.place(POCL[0], info, source, options) for source in ("a", "b") for options in ((), ("-DX",), ("-D", "X"))
    }
    assert len(places) == 6


def test_the_end_of_python_saves(tmp_path: Path) -> None:
    """In a process of its own, as users have it."""
    code = (
        "import numpy as np, clconv\n"
        "x = np.ones((1, 4, 5, 5), 'f')\n"
        "print(clconv.conv2d(x, np.ones((4, 4, 1, 1), 'f'))[0, 0, 0, 0])\n"
        "import os; os.chdir('..')\n"
    )
    for cache in (".", str(tmp_path)):
        environment = dict(os.environ, CLCONV_CACHE=cache, CLCONV_DEVICE="Portable")
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "4.0", "")
        assert list((tmp_path / "programs").iterdir())


def test_no_program_without_its_code_is_kept(tmp_path: Path) -> None:
    """PoCL reads the code from its cache folder, when it makes a binary; without it, a later process would crash in PoCL.

    Since PoCL 5.0, binaries hold compiled kernels in any case, and work without that code: the second process takes one.
    """
    code = (
        "import os, shutil, numpy as np, clconv\n"
        "x = np.ones((1, 4, 9, 9), 'f')\n"
        "print(clconv.depthwise_conv2d(x, np.ones((4, 1, 3, 3), 'f'))[0, 0, 0, 0])\n"
        "shutil.rmtree(os.environ['POCL_CACHE_DIR'], ignore_errors=True)\n"
        "clconv.binaries.save(60)\n"
        "assert not clconv.binaries._unsaved\n"
    )
    environment = dict(os.environ, CLCONV_CACHE=str(tmp_path / "ours"), POCL_CACHE_DIR=str(tmp_path / "theirs"))
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**environment, "CLCONV_DEVICE": "Portable"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "9.0", "")
        kept = list((tmp_path / "ours" / "programs").glob("*"))
        assert not any(binaries._NO_CODE in path.read_bytes() for path in kept)


def test_a_program_without_its_code_is_not_taken(cache: Path) -> None:
    first = convolve()
    assert binaries.save(60) > 0
    for path in cache.iterdir():
        binary = path.read_bytes()[len(binaries._MARK) + BYTES :]
        name = binary.index(b"/program.bc") + len(b"/program.bc")
        code = int.from_bytes(binary[name : name + 4], "little")
        assert code > 0
        without = binary[:name] + bytes(4) + binary[name + 4 + code :]
        path.write_bytes(binaries._head(path, without) + without)
    assert (convolve() == first).all()
    assert binaries._unsaved
    assert not list(cache.iterdir())


def test_a_file_of_another_program_is_built_anew(cache: Path) -> None:
    first = convolve()
    queue = cl.CommandQueue(cl.Context([POCL[0]]))
    clconv.conv2d(X, np.ones((8, 4, 1, 1), np.float32), queue=queue)
    binaries.save(60)
    contents = {path: path.read_bytes() for path in cache.iterdir()}
    assert len(contents) > 1
    for path, content in zip(contents, [*contents.values()][1:] + [*contents.values()][:1], strict=True):
        path.write_bytes(content)
    assert (convolve() == first).all()
    assert binaries._unsaved


def test_without_a_home_all_is_done_but_kept(tmp_path: Path) -> None:
    """As in a container whose user nobody knows, in a folder that was deleted."""
    code = """
import os, pwd, numpy as np
def nobody(uid):
    raise KeyError(uid)
pwd.getpwuid = nobody
import clconv
try:
    clconv.conv2d(np.ones((1, 2, 5, 5), "f"), np.ones((2, 2, 3, 3), "f"))
except clconv.DeviceError as error:
    assert "XDG_CACHE_HOME" in str(error)
else:
    raise AssertionError
os.environ["XDG_CACHE_HOME"] = os.path.dirname(os.getcwd())
os.rmdir(os.getcwd())
for name in ("CLCONV_CACHE", "CLCONV_TUNING", None):
    if name:
        os.environ[name] = "relative"
    y = clconv.conv2d(np.ones((1, 2, 6, 6), "f"), np.ones((2, 2, 3, 3), "f"), stride=1 if name else 3)
    assert (y == 18).all()
from click.testing import CliRunner
from clconv.cli.group import cli
del os.environ["CLCONV_TUNING"]
assert "there is no home folder" in str(CliRunner().invoke(cli, ["tune", "1x1", "8->8", "@6"]).exception)
"""
    left_out = ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "CLCONV_CACHE", "CLCONV_TUNING", "CLCONV_NO_TUNING")
    env = {name: value for name, value in os.environ.items() if name not in left_out}
    folder = tmp_path / "gone"
    folder.mkdir()
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_what_drivers_say_is_no_error_in_any_thread() -> None:
    def work() -> None:
        for _ in range(300):
            with binaries.quiet():
                warnings.warn("a program was built", cl.CompilerWarning, stacklevel=1)
                time.sleep(0)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work) for _ in range(4)]:
            done.result()
    with pytest.raises(cl.CompilerWarning):
        warnings.warn("a program of somebody else's", cl.CompilerWarning, stacklevel=1)
