"""What a node becomes: launches, and the values that their arguments stand for. Data only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from clconv.activation import Activation
from clconv.algorithms.base import round_up
from clconv.caller import WAKING
from clconv.device import DeviceInfo
from clconv.errors import ShapeError, UnsupportedError
from clconv.onnx.graph import Array, Graph, Node, Shape, derived
from clconv.plan import Argument, Channels, Float, Int, Launch, Local, Macro, Packing, Plan
from clconv.problem import ConvProblem
from clconv.select import Limits, select
from clconv.tuning import recall

__all__ = ["Argument", "Channels", "Float", "Int", "Launch", "Local", "Lowering", "Macro", "Part", "Plans", "Step"]

_MOST = 2**31 - 1
"""The largest number that a kernel is given."""


@dataclass(frozen=True)
class Part:
    """Where a value lies in a larger one: ``rows`` rows of ``size`` elements, ``pitch`` apart, the first behind ``at``.

    Of a step that moves it, ``of`` is the argument that lies in the other: ``x`` or ``y``.
    """

    rows: int
    size: int
    at: int
    pitch: int
    of: str

    @property
    def steps(self) -> tuple[int, int]:
        """Elements from row to row of ``x`` and of ``y``, of a step that moves it."""
        return (self.size, self.pitch) if self.of == "x" else (self.pitch, self.size)

    @property
    def span(self) -> int:
        """Elements from the first to the last."""
        return (self.rows - 1) * self.pitch + self.size


@dataclass(frozen=True)
class Step:
    """Some launches that run together.

    Parameters
    ----------
    name : str
        Of the node.
    op : str
        What it does, for people: ``"Conv + residual + relu"``.
    algorithm : str
        ``"pointwise/panel_simd"``, ``"network/pool"``.
    launches : tuple of Launch
    values : mapping of str to str
        The value that each buffer argument stands for; ``""`` is a null pointer.
    writes : tuple of str
        The arguments that are written.
    scratch : mapping of str to int
        Buffer arguments that live within the step, in bytes.
    flops, bytes : int
        Arithmetic, and the least traffic with memory.
    plan : Plan, optional
        Of a convolution.
    packs : mapping of str to (Packing, str)
        Buffer arguments that hold a packed constant filter: what packs it, and the filter's value.
    turned : bool
        Filters are stored as ONNX has them, OC IC KH KW, and plans take KH KW IC OC.
    part : Part, optional
        All that the step does is to move it: ``x`` into ``y``, or out of ``x`` into ``y``.
    """

    name: str
    op: str
    algorithm: str
    launches: tuple[Launch, ...]
    values: Mapping[str, str]
    writes: tuple[str, ...] = ("y",)
    scratch: Mapping[str, int] = field(default_factory=dict)
    flops: int = 0
    bytes: int = 0
    plan: Plan | None = None
    packs: Mapping[str, tuple[Packing, str]] = field(default_factory=dict)
    turned: bool = False
    part: Part | None = None


GROUP = 64
"""Work-items of a work-group of a GPU."""

FILTER_RATE, HIDDEN_RATE = 24e9, 44e9
"""Bytes per second of a filter that comes from memory, as those of a network do in each call. The second is for kernels that
ask for it ahead, most of which takes place behind their arithmetic, and for Winograd's method, which reads it in order."""


class Plans:
    """The plan that is chosen for each convolution, found once: networks repeat theirs.

    Predicted and recorded times are those of a convolution that runs again and again and finds its filter in the caches. In a
    network it does not, so that plans that read a larger one (Winograd's, Strassen's) have to make up for that.
    """

    def __init__(self, device: DeviceInfo, algorithm: str = "auto") -> None:
        self.device = device
        self.limits = Limits(algorithm)
        self._found: dict[ConvProblem, Plan] = {}

    @property
    def direct(self) -> bool:
        """Whether methods that are faster and round more are ruled out."""
        return self.limits.algorithm == "direct"

    def of(self, problem: ConvProblem) -> Plan:
        """Return the plan for a problem."""
        plan = self._found.get(problem)
        if plan is None:
            choice = select(problem, self.device, self.limits, recall)
            plan = self._found[problem] = choice.fastest_with(added_seconds) if self.device.is_cpu else choice.plan
        return plan

    def seconds(self, problem: ConvProblem) -> float:
        """Return its predicted time."""
        return self.of(problem).seconds


def added_seconds(plan: Plan) -> float:
    """Return the seconds that a plan takes in a network beside those that are predicted.

    Its filter, packed or as it is, comes from memory. The reference, which would be the fastest for a few outputs, is a command
    of its own: it cannot be one of the kernels that follow each other in threads that stay (``kernels/persistent.cl``).
    """
    hidden = plan.algorithm == "standard/winograd_simd" or any(dict(launch.macros).get("AHEAD") for launch in plan.launches)
    size = max(plan.packed_bytes, plan.problem.parameters * plan.problem.itemsize)
    return size / (HIDDEN_RATE if hidden else FILTER_RATE) + WAKING * (plan.algorithm == "reference")


class Lowering:
    """Turns nodes into steps; holds what all of them need and the values that they add.

    Parameters
    ----------
    graph : Graph
        With every shape known.
    plans : Plans
    """

    def __init__(self, graph: Graph, plans: Plans) -> None:
        self.graph = graph
        self.plans = plans
        self.device = plans.device
        self.shapes: dict[str, Shape] = dict(graph.shapes)
        self.dtypes: dict[str, str] = dict(graph.dtypes)
        self.constants: dict[str, Array] = dict(graph.constants)
        self.steps: list[Step] = []
        self._node: Node | None = None

    def start(self, node: Node) -> None:
        """Begin with the steps of a node."""
        self._node = node

    def value(self, what: str, shape: Shape, dtype: str) -> str:
        """Add a value that lives between two steps of a node."""
        assert self._node is not None  # steps belong to a node
        name = derived(self._node.output, what)
        self.shapes[name], self.dtypes[name] = shape, dtype
        return name

    def constant(self, what: str, array: Array) -> str:
        """Add a constant."""
        name = self.value(what, array.shape, array.dtype.name)
        self.constants[name] = array
        return name

    def floating(self, node: Node, name: str) -> str:
        """Return a value's element type, which must be one to compute with.

        Raises
        ------
        UnsupportedError
            If it is an integer or a truth value.
        """
        dtype = self.dtypes[name]
        if dtype not in ("float32", "float16", "float64"):
            hint = '; load the model with dtype="float32"' if dtype == "bfloat16" else ""
            raise UnsupportedError(
                f"the node {node.name!r} ({node.op}) computes with {dtype} elements at run time; only float32, float16 and "
                f"float64 are supported{hint}"
            )
        return dtype

    def macros(self, dtype: str, **more: int) -> tuple[Macro, ...]:
        """Return the macros of a kernel that computes with vectors of an element type."""
        wide = 8 if dtype == "float64" else 4
        usual = {"VEC": max(2, self.device.lanes(wide)), "UNALIGNED_VECTORS": int(self.device.unaligned_vectors)}
        return (f"REAL_{dtype.upper()}", 1), *(usual | more).items()

    def lanes(self, dtype: str) -> int:
        """Return the elements of a vector."""
        return max(2, self.device.lanes(8 if dtype == "float64" else 4))

    def size(self, name: str) -> int:
        """Return the size of a value in bytes."""
        return math.prod(self.shapes[name]) * itemsize(self.dtypes[name])

    def emit(
        self,
        algorithm: str,
        launch: Launch | tuple[Launch, ...],
        values: Mapping[str, str],
        *,
        op: str = "",
        flops: int = 0,
        plan: Plan | None = None,
        scratch: Mapping[str, int] | None = None,
        packs: Mapping[str, tuple[Packing, str]] | None = None,
        turned: bool = False,
        part: Part | None = None,
    ) -> None:
        """Add a step to the node that was started; its traffic is each value once."""
        assert self._node is not None  # steps belong to a node
        launches = launch if isinstance(launch, tuple) else (launch,)
        largest = max((a.value for one in launches for a in one.arguments if isinstance(a, Int | Channels)), default=0)
        if largest > _MOST:
            raise ShapeError(
                f"the node {self._node.name!r} ({self._node.op}) counts {largest} elements, where {_MOST} are supported; "
                "use a smaller batch or image"
            )
        traffic = sum(self.size(name) for name in values.values() if name)
        step = Step(
            self._node.name,
            op or describe(self._node),
            algorithm,
            launches,
            values,
            ("y",),
            scratch or {},
            flops,
            traffic,
            plan,
            packs or {},
            turned,
            part,
        )
        self.steps.append(step)

    def launch(
        self, entry: str, macros: tuple[Macro, ...], arguments: tuple[Argument, ...], size: tuple[int, ...], file: str = ""
    ) -> Launch:
        """Return a launch of one of the network's own kernels, with work-groups of one work-item.

        GPUs get one dimension, for the other ones end at 65535 work-groups on some.
        """
        return Launch(f"network/{file or entry}.cl", entry, macros, arguments, size, (1,) * len(size))

    @property
    def items(self) -> int:
        """Work-items of a work-group of kernels that let them differ: one on a CPU, where it is a loop."""
        return 1 if self.device.is_cpu else min(GROUP, self.device.max_work_group_size)

    def launch_grouped(self, entry: str, macros: tuple[Macro, ...], arguments: tuple[Argument, ...], size: int) -> Launch:
        """Return a launch of a kernel with the macro ITEMS; ``size`` work-items are rounded up to work-groups."""
        items = self.items
        whole = (round_up(size, items),)
        return Launch(f"network/{entry}.cl", entry, (*macros, ("ITEMS", items)), arguments, whole, (items,))


def describe(node: Node) -> str:
    """Return what a node does with what was fused into it: ``"Conv + residual + relu"``."""
    parts = [node.op]
    if "parts" in node.attributes:
        return ", ".join(map(describe, node.attributes["parts"]))
    if node.op in ("Conv", "MatMul") and node.input(3):
        parts.append("residual")
    activation = node.get("activation")
    if isinstance(activation, Activation):
        parts.append(str(activation))
    return " + ".join(parts)


def itemsize(dtype: str) -> int:
    """Return the bytes of an element of any of NumPy's types."""
    sizes = {"bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2, "bfloat16": 2}
    sizes |= {"int32": 4, "uint32": 4, "float32": 4, "int64": 8, "uint64": 8, "float64": 8}
    if dtype not in sizes:
        raise UnsupportedError(f"tensors of {dtype} are not supported; convert the model to float32 or float16")
    return sizes[dtype]


def pieces(total: int, unit: int, device: DeviceInfo, least: int = 2048) -> int:
    """Return the elements of a work-item, a multiple of ``unit``, so that each has work and each unit has some of them.

    On a GPU, whose work-items are lanes, the least.
    """
    if not device.is_cpu:
        return unit
    items = max(1, min(16 * device.compute_units, total // least))
    return max(unit, -(-total // items // unit) * unit)
