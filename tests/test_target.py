"""PoCL is told what to compile for where it does not know the processor, and nothing else of it is touched."""

from __future__ import annotations

import ctypes
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pyopencl as cl
import pytest

from clconv import processor, target

HOST = b"x86_64-unknown-linux-gnu"


class Description:
    """A device of PoCL's as it lies in memory: pointers to texts among other words."""

    def __init__(self, *words: bytes | int, platform: str = "Portable Computing Language") -> None:
        self.texts = [ctypes.create_string_buffer(word) if isinstance(word, bytes) else word for word in words]
        values = [ctypes.addressof(text) if isinstance(text, ctypes.Array) else text for text in self.texts]
        self.words = (ctypes.c_void_p * 512)(*values)
        self.int_ptr = ctypes.addressof(self.words)
        self.platform = SimpleNamespace(name=platform)

    def text(self, number: int) -> bytes | None:
        return ctypes.c_char_p(self.words[number]).value


@pytest.fixture(autouse=True)
def level(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/proc/self/mem").exists():
        pytest.skip("the system does not show a process its memory")
    monkeypatch.setattr(processor, "x86_level", lambda: "x86-64-v3")
    monkeypatch.setattr(target, "_seen", set())


def test_an_unknown_processor_gets_the_name_of_its_level_once() -> None:
    device = Description(3, b"generic", 0, b"a", HOST, b"generic", 1 << 63, b"generic")
    assert target.name_processor(device)  # type: ignore[arg-type]  # stands in for pyopencl's
    assert [device.text(number) for number in (1, 4, 5, 7)] == [b"generic", HOST, b"x86-64-v3", b"generic"]
    assert not target.name_processor(device)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "words",
    [
        (HOST, b"znver3", b"generic"),
        (HOST, b"generic-rv64", 0),
        (b"aarch64-unknown-linux-gnu", b"generic", 0),
        (HOST, 8, b"generic"),
        (*(0 for _ in range(300)), HOST, b"generic"),
    ],
)
def test_nothing_else_is_changed(words: tuple[bytes | int, ...]) -> None:
    device = Description(*words)
    before = bytes(device.words)
    assert not target.name_processor(device)  # type: ignore[arg-type]
    assert bytes(device.words) == before


def test_other_drivers_and_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Description(HOST, b"generic", platform="Intel(R) OpenCL")
    assert not target.name_processor(other)  # type: ignore[arg-type]
    monkeypatch.setattr(processor, "x86_level", lambda: None)
    mine = Description(HOST, b"generic")
    assert not target.name_processor(mine)  # type: ignore[arg-type]
    assert (other.text(1), mine.text(1)) == (b"generic", b"generic")


def test_pocl_describes_its_devices_as_is_expected_here(queue: cl.CommandQueue) -> None:
    """With its own name of the processor for the unknown one: two pointers, one after the other, as is looked for."""
    device = queue.device
    if "Portable Computing" not in device.platform.name or not device.type & cl.device_type.CPU or not processor.is_x86():
        pytest.skip("not PoCL on x86-64")
    words = (ctypes.c_void_p * (target._DESCRIPTION // 8)).from_address(device.int_ptr)
    with target._MEMORY.open("rb", buffering=0) as memory:
        follows = [b for a, b in pairwise(words) if a and b and target._begins(memory.fileno(), a, HOST)]
    assert len(follows) == 1
    assert ctypes.c_char_p(follows[0]).value not in (b"", b"generic", None)
