"""One convolution as a model file of another library: ONNX, ncnn's text and bin files, TensorFlow Lite's flatbuffer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clconv.problem import ConvProblem

Filter = NDArray[np.float32]


def onnx_model(problem: ConvProblem, w: Filter) -> bytes:
    """Write a model with input ``x``, output ``y`` and one Conv node with a constant filter (OC, IC/G, KH, KW)."""
    import onnx
    from onnx import helper, numpy_helper

    p = problem
    node = helper.make_node(
        "Conv",
        ["x", "w"],
        ["y"],
        kernel_shape=[p.KH, p.KW],
        strides=[p.SH, p.SW],
        pads=[p.PT, p.PL, p.PB, p.PR],
        dilations=[p.DH, p.DW],
        group=p.G,
    )
    graph = helper.make_graph(
        [node],
        "convolution",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, list(p.x_shape))],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, list(p.output_shape))],
        [numpy_helper.from_array(w, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8  # the version that belongs to opset 17; newer ones are refused by older runtimes
    return bytes(model.SerializeToString())


def ncnn_model(problem: ConvProblem, w: Filter) -> tuple[str, bytes]:
    """Write ncnn's graph (text) and weights (raw float32 behind a tag of zero). ncnn has no batch: it is one image."""
    p = problem
    kind = "ConvolutionDepthWise" if p.G > 1 else "Convolution"  # the former is any grouped one
    options = {
        0: p.OC,
        1: p.KW,
        11: p.KH,
        2: p.DW,
        12: p.DH,
        3: p.SW,
        13: p.SH,
        4: p.PL,
        14: p.PT,
        15: p.PR,
        16: p.PB,
        5: 0,  # no bias
        6: p.parameters,
        **({7: p.G} if p.G > 1 else {}),
    }
    lines = [
        "7767517",  # the format's magic number
        "2 2",  # layers, blobs
        f"Input x 0 1 x 0={p.IW} 1={p.IH} 2={p.IC}",
        f"{kind} y 1 1 x y " + " ".join(f"{key}={value}" for key, value in options.items()),
    ]
    return "\n".join(lines) + "\n", b"\0\0\0\0" + np.ascontiguousarray(w, np.float32).tobytes()


def tflite_model(problem: ConvProblem, w: Filter) -> bytes:
    """Write a TensorFlow Lite model in NHWC with input ``x`` and output ``y``.

    The format knows "same" and "valid" padding only; another padding becomes a PAD operator in front.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as s

    p = problem
    model, graph = s.ModelT(), s.SubGraphT()
    model.version, model.operatorCodes, model.buffers = 3, [], [s.BufferT()]
    graph.tensors, graph.operators = [], []

    def tensor(name: str, shape: tuple[int, ...], data: NDArray[Any] | None = None, integer: bool = False) -> int:
        t = s.TensorT()
        t.name, t.shape, t.buffer = name.encode(), list(shape), 0
        t.type = s.TensorType.INT32 if integer else s.TensorType.FLOAT32
        if data is not None:
            buffer = s.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            model.buffers.append(buffer)
            t.buffer = len(model.buffers) - 1
        graph.tensors.append(t)
        return len(graph.tensors) - 1

    def operator(name: str, inputs: list[int], output: int, kind: str, options: Any) -> None:
        code, op = s.OperatorCodeT(), s.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(s.BuiltinOperator, name)
        code.version = 1
        model.operatorCodes.append(code)
        op.opcodeIndex, op.inputs, op.outputs = len(model.operatorCodes) - 1, inputs, [output]
        op.builtinOptionsType, op.builtinOptions = getattr(s.BuiltinOptions, kind), options
        graph.operators.append(op)

    source = first = tensor("x", (p.N, p.IH, p.IW, p.IC))
    same = p.padding == ConvProblem(p.x_shape, p.w_shape, p.stride, "same", p.dilation, p.groups).padding
    if p.padded and not same:
        amounts = tensor("padding", (4, 2), np.array([(0, 0), *p.padding, (0, 0)], np.int32), integer=True)
        padded = tensor("padded", (p.N, p.IH + p.PT + p.PB, p.IW + p.PL + p.PR, p.IC))
        operator("PAD", [source, amounts], padded, "PadOptions", s.PadOptionsT())
        source = padded
    depthwise = p.kind == "depthwise"
    filt = w.transpose(1, 2, 3, 0) if depthwise else w.transpose(0, 2, 3, 1)
    weights = tensor("w", filt.shape, filt)
    bias = tensor("bias", (p.OC,), np.zeros(p.OC, np.float32))
    y = tensor("y", (p.N, p.OH, p.OW, p.OC))
    options = s.DepthwiseConv2DOptionsT() if depthwise else s.Conv2DOptionsT()
    options.padding = s.Padding.SAME if same and p.padded else s.Padding.VALID
    options.strideH, options.strideW, options.dilationHFactor, options.dilationWFactor = p.SH, p.SW, p.DH, p.DW
    options.fusedActivationFunction = s.ActivationFunctionType.NONE
    if depthwise:
        options.depthMultiplier = p.OCG
        operator("DEPTHWISE_CONV_2D", [source, weights, bias], y, "DepthwiseConv2DOptions", options)
    else:
        operator("CONV_2D", [source, weights, bias], y, "Conv2DOptions", options)
    graph.inputs, graph.outputs = [first], [y]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
