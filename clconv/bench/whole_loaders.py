"""One loader per library for whole networks: it takes a model, the input and the number of threads.

As for single layers, everything is float32, ``run`` returns when the result is there, and PyTorch runs on a GPU if both can.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from clconv.bench.case import aligned
from clconv.bench.loaders import Runner, accelerated, accelerator
from clconv.bench.whole_formats import ncnn_network, simplified, tflite_network
from clconv.networks import build

Array = NDArray[Any]


def options_of(network: str) -> dict[str, Any]:
    """Return how a network is built for the benchmark: VGG-16 without its fully connected layers."""
    return {"head": False} if network == "vgg16" else {}


def load(library: str, network: str, batch: int, threads: int) -> Runner:
    """Set a network up in a library.

    Parameters
    ----------
    library : str
        ``"clconv"``, ``"torch"``, ``"onnxruntime"``, ``"openvino"``, ``"ncnn"`` or ``"litert"``.
    network : str
        One of :data:`clconv.networks.NETWORKS`.
    batch, threads : int
    """
    model = build(network, **options_of(network))
    x = aligned(np.random.default_rng(2).standard_normal((batch, 3, 224, 224), dtype=np.float32))
    runner: Runner = _LOADERS[library](model, x, threads)
    return runner


def _clconv(model: onnx.ModelProto, x: Array, _threads: int) -> Runner:
    import clconv.onnx

    net = clconv.onnx.load(model)
    last: list[Any] = []
    if accelerated():
        from pyopencl.array import to_device

        queue = clconv.default_queue()
        device_x = to_device(queue, x)

        def run_there() -> None:
            last[:] = [net(device_x)]
            queue.finish()

        return Runner(run_there, lambda: np.asarray(last[0].get()))

    def run() -> None:
        last[:] = [net(x)]

    return Runner(run, lambda: np.asarray(last[0]))


def _onnxruntime(model: onnx.ModelProto, x: Array, threads: int) -> Runner:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    last: list[Array] = []

    def run() -> None:
        last[:] = session.run(None, {"x": x})

    return Runner(run, lambda: last[0], "")


def _openvino(model: onnx.ModelProto, x: Array, threads: int) -> Runner:
    import openvino as ov

    core = ov.Core()
    loaded = core.read_model(model.SerializeToString(), b"")
    loaded.reshape(list(x.shape))
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
    }
    request = core.compile_model(loaded, "CPU", settings).create_infer_request()
    request.set_input_tensor(ov.Tensor(x, shared_memory=True))

    def result() -> Array:
        return np.array(request.get_output_tensor().data).reshape(len(x), -1)  # and keeps x alive, which is read in place

    return Runner(request.infer, result, "")


def _torch(model: onnx.ModelProto, x: Array, threads: int) -> Runner:
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    graph = simplified(model, x.shape)
    device = accelerator(torch)
    memory = torch.channels_last if device == "cpu" else torch.contiguous_format  # the faster one of each
    weights = {name: torch.from_numpy(np.array(a)).to(device) for name, a in graph.constants.items()}
    weights = {name: w.to(memory_format=memory) if w.dim() == 4 else w for name, w in weights.items()}
    image = torch.from_numpy(x).to(device, memory_format=memory)
    last: list[Any] = []

    def run() -> None:
        values: dict[str, Any] = {"x": image}
        with torch.inference_mode():
            for node in graph.nodes:
                read = [weights[n] if n in weights else values[graph.root(n)] for n in node.inputs]
                values[node.output] = _torch_node(functional, torch, node, read)
        last[:] = [values[graph.root(graph.outputs[0])]]
        if device != "cpu":
            torch.accelerator.synchronize()

    return Runner(run, lambda: np.asarray(last[0].cpu().numpy()), "")


def _torch_node(functional: Any, torch: Any, node: Any, read: list[Any]) -> Any:
    if node.op == "Conv":
        y = functional.conv2d(*read, stride=node.get("strides"), padding=node.get("pads")[:2], groups=node.get("group", 1))
    elif node.op == "Add":
        y = torch.add(*read)
    elif node.op == "MaxPool":
        y = functional.max_pool2d(read[0], node.get("kernel_shape"), node.get("strides"), node.get("pads")[:2])
    elif node.op == "GlobalAveragePool":
        y = read[0].mean((2, 3))
    else:
        y = functional.linear(*read)
    activation = node.get("activation")
    if activation is None:
        return y
    return functional.relu_(y) if activation.kind == "relu" else functional.relu6(y, inplace=True)


def _ncnn(model: onnx.ModelProto, x: Array, threads: int) -> Runner:
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage"):
        if hasattr(net.opt, option):
            setattr(net.opt, option, False)
    net.opt.use_vulkan_compute = False
    text, weights = ncnn_network(simplified(model, (1, *x.shape[1:])))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "m.param").write_text(text)
        (path / "m.bin").write_bytes(weights)
        if net.load_param(str(path / "m.param")) or net.load_model(str(path / "m.bin")):
            raise RuntimeError("ncnn does not load the model")
    last: list[Array] = []

    def run() -> None:
        outputs = []
        for image in x:
            extractor = net.create_extractor()
            extractor.input("x", ncnn.Mat(image))
            outputs.append(np.array(extractor.extract("y")[1]).reshape(-1))
        last[:] = outputs

    return Runner(run, lambda: np.stack(last), "")


def _litert(model: onnx.ModelProto, x: Array, threads: int) -> Runner:
    from ai_edge_litert.interpreter import Interpreter

    content = tflite_network(simplified(model, x.shape))
    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    interpreter.set_tensor(source, np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    return Runner(interpreter.invoke, lambda: np.asarray(interpreter.get_tensor(target)), "")


_LOADERS: dict[str, Any] = {
    "clconv": _clconv,
    "torch": _torch,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "ncnn": _ncnn,
    "litert": _litert,
}
