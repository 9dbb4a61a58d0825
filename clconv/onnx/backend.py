"""ONNX's own interface of a backend, through which its tests run."""

# ruff: noqa: ARG003 - the interface passes more than is needed

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
from onnx.backend.base import Backend as _Backend
from onnx.backend.base import BackendRep

from clconv.errors import ShapeError
from clconv.onnx.network import Network, load


class Prepared(BackendRep):
    """A loaded model."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Run the model on arrays in its order of inputs, or by their names."""
        given = (inputs,) if not isinstance(inputs, (list, tuple)) else tuple(inputs)
        result = self.network(*given, **kwargs)
        return result if isinstance(result, tuple) else (result,)


class Backend(_Backend):
    """``onnx.backend`` on the default OpenCL device."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Prepared:
        """Load a model, with direct methods alone.

        The tests hold models whose weights are all the same number: their channels must come out equal to the last bit, for
        a softmax of large numbers makes everything of a difference. Strassen's product rounds two halves of them differently.
        """
        return Prepared(load(model, algorithm="direct"))

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
        """Load a model and run it once."""
        return cls.prepare(model, device).run(inputs)

    @classmethod
    def run_node(
        cls, node: onnx.NodeProto, inputs: Any, device: str = "CPU", outputs_info: Sequence[Any] | None = None, **kwargs: Any
    ) -> tuple[Any, ...]:
        """Run a single node on an array for each of its inputs, of the version ``opset_version`` or ONNX's newest one."""
        import numpy as np
        from onnx import defs, helper

        arrays = [np.asarray(a) for a in (inputs if isinstance(inputs, (list, tuple)) else (inputs,))]
        names = [name for name in node.input if name]
        if len(arrays) != len(names):
            raise ShapeError(f"{len(arrays)} arrays were given for the inputs {names} of the node; pass one for each")
        given = dict(zip(names, arrays, strict=True))  # a node may read one value twice
        element = helper.np_dtype_to_tensor_dtype
        infos = [helper.make_tensor_value_info(name, element(a.dtype), a.shape) for name, a in given.items()]
        # Of an output only the name is read, but ONNX's checker wants a type and a shape.
        outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None]) for name in node.output if name]
        opset = helper.make_opsetid("", kwargs.get("opset_version", defs.onnx_opset_version()))
        graph = helper.make_graph([node], "node", infos, outputs)
        return cls.run_model(helper.make_model(graph, opset_imports=[opset]), list(given.values()), device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether a device of ONNX's naming is meant: the OpenCL device goes by ``"CPU"``."""
        return device.startswith("CPU")
