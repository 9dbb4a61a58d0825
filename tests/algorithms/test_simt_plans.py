"""Plans of the kernels for GPUs against devices that are not there: limits, choice, and the promises of the kernels' macros."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import pytest

from clconv.algorithms import ALGORITHMS
from clconv.algorithms.standard.winograd_simt import inner
from clconv.device import DeviceInfo
from clconv.plan import Launch, Plan
from clconv.problem import ConvProblem
from clconv.select import Limits, select
from tests.shapes import NASTY, problem_of

GPU = DeviceInfo("large", "Vendor", is_cpu=False, unified_memory=False, compute_units=40, clock_mhz=1500)
SMALL = replace(GPU, name="small", compute_units=4, max_work_group_size=64, local_mem_bytes=16384)
CPU = DeviceInfo("processor", "Vendor", max_work_group_size=4096, local_mem_bytes=1 << 20)
DEVICES = {d.name: d for d in (GPU, SMALL)}
SIMT = {a.name: a for a in ALGORITHMS if a.name.endswith("_simt")}
ON_GPUS = SIMT | {a.name: a for a in ALGORITHMS if a.name == "reference"}


def gemm_local_bytes(m: dict[str, int | str], size: int) -> int:
    """Two slices of TILE_K rows of both operands; in N H W C the rows of x are turned, and 4 elements longer."""
    longer = 4 if m["NHWC"] else 0
    return 2 * int(m["TILE_K"]) * (int(m["TILE_M"]) + int(m["TILE_P"]) + longer) * size


def grouped_local_bytes(m: dict[str, int | str], size: int) -> int:
    """Filters of a block of output channels for TILE_IC input channels."""
    return int(m["TILE_IC"]) * int(m["KH"]) * int(m["KW"]) * int(m["OC_LANES"]) * int(m["WPT_OC"]) * size


def no_local_bytes(m: dict[str, int | str], size: int) -> int:
    """All in registers."""
    return 0


LOCAL_BYTES = {
    "standard/implicit_gemm_simt": gemm_local_bytes,
    "standard/winograd_simt": gemm_local_bytes,
    "grouped/direct_simt": grouped_local_bytes,
    "depthwise/direct_simt": no_local_bytes,
}


def problems() -> Iterator[ConvProblem]:
    """Nasty shapes and a few from networks, in every layout and in a small and the large element type."""
    for layout, dtype in itertools.product(("NCHW", "NHWC"), ("float16", "float64")):
        for shape in NASTY:
            yield problem_of(shape, layout=layout, dtype=dtype)
        yield network_problem(512, 7, 512, 3, layout=layout, dtype=dtype)
        yield network_problem(64, 112, 64, 1, layout=layout, dtype=dtype)


def network_problem(
    ic: int, image: int, oc: int, k: int, groups: int = 1, *, batch: int = 1, layout: str = "NCHW", dtype: str = "float32"
) -> ConvProblem:
    nchw = layout == "NCHW"
    return ConvProblem(
        (batch, ic, image, image) if nchw else (batch, image, image, ic),
        (oc, ic // groups, k, k) if nchw else (k, k, ic // groups, oc),
        padding=k // 2,
        groups=groups,
        layout=layout,
        dtype=dtype,
    )


def plans(name: str, device: DeviceInfo) -> Iterator[tuple[Plan, Launch, dict[str, int | str]]]:
    """Every plan of an algorithm with the launch that multiplies and that launch's macros."""
    for problem in problems():
        if ON_GPUS[name].supports(problem, device) is None:
            for plan in ON_GPUS[name].plans(problem, device):
                (launch,) = (x for x in plan.launches if x.entry.startswith("conv_"))
                yield plan, launch, dict(launch.macros)


def test_there_is_a_kernel_for_every_kind() -> None:
    assert set(SIMT) == set(LOCAL_BYTES)
    kinds: dict[str, set[str]] = defaultdict(set)
    for p in problems():
        kinds[p.kind] |= {name for name, algorithm in SIMT.items() if algorithm.supports(p, SMALL) is None}
    assert kinds == {
        "standard": {"standard/implicit_gemm_simt", "standard/winograd_simt"},
        "pointwise": {"standard/implicit_gemm_simt"},
        "grouped": {"grouped/direct_simt", "standard/implicit_gemm_simt", "standard/winograd_simt"},
        "depthwise": {"depthwise/direct_simt"},
    }


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", SIMT)
def test_every_plan_stays_within_the_limits(name: str, device: str) -> None:
    info = DEVICES[device]
    count = 0
    for plan, _, macros in plans(name, info):
        size = 8 if plan.problem.dtype == "float64" else 4
        assert all(math.prod(x.local_size) <= info.max_work_group_size for x in plan.launches)
        assert LOCAL_BYTES[name](macros, size) <= info.local_mem_bytes
        scratch = {a for x in plan.launches for a in x.arguments if isinstance(a, str) and a.startswith("scratch")}
        assert len(plan.scratch_bytes) >= len(scratch)
        count += 1
    assert count > 10


@pytest.mark.parametrize("name", ON_GPUS)
def test_work_groups_lie_along_one_dimension(name: str) -> None:
    """Some devices end dimensions 1 and 2 at 65535 work-groups."""
    for plan, _, _ in plans(name, GPU):
        for launch in plan.launches:
            assert launch.global_size[1:] == launch.local_size[1:] == (1, 1)
            assert launch.global_size[0] % launch.local_size[0] == 0


@pytest.mark.parametrize("device", DEVICES)
def test_matrix_tiles_cover_the_outputs_and_divide_evenly(device: str) -> None:
    split = 0
    for plan, launch, m in plans("standard/implicit_gemm_simt", DEVICES[device]):
        p = plan.problem
        tile_m, tile_p, tile_k, wpt_m, wpt_p = (int(m[k]) for k in ("TILE_M", "TILE_P", "TILE_K", "WPT_M", "WPT_P"))
        items = launch.local_size[0]
        assert items == tile_m // wpt_m * (tile_p // wpt_p)
        assert tile_m % wpt_m == tile_p % wpt_p == 0
        assert tile_m * tile_k // 4 % items == tile_p * tile_k % items == 0
        assert items % 32 == 0
        tiles = p.G * -(-p.OCG // tile_m) * -(-p.N * p.OH * p.OW // tile_p)
        parts, rest = divmod(launch.global_size[0] // items, tiles)
        taps = p.ICG * p.KH * p.KW if m["FLAT"] else -(-p.ICG // tile_k) * tile_k * p.KH * p.KW
        assert rest == 0
        assert 1 <= parts <= -(-taps // tile_k)
        assert m["SPLIT"] == (parts > 1) == (len(plan.launches) == 2)
        if parts > 1:
            split += 1
            assert plan.scratch_bytes == (parts * p.N * p.OC * p.OH * p.OW * (8 if p.dtype == "float64" else 4),)
    assert split


def test_a_filter_of_many_taps_is_packed_within_the_limits() -> None:
    """The images of a network's last layer, flattened: more taps than a second dimension takes work-groups."""
    plan = select(network_problem(100352, 1, 64, 1), GPU).plan
    assert plan.packing is not None
    prepare = plan.packing.launch
    assert prepare.global_size[0] // prepare.local_size[0] == 100352
    assert max(n // m for n, m in zip(prepare.global_size[1:], prepare.local_size[1:], strict=True)) <= 65535


def test_one_part_per_tile_where_there_are_tiles_enough() -> None:
    best = select(network_problem(512, 56, 512, 3, batch=8), GPU, Limits(algorithm="direct")).plan
    assert len(best.launches) == 1
    alone = select(network_problem(512, 7, 512, 3), replace(GPU, compute_units=128), Limits(algorithm="direct")).plan
    assert len(alone.launches) == 2
    assert len(select(network_problem(512, 7, 512, 3), GPU, Limits("direct", workspace=0)).plan.launches) == 1


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_winograd_is_one_convolution_with_a_group_for_each_frequency(layout: str) -> None:
    problem = network_problem(64, 15, 48, 3, groups=2, batch=3, layout=layout, dtype="float16")
    middle = inner(problem, 4)
    assert (middle.G, middle.ICG, middle.OCG, middle.N, middle.OH * middle.OW) == (36 * 2, 32, 24, 1, 3 * 4 * 4)
    assert (middle.dtype, middle.layout) == ("float32", layout)


def test_winograd_takes_no_more_than_a_part_of_the_memory() -> None:
    problem = network_problem(64, 224, 64, 3, batch=32)
    large = replace(GPU, global_mem_bytes=64 << 30, max_alloc_bytes=16 << 30)
    need = min(plan.workspace for plan in SIMT["standard/winograd_simt"].plans(problem, large))
    small = replace(large, global_mem_bytes=2 * need)
    assert not SIMT["standard/winograd_simt"].plans(problem, small)
    assert select(problem, large).plan.algorithm == "standard/winograd_simt"
    assert select(problem, small).plan.algorithm == "standard/implicit_gemm_simt"


def test_winograd_serves_large_images_on_a_gpu() -> None:
    best = select(network_problem(256, 56, 256, 3, batch=8), GPU).plan
    assert best.algorithm == "standard/winograd_simt"
    assert select(network_problem(256, 56, 256, 3, batch=8), GPU, Limits(error_factor=best.error_factor / 2)).plan != best


def test_grouped_tiles_cover_the_outputs() -> None:
    for plan, launch, m in plans("grouped/direct_simt", GPU):
        p = plan.problem
        lanes, wpt_oc, wpt_h, wpt_w = (int(m[k]) for k in ("OC_LANES", "WPT_OC", "WPT_H", "WPT_W"))
        items = launch.local_size[0]
        assert items == m["ITEMS"]
        assert items % lanes == 0
        assert 1 in (lanes, wpt_oc)
        assert (wpt_oc if p.layout == "NHWC" else lanes * wpt_w) == 1
        tiles = launch.global_size[0] // items * (items // lanes)
        assert tiles * lanes * wpt_oc * wpt_h * wpt_w >= p.N * p.OC * p.OH * p.OW


def test_depthwise_tiles_cover_the_outputs() -> None:
    for plan, launch, m in plans("depthwise/direct_simt", GPU):
        p = plan.problem
        wpt_h, wpt_w = int(m["WPT_H"]), int(m["WPT_W"])
        assert p.layout == "NHWC" or wpt_w == 1
        tiles = p.N * p.OC * -(-p.OH // wpt_h) * -(-p.OW // wpt_w)
        assert 0 <= launch.global_size[0] - tiles < launch.local_size[0]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    "sizes", [(64, 56, 64, 3), (128, 56, 128, 1), (512, 14, 512, 3, 32), (256, 28, 256, 3, 256), (3, 112, 32, 3)]
)
def test_gpus_and_cpus_get_different_kernels(sizes: tuple[int, ...], layout: str) -> None:
    problem = network_problem(*sizes, layout=layout)
    for device in DEVICES.values():
        assert select(problem, device).plan.algorithm in SIMT
    assert select(problem, CPU).plan.algorithm not in SIMT


def test_narrow_groups_are_not_computed_as_matrices() -> None:
    for layout in ("NCHW", "NHWC"):
        assert select(network_problem(128, 56, 128, 3, 32, layout=layout), GPU).plan.algorithm == "grouped/direct_simt"


def test_large_images_take_large_tiles_and_small_ones_small_tiles() -> None:
    def tile(problem: ConvProblem) -> int:
        macros = dict(select(problem, GPU).plan.launches[0].macros)
        return int(macros["TILE_M"]) * int(macros["TILE_P"])

    assert tile(network_problem(256, 56, 256, 1, batch=16)) == 128 * 64
    assert tile(network_problem(256, 7, 256, 1)) <= 64 * 32
    assert tile(network_problem(64, 56, 16, 1)) <= 32 * 64


def test_refusals_name_both_numbers() -> None:
    tiny = replace(GPU, max_work_group_size=32)
    for name, problem in (
        ("standard/implicit_gemm_simt", network_problem(64, 56, 64, 3)),
        ("standard/winograd_simt", network_problem(64, 56, 64, 3)),
        ("grouped/direct_simt", network_problem(64, 56, 64, 3, 8)),
    ):
        assert SIMT[name].supports(problem, tiny) == "needs work-groups of 64 work-items, the device takes 32"
    wide = network_problem(64, 99, 64, 47, 8, layout="NHWC")
    reason = SIMT["grouped/direct_simt"].supports(wide, GPU)
    assert reason == f"needs {47 * 47 * 8 * 4} bytes of local memory, the device has 32768"
    assert SIMT["standard/implicit_gemm_simt"].supports(wide, GPU) is None
    huge = network_problem(1, 46341, 1, 1)
    assert "2147482624 pixels" in (SIMT["standard/implicit_gemm_simt"].supports(huge, GPU) or "")


def test_a_second_kernel_has_to_save_what_it_takes_to_enqueue_it() -> None:
    """One small image through 3x3 filters takes a GPU less time by Winograd's method, but three kernels; thirty-two gain."""
    large = replace(GPU, compute_units=132, clock_mhz=1980)
    one = network_problem(64, 56, 64, 3)
    assert len(select(one, large).plan.launches) == 1
    assert len(select(network_problem(64, 56, 64, 3, batch=32), large).plan.launches) == 3
    plans = [p for a in SIMT.values() if a.supports(one, large) is None for p in a.plans(one, large)]
    assert len(min(plans, key=lambda plan: plan.seconds).launches) == 3  # on the device alone
