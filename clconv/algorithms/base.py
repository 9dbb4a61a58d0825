"""What every algorithm offers, and the pieces of a plan that all of them share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable

from clconv.activation import ACTIVATIONS
from clconv.caller import CLOSE
from clconv.device import DeviceInfo
from clconv.plan import Argument, Channels, Float, Int, Macro, Plan
from clconv.problem import DTYPES, ConvProblem

FEW_PIXELS = 512
"""Pixels of all images up to which reading a filter from memory is felt; measured, see kernels/include/prefetch.clh."""

SHORT = 25e-6
"""Predicted seconds below which a unit gets two work-items instead of eight where one thread runs them all: handing them out
takes longer than it gains. Threads that are woken need the eight, for one of them may wake long after the other."""

FAR = 16 << 20
"""Bytes of tensors that pass through memory in each call: more than caches hold beside all else."""

NEAR = 4 << 20
"""Bytes that a compute unit's share of the third cache holds."""

FAR_BYTE = 0.75
"""Clock cycles that a byte takes from beyond it. Measured for eight images of 512 channels at 28 x 28 on two Zen 3 cores:
Winograd's method reads its 25 MiB of transformed pixels 32 times in 147 ms, and in 57 where those at work stay in the cache."""


def items_wanted(p: ConvProblem, device: DeviceInfo, seconds: float) -> int:
    """Return how many work-items an image should be cut into, for a plan that is predicted to take so long."""
    alone = seconds < SHORT and p.bytes <= CLOSE
    return ceil_div((2 if alone else 8) * device.compute_units, p.N)


class Algorithm(ABC):
    """One way to compute a convolution. Stateless; its methods are pure functions of problem and device.

    Attributes
    ----------
    name : str
        Folder and file of kernel and host side alike: ``"pointwise/panel_simd"``.
    family : str
        What a caller may ask for instead of the full name: ``"reference"``, ``"direct"``, ``"winograd"``, ``"strassen"``,
        ``"split"``.
    """

    name: str
    family: str = "direct"

    @abstractmethod
    def supports(self, problem: ConvProblem, device: DeviceInfo) -> str | None:
        """Return None if the algorithm covers the problem on this device, else the reason why not."""

    @abstractmethod
    def plans(self, problem: ConvProblem, device: DeviceInfo) -> Iterable[Plan]:
        """Return candidate plans for a problem that is supported, at least one, the rule's choice first."""

    @property
    def kernel(self) -> str:
        """File of the kernel, relative to the kernels' folder."""
        return f"{self.name}.cl"


def accumulator(problem: ConvProblem) -> str:
    """Type in which the sums are kept: double for float64, else float."""
    return "float64" if problem.dtype == "float64" else "float32"


def accumulator_bytes(problem: ConvProblem) -> int:
    """Bytes of a number of the type in which the sums are kept."""
    return DTYPES[accumulator(problem)]


def fastest_first(plans: Iterable[Plan]) -> tuple[Plan, ...]:
    """Sort plans by their predicted time; of equals, the one that came first stays first."""
    return tuple(sorted(plans, key=lambda plan: plan.seconds))


def common_macros(problem: ConvProblem, device: DeviceInfo) -> tuple[Macro, ...]:
    """Macros that every convolution kernel is built with.

    ``REAL_*`` names the element type, ``NHWC`` the layout, ``KH KW SH SW DH DW`` the window, ``HAS_BIAS HAS_RESIDUAL
    ACTIVATION`` the epilogue, and ``UNALIGNED_VECTORS`` says how include/vector.clh may read a vector.
    """
    return (
        (f"REAL_{problem.dtype.upper()}", 1),
        ("NHWC", int(problem.layout == "NHWC")),
        *((name, getattr(problem, name)) for name in ("KH", "KW", "SH", "SW", "DH", "DW")),
        ("HAS_BIAS", int(problem.bias)),
        ("HAS_RESIDUAL", int(problem.residual)),
        ("ACTIVATION", ACTIVATIONS.index(problem.activation.kind)),
        ("UNALIGNED_VECTORS", int(device.unaligned_vectors)),
    )


def ahead(
    problem: ConvProblem, device: DeviceInfo, block_bytes: int, size: tuple[int, ...] = (1, 1), blocks_item: int = 1
) -> Macro:
    """Return the macro AHEAD of include/prefetch.clh: whether the filter is asked for ahead of its use, and by whom.

    The second cache has to hold what is used and what is asked for. A single pixel uses each block only once, and its time is
    that of the transfer. Work-items with the same blocks of the filter, the first dimension of ``size``, share the asking if
    those that come next, with ``blocks_item`` other blocks, are of the same compute unit.
    """
    pixels, room = problem.N * problem.OH * problem.OW, device.l2_bytes // 2
    if not 1 < pixels <= FEW_PIXELS or block_bytes > room:
        return ("AHEAD", 0)
    return ("AHEAD", 2 if size[0] > 1 and size[1] > device.compute_units and blocks_item * block_bytes <= room else 1)


def far(problem: ConvProblem, device: DeviceInfo) -> bool:
    """Tell whether images and results pass through memory, so that pixels are worth asking for ahead of their use."""
    return device.is_cpu and problem.bytes > FAR


def asks_far(problem: ConvProblem, device: DeviceInfo) -> bool:
    """Tell whether a tile of pixels asks for what is far.

    Not on Intel's processors: they see rows of pixels coming, and each request takes a place among the loads. Measured on two
    Xeon cores, eight images of 64 to 256 channels at 56 x 56 in N H W C: a seventh longer. Strassen's product, which takes
    more clock cycles for each pixel, gains there too.
    """
    return far(problem, device) and not device.moves_among


def epilogue_arguments(problem: ConvProblem) -> tuple[Argument, ...]:
    """Return the two numbers of the activation, always the last arguments of a convolution kernel."""
    return (Float(problem.activation.a), Float(problem.activation.b))


def size_arguments(problem: ConvProblem, *names: str) -> tuple[Int | Channels, ...]:
    """Sizes of the problem by their names: ``size_arguments(p, "IC", "IH", "IW")``.

    ``XC`` and ``YC`` are the channels of the tensors that ``x`` and ``y`` lie in, which need not be all theirs.
    """
    of = {"XC": Channels(problem.IC, "x"), "YC": Channels(problem.OC, "y")}
    return tuple(of[name] if name in of else Int(getattr(problem, name)) for name in names)


def direct_error_factor(problem: ConvProblem) -> float:
    """Count the rounding errors of a plain sum: one per product and addition, a few for bias, residual and store."""
    return problem.ICG * problem.KH * problem.KW + 4.0


def image_bytes(problem: ConvProblem) -> int:
    """Bytes of ``x`` and ``y``."""
    return (math.prod(problem.x_shape) + math.prod(problem.output_shape)) * problem.itemsize


def far_cycles(traffic: float, live: float, device: DeviceInfo) -> float:
    """Clock cycles that a compute unit waits for so many bytes of data, ``live`` of which are at work at the same time."""
    return FAR_BYTE * traffic * max(0.0, 1 - NEAR * device.compute_units / live)


def scattered_cycles(problem: ConvProblem, device: DeviceInfo) -> float:
    """Clock cycles that images in N H W C take beside the arithmetic where their groups are read one after the other.

    Of each pixel, a group's channels are a line of memory or less.
    """
    if problem.G == 1 or problem.layout == "NCHW":
        return 0.0
    size = image_bytes(problem)
    return far_cycles(size / device.compute_units, size, device)


def rounds(items: int, device: DeviceInfo) -> float:
    """Work-items one after the other of the busiest compute unit; where they are few, units do not share them evenly."""
    waves = ceil_div(items, device.compute_units)
    return max(waves, 1.1 * items / device.compute_units if waves < 4 else 0.0)


def places(outputs: int, stride: int, taps: int, dilation: int) -> int:
    """Count the places along one axis that some outputs side by side read; dilated taps leave out many of their span."""
    return len({i * stride + k * dilation for i in range(outputs) for k in range(taps)})


def inside(problem: ConvProblem) -> float:
    """Return the share of the taps of all outputs that meet the image; the others meet padding."""
    p = problem

    def along(size: int, outputs: int, taps: int, stride: int, dilation: int, before: int) -> float:
        """Count for each tap the outputs i with ``0 <= i * stride + at < size``."""
        ats = (tap * dilation - before for tap in range(taps))
        met = (min(outputs, max(0, ceil_div(size - at, stride))) - min(outputs, max(0, ceil_div(-at, stride))) for at in ats)
        return sum(met) / (outputs * taps)

    rows = along(p.IH, p.OH, p.KH, p.SH, p.DH, p.PT)
    return rows * along(p.IW, p.OW, p.KW, p.SW, p.DW, p.PL)


def ceil_div(a: int, b: int) -> int:
    """Smallest integer that is at least ``a / b``."""
    return -(-a // b)


def round_up(a: int, b: int) -> int:
    """Smallest multiple of ``b`` that is at least ``a``."""
    return -(-a // b) * b
