"""A network built for one context and one set of input shapes: kernels with all their buffers bound."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyopencl as cl

from clconv.bound import BoundLaunch
from clconv.builders import build_ahead
from clconv.codes import helps, told
from clconv.crew import Led, crew_of
from clconv.fork import in_own_process
from clconv.onnx.arena import UNIT, Arena
from clconv.onnx.bell import Bell, ringing
from clconv.onnx.graph import Array, Graph, derived
from clconv.onnx.lower import lower
from clconv.onnx.memory import Lifetime, MemoryPlan, plan_memory
from clconv.onnx.parts import Place, place_parts
from clconv.onnx.step import Lowering, Step, itemsize
from clconv.onnx.store import Held, Store
from clconv.persistent import EXTERNAL, Persistent
from clconv.plan import Launch
from clconv.runtime import failed, require_own_turn


class Program:
    """The steps of a network for known shapes, ready to be enqueued.

    Parameters
    ----------
    graph : Graph
        After all passes, with every shape known.
    original : mapping of str to array
        The constants that are the same for every shape.
    store : Store
    stay_awake : bool
        Whether the driver's threads are kept from going to sleep between two kernels, where they would.
    """

    def __init__(self, graph: Graph, original: Mapping[str, Array], store: Store, *, stay_awake: bool) -> None:
        self.graph = graph
        self.store = store
        self.runtime = store.runtime
        lowering = lower(graph, store.plans)
        self.external = [port.name for port in graph.inputs] + [graph.root(name) for name in graph.outputs]
        self.steps, self._places = self._placed(lowering)
        self.output_shapes = [lowering.shapes[name] for name in graph.outputs]
        self.output_dtypes = [np.dtype(lowering.dtypes[name]) for name in graph.outputs]
        self._lowering = lowering
        self.lifetimes = self._lifetimes()
        self._sizes = {value.name: value.size for value in self.lifetimes}
        self.memory = self._planned()
        self._arena = Arena(self.runtime)
        self._buffers = [self._arena.allocate(size) for size in self.memory.sizes]
        self._cut: dict[tuple[int, int, int], cl.Buffer] = {}  # by buffer, first byte and bytes
        self._arena.settle()
        self.lock = threading.RLock()
        self._last: Any = None  # the event of the last call
        self._persistent = stay_awake and helps(self.runtime.info) and len(self.external) <= EXTERNAL
        bell = stay_awake and not self._persistent and Bell.helps(self.runtime.info)
        self._bell = Bell(self.runtime) if bell else None
        self._original = original
        self._weights: list[Held] = []
        build_ahead(self.runtime.programs, self._launches())
        packed = self._packed()
        store.finish()  # what packing needed is not in memory beside what follows
        self.commands = [self._bound(index, step, packed) for index, step in enumerate(self.steps)]
        self.sequence = self._sequence()
        self.crew = crew_of(store.queue) if stay_awake else None
        self._led: Led | None = None
        if self.crew is not None and len(self.sequence) == 1 and isinstance(self.sequence[0], Persistent):
            with contextlib.suppress(OSError):  # as in _sequence
                self._led = Led(self.crew, self.sequence[0], self._least_seconds())
        store.finish()  # filters are packed before the first call, which may run on another queue
        self._arena.settle()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the passes did, and what was done to the steps."""
        note = f"place parts: {len(self._places)} parts of larger tensors computed, or left, where they belong"
        return (*self.graph.notes, note) if self._places else self.graph.notes

    def _placed(self, lowering: Lowering) -> tuple[tuple[Step, ...], Mapping[str, Place]]:
        """Return the steps, and where values lie that are part of others, which memory that is cut allows."""
        if not Arena.cuts(self.runtime):
            return tuple(lowering.steps), {}
        return place_parts(lowering.steps, self.graph.root, {*self.external, *lowering.constants})

    def _lifetimes(self) -> list[Lifetime]:
        """Return from which step to which each piece of memory is needed that is the network's own."""
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        size: dict[str, int] = {}
        for index, step in enumerate(self.steps):
            for name in step.values.values():
                root = self.graph.root(name) if name else ""
                if not root or root in self._lowering.constants or root in self.external:
                    continue
                home = self._places[root].whole if root in self._places else root
                first.setdefault(home, index)
                last[home] = index
                size[home] = max(size.get(home, 1), self._lowering.size(home))
            for argument, count in step.scratch.items():
                name = _scratch_name(index, argument)
                first[name] = last[name] = index
                size[name] = count
        return [Lifetime(name, size[name], first[name], last[name]) for name in first]

    def _planned(self) -> MemoryPlan:
        """Plan the memory of the network's own values: cut from one buffer, where that can be and is not too large."""
        if Arena.cuts(self.runtime):
            plan = plan_memory(self.lifetimes, UNIT)
            if max(plan.sizes, default=0) <= self.runtime.info.max_alloc_bytes:
                return plan
        return plan_memory(self.lifetimes)

    def _buffer(self, root: str) -> cl.Buffer:
        """Return the memory of a value of the network's own."""
        place = self._places.get(root)
        if place is None:
            return self._at(root)
        unit = itemsize(self._lowering.dtypes[root])
        return self._at(place.whole, place.part.at * unit, place.part.span * unit)

    def _at(self, name: str, begin: int = 0, size: int = 0) -> cl.Buffer:
        """Return the memory of a value or of scratch, or ``size`` bytes of it."""
        index, first = self.memory.place[name]
        if not Arena.cuts(self.runtime):
            return self._buffers[index]
        where = (index, first + begin, size or self._sizes[name])
        if where not in self._cut:
            self._cut[where] = self._arena.within(self._buffers[index], *where[1:])
        return self._cut[where]

    def _launches(self) -> Iterator[Launch]:
        """Iterate over all that kernels will be asked for."""
        if self._bell is not None:
            yield self._bell.launch
        if self._persistent:
            yield from Persistent.launches()
        for step in self.steps:
            yield from (told(packing.launch, self.runtime.info) for packing, _ in step.packs.values())
            yield from map(self._told, step.launches)

    def _told(self, launch: Launch) -> Launch:
        """Return a launch as this program asks for it."""
        return told(launch, self.runtime.info) if self._bell is None else ringing(launch)

    def _packed(self) -> dict[tuple[int, str], cl.Buffer]:
        """Pack the filters of all steps, by step and argument.

        The largest comes first: each lies beside its packed form meanwhile, and beside those that were packed before.
        """
        wanted: list[tuple[Array, tuple[int, str], Callable[[], Held]]] = []
        for index, step in enumerate(self.steps):
            for argument, (packing, name) in step.packs.items():
                root = self.graph.root(name)
                filt = self._lowering.constants[root]
                lasting = self._original.get(root) is filt
                pack = partial(self.store.packed, packing, root, filt, lasting, step.turned, self._arena)
                wanted.append((filt, (index, argument), pack))
        wanted.sort(key=lambda item: -item[0].nbytes)
        return {place: self._hold(pack()) for _, place, pack in wanted}

    def _bound(self, index: int, step: Step, packed: Mapping[tuple[int, str], cl.Buffer]) -> list[BoundLaunch]:
        """Find the buffers of a step's arguments and bind its kernels to them."""
        buffers: dict[str, Any] = {}
        external: dict[str, int] = {}
        read = {argument for launch in step.launches for argument in launch.arguments}
        for argument, name in step.values.items():
            root = self.graph.root(name) if name else ""
            constant = self._lowering.constants.get(root)
            if not root:
                buffers[argument] = None
            elif constant is not None:
                lasting = self._original.get(root) is constant
                if argument in read:
                    held = self.store.constant(root, constant, lasting, step.turned and argument == "w")
                    buffers[argument] = self._hold(held)
            elif root in self.external:
                external[argument] = self.external.index(root)
            else:
                buffers[argument] = self._buffer(root)
        for argument in step.packs:
            buffers[argument] = packed[index, argument]
        for argument in step.scratch:
            buffers[argument] = self._at(_scratch_name(index, argument))
        wide = any(name == "REAL_FLOAT64" for name, _ in step.launches[0].macros)
        commands = [BoundLaunch(self.runtime, self._told(launch), buffers, external, wide) for launch in step.launches]
        if self._bell is not None:
            for command in commands:
                self._bell.hang(command, step.flops // len(commands))
        return commands

    def _hold(self, held: Held) -> cl.Buffer:
        """Keep a constant or a packed filter as long as this program; return its buffer."""
        self._weights.append(held)
        return held.buffer

    def _sequence(self) -> list[BoundLaunch | Persistent]:
        """Return what a call enqueues: a kernel each, or one for as many as can follow each other in it."""
        sequence: list[BoundLaunch | Persistent] = []
        for together, some in itertools.groupby(itertools.chain(*self.commands), lambda c: self._persistent and c.rings):
            commands = list(some)
            if together and len(commands) > 1:
                with contextlib.suppress(OSError):  # nothing is lost but speed
                    sequence.append(Persistent(self.runtime, self.store.queue, commands, self.runtime.info.compute_units))
                    continue
            sequence += commands
        return sequence

    def _least_seconds(self) -> float:
        """Return what the device's limits allow."""
        info = self.runtime.info
        return sum(max(step.flops / info.peak_flops, step.bytes / info.bandwidth) for step in self.steps)

    def shape_of(self, step: Step) -> tuple[int, ...]:
        """Return the shape of what a step writes."""
        return self._lowering.shapes[step.values["y"]]

    def run(
        self, queue: cl.CommandQueue, external: Sequence[Any], wait_for: Sequence[cl.Event] | None = None
    ) -> cl.Event | None:
        """Enqueue the network and return the event of its last kernel; None if there is nothing to compute.

        Parameters
        ----------
        queue : pyopencl.CommandQueue
        external : sequence of pyopencl.Buffer
            The inputs, then the outputs.
        wait_for : sequence of pyopencl.Event, optional
        """
        state = self.runtime.queue_state(queue)
        event: cl.Event | None = None
        require_own_turn(self.lock, state.lock)
        with self.lock, state.lock:
            if not state.in_order and state.last is not None:
                wait_for = [*(wait_for or ()), state.last]
            self.runtime.dismiss()
            bell = self._bell if state.in_order else None
            before = state.last
            try:
                for step, command in enumerate(self.sequence, 1):
                    event = command.enqueue(queue, external, wait_for)
                    if bell is not None:
                        bell.stay_awake(step, before)
                    before = event
                    wait_for = None if state.in_order else [event]
            except cl.Error as error:
                raise failed(self.runtime, error) from error
            if event is not None:
                state.last = self._last = event
        return event

    def run_together(self, queue: cl.CommandQueue, addresses: Sequence[int]) -> bool:
        """Run on arrays of the host, in this thread and with the queue's crew, if that can be done now; return whether it was.

        Parameters
        ----------
        queue : pyopencl.CommandQueue
        addresses : sequence of int
            Of the inputs, then of the outputs.
        """
        led = self._led
        if led is None:
            return False
        state = self.runtime.queue_state(queue)
        require_own_turn(self.lock, state.lock)
        with self.lock, state.lock:
            return state.is_done() and led.run(addresses)

    def __del__(self) -> None:
        """Wait for a call that is not done: OpenCL does not keep the buffers of a running kernel alive."""
        if in_own_process():
            with contextlib.suppress(cl.Error):  # told where the results are read
                for waited in (getattr(self, "_last", None), getattr(self, "_bell", None)):
                    if waited is not None:
                        waited.wait()

    def time_steps(self, queue: cl.CommandQueue, external: Sequence[Any], rounds: int) -> list[float]:
        """Return the least seconds that each step took on a queue that records times.

        Each step is a command of its own, without waiting in between, for which threads would go to sleep and have to be woken
        within the next step's time. The program's buffers are one call's at a time: those before are waited for, and
        others wait until this is done.
        """
        best = [float("inf")] * len(self.commands)
        with self.lock:
            if self._last is not None:
                with contextlib.suppress(cl.Error):  # told where the results are read
                    self._last.wait()
            for _ in range(rounds):
                events: list[list[cl.Event]] = []
                for commands in self.commands:
                    events.append([])
                    events[-1].extend(command.enqueue(queue, external) for command in commands)
                queue.finish()
                for place, own in enumerate(events):
                    best[place] = min(best[place], sum(e.profile.end - e.profile.start for e in own) * 1e-9)
        return best


def _scratch_name(index: int, argument: str) -> str:
    return derived(f"step {index}", argument)
