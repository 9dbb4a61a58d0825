"""Steps of a network say when they begin, and threads that stay awake in between change no result and hold nothing up."""

from __future__ import annotations

import gc
import re

import numpy as np
import pyopencl as cl
import pytest

import clconv.onnx
from clconv import networks
from clconv.device import DeviceInfo
from clconv.discovery import default_queue
from clconv.onnx import bell
from clconv.onnx import program as programs
from clconv.onnx.bell import LOOKS, Bell
from clconv.plan import Launch
from clconv.runtime import runtime_of
from clconv.source import KERNEL_DIR

UNTOLD = {"write_zeros", "stay_awake", "persistent", "lead", "crew", "address_of"}  # are no step's

ENTRY = re.compile(
    r"__kernel\s+__attribute__\(\(reqd_work_group_size\((?:\d+|ITEMS), 1, 1\)\)\)\s*void (\w+)\(([^{]*)\) \{\n(.*)"
)


def kernels() -> list[tuple[str, str, str]]:
    """Name, parameters and first line of every kernel whose work-groups have one dimension on a CPU."""
    files = [p for p in KERNEL_DIR.rglob("*.cl") if "bench" not in p.parts and not p.stem.endswith("_simt")]
    return [m.groups() for p in sorted(files) for m in ENTRY.finditer(p.read_text())]  # type: ignore[misc]  # three groups


def test_every_kernel_of_a_cpu_rings() -> None:
    found = kernels()
    assert len(found) > 40
    for name, parameters, first in found:
        if name not in UNTOLD:
            assert parameters.endswith("BELL_PARAMETERS"), name
            assert first == "  RING_BELL;", name


@pytest.fixture(autouse=True)
def without_persistent_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose threads have no pause between steps."""
    monkeypatch.setattr(programs, "helps", lambda _device: False)


def words_of(net: clconv.onnx.Network, x: np.ndarray) -> list[int]:
    """Run a network step by step; return the word in memory after each."""
    net(x)
    program = net._program_for([x])
    assert program._bell is not None
    queue = default_queue()
    external = [cl.Buffer(queue.context, cl.mem_flags.READ_WRITE, 1 << 22) for _ in program.external]
    words = []
    for command in program.sequence:
        command.enqueue(queue, external)
        word = np.zeros(1, np.int32)
        cl.enqueue_copy(queue, word, program._bell._memory)
        queue.finish()
        words.append(int(word[0]))
    return words


on_pocl = pytest.mark.skipif(not Bell.helps(DeviceInfo.of(default_queue().device)), reason="the device's threads do not sleep")


@on_pocl
def test_each_step_leaves_its_number() -> None:
    net = clconv.onnx.load(networks.build("shufflenet_v2", size=32))
    words = words_of(net, np.ones((1, 3, 32, 32), np.float32))
    assert len(words) > 20
    assert words == list(range(1, len(words) + 1))


@on_pocl
def test_results_are_the_same_bits_without() -> None:
    proto = networks.build("shufflenet_v2", size=32)
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    net = clconv.onnx.load(proto)
    with_bell = net(x)
    other = clconv.onnx.load(proto, stay_awake=False)
    without = other(x)
    assert net._program_for([x])._bell is not None
    assert other._program_for([x])._bell is None
    np.testing.assert_array_equal(with_bell, without)


@on_pocl
@pytest.mark.parametrize(("word", "in_vain"), [(0, 0), (1, 3), (2, 0), (7, 0)])
def test_staying_awake_ends_whatever_the_word_is(word: int, in_vain: int) -> None:
    queue = default_queue()
    launch = Launch("network/stay_awake.cl", "stay_awake", (("LOOKS", LOOKS),), (), (3,), (1,))
    kernel = runtime_of(queue).programs.kernel(launch)
    words = np.array([word, 0], np.int32)
    buffer = cl.Buffer(queue.context, cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR, hostbuf=words)
    kernel.set_args(buffer, np.int32(1))
    cl.enqueue_nd_range_kernel(queue, kernel, (3,), (1,))
    cl.enqueue_copy(queue, words, buffer)  # waits
    assert words.tolist() == [word, in_vain]


@on_pocl
def test_staying_awake_in_vain_comes_to_an_end() -> None:
    net = clconv.onnx.load(networks.build("shufflenet_v2", size=32))
    x = np.ones((1, 3, 32, 32), np.float32)
    expected = net(x)
    (program,) = net._programs.values()
    made = program._bell
    assert made is not None
    made.wait()
    for _ in range(10):
        net(x)
    assert made._stayed >= 100
    made._words[1] = made._stayed  # as if the driver began with the next step only behind stay_awake
    assert made.in_vain
    stayed = made._stayed
    np.testing.assert_array_equal(net(x), expected)
    assert made._stayed == stayed


@on_pocl
def test_what_stays_awake_is_waited_for_when_its_network_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[cl.Event | None] = []
    wait = Bell.wait

    def recorded(self: Bell) -> None:
        wait(self)
        waited.append(self._last)

    monkeypatch.setattr(Bell, "wait", recorded)
    net = clconv.onnx.load(networks.build("shufflenet_v2", size=32))
    net(np.ones((1, 3, 32, 32), np.float32))
    (program,) = net._programs.values()
    assert program._bell is not None
    last = program._bell._last
    del net, program
    gc.collect()
    assert last is not None
    assert last in waited
    assert last.command_execution_status == cl.command_execution_status.COMPLETE


class Command:
    """In place of a BoundLaunch."""

    def __init__(self, *, rings: bool) -> None:
        self.rings = rings
        self.told: list[int] = []

    def tell(self, _memory: cl.Buffer, number: int) -> None:
        self.told.append(number)


@on_pocl
def test_nobody_waits_for_a_kernel_that_does_not_ring() -> None:
    made = Bell(runtime_of(default_queue()))
    commands = [Command(rings=rings) for rings in (True, True, False, True)]
    for command in commands:
        made.hang(command, 0)  # type: ignore[arg-type]  # has what is needed
    assert [command.told for command in commands] == [[1], [2], [], [4]]
    assert [k is None for k in made._kernels] == [False, True, True, False]


@on_pocl
def test_long_steps_let_threads_sleep() -> None:
    runtime = runtime_of(default_queue())
    made = Bell(runtime)
    launch = Launch("network/unary.cl", "unary", (), (), (1,), (1,))
    assert dict(bell.ringing(launch).macros) == {"HAS_BELL": 1}
    long = int(runtime.info.peak_flops * bell.BRIEF)
    for flops in (long - 1, long + 1):
        made.hang(Command(rings=True), flops)  # type: ignore[arg-type]  # as above
    assert [k is None for k in made._kernels] == [False, True]


def test_only_where_several_threads_sleep() -> None:
    pocl = DeviceInfo("made up", "Portable Computing Language", compute_units=2)
    assert Bell.helps(pocl)
    assert not Bell.helps(DeviceInfo("made up", "Portable Computing Language", compute_units=1))
    assert not Bell.helps(DeviceInfo("made up", "NVIDIA CUDA", is_cpu=False))
    assert not Bell.helps(DeviceInfo("made up", "Oclgrind", is_simulator=True))
