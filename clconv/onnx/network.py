"""``Network``: a model that can be called."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyopencl as cl

from clconv.buffers import host_buffer
from clconv.discovery import default_queue
from clconv.errors import ShapeError, UnsupportedError
from clconv.fork import require_own_process
from clconv.onnx.call import outputs_of, run_on_device, run_on_host
from clconv.onnx.gates import gate_filters
from clconv.onnx.graph import Array, Graph, Port, Shape, without_dead
from clconv.onnx.infer import specialise
from clconv.onnx.inputs import Inputs
from clconv.onnx.inverted import fuse_inverted
from clconv.onnx.layout import choose_layout
from clconv.onnx.model_file import read_model
from clconv.onnx.passes import AFTER, BEFORE, fuse_residual, run
from clconv.onnx.planes import read_planes
from clconv.onnx.precision import converted, widened
from clconv.onnx.program import Program
from clconv.onnx.read import graph_of
from clconv.onnx.report import Profile, Report
from clconv.onnx.rewrite import cancel_transposes
from clconv.onnx.separable import fuse_separable
from clconv.onnx.spill import Spill
from clconv.onnx.store import Store
from clconv.runtime import runtime_of
from clconv.tensors import Tensor, empty, is_device_array

_KEPT = 16  # programs, one per set of input shapes; the least recently used one goes


def load(
    source: str | Path | bytes | onnx.ModelProto,
    *,
    dtype: str | None = None,
    algorithm: str = "auto",
    queue: cl.CommandQueue | None = None,
    stay_awake: bool = True,
) -> Network:
    """Load a network of convolutions from ONNX.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
    dtype : {"float32", "float16"}, optional
        Element type of the images in memory, if it is to differ from the model's. Packed weights and sums are float32 in both.
        Models that compute with bfloat16 need one.
    algorithm : {"auto", "direct"}
        ``"direct"`` rules out methods that are faster and round more: Winograd's, Strassen's, and split elements.
    queue : pyopencl.CommandQueue, optional
        Where everything runs; :func:`clconv.default_queue` if left out.
    stay_awake : bool
        Keep PoCL's threads from going to sleep between the kernels of a call, and for a millisecond behind calls that follow
        each other closely, which matters where these are short. ``False`` enqueues a kernel for each step, and lets them sleep.

    Returns
    -------
    Network
        Call it with arrays. Its weights are packed, and its kernels compiled, at the first call with each shape: by several
        processes at once with PoCL, where many are unknown (``CLCONV_BUILDERS``).

    Raises
    ------
    ClconvError
        If the file is damaged, or a node cannot be computed from its constants.
    ShapeError
        If a node contradicts itself.
    UnsupportedError
        If it has nodes that are not offered, all of which are named; or for another dtype or algorithm.

    Examples
    --------
    >>> import clconv.onnx, numpy as np
    >>> from clconv.networks import mobilenet_v1
    >>> net = clconv.onnx.load(mobilenet_v1(size=32, width=0.25))
    >>> net(np.zeros((2, 3, 32, 32), "f")).shape
    (2, 1000)
    """
    if algorithm not in ("auto", "direct"):
        raise UnsupportedError(f"algorithm={algorithm!r} is not offered for networks; use auto or direct")
    if dtype not in (None, "float32", "float16"):
        raise UnsupportedError(f"dtype={dtype!r} is not offered for networks; use float32 or float16")
    graph = without_dead(graph_of(read_model(source)))
    if dtype is not None:
        graph = widened(graph)
    _trim()  # of the model that was read, nothing but the graph's arrays is left
    parameters = graph.parameters
    graph = run(replace(graph, target=dtype), BEFORE)
    if dtype is not None:
        graph = converted(graph, dtype)  # after folding, which a smaller type would lose numbers in
    spill = Spill(graph.constants)
    graph = graph.with_nodes(graph.nodes, constants=spill.arrays)
    _trim()  # before the driver takes its memory, too
    return Network(graph, spill, parameters, queue, algorithm, stay_awake=stay_awake)


class Network:
    """A model on a device. Made by :func:`load`.

    Parameters
    ----------
    graph : Graph
        After the passes that need no shapes.
    spill : Spill
        The file with its large constants.
    parameters : int
        Numbers in the model's weights.
    queue : pyopencl.CommandQueue, optional
    algorithm : {"auto", "direct"}
    stay_awake : bool

    Attributes
    ----------
    inputs : tuple of Port
        Name, element type and sizes of each input.
    outputs : tuple of str
        Names of the outputs.

    Notes
    -----
    For every new set of input shapes a program is prepared and kept: kernels are built, memory is planned and bound.
    Weights are packed once for all of them. Networks may be called from several threads.
    """

    def __init__(
        self,
        graph: Graph,
        spill: Spill,
        parameters: int,
        queue: cl.CommandQueue | None = None,
        algorithm: str = "auto",
        *,
        stay_awake: bool = True,
    ) -> None:
        self.outputs = graph.outputs
        self.parameters = parameters
        self._graph = graph
        self.inputs: tuple[Port, ...] = graph.inputs
        self._inputs = Inputs(graph.inputs)
        self.queue = queue if queue is not None else default_queue()
        self._runtime = runtime_of(self.queue)
        self._store = Store(self._runtime, self.queue, spill, algorithm)
        self._stay_awake = stay_awake
        self._programs: OrderedDict[Any, Program] = OrderedDict()
        self._lock = threading.RLock()  # a finalizer may call in here

    def __reduce__(self) -> tuple[object, ...]:
        """Refuse to be pickled or copied."""
        raise TypeError("a Network holds memory of a device and cannot be pickled or copied; load the model again")

    def __call__(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """Run the network.

        Parameters
        ----------
        *args, **kwargs : array
            The inputs in the model's order or by their names; or one dictionary by names. NumPy arrays or
            ``pyopencl.array.Array``, of any batch size.
        out : array or sequence of arrays, optional
            Takes the output, or all of them in the model's order; made anew if left out. (An input that has this name can be
            given by its place or in a dictionary.)

        Returns
        -------
        array or tuple of arrays
            ``out``, or the output, or all of them in the model's order, of the kind of the inputs. A device array may still be
            computed when it is returned: its events say when.

        Raises
        ------
        ShapeError
            If a name, a shape or an element type does not fit.
        """
        tensors = self._inputs.tensors(args, kwargs)
        program = self._program_for(tensors)
        results = None if out is None else outputs_of(out, program, tensors, self.outputs)
        run = run_on_device if tensors and is_device_array(tensors[0]) else run_on_host
        results = run(program, self.queue, tensors, results)
        return results[0] if len(results) == 1 else tuple(results)

    def explain(self, *args: Any, **kwargs: Any) -> Report:
        """Say what a call would run: passes, steps, algorithms, memory.

        Parameters
        ----------
        *args, **kwargs : shape or array
            As for a call; a shape is a tuple. Where nothing is given, the model's own sizes are taken, and 1 for a batch
            that it leaves open.

        Returns
        -------
        Report
            Print it, or read its ``steps``, ``flops`` and bytes.

        Raises
        ------
        ShapeError
            As for a call; where the model leaves a size open and nothing is given, too.
        """
        if any(port.steers for port in self.inputs):
            return Report(self._program_for(self._inputs.tensors(args, kwargs)), self._store)
        return Report(self._program(self._inputs.shapes(args, kwargs)), self._store)

    def profile(self, *args: Any, rounds: int = 5, **kwargs: Any) -> Profile:
        """Run step by step and report time, algorithm and share of the roofline of each.

        Parameters
        ----------
        *args, **kwargs : array
            As for a call, NumPy arrays.
        rounds : int
            The least time of so many counts.

        Returns
        -------
        Profile
            Print it, or read its seconds.

        Raises
        ------
        ShapeError
            As for a call; for device arrays and fewer than one round, too.
        """
        if not isinstance(rounds, Integral) or rounds < 1:
            raise ShapeError(f"rounds={rounds!r} measures nothing; use a whole number from 1 on")
        tensors = self._inputs.tensors(args, kwargs)
        if any(map(is_device_array, tensors)):
            raise ShapeError("the inputs of a profile are device arrays; pass NumPy arrays, as x.get() gives them")
        program = self._program_for(tensors)
        properties = cl.command_queue_properties.PROFILING_ENABLE
        queue = cl.CommandQueue(self._runtime.context, self._runtime.device, properties=properties)
        external = [host_buffer(self._runtime, t if t.size else np.empty(1, t.dtype)) for t in tensors]
        results = [empty(s, d) for s, d in zip(program.output_shapes, program.output_dtypes, strict=True)]
        external += [host_buffer(self._runtime, r if r.size else np.empty(1, r.dtype), output=True) for r in results]
        return Profile(Report(program, self._store), program.time_steps(queue, external, rounds))

    # programs

    def _program_for(self, tensors: Sequence[Any]) -> Program:
        require_own_process()  # before one is read that is on the device
        steering = {p.name: _contents(t) for p, t in zip(self.inputs, tensors, strict=True) if p.steers}
        return self._program(tuple(tuple(t.shape) for t in tensors), steering)

    def _program(self, shapes: tuple[Shape, ...], steering: Mapping[str, Array] | None = None) -> Program:
        require_own_process()
        key: Any = shapes if not steering else (shapes, *(a.tobytes() for a in steering.values()))
        with self._lock:
            program = self._programs.get(key)
            if program is None:
                sizes = {p.name: s for p, s in zip(self.inputs, shapes, strict=True)}
                program = self._programs[key] = self._built(specialise(self._graph, sizes, steering))
                if len(self._programs) > _KEPT:
                    self._programs.popitem(last=False)
            else:
                self._programs.move_to_end(key)
            return program

    def _built(self, known: Graph) -> Program:
        graph = run(known, AFTER)
        if not any(0 in shape for shape in graph.shapes.values()):
            plans, info = self._store.plans, self._runtime.info
            graph = cancel_transposes(choose_layout(graph, plans.seconds, info.bandwidth))
            graph = fuse_residual(graph)  # transpositions may have been in between
            graph = fuse_inverted(graph, info, plans.seconds, direct=plans.direct)
            graph = fuse_separable(graph, info, plans.seconds, direct=plans.direct)
            graph = gate_filters(read_planes(graph, plans.of), info)
        return Program(graph, self._graph.constants, self._store, stay_awake=self._stay_awake)


def _trim() -> None:
    """Give what reading the file took back to the system: glibc keeps large blocks once some were freed."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _contents(tensor: Tensor) -> Array:
    """Return a copy of what a tensor holds."""
    return np.array(tensor.get() if is_device_array(tensor) else tensor)
