"""Plans and their selection against made-up devices, without OpenCL."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from clconv.algorithms import ALGORITHMS
from clconv.algorithms.base import NEAR, SHORT, inside, items_wanted, places, scattered_cycles
from clconv.algorithms.depthwise import direct_simd
from clconv.algorithms.depthwise.pixel_simd import DepthwisePixelSimd
from clconv.algorithms.depthwise.stream_simd import DepthwiseStreamSimd
from clconv.algorithms.grouped.lane_simd import GroupedLaneSimd
from clconv.algorithms.standard.winograd_simd import WinogradSimd
from clconv.device import DeviceInfo
from clconv.errors import DeviceError, ShapeError, UnsupportedError
from clconv.explain import explain
from clconv.notation import parse
from clconv.plan import BUFFERS, Channels, Float, Int, Local, Plan
from clconv.problem import ConvProblem
from clconv.select import Limits, _too_large, batch_parts, over_limit, select
from clconv.source import KERNEL_DIR
from tests.shapes import NASTY, problem_of

CPU = DeviceInfo("made-up CPU", "Portable Computing Language", unaligned_vectors=True, max_work_group_size=4096)
GPU = DeviceInfo("made-up GPU", "Vendor", is_cpu=False, vector_bytes=16, unified_memory=False, compute_units=40)
TINY = DeviceInfo("tiny", "Vendor", is_cpu=False, vector_bytes=16, max_work_group_size=64, local_mem_bytes=16384, fp64=False)
DEVICES = {"cpu": CPU, "gpu": GPU, "tiny": TINY}


def all_plans(device: DeviceInfo, layout: str) -> list[Plan]:
    """Every plan for every nasty shape."""
    plans: list[Plan] = []
    for shape, algorithm in itertools.product(NASTY, ALGORITHMS):
        problem = problem_of(shape, layout=layout)
        if algorithm.supports(problem, device) is None:
            plans += algorithm.plans(problem, device)
    return plans


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("device", DEVICES)
def test_plans_are_well_formed(device: str, layout: str) -> None:
    for plan in all_plans(DEVICES[device], layout):
        assert hash(plan) == hash(replace(plan))
        assert plan.seconds > 0
        assert plan.error_factor > 0
        assert plan.tile
        assert plan.launches
        used = {a for launch in plan.every_launch for a in launch.arguments if isinstance(a, str)}
        assert used <= set(BUFFERS)
        assert ("packed" in used) == (plan.packed_bytes > 0)
        assert {f"scratch{i}" for i in range(len(plan.scratch_bytes))} == {u for u in used if u.startswith("scratch")}
        for launch in plan.every_launch:
            assert (KERNEL_DIR / launch.kernel).is_file()
            assert len(launch.global_size) == len(launch.local_size) <= 3
            for total, group in zip(launch.global_size, launch.local_size, strict=True):
                assert total > 0
                assert total % group == 0, (plan.algorithm, launch.global_size, launch.local_size)
            for argument in launch.arguments:
                assert isinstance(argument, (str, Int, Channels, Float, Local))
                assert not isinstance(argument, Int) or -(2**31) <= argument.value < 2**31


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_every_problem_finds_a_plan_within_the_limits(device: str, layout: str) -> None:
    for shape in NASTY:
        choice = select(problem_of(shape, layout=layout), DEVICES[device])
        assert over_limit(choice.plan, DEVICES[device]) is None
        assert choice.plan.seconds == min(p.seconds for p in choice.candidates)


def test_gpus_get_kernels_for_gpus() -> None:
    for shape in ("resnet_like", "pointwise", "grouped_4", "depthwise"):
        assert select(problem_of(shape), GPU).plan.algorithm.endswith("_simt")
        assert select(problem_of(shape), CPU).plan.algorithm.endswith("_simd")


def test_sizes_are_no_macros() -> None:
    """For a new image another tile may be compiled, and nothing else.

    The batch, the channels' number and the image's size are arguments: macros depend on them only through the tile.
    """
    kinds = ("3x3 64->64", "3x3 3->64", "1x1 64->64", "3x3 64->64 groups 8", "3x3 64->64 depthwise", "13x13 64->64 depthwise")
    words = [*kinds, *(f"{kind} stride 3" for kind in kinds if kind.startswith("3x3 64"))]
    for algorithm in ALGORITHMS:
        builds: dict[tuple[str, str], set[object]] = defaultdict(set)
        for text, layout, size in itertools.product(words, ("nchw", "nhwc"), range(20, 60, 3)):
            problem = parse(f"{text} @{size} {layout}")
            if algorithm.supports(problem, CPU) is None:
                plan = next(iter(algorithm.plans(problem, CPU)))
                builds[text, layout].add(tuple((x.kernel, x.macros) for x in plan.launches))
        # A handful of tiles for a problem; never one build for each of the 14 sizes.
        assert builds
        assert max(map(len, builds.values())) <= 6, (algorithm.name, builds)


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
def test_work_items_take_whole_groups(vector_bytes: int) -> None:
    """Those of grouped/lane_simd, which begin to read where a group does."""
    device, algorithm, wide = replace(CPU, vector_bytes=vector_bytes), GroupedLaneSimd(), 0
    for group in range(2, 33):
        problem = parse(f"3x3 {5 * group}->{5 * group} @9 groups 5 nhwc")
        if algorithm.supports(problem, device) is None:
            macros = dict(algorithm.plans(problem, device)[0].launches[0].macros)
            vec, vectors = int(macros["VEC"]), int(macros["NV"])
            assert group <= vec or vectors * vec % group == 0
            wide += group > vec
    assert wide


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 9, 15, 57])
def test_no_two_work_items_write_a_row(rows: int) -> None:
    """Bands of whole tiles are no lower than a tile, whose last one would else begin in the band before."""
    problem = ConvProblem((1, rows, 14, 32), (3, 3, 1, 32), padding=1, groups=32, layout="NHWC")
    for plan in (*DepthwisePixelSimd().plans(problem, CPU), *DepthwiseStreamSimd().plans(problem, CPU)):
        (launch,) = plan.launches
        bands = math.prod(launch.global_size)  # of one block of channels, and one image
        assert bands * int(dict(launch.macros)["TILE_OH"]) <= rows


@pytest.mark.parametrize("units", [1, 2, 6, 64])
@pytest.mark.parametrize(("channels", "rows"), [(16, 7), (120, 3), (256, 7), (1024, 7), (1024, 1), (512, 14)])
def test_every_block_of_channels_has_some(channels: int, rows: int, units: int) -> None:
    """Few rows are shared by channels, in blocks of 512 bytes and more; none is empty, which the kernel takes for granted."""
    problem = ConvProblem((1, rows, 7, channels), (3, 3, 1, channels), padding=1, groups=channels, layout="NHWC")
    plans = DepthwisePixelSimd().plans(problem, replace(CPU, compute_units=units))
    assert plans
    for plan in plans:
        (launch,) = plan.launches
        blocks, _, _ = launch.global_size
        assert 1 <= blocks <= max(1, channels * 4 // 512)
        assert blocks <= max(1, channels // int(dict(launch.macros)["VEC"]))
        if units == 2 and rows <= 7 and channels >= 256:
            assert blocks == 2


def test_limits() -> None:
    problem = parse("3x3 64->64 @56")
    free = select(problem, CPU)
    assert free.plan.winograd  # which each limit below rules out
    assert max(p.workspace for p in free.candidates) > 0
    assert select(problem, CPU, Limits("reference")).plan.algorithm == "reference"
    direct = select(problem, CPU, Limits("direct"))
    assert not direct.plan.winograd
    assert {p.workspace for p in select(problem, CPU, Limits(workspace=0)).candidates} == {0}
    strict = Limits(error_factor=direct.plan.error_factor)
    assert not select(problem, CPU, strict).plan.winograd
    with pytest.raises(ShapeError, match="algorithm 'gemm' is unknown; use one of auto, reference"):
        select(problem, CPU, Limits("gemm"))
    least = min(p.error_factor for p in free.candidates)
    with pytest.raises(UnsupportedError, match=rf"error_factor=0\.5: the least error factor is {least:g}, that of \S+; allow"):
        select(problem, CPU, Limits(error_factor=0.5))
    assert select(problem, CPU, Limits(error_factor=least)).plan.error_factor == least
    roomy = replace(CPU, local_mem_bytes=1 << 20)
    for text, family in (("1x1 257->255 @28 nhwc", "split"), ("3x3 17->31 @13", "split"), ("3x3 64->64 @56", "winograd")):
        with pytest.raises(UnsupportedError, match="the least error factor is") as caught:
            select(parse(text), roomy, Limits(family, error_factor=0.5))
        told = float(str(caught.value).split("the least error factor is ")[1].split(",")[0])
        assert select(parse(text), roomy, Limits(family, error_factor=told)).plan.error_factor <= told
    scratch = min(p.workspace for p in select(problem, CPU, Limits("winograd")).candidates)
    with pytest.raises(UnsupportedError, match=f"the least scratch memory is {scratch} bytes, that of .*winograd_simd; allow"):
        select(problem, CPU, Limits("winograd", workspace=scratch - 1))
    with pytest.raises(UnsupportedError, match="with algorithm='depthwise/direct_simt': depthwise/direct_simt serves"):
        select(problem, CPU, Limits("depthwise/direct_simt"))
    for wrong in ({"workspace": -1}, {"workspace": "1"}, {"error_factor": float("nan")}):
        with pytest.raises(ShapeError, match="must be None or a number that is not negative"):
            Limits(**wrong)
    with pytest.raises(UnsupportedError, match="float64 is not offered by the device tiny"):
        select(problem_of("resnet_like", dtype="float64"), TINY)


@pytest.mark.parametrize("number", [Fraction(19, 2), np.float32(9.5), 9, 10**400], ids=["fraction", "NumPy", "integer", "huge"])
def test_a_limit_of_the_error_may_be_any_real_number(number: Any) -> None:
    limits = Limits(error_factor=number)
    assert type(limits.error_factor) is float
    assert limits.error_factor == number or (limits.error_factor, number) == (math.inf, 10**400)
    tight = select(parse("3x3 64->64 @56"), CPU, Limits(error_factor=Fraction(7281, 10)))  # type: ignore[arg-type]  # a Real
    assert any("has an error factor of" in reason and "the limit is 728.1" in reason for _, reason in tight.refused)


def test_every_limit_of_a_device_rules_plans_out() -> None:
    plans = (p for p in select(parse("3x3 64->64 @56"), CPU).candidates if p.packed_bytes and not p.scratch_bytes)
    plan = replace(next(plans))
    (launch,) = plan.launches
    assert over_limit(plan, replace(CPU, max_alloc_bytes=plan.packed_bytes)) is None
    assert f"needs a buffer of {plan.packed_bytes}" in str(
        over_limit(plan, replace(CPU, max_alloc_bytes=plan.packed_bytes - 1))
    )
    grouped = replace(plan, launches=(replace(launch, local_size=(8, 4, 1), global_size=(8, 4, 1)),))
    assert over_limit(grouped, replace(CPU, max_work_group_size=32)) is None
    reason = over_limit(grouped, replace(CPU, max_work_group_size=31))
    assert reason == "needs work-groups of 32 work-items, the device takes 31"
    local = replace(plan, launches=(replace(launch, arguments=(Local(100), Local(20))),))
    assert over_limit(local, replace(CPU, local_mem_bytes=120)) is None
    assert over_limit(local, replace(CPU, local_mem_bytes=119)) == "needs 120 bytes of local memory, the device has 119"


def test_pixels_of_all_images_are_numbered() -> None:
    algorithm = next(a for a in ALGORITHMS if a.family == "direct")
    image = (1, 1 << 15, 1 << 15)
    assert _too_large(ConvProblem((1, *image), (1, 1, 1, 1)), algorithm) is None
    assert "the images have 2147483648" in str(_too_large(ConvProblem((2, *image), (1, 1, 1, 1)), algorithm))


@pytest.mark.parametrize("text", ["3x3 32->8 @14 padding 1 batch 5", "3x3 8->32 @14 padding 1 batch 5"])
def test_the_larger_tensor_decides_how_a_batch_is_split(text: str) -> None:
    image = 32 * 14 * 14 * 4
    assert batch_parts(parse(text), replace(CPU, max_alloc_bytes=2 * image)) == [(0, 2), (2, 2), (4, 1)]


def test_refusals_have_their_reasons() -> None:
    choice = select(problem_of("depthwise_5x5"), CPU)
    reasons = dict(choice.refused)
    assert reasons
    assert all(reasons.values())
    told: dict[str, str] = {}
    for line in str(explain(problem_of("depthwise_5x5"), CPU)).splitlines():
        if line.startswith("  not  "):
            names, _, reason = line.removeprefix("  not").strip().partition(": ")
            for group in names.split("; "):  # those of a folder are "folder/a, b"
                folder, slash, files = group.rpartition("/")
                told |= {folder + slash + file: reason for file in files.split(", ")}
    assert told == reasons


def test_a_batch_that_is_split_is_explained_as_it_runs() -> None:
    problem = problem_of("resnet_like").with_batch(5)
    image = 32 * 14 * 14 * 4
    told = explain(problem, replace(CPU, max_alloc_bytes=2 * image))
    assert (told.parts, told.plan.problem.N, told.as_dict()["parts"]) == (3, 2, 3)
    assert "in 3 parts of 2 images at most" in str(told)
    assert explain(problem, CPU).parts == 1
    with pytest.raises(DeviceError, match=f"{image} bytes .* {image - 1} bytes at most"):
        explain(problem, replace(CPU, max_alloc_bytes=image - 1))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_pointwise_problems_have_kernels_of_their_own(layout: str, dtype: str) -> None:
    """The kernels for windows would serve them too, at half the speed in 16 bits, and take long to plan."""
    for device in (CPU, replace(CPU, avx512=True), GPU):
        for shape in ("pointwise", "pointwise_odd", "pointwise_stride_2", "pointwise_padded", "pointwise_deep"):
            candidates = select(problem_of(shape, layout=layout, dtype=dtype), device).candidates
            assert {p.algorithm for p in candidates if p.algorithm.endswith("_simd")}
            standard = [p.algorithm for p in candidates if p.algorithm.startswith("standard/")]
            assert not [name for name in standard if not name.endswith(("_matrix", "_simt"))]


def test_few_output_channels_take_short_vectors() -> None:
    wide = replace(CPU, avx512=True)
    assert "2 vectors of 8 channels" in select(parse("1x1 256->10 @28 nhwc"), wide).plan.tile
    assert "2 vectors of 16 channels" in select(parse("1x1 256->64 @28 nhwc"), wide).plan.tile


def test_an_empty_batch_has_no_plan() -> None:
    with pytest.raises(ShapeError, match="is empty, so nothing runs"):
        explain(problem_of("resnet_like").with_batch(0), CPU)


def test_a_recalled_plan_is_taken() -> None:
    problem = problem_of("resnet_like")
    wanted = select(problem, CPU, Limits("reference")).plan
    choice = select(problem, CPU, recall=lambda *_: (wanted, 0.5))
    assert choice.plan is wanted
    assert (choice.tuned, choice.measured) == (True, 0.5)


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("1x1 512->2048 @7 nhwc", 1),
        ("1x1 1024->2048 @7 nhwc", 2),  # items of 7 pixels, which share it
        ("1x1 1024->64 @7 nhwc", 1),  # the items of each unit have blocks of their own
        ("1x1 512->2048 @7 batch 10 nhwc", 2),
        ("1x1 512->2048 @7 batch 11 nhwc", 0),  # 539 pixels: reading the filter is not felt
        ("1x1 2048->1000 @1 nhwc", 0),  # nothing to do in the meantime
        ("1x1 8192->2048 @7 nhwc", 0),  # a block of 1 MiB, and the second cache holds one
    ],
)
def test_filters_are_asked_for_ahead_where_it_pays(text: str, asks: int) -> None:
    device = replace(CPU, avx512=True)
    plan = select(parse(text), device, Limits("pointwise/channel_simd")).plan
    assert dict(plan.launches[0].macros)["AHEAD"] == asks


def test_places_of_dilated_taps_are_counted_once() -> None:
    assert places(7, 1, 3, 1) == 9
    assert places(7, 1, 3, 8) == 21  # of a span of 23
    assert places(4, 3, 1, 1) == 4


def test_winograd_s_pixels_at_work_stay_in_the_third_cache() -> None:
    """Of eight images: in fewer runs and without shares, they would be read from memory once for each panel of channels."""
    device = replace(CPU, l2_bytes=512 << 10, local_mem_bytes=512 << 10)
    problem = parse("3x3 512->512 @28 pad 1 batch 8 nhwc")
    plan = WinogradSimd().plans(problem, device)[0]
    runs = [launch.global_size[0] for launch in plan.launches if launch.entry == "winograd_output"]
    all_pixels = plan.workspace / runs[0] * sum(runs)
    assert all_pixels > NEAR * device.compute_units >= plan.workspace


def test_groups_of_large_images_are_not_read_one_after_the_other() -> None:
    device = replace(CPU, l2_bytes=512 << 10, local_mem_bytes=512 << 10)
    for text in ("3x3 256->256 @28 pad 1 groups 32 batch 8", "3x3 512->512 @28 pad 1 stride 2 groups 32 batch 8"):
        assert select(parse(f"{text} nhwc"), device).plan.algorithm == GroupedLaneSimd.name
        assert scattered_cycles(parse(f"{text} nhwc"), device) > 0
        assert scattered_cycles(parse(text), device) == 0


@pytest.mark.parametrize(
    ("text", "algorithm"),
    [
        ("3x3 64->64 @112 pad 1 groups 64", "strip_simd"),
        ("3x3 128->128 @56 stride 2 pad 1 groups 128", "strip_simd"),
        ("3x3 4->4 @1000 pad 1 groups 4", "direct_simd"),  # of a strip's rows each would be in a page of its own
        ("3x3 4->4 @1024 pad 1 groups 4", "panel_simd"),  # rows of 4 KiB share one set of the first cache, in a panel not
        ("5x5 128->128 @56 pad 2 groups 128", "direct_simd"),  # too many taps for registers
        ("3x3 1024->1024 @7 pad 1 groups 1024", "direct_simd"),  # strips that end where they begin
    ],
)
def test_depthwise_images_are_read_in_an_order_that_suits_their_size(text: str, algorithm: str) -> None:
    device = replace(CPU, l2_bytes=512 << 10, local_mem_bytes=512 << 10)
    assert select(parse(text), device).plan.algorithm == f"depthwise/{algorithm}"


@pytest.mark.parametrize("avx512", [False, True])
def test_depthwise_images_of_any_stride_are_read_in_vectors(avx512: bool) -> None:
    device = replace(CPU, avx512=avx512, full_avx512=avx512)
    for k, image, stride in itertools.product((3, 5, 7), (56, 61, 112), range(3, 8)):
        problem = parse(f"{k}x{k} 64->64 @{image} stride {stride} groups 64")
        assert select(problem, device).plan.algorithm in ("depthwise/stride_simd", "depthwise/panel_simd"), problem


@pytest.mark.parametrize("groups", [16, 32, 64])
def test_few_channels_a_group_of_stride_3_are_read_in_place(groups: int) -> None:
    device = replace(CPU, avx512=True, full_avx512=True, moves_beside=True)
    problem = parse(f"3x3 128->128 @56 stride 3 groups {groups}")
    assert select(problem, device).plan.algorithm == "grouped/stride_simd"
    narrow = select(problem, CPU).plan.algorithm
    assert narrow in ("standard/row_simd", "grouped/stride_simd")  # direct_simd's panel takes longer than its multiply-adds


def test_grouped_images_beyond_the_second_caches_are_read_in_order() -> None:
    device = replace(CPU, l2_bytes=512 << 10, local_mem_bytes=512 << 10)
    one, eight = (f"3x3 1024->1024 @14 stride 2 pad 1 groups 32 batch {n}" for n in (1, 8))
    winograd, direct = (
        [next(p.seconds for p in select(parse(text), device).candidates if p.algorithm == name) for text in (one, eight)]
        for name in ("standard/winograd_simd", "standard/row_simd")
    )
    assert direct[0] < winograd[0]
    assert direct[1] < winograd[1] < 8 * winograd[0]


def test_threads_that_are_woken_get_more_items_than_the_one_that_calls() -> None:
    """In which a plan may run only if it touches little; images of a batch are items as well."""
    info = DeviceInfo("made up", "Portable Computing Language", compute_units=2)
    near, far = parse("3x3 64->64 @14 groups 64"), parse("3x3 256->256 @56 groups 256")
    assert [items_wanted(p, info, SHORT / 2) for p in (near, far)] == [4, 16]
    assert [items_wanted(p, info, SHORT * 2) for p in (near, far)] == [16, 16]
    assert items_wanted(far.with_batch(8), info, SHORT / 2) == 2


def test_a_large_second_cache_feeds_narrow_tiles() -> None:
    """Strassen's larger filter is worth its way where a small image in N C H W does not stay at hand."""
    problem = parse("1x1 2048->1024 @7")
    xeon = replace(CPU, compute_units=2, clock_mhz=2600, local_mem_bytes=2 << 20, l2_bytes=1 << 20)
    assert select(problem, xeon).plan.algorithm == "pointwise/channel_simd"
    zen3 = replace(xeon, local_mem_bytes=512 << 10, l2_bytes=512 << 10)
    assert select(problem, zen3).plan.algorithm == "pointwise/strassen_simd"


@pytest.mark.parametrize(("padding", "share"), [(((0, 0), (0, 0)), 0.0), (((0, 1), (0, 0)), 0.5), (((1, 9), (0, 0)), 1.0)])
def test_tiles_far_outside_an_image_take_longer(padding: tuple[tuple[int, int], tuple[int, int]], share: float) -> None:
    """A filter of one tap, so that a tile with a row of padding is computed lane by lane."""
    problem = ConvProblem((1, 16, 12, 40), (16, 1, 1, 1), padding=padding, groups=16)
    assert direct_simd.far_tiles(problem, 7) == share
    plain = ConvProblem((1, 16, problem.OH, 40), (16, 1, 1, 1), groups=16)
    (far, near) = (direct_simd.DepthwiseDirectSimd()._seconds(p, CPU, 7, 8) for p in (problem, plain))
    assert (far > 3 * near) == (share > 0)


@pytest.mark.parametrize(
    "words",
    [
        "3x3 4->4 @1 pad 1",
        "5x5 4->4 @1x256 pad 2",
        "3x3 4->4 @16 pad 18 dilation 17",
        "4x1 4->4 @5x3 pad 6 stride 3",
        "1x1 4->4 @7",
    ],
)
def test_the_share_of_taps_that_meet_the_image(words: str) -> None:
    p = parse(words)
    axes = ((p.IH, p.OH, p.KH, p.SH, p.DH, p.PT), (p.IW, p.OW, p.KW, p.SW, p.DW, p.PL))
    share = 1.0
    for size, outputs, taps, stride, dilation, before in axes:
        met = sum(0 <= o * stride + k * dilation - before < size for o in range(outputs) for k in range(taps))
        share *= met / (outputs * taps)
    assert inside(p) == pytest.approx(share)


def test_a_filter_most_of_which_meets_padding() -> None:
    """Winograd's method computes all of that, row_simd leaves it out."""
    problem = parse("5x5 64->64 @1 pad 2 batch 64")
    assert (
        select(problem, replace(CPU, avx512=True, full_avx512=True, vector_registers=32)).plan.algorithm == "standard/row_simd"
    )
