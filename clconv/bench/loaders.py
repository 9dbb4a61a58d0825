"""One loader per library: it sets up one convolution layer the way the library's own users would for speed.

Every loader takes a :class:`Setup` and returns a :class:`Runner`. Input and filter are in the library's hands before the
clock starts; the filter is constant, everything is float32, and ``run`` returns when the result is there.

Where this library runs on a GPU, so does PyTorch if it was built for one. Both get some calls in a row then and are waited for
once, for a single call there is mostly waiting. The other libraries run on the processor.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clconv.bench.case import aligned
from clconv.bench.formats import ncnn_model, onnx_model, tflite_model
from clconv.problem import ConvProblem
from clconv.tensors import empty

Array = NDArray[Any]


class Setup(NamedTuple):
    """What to set up: an NCHW problem with its input and filter, in a variant of the library, for so many threads."""

    problem: ConvProblem
    x: Array
    w: Array
    variant: str
    threads: int


class Runner(NamedTuple):
    """One layer, ready to run: ``run`` computes it ``calls`` times, ``result`` gives the last output as (N, OC, OH, OW)."""

    run: Callable[[], object]
    result: Callable[[], Array]
    note: str = ""
    calls: int = 1


CALLS = 20
"""Calls in a row on a GPU."""


def clconv(setup: Setup) -> Runner:
    """Set up this library. The variant is a layout, or a layout and an algorithm: ``"NHWC"``, ``"NCHW winograd"``.

    ``"NCHW function"`` is ``conv2d``, which is given its filter in each call.
    """
    import clconv
    from clconv.device import DeviceInfo
    from clconv.functional import plan_of_a_call
    from clconv.select import Limits

    layout, _, algorithm = setup.variant.partition(" ")
    p, x, w = setup.problem, setup.x, setup.w
    if layout == "NHWC":
        x, w = aligned(x.transpose(0, 2, 3, 1)), np.ascontiguousarray(w.transpose(2, 3, 1, 0))
    queue = clconv.default_queue()
    options = {"stride": p.stride, "padding": p.padding, "dilation": p.dilation, "groups": p.groups, "layout": layout}
    convolution: Callable[..., Any]
    if algorithm == "function":
        convolution = partial(_conv2d, on_device(w, queue) if accelerated() else w, options, clconv.conv2d)
        problem = clconv.ConvProblem(x.shape, w.shape, **options)
        note = plan_of_a_call(problem, DeviceInfo.of(queue.device), Limits()).algorithm
    else:
        convolution = clconv.Convolution(w, **options, algorithm=algorithm or "auto", queue=queue)
        note = convolution.explain(x.shape).plan.algorithm
    if not accelerated():
        y: Any = convolution(x)  # memory as a caller gets it, to be used again
        return Runner(lambda: convolution(x, out=y), lambda: _nchw(y, layout), note)
    device_x = on_device(x, queue)
    y = convolution(device_x)

    def run() -> None:
        for _ in range(CALLS):
            convolution(device_x, out=y)
        queue.finish()

    return Runner(run, lambda: _nchw(y.get(), layout), note, CALLS)


def on_device(array: Array, queue: Any) -> Any:
    """Return a device array with the same elements."""
    import pyopencl.array

    return pyopencl.array.to_device(queue, array)


def _conv2d(w: Any, options: Mapping[str, Any], function: Callable[..., Any], x: Any, out: Any = None) -> Any:
    return function(x, w, **options, out=out)


def accelerated() -> bool:
    """Whether this library runs on a GPU by default."""
    import clconv
    from clconv.device import DeviceInfo

    return not DeviceInfo.of(clconv.default_queue().device).is_cpu


def accelerator(torch: Any) -> str:
    """Return PyTorch's name of the kind of device that it is timed on: a GPU if it has one and this library runs on one."""
    # Asked in this order, for a process that times a processor is better off without OpenCL's threads.
    if not torch.accelerator.is_available() or not accelerated():
        return "cpu"
    kind: str = torch.accelerator.current_accelerator().type
    if kind == "cuda":
        torch.backends.cudnn.benchmark = True  # the fastest of its algorithms
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return kind


def _nchw(y: Array, layout: str) -> Array:
    return y if layout == "NCHW" else y.transpose(0, 3, 1, 2)


def torch(setup: Setup) -> Runner:
    """Set up PyTorch. The variant is a layout, followed by ``packed`` for a filter reordered once for oneDNN."""
    import torch

    layout, _, how = setup.variant.partition(" ")
    p = setup.problem
    torch.set_num_threads(setup.threads)
    torch.set_float32_matmul_precision("highest")
    memory = torch.channels_last if layout == "NHWC" else torch.contiguous_format
    device = accelerator(torch)
    image = torch.from_numpy(setup.x).to(device, memory_format=memory)
    filt = torch.from_numpy(setup.w)
    (before_h, after_h), (before_w, after_w) = p.padding
    if before_h != after_h or before_w != after_w:
        raise NotImplementedError("PyTorch pads both sides alike")
    padding, stride, dilation = [before_h, before_w], list(p.stride), list(p.dilation)
    if how == "packed" and device != "cpu":
        raise NotImplementedError("PyTorch packs filters for processors only")
    if how == "packed":
        packed = torch.ops.mkldnn._reorder_convolution_weight(filt, padding, stride, dilation, p.groups, list(p.x_shape))

        def call() -> Any:
            return torch.ops.mkldnn._convolution_pointwise(
                image, packed, None, padding, stride, dilation, p.groups, "none", [], ""
            )
    else:
        filt = filt.to(device, memory_format=memory)

        def call() -> Any:
            return torch.conv2d(image, filt, None, stride, padding, dilation, p.groups)

    last: list[Any] = []
    calls = 1 if device == "cpu" else CALLS

    def run() -> None:
        with torch.inference_mode():
            for _ in range(calls):
                y = call()
            last[:] = [y.contiguous(memory_format=memory)]  # no copy unless oneDNN chose another layout
        if device != "cpu":
            torch.accelerator.synchronize()

    return Runner(run, lambda: np.asarray(last[0].cpu().numpy()), "", calls)


def onnxruntime(setup: Setup) -> Runner:
    """Set up ONNX Runtime with its CPU provider and bound input and output."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = setup.threads, 1
    options.log_severity_level = 3
    session = ort.InferenceSession(onnx_model(setup.problem, setup.w), options, providers=["CPUExecutionProvider"])
    y = empty(setup.problem.output_shape, np.float32)
    binding = session.io_binding()
    binding.bind_cpu_input("x", setup.x)
    binding.bind_output("y", "cpu", 0, np.float32, y.shape, y.ctypes.data)
    return Runner(lambda: session.run_with_iobinding(binding), lambda: y)


def openvino(setup: Setup) -> Runner:
    """Set up OpenVINO for latency, in float32."""
    import openvino as ov

    core = ov.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": setup.threads,
        "NUM_STREAMS": 1,
    }
    compiled = core.compile_model(core.read_model(onnx_model(setup.problem, setup.w), b""), "CPU", settings)
    request = compiled.create_infer_request()
    request.set_input_tensor(ov.Tensor(setup.x, shared_memory=True))
    return Runner(request.infer, lambda: np.array(request.get_output_tensor().data))


def ncnn(setup: Setup) -> Runner:
    """Set up ncnn on the CPU with its 16-bit modes off and, as its own benchmark does, with pools for its memory.

    It has no batch: the images go through one after another.
    """
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = setup.threads
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage"):
        if hasattr(net.opt, option):
            setattr(net.opt, option, False)
    net.opt.use_vulkan_compute = False
    pools = (ncnn.UnlockedPoolAllocator(), ncnn.PoolAllocator())
    net.opt.blob_allocator, net.opt.workspace_allocator = pools
    graph, weights = ncnn_model(setup.problem, setup.w)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "m.param").write_text(graph)
        (path / "m.bin").write_bytes(weights)
        if net.load_param(str(path / "m.param")) or net.load_model(str(path / "m.bin")):
            raise RuntimeError("ncnn does not load the model")
    last: list[Any] = [pools]  # which have to live as long as what they hold

    def run() -> None:
        outputs = []
        for image in setup.x:
            extractor = net.create_extractor()
            extractor.input("x", ncnn.Mat(image))
            outputs.append(extractor.extract("y")[1])
        last[1:] = outputs

    return Runner(run, lambda: np.stack([np.array(y) for y in last[1:]]))


def litert(setup: Setup) -> Runner:
    """Set up LiteRT, which hands float32 convolutions to XNNPACK. It is NHWC only."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=tflite_model(setup.problem, setup.w), num_threads=setup.threads)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    interpreter.set_tensor(source, np.ascontiguousarray(setup.x.transpose(0, 2, 3, 1)))
    return Runner(interpreter.invoke, lambda: interpreter.get_tensor(target).transpose(0, 3, 1, 2))
