"""Runs every case in the simulator; its reports go to stderr. Started by test_kernels.py, in a process of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyopencl as cl
import pytest

from clconv.device import DeviceInfo
from clconv.onnx import inverted, layout, separable
from clconv.onnx.lower import transposed
from clconv.plan import Launch
from clconv.programs import Programs
from tests.conftest import find_devices, queue_on
from tests.onnx import (
    test_axes_last,
    test_blocks,
    test_cast,
    test_gather,
    test_grid_sample,
    test_inverted,
    test_logic,
    test_long_rows,
    test_lrn,
    test_on_gpus,
    test_planes,
    test_rewrite,
    test_scatter,
    test_separable,
    test_shuffle,
    test_top_k,
    test_transposed,
)
from tests.onnx.fused import deviation as fused_deviation
from tests.onnx.models import numbers
from tests.onnx.nodes import BOUND, cases, channels_last_cases, deviation


def keep_buffers() -> None:
    """Let no buffer be freed: the simulator takes memory at a freed buffer's address for uninitialised, now and then."""
    kept: list[cl.Buffer] = []
    make = cl.Buffer

    def keeping(*args: Any, **kwargs: Any) -> cl.Buffer:
        kept.append(make(*args, **kwargs))
        return kept[-1]

    cl.Buffer = keeping  # type: ignore[assignment, misc]  # a function in place of a class


def main() -> None:
    """Run the cases in float32 and check them."""
    used: set[str] = set()
    original = Programs.kernel

    def noting(self: Programs, launch: Launch) -> object:
        used.add(launch.kernel)
        return original(self, launch)

    Programs.kernel = noting  # type: ignore[method-assign, assignment]  # to see what is built
    keep_buffers()
    queue = queue_on(find_devices(simulator=True)[0])
    for name, (spec, _, _) in cases().items():
        if spec.op_type == "ConvTranspose" or "constant" in name.lower().split():
            continue  # convolutions, which have a test of their own
        print(name, flush=True)  # noqa: T201 - says where, should the simulator die
        assert deviation(name, "float32", queue) < BOUND["float32"], name
    for name in test_long_rows.CASES:
        for operation in test_long_rows.OPERATIONS:
            print(operation, name, flush=True)  # noqa: T201  # as above
            assert test_long_rows.deviation(name, operation, "float32", queue) < BOUND["float32"], name
    for name, (spec, _, _) in cases().items():
        plain = spec.op_type in ("MaxPool", "AveragePool", "Add", "Relu", "Transpose", "Concat", "Split", "DepthToSpace")
        if plain or "Normalization" in spec.op_type:
            print(name, "on a GPU", flush=True)  # noqa: T201  # as above
            with test_on_gpus.taken_for_gpu(queue):
                assert deviation(name, "float32", queue) < BOUND["float32"], name
    test_gather.gathered(queue)
    test_grid_sample.sampled(queue)
    test_top_k.compared(numbers(2, 9, 3), 4, 1, 1, queue)
    test_scatter.replaced(queue)
    assert test_rewrite.channels_deviation(queue) < BOUND["float32"]
    with test_on_gpus.taken_for_gpu(queue):
        assert test_rewrite.channels_deviation(queue) < BOUND["float32"]
    for op in ("Softmax", "LogSoftmax", "ReduceLogSumExp", "ReduceMean"):
        for extent in ("rows", "short rows", "columns", "few columns"):
            print(op, "of", extent, flush=True)  # noqa: T201  # as above
            assert test_on_gpus.shared_deviation(op, extent, queue) < BOUND["float32"]
    for more in (1.0, -1.0):  # seconds of a convolution more: one, or one for each part
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transposed, "launch_seconds", lambda _, more=more: more)
            for name in ("3x3 s2 p1", "9x9 s4 p4 o3", "3x3 s2 uneven", "signal s3 in groups"):
                print("transposed", name, more, flush=True)  # noqa: T201  # as above
                assert test_transposed.case_deviation(name, "float32", queue) < BOUND["float32"], name
    for name in test_blocks.cases():
        print(name, "in blocks", flush=True)  # noqa: T201  # as above
        assert test_blocks.deviation(name, "float32", queue) < BOUND["float32"], name
    for name in test_lrn.CASES:
        print("LRN", name, flush=True)  # noqa: T201  # as above
        assert test_lrn.deviation(name, "float32", queue) < BOUND["float32"], name
    for source in test_cast.SOURCES:
        for target in test_cast.FLOATS:
            print(source, "to", target, flush=True)  # noqa: T201  # as above
            test_cast.check(source, target, queue)
        print(source, "to integers", flush=True)  # noqa: T201  # as above
        for target in ("int8", "uint8", "int64", "bool"):
            test_cast.check_integers(np.arange(67).astype(source), target, queue)
    for case in test_logic.SHAPES:
        print("comparisons and choices", case, flush=True)  # noqa: T201  # as above
        test_logic.check("Less", "float32", case, queue)
        test_logic.check("Xor", "bool", case, queue)
        test_logic.check_where("uint8", [(1,), *test_logic.SHAPES[case]], queue)
    for extent in test_logic.EXTENTS:
        print("ArgMax of", extent, flush=True)  # noqa: T201  # as above
        test_logic.check_extreme("ArgMax", extent, "float32", queue)
    gain = layout._gain
    for always in (False, True):
        layout._gain = (lambda *_: 1.0) if always else gain
        for name, sizes in test_shuffle.SHAPES.items():
            print("shuffle", name, always, flush=True)  # noqa: T201  # as above
            test_shuffle.check(sizes, "float32", queue)
            with test_on_gpus.taken_for_gpu(queue):
                test_shuffle.check(sizes, "float32", queue)
    for name in channels_last_cases():
        print(name, "in N H W C", flush=True)  # noqa: T201  # as above
        assert deviation(name, "float32", queue) < BOUND["float32"], name
    for name in test_axes_last.CASES:
        print(name, "in N H W C, with axes", flush=True)  # noqa: T201  # as above
        assert test_axes_last.deviation(name, queue) < 2 * BOUND["float32"], name
    for name in test_planes.CASES:
        print(name, flush=True)  # noqa: T201  # as above
        assert test_planes.deviation(name, "float32", queue) < BOUND["float32"], name
    for shape in inverted.FORMS:
        large = shape is not inverted.matrix_form  # some of its panels do not fit the simulator
        inverted.FORMS = (shape,)  # type: ignore[assignment]  # of another length
        for name, proto in test_inverted.models().items():
            print(name, shape.__name__, flush=True)  # noqa: T201  # as above
            assert fused_deviation(proto, test_inverted.kernel_of(shape), queue, large=large) < test_inverted.bound_of(shape), (
                name
            )
    for form in separable.FORMS:
        large = form is not separable.matrix_form
        separable.FORMS = (form,)
        for name, proto in test_separable.models().items():
            if not test_separable.serves(form, proto, DeviceInfo.of(queue.device)):
                continue
            print(name, form.__name__, flush=True)  # noqa: T201  # as above
            assert fused_deviation(proto, test_separable.kernel_of(form), queue, large=large) < test_separable.bound_of(form), (
                name
            )
    own = (kernel.removeprefix("network/").removesuffix(".cl") for kernel in used if kernel.startswith("network/"))
    print("kernels:", *sorted(own))  # noqa: T201  # what the test reads


if __name__ == "__main__":
    main()
