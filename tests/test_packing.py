"""Packed filters against NumPy's transpositions, and what their packing costs in a call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyopencl as cl
import pytest
from numpy.typing import NDArray

import clconv
from clconv.algorithms.packing import ROWS, pack_filter, pack_strassen, packing_seconds
from clconv.device import DeviceInfo
from clconv.executable import _Bound
from clconv.functional import plan_of_a_call
from clconv.plan import Int, Launch, Packing
from clconv.problem import ConvProblem
from clconv.runtime import runtime_of
from clconv.select import Limits, select

Array = NDArray[Any]
CPU = DeviceInfo("a CPU", "a platform", unaligned_vectors=True)

SHAPES = {  # OC, ICG, KH, KW, groups, block
    "whole vectors and rows": (32, 16, 2, 2, 1, 16),
    "one of each": (1, 1, 1, 1, 1, 16),
    "tails": (19, 5, 3, 3, 1, 16),
    "more rows than an item takes": (24, ROWS + 9, 1, 1, 1, 8),
    "groups": (30, 3, 3, 1, 3, 8),
    "blocks of no whole vector": (14, 9, 1, 3, 2, 6),
    "blocks that end within a vector": (45, ROWS + 20, 1, 1, 1, 20),
    "blocks of two": (7, ROWS + 1, 1, 1, 1, 2),
}


def _packed(queue: cl.CommandQueue, packing: Packing, w: Array) -> Array:
    """Run a packing into memory full of NaN."""
    launch: Launch = packing.launch
    kernel = runtime_of(queue).programs.kernel(launch)
    packed = np.full(packing.bytes // 4, np.nan, np.float32)
    flags = cl.mem_flags
    buffers = {
        "w": cl.Buffer(queue.context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=w),
        "packed": cl.Buffer(queue.context, flags.READ_WRITE | flags.COPY_HOST_PTR, hostbuf=packed),
    }
    for index, argument in enumerate(launch.arguments):
        kernel.set_arg(index, np.int32(argument.value) if isinstance(argument, Int) else buffers[str(argument)])
    cl.enqueue_nd_range_kernel(queue, kernel, launch.global_size, launch.local_size)
    cl.enqueue_copy(queue, packed, buffers["packed"])
    return packed


def _filter(shape: tuple[int, ...], dtype: str, layout: str) -> tuple[Array, Array]:
    """Return a filter as OC ICG KH KW in float32, and as the problem stores it."""
    w = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    return w.astype(np.float32), np.ascontiguousarray(w.transpose(2, 3, 1, 0) if layout == "NHWC" else w)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("items", [False, True], ids=["one item", "an item each"])
@pytest.mark.parametrize("name", SHAPES)
def test_blocks_of_output_channels(queue: cl.CommandQueue, name: str, items: bool, dtype: str, layout: str) -> None:
    oc, icg, kh, kw, groups, block = SHAPES[name]
    wanted, w = _filter((oc, icg, kh, kw), dtype, layout)
    x_shape = (1, icg * groups, 9, 9) if layout == "NCHW" else (1, 9, 9, icg * groups)
    problem = ConvProblem(x_shape, w.shape, groups=groups, layout=layout, dtype=dtype)
    device = DeviceInfo.of(queue.device)
    packing = pack_filter(problem, device, block, items=block if items else 1)
    per_group, blocks = oc // groups, -(-oc // groups // block)
    whole = np.zeros((groups, blocks * block, icg, kh, kw), np.float32)
    whole[:, :per_group] = wanted.reshape(groups, per_group, icg, kh, kw)
    whole = whole.reshape(groups, blocks, block, icg, kh, kw).transpose(0, 1, 3, 4, 5, 2)
    np.testing.assert_array_equal(_packed(queue, packing, w), whole.ravel())


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("oc", "ic", "part"),
    [
        (32, 16, None),
        (1, 1, None),
        (37, 2 * ROWS + 5, None),
        (16, 7, None),
        (37, 21, 8),
        (32, 64, 32),
        (5, 4 * ROWS + 3, 2 * ROWS),
    ],
)
def test_sums_of_quarters(cpu_queue: cl.CommandQueue, oc: int, ic: int, part: int | None, layout: str) -> None:
    w4, w = _filter((oc, ic, 1, 1), "float32", layout)
    block = 8
    problem = ConvProblem((1, ic, 5, 5) if layout == "NCHW" else (1, 5, 5, ic), w.shape, layout=layout)
    packing = pack_strassen(problem, DeviceInfo.of(cpu_queue.device), block, part)
    step = part or ic
    wanted = [_sums_of_quarters(w4[:, first : first + step, 0, 0], block) for first in range(0, ic, step)]
    np.testing.assert_array_equal(_packed(cpu_queue, packing, w), np.concatenate(wanted))


def _sums_of_quarters(w: np.ndarray[Any, Any], block: int) -> np.ndarray[Any, Any]:
    """Of output channels by input channels, as they are packed."""
    oc, ic = w.shape
    half, blocks = -(-ic // 2), -(-oc // (2 * block))
    quarters = np.zeros((2, blocks * block, 2, half), np.float32)
    quarters.reshape(2 * blocks * block, 2 * half)[:oc, :ic] = w
    b11, b12, b21, b22 = quarters[0, :, 0], quarters[1, :, 0], quarters[0, :, 1], quarters[1, :, 1]
    t1 = b12 - b11
    t2 = b22 - t1
    steps = np.stack([b11, b21, t2, b22 - b12, b21 - t2, t1, b22])
    return steps.reshape(7, blocks, block, half).transpose(1, 0, 3, 2).ravel()


def test_a_call_counts_its_packing() -> None:
    """512 channels at 7 x 7: Winograd's filter is four times as large as what it is made from."""
    few = ConvProblem((1, 512, 7, 7), (512, 512, 3, 3), padding=1)
    constant, call = select(few, CPU).plan, plan_of_a_call(few, CPU, Limits())
    assert constant.algorithm == "standard/winograd_simd"
    assert call.algorithm != constant.algorithm
    assert call.seconds + packing_seconds(call, CPU) < constant.seconds + packing_seconds(constant, CPU)
    many = ConvProblem((64, 512, 7, 7), (512, 512, 3, 3), padding=1)
    assert plan_of_a_call(many, CPU, Limits()).algorithm == "standard/winograd_simd"


def test_without_cost_nothing_changes() -> None:
    choice = select(ConvProblem((1, 64, 28, 28), (64, 64, 3, 3), padding=1), CPU)
    assert choice.fastest_with(lambda plan: 0.0) == choice.plan
    assert choice.fastest_with(lambda plan: float(plan == choice.plan)) == choice.candidates[1]


def test_what_depends_on_no_filter_is_written_once(queue: cl.CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row of zeros of depthwise/direct_simd: once per queue, whatever filters come."""
    enqueued: list[str] = []
    enqueue = _Bound.enqueue

    def noting(self: _Bound, *args: Any) -> cl.Event:
        enqueued.append(self.launch.entry)
        return enqueue(self, *args)

    monkeypatch.setattr(_Bound, "enqueue", noting)
    rng = np.random.default_rng(3)
    for where in (queue, cl.CommandQueue(queue.context)):
        enqueued.clear()
        for _ in range(3):
            x, w = rng.integers(-3, 4, (1, 5, 9, 11)).astype("f"), rng.integers(-3, 4, (5, 1, 3, 3)).astype("f")
            options: dict[str, Any] = {"padding": 1, "groups": 5, "queue": where}
            y = clconv.conv2d(x, w, algorithm="depthwise/direct_simd", **options)
            assert np.array_equal(y, clconv.conv2d(x, w, algorithm="reference", **options))
        assert enqueued.count("write_zeros") == 1
        assert enqueued.count("depthwise_direct_simd") == 3
