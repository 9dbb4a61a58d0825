"""The file of records: damaged, foreign, out of reach, written by several at once."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import clconv
from clconv import folders
from clconv.cli.group import cli
from clconv.device import DeviceInfo
from clconv.errors import ClconvError
from clconv.notation import parse
from clconv.select import select
from clconv.tuning import store
from clconv.tuning.store import Record, load, recall, save


def _timed(seconds: str) -> str:
    return f'{{"version": 1, "devices": {{"d": {{"p": {{"algorithm": "a", "tile": "t", "seconds": {seconds}}}}}}}}}'


DAMAGED = {
    "empty": "",
    "blanks": " \n",
    "torn": "{",
    "torn in the number": '{\n "version": 1',
    "torn in a name": '{\n "version": 12,\n "dev',
    "torn in a record": '{\n "version": 1,\n "devices": {\n  "d": {\n   "p": {\n    "algor',
    "more behind it": '{"version": 1, "devices": {}}}',
    "no tile": '{"version": 1, "devices": {"d": {"p": {"algorithm": 3}}}}',
    "deep": '{"version": 1, "devices": {"d": ' + "[" * 200_000,
    **{name: _timed(name) for name in ("NaN", "Infinity", "0", "-1", "1e400")},
    "400 digits": _timed("9" * 400),
    "5000 digits": _timed("9" * 5000),
}


NO_UTF_8 = _timed("1").encode().replace(b'"t"', b'"\xff"')


@pytest.mark.parametrize("raw", [*(t.encode() for t in DAMAGED.values()), NO_UTF_8], ids=[*DAMAGED, "no UTF-8"])
def test_a_damaged_store_is_set_aside(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    with pytest.warns(UserWarning, match="are damaged"):
        assert load(path) == {}
    assert not path.exists()
    assert path.with_name("tuning.json.damaged").read_bytes() == raw
    save(path, "d", {"p": Record("a", "t", 1.0)})
    assert load(path) == {"d": {"p": Record("a", "t", 1.0)}}


FOREIGN = {
    "text": b"theme=dark\n",
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "deep": b"[" * 200_000,
    "no UTF-8": b"\xff\xfe",
    "settings": b'{"theme": "dark"}',
    "torn settings": b'{"theme": "da',
    "a version": b'{"version": 1}',
    "another version": b'{"version": 3, "packages": {}}',
    "a version in words": b'{"version": "1.0", "devices": {}}',
    "torn after a version in words": b'{"version": "1.0", "dev',
    "a list of devices": b'{"version": 1, "devices": []}',
    "devices alone": b'{"devices": {}}',
}


@pytest.mark.parametrize("raw", FOREIGN.values(), ids=FOREIGN)
def test_a_file_of_something_else_is_left_alone(path: Path, raw: bytes, device: DeviceInfo) -> None:
    path.write_bytes(raw)
    with pytest.warns(UserWarning, match=r"tuning.json is no file of tuning records and is left alone; name another one"):
        assert not select(parse("3x3 16->16 @10"), device, recall=recall).tuned
    words = r"is no file of tuning records and is left alone; name another one with --store"
    with pytest.raises(ClconvError, match=words):
        save(path, "d", {"p": Record("a", "t", 1.0)})
    with pytest.raises(ClconvError, match=words):
        store.make_folder(path)
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == {path.name: raw}


def test_tune_refuses_a_file_of_something_else_before_it_measures(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clconv.cli.tune.search", lambda *_, **__: pytest.fail("it searches"))
    path.write_text("{}")
    result = CliRunner().invoke(cli, ["tune", "1x1 8->8 @6"])
    assert isinstance(result.exception, ClconvError)
    assert path.read_text() == "{}"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no such thing")
def test_what_is_no_file_is_neither_read_nor_renamed_nor_replaced(path: Path) -> None:
    """As a device; a pipe is none that others need."""
    os.mkfifo(path)
    assert load(path) == {}
    with pytest.raises(ClconvError, match="is no file of tuning records"):
        save(path, "d", {"p": Record("a", "t", 1.0)})
    assert path.is_fifo()
    assert list(path.parent.iterdir()) == [path]


def test_a_store_that_cannot_be_read_is_not_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, "d", {"p": Record("a", "t", 1.0)})
    text = path.read_text()

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        with pytest.warns(UserWarning, match="cannot be read .*; going on without them"):
            assert load(path) == {}
        with pytest.raises(ClconvError, match=r"cannot be written to .* \(Permission denied\); name another file"):
            save(path, "d", {"q": Record("a", "t", 1.0)})
    assert path.read_text() == text


def test_a_store_that_cannot_be_written_stays_as_it_is(path: Path, fill_disk: Callable[[], None]) -> None:
    save(path, "d", {"p": Record("a", "t", 1.0)})
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    fill_disk()
    with pytest.raises(ClconvError, match=r"cannot be written to .*tuning.json \(No space left on device\); name another file"):
        save(path, "d", {"q": Record("a", "t", 1.0)})
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before


def test_a_second_damaged_store_leaves_the_first_one_alone(path: Path) -> None:
    texts = [DAMAGED[name] for name in ("torn", "NaN", "torn in a name")]
    for raw in texts:
        path.write_text(raw)
        with pytest.warns(UserWarning, match="are damaged"):
            load(path)
    aside = {p.name: p.read_text() for p in path.parent.glob("tuning.json.damaged*")}
    assert aside == dict(zip(("tuning.json.damaged", "tuning.json.damaged2", "tuning.json.damaged3"), texts, strict=True))


def test_a_store_of_a_later_version_is_not_damaged(path: Path) -> None:
    text = json.dumps({"version": 99, "devices": {}})
    path.write_text(text)
    assert load(path) == {}
    assert path.read_text() == text
    with pytest.warns(UserWarning, match=r"are of version 99 and this clconv writes version 1; they are set aside"):
        save(path, "d", {"p": Record("a", "t", 1.0)})
    assert path.with_name("tuning.json.other").read_text() == text
    assert load(path) == {"d": {"p": Record("a", "t", 1.0)}}


def test_stores_beside_each_other_keep_their_records(tmp_path: Path) -> None:
    """A lock has the whole name of its store: that of ``x.json`` is neither that of ``x.lock`` nor ``x.lock`` itself."""
    names = ("x.lock", "x.json", "x", "x.damaged")
    for name in names:
        save(tmp_path / name, "d", {name: Record("a", "t", 1.0)})
    for name in names:
        assert list(load(tmp_path / name)["d"]) == [name]


def test_a_folder_in_place_of_a_store_is_told_of(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="cannot be read"):
        assert load(tmp_path) == {}


@pytest.mark.parametrize("folder", ["/", ".", "", "here"])
def test_a_folder_is_no_store(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clconv.cli.tune.search", lambda *_, **__: pytest.fail("it searches"))
    where = folder if folder != "here" else str(tmp_path)
    with pytest.raises(clconv.ClconvError, match="is a folder; name a file with --store or CLCONV_TUNING"):
        CliRunner().invoke(cli, ["tune", "1x1 8->8 @6", "--store", where], catch_exceptions=False)


def _write(path: Path, who: int) -> None:
    for i in range(15):
        save(path, "d", {f"{who}-{i}": Record("a", "t", i + 1.0)})


def test_many_processes_write_at_once(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, who)) for who in range(4)]
    for w in writers:
        w.start()
    for w in writers:
        w.join()
    assert [w.exitcode for w in writers] == [0] * 4
    assert len(load(path)["d"]) == 60


def test_a_relative_path_is_of_the_folder_where_it_was_read_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLCONV_TUNING", "of this test.json")
    monkeypatch.chdir(tmp_path)
    first = folders.tuning_file()
    monkeypatch.chdir(tmp_path.parent)
    assert folders.tuning_file() == first == tmp_path / "of this test.json"
