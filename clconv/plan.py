"""How a convolution is run: kernels, macros, arguments, sizes, scratch. Data only; needs no device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from clconv.problem import ConvProblem


class Int(NamedTuple):
    """A 32-bit integer argument, fixed when the plan is made."""

    value: int


class Channels(NamedTuple):
    """Channels of the tensor in memory that ``of`` (``x`` or ``y``) lies in: of N H W C, elements from pixel to pixel.

    They are the image's own, unless it is a part of a larger tensor's; see :meth:`Launch.within`.
    """

    value: int
    of: str


class Float(NamedTuple):
    """A float argument in the kernel's accumulation type, fixed when the plan is made."""

    value: float


class Local(NamedTuple):
    """Local memory of a work-group, in bytes."""

    bytes: int


Argument: TypeAlias = str | Int | Channels | Float | Local
"""A kernel argument: the name of a buffer (see :data:`BUFFERS`), a number, or local memory."""

BUFFERS = ("x", "w", "packed", "bias", "residual", "y", "scratch0", "scratch1", "scratch2")
"""Names of the buffers that a launch may ask for; an absent bias or residual is passed as a null pointer."""

Macro: TypeAlias = "tuple[str, int | str]"


@dataclass(frozen=True)
class Launch:
    """One kernel to enqueue.

    Parameters
    ----------
    kernel : str
        File of the kernel, relative to the kernels' folder: ``"pointwise/panel_simd.cl"``.
    entry : str
        Name of the ``__kernel`` function.
    macros : tuple of (name, value)
        Definitions that the program is built with; a new value means a new build.
    arguments : tuple of Argument
        In the order of the kernel's parameters.
    global_size, local_size : tuple of int
        Work-items in all and in a work-group, per dimension; the latter divides the former.
    """

    kernel: str
    entry: str
    macros: tuple[Macro, ...]
    arguments: tuple[Argument, ...]
    global_size: tuple[int, ...]
    local_size: tuple[int, ...]

    def within(self, channels: Mapping[str, int]) -> Launch:
        """Return the same for images that are parts of tensors with more channels, by the names of their buffers."""
        changed = (a._replace(value=channels.get(a.of, a.value)) if isinstance(a, Channels) else a for a in self.arguments)
        return replace(self, arguments=tuple(changed))

    @property
    def local_bytes(self) -> int:
        """Local memory passed as arguments, in bytes."""
        return sum(a.bytes for a in self.arguments if isinstance(a, Local))


class Packing(NamedTuple):
    """How a filter gets into the order in which a kernel reads it.

    Parameters
    ----------
    launch : Launch
        Enqueued once per filter: it reads ``w`` and writes ``packed``.
    bytes : int
        Size of ``packed``.
    """

    launch: Launch
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A complete recipe for one problem.

    Parameters
    ----------
    algorithm : str
        Name of the algorithm: ``"pointwise/panel_simd"``.
    problem : ConvProblem
    launches : tuple of Launch
        Enqueued in this order at every call.
    packing : Packing, optional
        None if the launches read ``w`` itself. Equal ones mean equal packed filters.
    scratch_bytes : tuple of int
        Sizes of ``scratch0``, ``scratch1``, ...
    tile : str
        The register or work-group tile, for people.
    seconds : float
        Predicted time of one call; only the order of candidates matters.
    error_factor : float
        Bound of the error before the activation, in units that :attr:`bound` names: float32's (float64's) eps times the sum of
        all products' sizes, or of the largest ones where sums of elements are multiplied.
    winograd : int
        Outputs along one side of a Winograd tile; 0 for a direct method. Its bound looks at whole tiles.
    strassen : tuple of 4 int, optional
        Heights of the halves of Strassen's tiles, large and small, output channels from one half to the other, and input
        channels that are multiplied together. Its bound looks at all that meets there.
    """

    algorithm: str
    problem: ConvProblem
    launches: tuple[Launch, ...]
    packing: Packing | None = None
    scratch_bytes: tuple[int, ...] = ()
    tile: str = ""
    seconds: float  # has no default, nor has the bound: a plan without them would be taken for instant and exact
    error_factor: float
    winograd: int = 0
    strassen: tuple[int, int, int, int] | None = None

    @property
    def bound(self) -> str:
        """The bound of the error before the activation and before the result is rounded into its element type, for people.

        Winograd's and Strassen's methods multiply sums of elements: an output may err where all that it is made of is 0.
        """
        eps = "eps(float64)" if self.problem.dtype == "float64" else "eps(float32)"
        size = "conv(|x|, |w|)"
        if self.winograd:
            size = "max |x| of the pixels under a tile * sum |w| of the output channel"
        elif self.strassen:
            size = "max |x| of two pixels * the larger sum |w| of two output channels"
        added = "".join(f" + |{name}|" for name in ("bias", "residual") if getattr(self.problem, name))
        return f"{self.error_factor:g} {eps} * {f'({size}{added})' if added else size}"

    @property
    def packed_bytes(self) -> int:
        """Size of the packed filter, in bytes; 0 if there is none."""
        return 0 if self.packing is None else self.packing.bytes

    @property
    def every_launch(self) -> tuple[Launch, ...]:
        """The launch that packs, and those of every call."""
        return self.launches if self.packing is None else (self.packing.launch, *self.launches)

    @property
    def workspace(self) -> int:
        """Scratch memory of one call, in bytes; the packed filter is not counted."""
        return sum(self.scratch_bytes)
