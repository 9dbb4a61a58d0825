"""A whole network, with batch normalisation folded, as a model file of ncnn or TensorFlow Lite.

Of the nodes, those that ResNet, ResNeXt, MobileNet and VGG consist of: Conv, Add, MaxPool, GlobalAveragePool, Gemm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from clconv.errors import UnsupportedError
from clconv.onnx.graph import Graph, Node, without_dead
from clconv.onnx.infer import specialise
from clconv.onnx.passes import BEFORE, drop_views, fuse_activation, run
from clconv.onnx.read import graph_of

Array = NDArray[Any]
_KNOWN = ("Conv", "Add", "MaxPool", "GlobalAveragePool", "Gemm")


def simplified(model: onnx.ModelProto, shape: tuple[int, ...]) -> Graph:
    """Return the network with constants, batch normalisation and activations folded, for an input of this shape.

    Raises
    ------
    UnsupportedError
        If it has other nodes than the writers know.
    """
    graph = specialise(run(graph_of(model), BEFORE), {"x": shape})
    graph = without_dead(fuse_activation(drop_views(graph)))
    other = {node.op for node in graph.nodes} - set(_KNOWN)
    if other:
        raise UnsupportedError(f"no writer for the nodes {', '.join(sorted(other))} of this network")
    return graph


def _activation(node: Node) -> str | None:
    activation = node.get("activation")
    kind = None if activation is None else activation.kind
    if kind not in (None, "relu", "relu6"):
        raise UnsupportedError(f"no writer for the activation {kind}")
    return kind


def _window(node: Node) -> tuple[int, int, int]:
    """Return filter, stride and padding of a square window."""
    return node.attributes["kernel_shape"][0], node.get("strides", [1])[0], node.get("pads", [0])[0]


def ncnn_network(graph: Graph) -> tuple[str, bytes]:
    """Write ncnn's graph (text) and weights; input ``x``, output ``y``. ncnn has no batch: it is one image."""
    uses = Counter(graph.root(name) for node in graph.nodes for name in node.inputs if name not in graph.constants)
    lines: list[str] = []
    weights: list[bytes] = []
    copies: dict[str, list[str]] = {}
    blobs = 0

    def line(kind: str, inputs: Sequence[str], outputs: Sequence[str], arguments: str) -> None:
        nonlocal blobs
        blobs += len(outputs)
        lines.append(f"{kind} {outputs[0]}_{kind} {len(inputs)} {len(outputs)} {' '.join((*inputs, *outputs))} {arguments}")

    def publish(name: str) -> None:
        """Make a copy per reader: a blob of ncnn is read once."""
        copies[name] = [f"{name}_{i}" for i in range(uses[name])] if uses[name] > 1 else [name]
        if uses[name] > 1:
            line("Split", [name], copies[name], "")

    def write(array: Array, tagged: bool) -> None:
        weights.append((b"\0\0\0\0" if tagged else b"") + np.ascontiguousarray(array, np.float32).tobytes())

    _, channels, height, width = graph.shapes["x"]
    line("Input", [], ["x"], f"0={width} 1={height} 2={channels}")
    publish("x")
    last = graph.root(graph.outputs[0])
    for node in graph.nodes:
        out = "y" if node.output == last else node.output
        sources = [copies[graph.root(n)].pop() for n in node.inputs if n and n not in graph.constants]
        act = {None: "", "relu": " 9=1", "relu6": " 9=3 -23310=2,0.0,6.0"}[_activation(node)]
        if node.op == "Conv":
            k, stride, pad = _window(node)
            w, groups = graph.constants[node.inputs[1]], node.get("group", 1)
            kind = "ConvolutionDepthWise" if groups > 1 else "Convolution"
            tail = f" 7={groups}" if groups > 1 else ""
            line(kind, sources, [out], f"0={len(w)} 1={k} 11={k} 3={stride} 4={pad} 5=1 6={w.size}{act}{tail}")
            write(w, tagged=True)
            write(graph.constants[node.inputs[2]], tagged=False)
        elif node.op == "Add":
            between = f"{out}_sum" if act else out
            line("BinaryOp", sources, [between], "0=0")
            if act:
                line("ReLU", [between], [out], "")
        elif node.op == "MaxPool":
            k, stride, pad = _window(node)
            line("Pooling", sources, [out], f"0=0 1={k} 2={stride} 3={pad} 5=1")
        elif node.op == "GlobalAveragePool":
            line("Pooling", sources, [out], "0=1 4=1")
        else:
            w = graph.constants[node.inputs[1]]
            line("InnerProduct", sources, [out], f"0={len(w)} 1=1 2={w.size}{act}")
            write(w, tagged=True)
            write(graph.constants[node.inputs[2]], tagged=False)
        publish(out)
    return f"7767517\n{len(lines)} {blobs}\n" + "\n".join(lines) + "\n", b"".join(weights)


class _Tflite:
    """A TensorFlow Lite model in the making, in NHWC."""

    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.s: Any = schema
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.operatorCodes, self.model.buffers = 3, [], [schema.BufferT()]
        self.graph.tensors, self.graph.operators = [], []
        self.ids: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._codes: dict[int, int] = {}

    def tensor(self, name: str, shape: tuple[int, ...], data: Array | None = None) -> int:
        """Add a tensor, with contents if it is constant."""
        t = self.s.TensorT()
        t.name, t.shape, t.buffer = name.encode(), list(shape), 0
        integer = data is not None and data.dtype.kind == "i"
        t.type = self.s.TensorType.INT32 if integer else self.s.TensorType.FLOAT32
        if data is not None:
            buffer = self.s.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            t.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(t)
        self.ids[name], self.shapes[name] = len(self.graph.tensors) - 1, shape
        return self.ids[name]

    def operator(self, name: str, inputs: list[int], output: int, kind: str, options: Any) -> None:
        """Add an operator."""
        code = getattr(self.s.BuiltinOperator, name)
        if code not in self._codes:
            record = self.s.OperatorCodeT()
            record.builtinCode = record.deprecatedBuiltinCode = code
            record.version = 1
            self._codes[code] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(record)
        op = self.s.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = self._codes[code], inputs, [output]
        op.builtinOptionsType, op.builtinOptions = getattr(self.s.BuiltinOptions, kind), options
        self.graph.operators.append(op)

    def padded(self, name: str, amount: int) -> str:
        """Return a tensor with zeros around its image."""
        new = f"{name}_pad{amount}"
        if not amount:
            return name
        if new not in self.ids:
            n, h, w, c = self.shapes[name]
            amounts = self.tensor(f"{new}_by", (4, 2), np.array([[0, 0], [amount] * 2, [amount] * 2, [0, 0]], np.int32))
            output = self.tensor(new, (n, h + 2 * amount, w + 2 * amount, c))
            self.operator("PAD", [self.ids[name], amounts], output, "PadOptions", self.s.PadOptionsT())
        return new

    def function(self, node: Node) -> int:
        """Return the number of the activation that is fused into a node."""
        kind = self.s.ActivationFunctionType
        return int({None: kind.NONE, "relu": kind.RELU, "relu6": kind.RELU6}[_activation(node)])

    def finish(self, source: str, target: str) -> bytes:
        """Return the file."""
        import flatbuffers

        self.graph.inputs, self.graph.outputs = [self.ids[source]], [self.ids[target]]
        self.model.subgraphs = [self.graph]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def tflite_network(graph: Graph) -> bytes:
    """Write a TensorFlow Lite model in NHWC."""
    to = _Tflite()
    n, c, h, w = graph.shapes["x"]
    to.tensor("x", (n, h, w, c))
    for node in graph.nodes:
        names = [graph.root(name) for name in node.inputs if name and name not in graph.constants]
        shape = graph.shapes[node.output]
        image = (shape[0], *shape[2:], shape[1]) if len(shape) == 4 else shape
        if node.op == "Conv":
            _tflite_conv(to, graph, node, names[0], image)
        elif node.op == "Add":
            options = to.s.AddOptionsT()
            options.fusedActivationFunction = to.function(node)
            to.operator("ADD", [to.ids[a] for a in names], to.tensor(node.output, image), "AddOptions", options)
        elif node.op == "MaxPool":  # behind a ReLU, where zeros around the image change no maximum
            k, stride, pad = _window(node)
            source = to.padded(names[0], pad)
            options = to.s.Pool2DOptionsT()
            options.padding, options.strideH, options.strideW = to.s.Padding.VALID, stride, stride
            options.filterHeight = options.filterWidth = k
            to.operator("MAX_POOL_2D", [to.ids[source]], to.tensor(node.output, image), "Pool2DOptions", options)
        elif node.op == "GlobalAveragePool":
            axes = to.tensor(f"{node.output}_axes", (2,), np.array([1, 2], np.int32))
            output = to.tensor(node.output, shape[:2])
            to.operator("MEAN", [to.ids[names[0]], axes], output, "ReducerOptions", to.s.ReducerOptionsT())
        else:
            weights = [graph.constants[name] for name in node.inputs[1:3]]
            ids = [to.tensor(f"{node.output}_{i}", a.shape, a) for i, a in enumerate(weights)]
            options = to.s.FullyConnectedOptionsT()
            options.fusedActivationFunction = to.function(node)
            output = to.tensor(node.output, shape)
            to.operator("FULLY_CONNECTED", [to.ids[names[0]], *ids], output, "FullyConnectedOptions", options)
    return to.finish("x", graph.root(graph.outputs[0]))


def _tflite_conv(to: _Tflite, graph: Graph, node: Node, source: str, image: tuple[int, ...]) -> None:
    k, stride, pad = _window(node)
    w, bias = (graph.constants[name] for name in node.inputs[1:3])
    groups = node.get("group", 1)
    depthwise = groups > 1 and w.shape[1] == 1
    same = stride == 1 and pad == k // 2
    source = source if same else to.padded(source, pad)
    w = w.transpose(1, 2, 3, 0) if depthwise else w.transpose(0, 2, 3, 1)
    ids = [to.ids[source], to.tensor(f"{node.output}_w", w.shape, w), to.tensor(f"{node.output}_b", bias.shape, bias)]
    options = to.s.DepthwiseConv2DOptionsT() if depthwise else to.s.Conv2DOptionsT()
    options.padding = to.s.Padding.SAME if same else to.s.Padding.VALID
    options.strideH = options.strideW = stride
    options.dilationHFactor = options.dilationWFactor = 1
    options.fusedActivationFunction = to.function(node)
    output = to.tensor(node.output, image)
    if depthwise:
        options.depthMultiplier = 1
        to.operator("DEPTHWISE_CONV_2D", ids, output, "DepthwiseConv2DOptions", options)
    else:
        to.operator("CONV_2D", ids, output, "Conv2DOptions", options)
