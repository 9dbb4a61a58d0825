"""Runs one plan the hard way: guard bands around the output, NaN in scratch and output, oracle with its bound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pyopencl as cl

from clconv.algorithms import ALGORITHMS
from clconv.device import DeviceInfo
from clconv.executable import Executable
from clconv.plan import Channels, Launch, Plan
from clconv.problem import ConvProblem
from clconv.reference import error_bound, reference
from clconv.runtime import runtime_of
from clconv.tensors import numpy_dtype
from tests.shapes import NASTY, problem_of

Array = np.ndarray[Any, Any]
GUARD = 1024  # bytes on each side of a tensor
_kept: list[tuple[cl.Buffer, cl.Buffer]] = []
"""Tensors on Oclgrind live on: it takes memory that reuses a freed buffer's address for uninitialised, now and then."""

_INTEGERS = np.random.default_rng(7)


def integers(*shape: int, dtype: Any = np.float32) -> Array:
    """Small integers, whose convolutions are exact in every element type; others at each call."""
    return _INTEGERS.integers(-3, 4, shape).astype(dtype)


def driver_error(context: cl.Context) -> cl.Error:
    """An error as the driver raises it, whatever driver it is: for a program that is none."""
    try:
        cl.Program(context, "no program").build()
    except cl.Error as error:
        return error
    raise AssertionError("what is no program was built")


@dataclass(frozen=True)
class Data:
    """Inputs of a problem."""

    x: Array
    w: Array
    bias: Array | None
    residual: Array | None


@lru_cache(maxsize=4)
def make_data(problem: ConvProblem, *, integers: bool = False, seed: int = 0) -> Data:
    """Random inputs, all different; or small integers whose sums are exact in every element type."""
    rng = np.random.default_rng(seed)
    dtype = numpy_dtype(problem.dtype)

    def make(shape: tuple[int, ...]) -> Array:
        values = rng.integers(-2, 3, shape) if integers else rng.standard_normal(shape)
        return values.astype(dtype)

    return Data(
        make(problem.x_shape),
        make(problem.w_shape),
        make((problem.OC,)) if problem.bias else None,
        make(problem.output_shape) if problem.residual else None,
    )


def _guarded(queue: cl.CommandQueue, array: Array | None) -> tuple[cl.Buffer, cl.Buffer] | tuple[None, None]:
    """A tensor between two guard bands of NaN (all bits set): the buffer of all, and the tensor's part of it."""
    if array is None:
        return None, None
    align = queue.device.mem_base_addr_align // 8
    guard = -(-GUARD // align) * align
    raw = np.full(array.nbytes + 2 * guard, 0xFF, np.uint8)
    raw[guard : guard + array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)
    whole = cl.Buffer(queue.context, cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR, hostbuf=raw)
    part = whole.get_sub_region(guard, max(array.nbytes, 1))
    _keep(queue, whole, part)
    return whole, part


def _keep(queue: cl.CommandQueue, whole: cl.Buffer, part: cl.Buffer) -> None:
    if "oclgrind" in queue.device.platform.name.lower():
        _kept.append((whole, part))


def run_plan(plan: Plan, queue: cl.CommandQueue, data: Data) -> Array:
    """Run a plan and return its output. Asserts that nothing outside the output was written.

    Inputs lie between bands of NaN, so a result that depends on what lies outside is NaN; outputs are NaN before.
    """
    problem = plan.problem
    runtime = runtime_of(queue)
    executable = Executable(plan, runtime)
    out = np.full(problem.output_shape, np.nan).astype(numpy_dtype(problem.dtype))
    whole = {name: _guarded(queue, array) for name, array in vars(data).items()}
    y_whole, y = _guarded(queue, out)
    buffers: dict[str, Any] = {name: pair[1] for name, pair in whole.items()}
    state = runtime.queue_state(queue)
    for size, buffer in zip(plan.scratch_bytes, state.scratch(runtime.context, plan.scratch_bytes), strict=False):
        assert buffer.size >= size
        # Copied, not filled: Oclgrind takes what a kernel writes into a filled buffer for uninitialised.
        cl.enqueue_copy(queue, buffer, np.full(buffer.size, 0xFF, np.uint8))
    buffers["packed"] = executable.pack(queue, buffers["w"])
    executable.run(queue, {**buffers, "y": y}).wait()
    assert y_whole is not None
    raw = np.empty(y_whole.size, np.uint8)
    cl.enqueue_copy(queue, raw, y_whole)
    guard = (raw.size - out.nbytes) // 2
    assert (raw[:guard] == 0xFF).all(), "something before the output was written"
    assert (raw[guard + out.nbytes :] == 0xFF).all(), "something behind the output was written"
    return np.frombuffer(raw[guard : guard + out.nbytes].tobytes(), out.dtype).reshape(out.shape)


def apart(plan: Plan) -> set[str]:
    """The images of a plan, ``x`` and ``y``, that may be parts of tensors with more channels."""
    return {a.of for launch in plan.launches for a in launch.arguments if isinstance(a, Channels)}


@dataclass(frozen=True)
class Embedded:
    """An image that is a part of a tensor with more channels, whose other elements are NaN (all bits set)."""

    tensor: Array
    image: Array

    @classmethod
    def of(cls, image: Array, layout: str, before: int, behind: int) -> Embedded:
        """With so many channels before it and behind it."""
        axis = 3 if layout == "NHWC" else 1
        shape = list(image.shape)
        shape[axis] += before + behind
        tensor = np.full((*shape, image.itemsize), 0xFF, np.uint8).view(image.dtype)[..., 0]
        part = tensor[(slice(None),) * axis + (slice(before, -behind),)]
        part[...] = image
        return cls(tensor, part)

    @property
    def first(self) -> int:
        """Bytes before the image."""
        return int(self.image.ctypes.data - self.tensor.ctypes.data)

    @property
    def raw(self) -> Array:
        """Bytes up to the image's last."""
        span = sum((n - 1) * step for n, step in zip(self.image.shape, self.image.strides, strict=True)) + self.image.itemsize
        return self.tensor.reshape(-1).view(np.uint8)[: self.first + span]


def check_within(plan: Plan, queue: cl.CommandQueue, *, behind: int = 5) -> None:
    """Assert that a plan gives the same bits where its images are parts of larger tensors, and touches nothing but these parts.

    Memory ends with the part's last element.
    """
    problem = plan.problem
    data = make_data(problem)
    want = run_plan(plan, queue, data)
    images = apart(plan)
    before = -(-queue.device.mem_base_addr_align // 8 // want.itemsize)
    more = {"x": problem.IC + before + behind, "y": problem.OC + before + behind}
    wide = replace(plan, launches=tuple(launch.within({of: more[of] for of in images}) for launch in plan.launches))
    executable = Executable(wide, runtime_of(queue))
    buffers: dict[str, Any] = {}
    y = None
    for name, array in {**vars(data), "y": np.full_like(want, np.nan)}.items():
        if array is None or ("y" if name == "residual" else name) not in images:
            buffers[name] = _guarded(queue, array)[1]
            continue
        embedded = Embedded.of(array, problem.layout, before, behind)
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
        whole = cl.Buffer(queue.context, flags, hostbuf=embedded.raw)
        buffers[name] = whole.get_sub_region(embedded.first, embedded.raw.size - embedded.first)
        _keep(queue, whole, buffers[name])
        if name == "y":
            y = embedded, whole
    buffers["packed"] = executable.pack(queue, buffers["w"])
    executable.run(queue, buffers).wait()
    assert y is not None
    embedded, whole = y
    cl.enqueue_copy(queue, embedded.raw, whole)
    np.testing.assert_array_equal(embedded.image, want)
    embedded.image[...] = np.full((*want.shape, want.itemsize), 0xFF, np.uint8).view(want.dtype)[..., 0]
    assert (embedded.raw == 0xFF).all(), "something beside the output was written"


@lru_cache(maxsize=4)
def _exact(problem: ConvProblem, *, integers: bool, seed: int) -> Array:
    data = make_data(problem, integers=integers, seed=seed)
    return reference(problem, data.x, data.w, data.bias, data.residual)


def check_plan(plan: Plan, queue: cl.CommandQueue, *, integers: bool = False, seed: int = 0) -> None:
    """Assert that a plan's result is within its bound, or exact for integers (direct methods)."""
    problem = plan.problem
    data = make_data(problem, integers=integers, seed=seed)
    y = run_plan(plan, queue, data).astype(np.float64)
    want = _exact(problem, integers=integers, seed=seed)
    if integers and not plan.winograd and problem.activation.kind in ("identity", "relu", "relu6", "clip"):
        np.testing.assert_array_equal(y, want.astype(numpy_dtype(problem.dtype)).astype(np.float64))
        return
    bound = error_bound(problem, plan, data.x, data.w, data.bias, data.residual)
    assert np.isfinite(y).all(), f"{np.count_nonzero(~np.isfinite(y))} of {y.size} outputs are not finite"
    excess = np.abs(y - want) / bound
    worst = np.unravel_index(int(np.argmax(excess)), y.shape) if y.size else ()
    assert y.size == 0 or excess[worst] <= 1, (
        f"output {tuple(int(i) for i in worst)} is {y[worst]}, expected {want[worst]} within {bound[worst]}; "
        f"{np.count_nonzero(excess > 1)} of {y.size} outputs are off"
    )


def launches_on(info: DeviceInfo) -> Iterator[tuple[str, Launch]]:
    """Every launch of all plans for the list of shapes, packing included, on a device that may be made up; with its layout."""
    for algorithm in ALGORITHMS:
        for shape in NASTY:
            for layout in ("NCHW", "NHWC"):
                problem = problem_of(shape, layout=layout)
                if algorithm.supports(problem, info) is None:
                    for plan in algorithm.plans(problem, info):
                        yield from ((layout, launch) for launch in plan.every_launch)
