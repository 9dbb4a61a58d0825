"""Large constants in a file: the same contents, out of memory when they are not needed."""

from __future__ import annotations

import gc
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clconv.onnx
from clconv.networks import mobilenet_v1
from clconv.onnx.read import graph_of
from clconv.onnx.spill import LEAST, Spill
from tests.onnx.models import model, node, numbers


def resident_bytes(array: np.ndarray[Any, Any]) -> int:
    """What of an array's memory is in RAM, from Linux's map of this process."""
    address = array.ctypes.data
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split()[0]
        if "-" in head and not head.endswith(":"):
            start, end = (int(n, 16) for n in head.split("-"))
            inside = start <= address < end
        elif inside and head == "Rss:":
            return int(line.split()[1]) * 1024
    raise LookupError("no such address")


def arrays() -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    large = rng.standard_normal((300, 301), dtype=np.float32)
    return {
        "small": np.arange(5),
        "large": large,
        "turned": large.T,
        "halves": rng.standard_normal(LEAST + 1).astype(np.float16),
        "nothing": np.empty((0, 4), np.float32),
    }


def test_contents_stay() -> None:
    given = arrays()
    spill = Spill(given)
    spill.release()
    assert spill.arrays.keys() == given.keys()
    for name, array in given.items():
        assert spill.arrays[name].dtype == array.dtype
        assert (spill.arrays[name] == array).all()
    assert spill.arrays["small"] is given["small"]
    assert spill.bytes >= sum(given[n].nbytes for n in ("large", "turned", "halves"))


def test_nobody_can_write_to_them() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Spill(arrays()).arrays["large"][0] = 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's map of the process")
def test_release_gives_memory_back() -> None:
    spill = Spill({"w": np.ones(1 << 20, np.float32)})
    array = spill.arrays["w"]
    assert array.sum() == 1 << 20
    assert resident_bytes(array) >= 4 << 20
    spill.release()
    assert resident_bytes(array) == 0
    assert array.sum() == 1 << 20


def test_views_of_the_file_are_told_apart() -> None:
    spill = Spill(arrays())
    large, halves = spill.arrays["large"], spill.arrays["halves"]
    views = [large, large.T, large[:10], large[10:20], large.view(np.int32), halves]
    assert len({spill.place(v) for v in views}) == len(views)
    assert spill.place(large.T) == spill.place(spill.arrays["large"].T)
    assert spill.place(large.copy()) is None
    assert Spill({}).place(large) is None


def test_without_a_place_to_write_they_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    given = arrays()
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    spill = Spill(given)
    spill.release()
    assert spill.bytes == 0
    assert all(spill.arrays[name] is array for name, array in given.items())


def test_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert Spill(arrays()).bytes > 0
    assert list(tmp_path.iterdir()) == []


def test_another_size_packs_from_the_file() -> None:
    """Filters are read again after the memory was given back, and networks with and without the file agree."""
    model = mobilenet_v1(size=32, width=0.5)
    net = clconv.onnx.load(model)
    assert net._store.spill.bytes > 0
    rng = np.random.default_rng(0)
    for shape in ((1, 3, 32, 32), (3, 3, 32, 32), (9, 3, 32, 32)):
        x = rng.standard_normal(shape, dtype=np.float32)
        assert (net(x) == clconv.onnx.load(model)(x)).all()


def test_what_was_read_is_given_up_without_the_garbage_collector() -> None:
    """It comes when it likes, and a model is large."""
    proto = model([node("Conv", "x w", "y")], {"x": [1, 4, 5, 5]}, ["y"], {"w": numbers(4, 4, 3, 3)})
    gc.collect()
    gc.disable()
    try:
        before = sys.getrefcount(proto)
        graph_of(proto)
        assert sys.getrefcount(proto) == before
    finally:
        gc.enable()
