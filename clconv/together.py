"""An executable that the thread that calls runs with a crew: on NumPy arrays, of a ``Convolution`` or of ``conv2d``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pyopencl as cl

from clconv.algorithms.packing import packing_seconds
from clconv.bound import BoundLaunch
from clconv.crew import Crew, Led, crew_of
from clconv.executable import Executable
from clconv.persistent import Persistent, addresses_of
from clconv.runtime import require_own_turn

_PLACES = ("x", "y", "residual", "w", "bias", "scratch0", "scratch1", "scratch2", "packed")  # among what a call brings


class Together:
    """An executable whose kernels the thread that calls runs with a crew.

    Parameters
    ----------
    executable : Executable
    queue : pyopencl.CommandQueue
        Of its device.
    fixed : mapping of str to pyopencl.Buffer or None
        The arguments that stay.
    crew : Crew
    pack : bool
        The filter is one of the arguments that each call brings, and is packed first.

    Attributes
    ----------
    at_once : callable, optional
        What :meth:`run` comes to if nothing needs to be looked after any more.
    """

    def __init__(
        self, executable: Executable, queue: cl.CommandQueue, fixed: dict[str, Any], crew: Crew, *, pack: bool = False
    ) -> None:
        self.crew, self._pack = crew, pack
        self._executable, self._queue, self._fixed = executable, queue, fixed
        self._state = executable.runtime.queue_state(queue)
        self._led: Led | None = None
        self._scratch: list[cl.Buffer] = []
        self._shared: list[tuple[str, int]] = []  # memory of the queue: what for, bytes
        self._possible = True
        self.at_once: Callable[[Sequence[int]], bool] | None = None

    def run(self, addresses: tuple[int, ...]) -> bool:
        """Run on arrays at these addresses, and return when it is done; False if it cannot be done now, and nothing was.

        Parameters
        ----------
        addresses : tuple of int
            Of ``x``, ``out``, the residual and, unless they stay, of ``w`` and ``bias``; 0 for what there is not.
        """
        if self.at_once is not None:
            return self.at_once(addresses)
        if not self._possible or not self.crew.present:
            return False
        executable, state = self._executable, self._state
        require_own_turn(executable.lock, state.lock)
        with executable.lock, state.lock:
            led = self._led or self._prepared()
            if led is None or not state.is_done():
                return False
            if not self._shared:
                self.at_once = led.run  # the filter is packed, and nothing is shared with other calls
            elif not self._place_scratch(led):
                return False
            return led.run(addresses)

    def _prepared(self) -> Led | None:
        executable, runtime = self._executable, self._executable.runtime
        launches, fixed, seconds = executable.launches, self._fixed, executable.plan.seconds
        self._shared = [(f"scratch{i}", size) for i, size in enumerate(executable.plan.scratch_bytes)]
        if self._pack and executable.packing:
            kept = executable.kept(self._queue)
            if kept is not None:
                fixed = {**fixed, "packed": kept}
            else:
                launches = [*executable.packing, *launches]
                seconds += packing_seconds(executable.plan, runtime.info)
                self._shared.append(("packed", executable.plan.packed_bytes))
        external = {name: place for place, name in enumerate(_PLACES) if name not in fixed}
        commands = [BoundLaunch(runtime, launch, fixed, external, executable.wide) for launch in launches]
        if not all(command.rings for command in commands):
            self._possible = False
            return None
        try:
            steps = Persistent(runtime, self._queue, commands, self.crew.threads)
            self._led = Led(self.crew, steps, seconds)
        except OSError:  # nothing is lost but speed
            self._possible = False
        return self._led

    def _place_scratch(self, led: Led) -> bool:
        """Say where the queue's scratch memory is, if that has changed; False if another thread is with the crew."""
        runtime = self._executable.runtime
        scratch = self._state.scratch(runtime.context, tuple(size for _, size in self._shared))[: len(self._shared)]
        if scratch != self._scratch:
            where = addresses_of(runtime, self._queue, scratch)
            if not self.crew.lock.acquire(blocking=False):
                return False
            try:
                for (name, _), address in zip(self._shared, where, strict=True):
                    led.place(_PLACES.index(name), address)
            finally:
                self.crew.lock.release()
            self._scratch = scratch
        return True


def together_of(
    executable: Executable, fixed: dict[str, Any], queue: cl.CommandQueue, default: cl.CommandQueue, *, pack: bool = False
) -> Together | None:
    """Return how an executable is run with the crew of a default queue; None where that cannot be, or is of no use."""
    groups = max(math.prod(launch.global_size) // math.prod(launch.local_size) for launch in executable.launches)
    if groups < 2 or not executable.tells:
        return None
    crew = crew_of(default)
    return None if crew is None else Together(executable, queue, fixed, crew, pack=pack)
