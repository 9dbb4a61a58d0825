"""Kernels with a processor's own instructions also build on processors without them, so that a mistake is found anywhere."""

from __future__ import annotations

import platform
import warnings

import pyopencl as cl
import pytest

from clconv.device import DeviceInfo
from clconv.notation import parse
from clconv.onnx import inverted, separable
from clconv.plan import Launch
from clconv.source import options, program
from tests.harness import launches_on

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the instructions are of x86-64")

WIDE = DeviceInfo(
    "made up", "Portable Computing Language", unaligned_vectors=True, avx512=True, amx=True, local_mem_bytes=1 << 21
)
CLAMP = (0.0, 6.0)


def of_algorithms() -> dict[tuple[str, ...], Launch]:
    """One launch for each kernel function and layout."""
    found: dict[tuple[str, ...], Launch] = {}
    for layout, launch in launches_on(WIDE):
        if dict(launch.macros).get("AVX512"):
            found.setdefault((launch.kernel, launch.entry, layout), launch)
    return found


def of_blocks() -> dict[tuple[str, ...], Launch]:
    """One launch for each form of the fused blocks."""
    one, three, two = (
        parse(text)
        for text in (
            "1x1 64->128 @14 relu6 nhwc",
            "3x3 128->128 @14 groups 128 padding 1 bias relu6 nhwc",
            "1x1 128->64 @14 bias nhwc",
        )
    )
    plans = {
        **{f"separable {f.__name__}": f(three, two, WIDE, CLAMP) for f in separable.FORMS},
        **{f"inverted {f.__name__}": f(one, three, two, WIDE, (*CLAMP, *CLAMP)) for f in inverted.FORMS},
    }
    assert all(plans.values())
    return {(name,): plan.launch for name, plan in plans.items() if plan is not None}


LAUNCHES = {**of_algorithms(), **of_blocks()}


@pytest.mark.parametrize("name", LAUNCHES, ids=" ".join)
def test_builds(name: tuple[str, ...], cpu_queue: cl.CommandQueue) -> None:
    launch, info = LAUNCHES[name], DeviceInfo.of(cpu_queue.device)
    if not info.is_pocl:
        pytest.skip("the instructions are used with PoCL alone")
    text, opts = program(launch.kernel, options(launch), info)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.CompilerWarning)
        cl.Program(cpu_queue.context, text).build(list(opts), devices=[cpu_queue.device])
