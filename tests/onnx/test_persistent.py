"""Kernels of a network that follow each other in one: the same bits, whatever threads there are and whatever calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import onnx
import pyopencl as cl
import pyopencl.array as cla
import pytest

import clconv
import clconv.onnx
from clconv import crew, networks, persistent, processor
from clconv.bound import BoundLaunch
from clconv.caller import beside
from clconv.codes import code_beside, helps
from clconv.crew import VARIABLE
from clconv.device import DeviceInfo
from clconv.executable import Executable
from clconv.notation import parse
from clconv.persistent import EXTERNAL, Persistent
from clconv.plan import Launch, Local
from clconv.runtime import Runtime, runtime_of
from clconv.select import select
from tests.gates import closed, give_time, is_pending, late
from tests.onnx.models import model, node, numbers

on_known_driver = pytest.mark.skipif(
    not helps(DeviceInfo.of(clconv.default_queue().device)), reason="it is not known how the driver calls kernels"
)


def commands_of(net: clconv.onnx.Network) -> list[BoundLaunch | Persistent]:
    """What the only program of a network enqueues."""
    (program,) = net._programs.values()
    return program.sequence


def dense() -> onnx.ModelProto:
    """Two inputs and two outputs; where Winograd's method is taken, kernels that hand scratch memory on."""
    nodes = [
        node("Conv", "x w0", "a", pads=[1] * 4),
        node("Conv", "a w1", "b", pads=[1] * 4),
        node("Add", "b z", "y"),
        node("GlobalAveragePool", "y", "p"),
    ]
    constants = {f"w{i}": numbers(64, 64, 3, 3, seed=i, scale=0.05) for i in range(2)}
    return model(nodes, {"x": ["N", 64, 28, 28], "z": ["N", 64, 28, 28]}, ["y", "p"], constants)


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "shufflenet": lambda: networks.build("shufflenet_v2", size=64),
    "mobilenet": lambda: networks.build("mobilenet_v1", size=64),
    "inverted": lambda: networks.build("mobilenet_v2", size=64),
    "resnext": lambda: networks.build("resnext50", size=64),
    "dense": dense,
}


def inputs_of(net: clconv.onnx.Network, batch: int, seed: int = 0) -> list[np.ndarray]:
    """Draw the inputs."""
    shapes = [(batch, *map(int, (port.shape or ())[1:])) for port in net.inputs]  # type: ignore[arg-type]  # the rest is known
    return [numbers(*shape, seed=seed + i) for i, shape in enumerate(shapes)]


def assert_same(got: object, want: object) -> None:
    """Of one output or several: the same bits."""
    for one, other in zip(*(v if isinstance(v, tuple) else (v,) for v in (got, want)), strict=True):
        np.testing.assert_array_equal(one, other)


@on_known_driver
@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits_as_kernel_by_kernel(name: str) -> None:
    net = clconv.onnx.load(MODELS[name]())
    apart = clconv.onnx.load(MODELS[name](), stay_awake=False)
    for batch in (1, 3):
        inputs = inputs_of(net, batch)
        want = apart(*inputs)
        for _ in range(3):
            assert_same(net(*inputs), want)
    assert [len(p.sequence) for p in net._programs.values()] == [1, 1]
    assert all(len(p.sequence) > 2 for p in apart._programs.values())


@on_known_driver
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_elements(dtype: str) -> None:
    kind = {"float16": onnx.TensorProto.FLOAT16, "float64": onnx.TensorProto.DOUBLE}[dtype]
    w = numbers(24, 16, 3, 3).astype(dtype)
    nodes = [node("Conv", "x w", "a", pads=[1] * 4), node("Clip", "a low high", "b"), node("LeakyRelu", "b", "y", alpha=0.25)]
    constants = {"w": w, "low": np.array(-1.75, dtype), "high": np.array(2.5, dtype)}
    proto = model(nodes, {"x": [2, 16, 9, 11]}, ["y"], constants, dtype=kind)
    x = numbers(2, 16, 9, 11, seed=3).astype(dtype)
    net = clconv.onnx.load(proto)
    assert_same(net(x), clconv.onnx.load(proto, stay_awake=False)(x))
    assert any(isinstance(c, Persistent) for c in commands_of(net))


@on_known_driver
def test_threads_leave_the_counters_as_they_found_them() -> None:
    net = clconv.onnx.load(MODELS["shufflenet"]())
    (x,) = inputs_of(net, 1)
    for _ in range(20):
        net(x)
    (command,) = commands_of(net)
    assert isinstance(command, Persistent)
    assert command._counters.size > 16 * 40
    assert not command._counters.any()


@on_known_driver
@pytest.mark.parametrize("threads", [1, 2, 3, 5, 32])
def test_any_number_of_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also more than the driver has: some come when all is done."""
    proto = MODELS["shufflenet"]()
    x = numbers(1, 3, 64, 64)
    want = clconv.onnx.load(proto, stay_awake=False)(x)
    make = Persistent.__init__

    def with_threads(self: Persistent, runtime: Runtime, queue: cl.CommandQueue, commands: list[BoundLaunch], _: int) -> None:
        make(self, runtime, queue, commands, threads)

    monkeypatch.setattr(Persistent, "__init__", with_threads)
    monkeypatch.setenv(VARIABLE, "0")  # else a crew of the usual number would lead
    monkeypatch.setattr(crew, "_crews", {})
    net = clconv.onnx.load(proto)
    for _ in range(10):
        assert_same(net(x), want)
    (command,) = commands_of(net)
    assert isinstance(command, Persistent)
    assert command._threads == threads


@on_known_driver
def test_in_the_thread_that_calls() -> None:
    """Where the work-groups of one thread come behind those of the other."""
    device = beside(clconv.default_queue().device)
    if device is None:
        pytest.skip("PoCL has one device alone")
    proto = MODELS["dense"]()
    net = clconv.onnx.load(proto, queue=cl.CommandQueue(cl.Context([device])))
    inputs = inputs_of(net, 1)
    assert_same(net(*inputs), clconv.onnx.load(proto, stay_awake=False)(*inputs))
    assert len(commands_of(net)) == 1


@on_known_driver
def test_device_arrays_call_behind_call() -> None:
    """Nothing is waited for in between, inputs and outputs lie elsewhere each time, and an offset is part of an address."""
    queue = clconv.default_queue()
    proto = MODELS["dense"]()
    net, apart = clconv.onnx.load(proto), clconv.onnx.load(proto, stay_awake=False)
    each = [inputs_of(net, 1, seed) for seed in range(6)]
    wants = [apart(*inputs) for inputs in each]
    arrays = [[cla.to_device(queue, np.stack([a, a]))[1] for a in inputs] for inputs in each]
    net(*each[0])  # so that no filter is packed behind the gate
    with closed(queue) as gate:
        first = net(late(gate, each[0][0], queue), arrays[0][1])
        results = [first, *(net(*inputs) for inputs in arrays[1:])]
        give_time(queue)
        assert all(is_pending(event) for result in results for array in result for event in array.events)
    for result, want in zip(results, wants, strict=True):
        assert_same(tuple(a.get() for a in result), want)


@on_known_driver
def test_several_threads_of_the_host_and_several_networks() -> None:
    nets = [clconv.onnx.load(MODELS[name]()) for name in ("shufflenet", "mobilenet")]
    inputs = [numbers(1, 3, 64, 64, seed=s) for s in range(4)]
    wants = [[net(x) for x in inputs] for net in nets]
    start = threading.Barrier(4)

    def work(which: int) -> None:
        start.wait()
        for turn in range(15):
            i, j = which % 2, (which + turn) % 4
            assert_same(nets[i](inputs[j]), wants[i][j])

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, which) for which in range(4)]:
            done.result()


def other_than(entry: str, command: BoundLaunch) -> bool:
    """In place of asking the kernel, which has the parameters all the same."""
    index = len(command.launch.arguments)
    if command.kernel.num_args == index:
        return False
    if command.launch.entry == entry:
        command.kernel.set_arg(index, None)
        command.kernel.set_arg(index + 1, np.int32(0))
    return command.launch.entry != entry


@on_known_driver
def test_a_kernel_that_cannot_be_called_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    proto = MODELS["shufflenet"]()
    apart = clconv.onnx.load(proto, stay_awake=False)
    x = numbers(1, 3, 64, 64)
    want = apart(x)
    entries = sorted({command.launch.entry for command in commands_of(apart) if isinstance(command, BoundLaunch)})
    assert len(entries) > 3
    for entry in entries:
        monkeypatch.setattr(BoundLaunch, "rings", property(partial(other_than, entry)))
        net = clconv.onnx.load(proto)
        assert_same(net(x), want)
        assert {type(command) for command in commands_of(net)} == {BoundLaunch, Persistent}


@on_known_driver
def test_code_that_is_not_found_costs_speed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    proto = MODELS["dense"]()

    def lost(_beside: int, entry: str) -> int:
        raise OSError(f"no library of this process holds the code of {entry}")

    net = clconv.onnx.load(proto)
    inputs = inputs_of(net, 1)
    want = net(*inputs)
    monkeypatch.setattr(persistent, "code_beside", lost)
    other = clconv.onnx.load(proto)
    assert_same(other(*inputs), want)
    assert all(isinstance(c, BoundLaunch) for c in commands_of(other))
    monkeypatch.undo()
    with pytest.raises(OSError, match="no library of this process holds the code of nothing"):
        code_beside(8, "nothing")


@on_known_driver
@pytest.mark.parametrize(("inputs", "together"), [(EXTERNAL - 1, True), (EXTERNAL, False)])
def test_so_many_inputs_and_outputs_at_most(inputs: int, together: bool) -> None:
    names = [f"x{i}" for i in range(inputs)]
    nodes = [node("Max", " ".join(names), "m"), node("Transpose", "m", "t", perm=[0, 2, 1]), node("Softmax", "t", "y")]
    net = clconv.onnx.load(model(nodes, {name: [2, 5, 7] for name in names}, ["y"]))
    arrays = [numbers(2, 5, 7, seed=i) for i in range(inputs)]
    largest = np.exp(np.max(arrays, axis=0).transpose(0, 2, 1).astype(np.float64))
    np.testing.assert_allclose(net(*arrays), largest / largest.sum(-1, keepdims=True), rtol=1e-5)
    assert any(isinstance(c, Persistent) for c in commands_of(net)) == together


@on_known_driver
def test_a_report_counts_kernels_and_commands() -> None:
    proto = MODELS["dense"]()
    report, apart = (clconv.onnx.load(proto, stay_awake=s).explain() for s in (True, False))
    assert report.commands == 1
    assert apart.commands == apart.kernels == report.kernels
    assert report.kernels > 2
    assert f"enqueue: {report.kernels} kernels in 1 commands" in str(report)
    assert report.as_dict()["commands"] == 1


def test_only_where_it_is_known_how_kernels_are_called() -> None:
    known = DeviceInfo("made up", "Portable Computing Language", "3.0-rc2")
    assert helps(known) == processor.is_x86()
    assert not helps(DeviceInfo("made up", "Portable Computing Language", "6.0"))
    assert not helps(DeviceInfo("made up", "Portable Computing Language", "3.0", is_cpu=False))
    assert not helps(DeviceInfo("made up", "Oclgrind", "3.0", is_simulator=True))
    assert not helps(DeviceInfo("made up", "Intel(R) OpenCL", "3.0"))


@on_known_driver
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_local_memories_are_far_from_each_other_and_from_all_else(threads: int) -> None:
    """For what one thread reads ahead of is not to be what another one writes; see ``Persistent._local_memory``."""
    queue = clconv.default_queue()
    runtime = runtime_of(queue)
    plan = next(p for p in select(parse("1x1 64->64 @14"), runtime.info).candidates if local_bytes(p.launches[0]) > 1000)
    executable = Executable(plan, runtime)
    buffers = dict.fromkeys(("packed", "bias", "residual"))
    commands = [BoundLaunch(runtime, launch, buffers, {"x": 0, "y": 1}, wide=False) for launch in executable.launches]
    steps = Persistent(runtime, queue, commands, threads)
    size = max(map(local_bytes, plan.launches))
    starts = steps._local_memory(commands)
    memory = steps._held[-1]
    first, behind = memory.ctypes.data, memory.ctypes.data + memory.nbytes
    assert len(starts) == threads
    edges = [first, *(edge for start in starts for edge in (start, start + size)), behind]
    assert all(b - a >= 1 << 16 for a, b in zip(edges[::2], edges[1::2], strict=True))
    assert all(start % 128 == 0 for start in starts)


def local_bytes(launch: Launch) -> int:
    """Local memory that a launch's kernel is given."""
    return sum(argument.bytes for argument in launch.arguments if isinstance(argument, Local))


@pytest.mark.parametrize("shape", [3, (5, 8), (129,)])
def test_an_array_of_zeros_has_lines_of_its_own(shape: int | tuple[int, ...]) -> None:
    for dtype in (np.int32, np.uint64):
        array = persistent.zeros(shape, dtype)
        assert array.shape == (shape if isinstance(shape, tuple) else (shape,))
        assert array.dtype == dtype
        assert not array.any()
        memory = array.base
        while memory.base is not None:
            memory = memory.base
        assert array.ctypes.data % 128 == 0
        assert memory.ctypes.data + memory.nbytes >= array.ctypes.data + -(-array.nbytes // 128) * 128
