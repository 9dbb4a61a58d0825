"""What every kernel file promises a reader: plain text, a header to work from, a clear word when a macro is missing."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pyopencl as cl
import pytest

from clconv.algorithms import ALGORITHMS
from clconv.device import DeviceInfo
from clconv.plan import Launch
from clconv.source import BUILD_OPTIONS, KERNEL_DIR, expand, program
from tests.harness import launches_on

FILES = sorted(p for p in KERNEL_DIR.rglob("*") if p.suffix in (".cl", ".clh"))
CONVOLUTIONS = sorted({a.kernel for a in ALGORITHMS})
UNREAD = {"SH", "SW", "DH", "DW", "UNALIGNED_VECTORS"}
"""Macros that every convolution is built with though some have no use for them."""


def test_there_is_a_kernel_for_every_algorithm_and_the_reverse() -> None:
    here = {p.relative_to(KERNEL_DIR).as_posix() for p in FILES if p.suffix == ".cl"}
    other = (
        {k for k in here if k.startswith(("bench/", "network/"))}
        | {p.name for p in KERNEL_DIR.glob("pack_*.cl")}
        | {"sum_parts.cl", "persistent.cl"}
    )
    assert here - other == set(CONVOLUTIONS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(KERNEL_DIR).as_posix())
def test_files_are_ascii_and_begin_with_a_header(path: object) -> None:
    text = path.read_text(encoding="ascii")  # type: ignore[attr-defined]  # a Path; parametrize hides it
    assert text.startswith("/* ")
    header = text[: text.index("*/")]
    assert header.count("\n") >= 2
    assert "Macros" in header or "macros" in header
    assert "\t" not in text


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(KERNEL_DIR).as_posix())
def test_headers_name_the_macros_that_must_be_set(path: object) -> None:
    text = path.read_text(encoding="ascii")  # type: ignore[attr-defined]  # as above
    header, _, code = text.partition("*/")
    for line in re.findall(r'#error "(.*) must be set', code):
        for macro in re.findall(r"[A-Z][A-Z0-9_]*", line):
            assert re.search(rf"\b{macro}\b", header), macro


@pytest.mark.parametrize("kernel", CONVOLUTIONS)
def test_headers_give_formula_tensors_work_items_and_traffic(kernel: str) -> None:
    text = (KERNEL_DIR / kernel).read_text()
    header = text[: text.index("*/")]
    assert re.search(r"y\[.*\] = act\(", header)
    assert re.search(r"^ \* x\b.* N (C|I|OC|H)", header, re.MULTILINE), "the order of the tensors' axes"
    assert re.search(r"[Ww]ork-(item|group)s?\b", header)
    assert re.search(r"\b(is|are) read\b|\breads\b", header), "what is read per output or per tile"


@pytest.mark.parametrize("kernel", [p.name for p in sorted(KERNEL_DIR.glob("*.cl"))] + [k for k in CONVOLUTIONS if "/" in k])
def test_documents_name_every_kernel(kernel: str) -> None:
    folder, _, name = kernel.rpartition("/")
    # The row of its folder; the kernels for GPUs stand together in one of their own.
    row = rf"^\| `(kernels/)?{folder}/?`.*" if folder and not name.endswith("_simt.cl") else ""
    word = re.compile(rf"{row}`(kernels/)?{name.removesuffix('.cl')}(\.cl)?`", re.MULTILINE)
    assert word.search((KERNEL_DIR / "README.md").read_text(encoding="utf-8"))
    if not kernel.startswith("pack_"):
        assert word.search((KERNEL_DIR.parent / "README.md").read_text(encoding="utf-8"))


BUILTINS = KERNEL_DIR / "include" / "builtins.clh"


SIZED_BY_LAUNCHES = ("reference.cl", "sum_parts.cl", "depthwise/direct_simt.cl", "standard/winograd_simt.cl", "bench/")
"""Kernels that work-groups of any size may run, for GPUs or for measurements."""


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix == ".cl"], ids=lambda p: p.relative_to(KERNEL_DIR).as_posix())
def test_kernels_for_cpus_say_how_large_their_work_groups_are(path: Path) -> None:
    if path.relative_to(KERNEL_DIR).as_posix().startswith(SIZED_BY_LAUNCHES):
        return
    for head in re.findall(r"^__kernel[^;{]*", path.read_text(encoding="ascii"), re.MULTILINE):
        assert "reqd_work_group_size" in head, head


def test_only_functions_that_a_kernel_calls_are_declared_for_pocl() -> None:
    """The reverse needs no test: PoCL does not build a kernel that calls one without a declaration."""
    text = BUILTINS.read_text()
    declared = {*re.findall(r"\b(\w+)\([a-z_]+[^()]*\);", text), *re.findall(r"^FOR_TYPES\(\w+, (\w+)\)", text, re.MULTILINE)}
    code = [re.sub(r"/\*.*?\*/", "", p.read_text(), flags=re.DOTALL) for p in FILES if p != BUILTINS]
    assert {"get_global_id", "barrier", "exp", "pow"} <= declared
    assert [name for name in sorted(declared) if not any(re.search(rf"\b{name}\(", each) for each in code)] == []


def test_other_drivers_than_that_pocl_get_the_kernel_alone() -> None:
    kernel, opts, pocl = "reference.cl", BUILD_OPTIONS, "Portable Computing Language"
    for platform, driver in (("NVIDIA CUDA", "3.0"), (pocl, "7.1"), (pocl, "30")):
        assert program(kernel, opts, DeviceInfo("made up", platform, driver)) == (expand(kernel), opts)
    text, with_more = program(kernel, opts, DeviceInfo("made up", pocl, "3.0-rc2"))
    assert text.endswith(expand(kernel))
    assert BUILTINS.read_text().splitlines()[-3] in text
    assert with_more == (*opts, "-D_OPENCL_H_")


def launches() -> dict[tuple[str, str], Launch]:
    """One launch of every kernel function that the plans for the list of shapes name, on a device with all extras."""
    info = DeviceInfo("made up", "Portable Computing Language", unaligned_vectors=True, avx512=True)
    found: dict[tuple[str, str], Launch] = {}
    for _, launch in launches_on(info):
        found.setdefault((launch.kernel, launch.entry), launch)
    return found


LAUNCHES = launches()


@pytest.mark.parametrize(("kernel", "entry"), sorted(LAUNCHES))
def test_a_missing_macro_is_said_by_name(kernel: str, entry: str, queue: cl.CommandQueue) -> None:
    """Left out one after the other: the program builds because it does not read it, or its own #error names it."""
    macros = LAUNCHES[kernel, entry].macros
    info = DeviceInfo.of(queue.device)
    if dict(macros).get("AVX512") and not info.is_cpu:
        pytest.skip("no CPU, and the macros are of code with a processor's instructions")
    macros = tuple((n, int(info.unaligned_vectors) if n == "UNALIGNED_VECTORS" else v) for n, v in macros)
    named = 0
    for missing in (name for name, _ in macros if name not in UNREAD):
        options = (*BUILD_OPTIONS, *(f"-D{name}={value}" for name, value in macros if name != missing))
        text, options = program(kernel, options, info)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", cl.CompilerWarning)
                cl.Program(queue.context, text).build(list(options), devices=[queue.device])
        except cl.Error as error:
            errors = [line for line in str(error).splitlines() if "#error" in line or "must be set" in line]
            word = "REAL" if missing.startswith("REAL") else missing
            assert errors
            assert any(word in line for line in errors), (missing, errors)
            named += 1
    assert named >= 1
