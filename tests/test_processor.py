"""What is known of the processor, and what plans make of it."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from clconv import processor
from clconv.device import DeviceInfo, _l2_bytes
from clconv.notation import parse
from clconv.select import Limits, select

SERVER = DeviceInfo(
    "made up", "Portable Computing Language", unaligned_vectors=True, avx512=True, local_mem_bytes=1 << 21, l2_bytes=2 << 20
)


def test_no_permission_without_the_processor_or_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_NEEDED", frozenset({"a flag that no processor has"}))
    assert not processor.amx_granted.__wrapped__()
    monkeypatch.setattr(processor, "_NEEDED", frozenset())
    monkeypatch.setattr("sys.platform", "darwin")
    assert not processor.amx_granted.__wrapped__()


@pytest.mark.parametrize(("local", "counted"), [(512 << 10, 512 << 10), (2 << 20, 1 << 20)])
def test_the_second_cache_is_what_pocl_gives_local_memory_up_to_a_bound(local: int, counted: int) -> None:
    assert _l2_bytes(SimpleNamespace(local_mem_size=local), is_cpu=True, pocl=True) == counted
    assert _l2_bytes(SimpleNamespace(local_mem_size=local), is_cpu=False, pocl=False) == DeviceInfo.l2_bytes


@pytest.mark.skipif(not processor.amx_granted(), reason="the processor has no matrix unit, or the system keeps it")
def test_the_system_knows_of_the_permission() -> None:
    mask = ctypes.c_uint64()
    get_permission = 0x1022  # ARCH_GET_XCOMP_PERM
    assert ctypes.CDLL(None).syscall(processor._ARCH_PRCTL, get_permission, ctypes.byref(mask)) == 0
    assert mask.value >> processor._TILE_DATA & 1


@pytest.mark.parametrize(
    ("vendor", "family", "name", "flag", "full"),
    [
        ("GenuineIntel", "6", "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", "", True),
        ("GenuineIntel", "6", "11th Gen Intel(R) Core(TM) i7-1165G7 @ 2.80GHz", "", False),
        ("GenuineIntel", "6", "a name that a virtual machine gives", "amx_tile", True),
        ("AuthenticAMD", "25", "AMD EPYC 9354 32-Core Processor", "", False),
        ("AuthenticAMD", "26", "AMD EPYC 9555 64-Core Processor", "", True),
        ("AuthenticAMD", "26", "AMD Ryzen AI 9 HX 370 w/ Radeon 890M", "", False),
        ("AuthenticAMD", "", "", "", False),
    ],
)
def test_whose_vector_units_take_64_bytes(
    vendor: str, family: str, name: str, flag: str, full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpuinfo"
    first = (
        f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel name\t: {name}\nflags\t\t: fpu avx512f {flag}\n"
    )
    file.write_text(f"{first}\nprocessor\t: 1\nmodel name\t: Xeon of another socket\n")
    monkeypatch.setattr(processor, "_CPUINFO", file)
    monkeypatch.setattr(processor, "is_x86", lambda: True)
    monkeypatch.setattr("sys.platform", "linux")
    assert processor.full_avx512.__wrapped__() is full
    monkeypatch.setattr(processor, "full_avx512", processor.full_avx512.__wrapped__)
    assert processor.moves_beside.__wrapped__() is (full and vendor == "AuthenticAMD")


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ("fpu sse2", "x86-64"),
        ("fpu cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3 avx avx2", "x86-64-v2"),
        ("cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe xsave avx512f", "x86-64-v3"),
        ("avx512f avx512bw avx512cd avx512dq avx512vl", "x86-64"),
    ],
)
def test_the_level_is_the_highest_that_has_all_of_those_below(
    flags: str, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"vendor_id\t: HygonGenuine\nflags\t\t: {flags}\n")
    monkeypatch.setattr(processor, "_CPUINFO", file)
    monkeypatch.setattr(processor, "is_x86", lambda: True)
    monkeypatch.setattr("sys.platform", "linux")
    assert processor.x86_level.__wrapped__() == level


def test_nothing_is_known_where_linux_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "missing")
    assert not processor.full_avx512.__wrapped__()
    assert not processor.amx_granted.__wrapped__()
    monkeypatch.setattr(processor, "full_avx512", processor.full_avx512.__wrapped__)
    assert not processor.moves_beside.__wrapped__()
    assert processor.x86_level.__wrapped__() is None


def test_a_whole_vector_takes_a_cycle_or_half_of_one() -> None:
    full = replace(SERVER, full_avx512=True)
    assert [SERVER.multiply_cycles(size) for size in (16, 32, 64)] == [0.5, 0.5, 1.0]
    assert [full.multiply_cycles(size) for size in (16, 32, 64)] == [0.5, 0.5, 0.5]


def test_whole_vectors_are_predicted_to_be_faster() -> None:
    problem = parse("1x1 256->256 @28 nhwc")
    slow, fast = (select(problem, device, Limits("direct")).plan for device in (SERVER, replace(SERVER, full_avx512=True)))
    assert fast.seconds < 0.7 * slow.seconds


@pytest.mark.parametrize(
    ("text", "intel", "amd"),
    [
        ("1x1 1024->256 @14", "pointwise/channel_simd", "pointwise/strassen_simd"),
        ("1x1 512->512 @28", "pointwise/strassen_panel_simd", "pointwise/strassen_simd"),
        ("3x3 512->512 @14 groups 32", "standard/row_simd", "standard/winograd_simd"),
        ("3x3 1024->1024 @14 stride 2 groups 32 nhwc", "grouped/channel_simd", "grouped/lane_simd"),
    ],
)
def test_what_two_whole_vectors_a_cycle_leave_room_for(text: str, intel: str, amd: str) -> None:
    """Each is the faster one of the two where it was measured, on two Xeon and on two Zen 5 cores."""
    server = replace(SERVER, full_avx512=True, clock_mhz=2600, local_mem_bytes=1 << 20, l2_bytes=1 << 20)
    devices = [replace(server, moves_beside=beside) for beside in (False, True)]
    assert [select(parse(text), device).plan.algorithm for device in devices] == [intel, amd]


def test_tiles_do_not_crowd_the_sets_of_the_first_cache() -> None:
    device = replace(SERVER, full_avx512=True, moves_beside=True, clock_mhz=2600)
    tiles = [select(parse(f"3x3 {c}->{c} @28 stride 2 depthwise nhwc"), device).plan.tile for c in (240, 256)]
    assert tiles == ["1 x 7 pixels x 16 channels", "1 x 2 pixels x 16 channels"]
