"""``Convolution``: a filter that stays, packed once, and plans kept per input shape."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

import numpy as np
import pyopencl as cl

from clconv.activation import ActivationLike
from clconv.arguments import MOST, Padding, Size, read_integer, read_padding, read_pair
from clconv.buffers import address_of, allocate, copied
from clconv.builders import build_ahead
from clconv.codes import launches_of
from clconv.discovery import beside, default_queue
from clconv.errors import ShapeError
from clconv.executable import Executable
from clconv.explain import Explanation, explain
from clconv.fork import require_own_process
from clconv.invoke import Repeated, RepeatedOnDevice, empty_like_input, run_device, run_numpy
from clconv.plan import Launch, Plan
from clconv.problem import ConvProblem, check_layout
from clconv.runtime import Runtime, place, runtime_of
from clconv.select import Limits, batch_parts, select
from clconv.tensors import (
    Element,
    Tensor,
    as_tensor,
    check,
    check_context,
    check_out,
    dtype_name,
    input_buffer,
    is_device_array,
    numpy_dtype,
)
from clconv.together import Together, together_of
from clconv.tuning import recall

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyopencl.array import Array


@dataclass(frozen=True)
class _Ready:
    """What a call needs for one input shape."""

    problem: ConvProblem
    queue: cl.CommandQueue
    parts: tuple[tuple[int, int, Executable, dict[str, Any]], ...]  # start, count, executable, packed filter and bias
    together: Together | None  # of the only part


class Convolution:
    """A convolution with a filter that stays: packed once, with plans and programs kept per input shape.

    Parameters
    ----------
    w : array
        ``(OC, IC/groups, KH, KW)``, or ``(KH, KW, IC/groups, OC)`` with ``layout="NHWC"``. It is copied.
    bias : array, optional
        ``(OC,)``. It is copied.
    stride, padding, dilation, groups, layout, activation
        As in :class:`ConvProblem`.
    algorithm : str
        ``"auto"``, a family (``"direct"``, ``"winograd"``, ``"strassen"``, ``"split"``, ``"reference"``), or a name that
        :meth:`explain` prints.
    workspace : int, optional
        Most scratch memory of a call, in bytes.
    error_factor : float, optional
        Largest bound of the error of the sums that is accepted, before the activation and before they are rounded into
        the element type: a number as :meth:`explain` prints it.
    queue : pyopencl.CommandQueue, optional
        Where everything runs; :func:`default_queue` if left out. It is kept until Python ends, see :func:`conv2d`.

    Raises
    ------
    ShapeError
        If shapes, element types or options do not fit together.
    UnsupportedError
        If the filter has three or five axes; in a call, if no algorithm serves it under the limits.
    DeviceError
        If a buffer is too large, or arrays are of another context.
    KernelBuildError
        If the driver does not compile a kernel.

    Notes
    -----
    Which elements error bounds hold for: see :func:`conv2d`. Instances may be called from several threads at once, but not in
    a process that was forked from one that had used OpenCL. NumPy arrays that are passed twice in a row, as ``x`` and as
    ``out``, are kept alive until a call with others; device arrays until the next call on their queue.

    Examples
    --------
    >>> import numpy as np, clconv
    >>> conv = clconv.Convolution(np.ones((8, 4, 3, 3), "f"), padding=1, activation="relu")
    >>> conv(np.ones((1, 4, 5, 5), "f")).shape
    (1, 8, 5, 5)
    """

    def __init__(
        self,
        w: Tensor,
        bias: Tensor = None,
        *,
        stride: Size = 1,
        padding: Padding = 0,
        dilation: Size = 1,
        groups: SupportsIndex = 1,
        activation: ActivationLike = None,
        layout: str = "NCHW",
        algorithm: str = "auto",
        workspace: int | None = None,
        error_factor: float | None = None,
        queue: cl.CommandQueue | None = None,
    ) -> None:
        w = as_tensor(w, "w")
        self.dtype = dtype_name(w.dtype, "w")
        self._numpy_dtype = numpy_dtype(self.dtype)
        self.w_shape: tuple[int, ...] = tuple(w.shape)
        self._options: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "activation": activation,
            "layout": layout,
        }
        # Wrong options are refused here, not at the first call; lists among them may change before that.
        self._probe = self._smallest_problem()
        for name in self._options:
            if not (name == "padding" and isinstance(padding, str)):
                self._options[name] = getattr(self._probe, name)
        if bias is not None:
            bias = as_tensor(bias, "bias")
            check(bias, "bias", (self._probe.OC,), self.dtype, "w")
        self.limits = Limits(algorithm, workspace, error_factor)
        self.queue = queue if queue is not None else default_queue()
        self._runtime: Runtime = runtime_of(self.queue)
        self._w, self._bias = self._own(w, "w"), self._own(bias, "bias")
        self._there: tuple[cl.Buffer | None, cl.Buffer | None] | None = None  # both for the thread that calls
        self._packed: dict[Any, Any] = {}
        self._ready: dict[tuple[tuple[int, ...], bool, bool], _Ready] = {}
        self._seen: tuple[weakref.ref[Any], weakref.ref[Any]] | None = None  # the arrays that the last call was given
        self._repeated: Repeated | RepeatedOnDevice | None = None
        self._lock = threading.RLock()  # a finalizer may call in here

    def __reduce__(self) -> tuple[object, ...]:
        """Refuse to be pickled or copied."""
        raise TypeError("a Convolution holds memory of a device and cannot be pickled or copied; make one from its filter")

    def _smallest_problem(self) -> ConvProblem:
        """Return a problem with the smallest image that filter and padding allow."""
        options = self._options
        check_layout(options["layout"])
        nchw = options["layout"] == "NCHW"
        if len(self.w_shape) != 4:
            return ConvProblem((1, 1, 1, 1), self.w_shape, **options)  # says what is wrong with w
        outputs, per_group, *window = self.w_shape if nchw else (self.w_shape[3], self.w_shape[2], *self.w_shape[:2])
        groups = read_integer(options["groups"], "groups")
        if groups > 0 and outputs % groups:
            raise ShapeError(f"groups={groups} must divide the {outputs} output channels")
        stride, dilation = read_pair(options["stride"], "stride", 1), read_pair(options["dilation"], "dilation", 1)
        pads = read_padding(options["padding"], (1, 1), (window[0], window[1]), stride, dilation)
        reach = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
        image = [min(max(r - sum(pad), 1), MOST) for r, pad in zip(reach, pads, strict=True)]
        channels = per_group * max(groups, 1)
        shape = (1, channels, *image) if nchw else (1, *image, channels)
        return ConvProblem(shape, self.w_shape, dtype=self.dtype, **options)

    def _own(self, value: Tensor, name: str) -> cl.Buffer | None:
        """Copy a filter or a bias to the device."""
        if value is None:
            return None
        if not is_device_array(value):
            return copied(self._runtime.context, value)
        check_context(value, name, self._runtime.context)
        source, ready = input_buffer(value, self.queue)
        own = allocate(self._runtime.context, value.nbytes)
        cl.enqueue_copy(self.queue, own, source, byte_count=value.nbytes, wait_for=ready).wait()
        return own

    def problem(self, x_shape: Sequence[SupportsIndex], *, residual: bool = False) -> ConvProblem:
        """Return the problem that an input of this shape poses.

        Raises
        ------
        ShapeError
            If the shape does not fit the filter.
        """
        return ConvProblem(
            x_shape,
            self.w_shape,
            dtype=self.dtype,
            bias=self._bias is not None,
            residual=residual,
            **self._options,
        )

    def explain(self, x_shape: Sequence[SupportsIndex], *, residual: bool = False) -> Explanation:
        """Say what a call with an input of this shape would run, and why.

        Parameters
        ----------
        x_shape : sequence of int, or an array of that shape
        residual : bool
            Whether a residual would be passed.

        Returns
        -------
        Explanation
            Print it, or read its attributes.

        Raises
        ------
        ShapeError, UnsupportedError
            As a call with such an input.
        """
        runtime = self._runtime
        return explain(
            self.problem(x_shape, residual=residual), runtime.info, self.limits, beside=beside(self.queue) is not None
        )

    def prepare(self, *x_shapes: Sequence[SupportsIndex], residual: bool = False, device_arrays: bool = False) -> None:
        """Plan, compile and pack for inputs of these shapes, so that calls with them find all of it ready.

        The first call with a shape does the same for it. Several programs are compiled at once, and kept for other processes.

        Parameters
        ----------
        *x_shapes : sequence of int
        residual : bool
            Whether residuals will be passed.
        device_arrays : bool
            Whether inputs will be device arrays, not NumPy's.

        Raises
        ------
        ShapeError, UnsupportedError, DeviceError, KernelBuildError
            As a call; then none of the shapes is prepared, or those before the one that fails.

        Examples
        --------
        >>> import numpy as np, clconv
        >>> conv = clconv.Convolution(np.ones((8, 4, 3, 3), "f"), padding=1)
        >>> conv.prepare((1, 4, 56, 56), (8, 4, 28, 28))
        """
        require_own_process()
        problems = [self.problem(shape, residual=residual) for shape in x_shapes]
        wanted: dict[Runtime, list[Launch]] = {}
        for problem in problems:
            _, plans, queue = self._planned(problem, on_host=not device_arrays)
            runtime = runtime_of(queue)
            launches = wanted.setdefault(runtime, [])
            launches += (launch for plan in plans.values() for launch in launches_of(plan, runtime.info))
        for runtime, launches in wanted.items():
            build_ahead(runtime.programs, launches)
        for problem in problems:
            self._make_ready(problem.x_shape, residual, on_host=not device_arrays)

    @overload
    def __call__(self, x: NDArray[Element], out: Tensor = None, residual: Tensor = None) -> NDArray[Element]: ...
    @overload
    def __call__(self, x: Array, out: Tensor = None, residual: Tensor = None) -> Array: ...
    @overload
    def __call__(self, x: Tensor, out: Tensor = None, residual: Tensor = None) -> NDArray[Any]: ...
    def __call__(self, x: Tensor, out: Tensor = None, residual: Tensor = None) -> Tensor:
        """Convolve.

        Parameters
        ----------
        x : array
            ``(N, IC, IH, IW)``, or ``(N, IH, IW, IC)`` with ``layout="NHWC"``; NumPy or ``pyopencl.array.Array``.
        out : array, optional
            Takes the result; of the kind of ``x``.
        residual : array, optional
            Of the shape of the result; added before the activation.

        Returns
        -------
        array
            Of the kind of ``x``. A device array may still be computed when it is returned: its events say when.

        Raises
        ------
        ShapeError, UnsupportedError, DeviceError, KernelBuildError
            As :func:`conv2d`.
        """
        repeated = self._repeated
        if repeated is not None:
            if residual is None and repeated.run(x, out):
                return out
            self._repeated = None
        if type(x) is not np.ndarray or not x.flags.c_contiguous:
            x = as_tensor(x, "x")
        on_host = type(x) is np.ndarray
        ready = self._ready.get((x.shape, residual is not None, on_host))
        if ready is None:
            ready = self._make_ready(x.shape, residual is not None, on_host)
        problem, queue = ready.problem, ready.queue
        if x.dtype != self._numpy_dtype:
            check(x, "x", problem.x_shape, self.dtype, "w")
        if residual is not None:
            residual = as_tensor(residual, "residual")
            check(residual, "residual", problem.output_shape, self.dtype, "x")
            if is_device_array(residual) == on_host:
                raise ShapeError(f"residual is a {type(residual).__name__} and x a {type(x).__name__}; pass both of one kind")
        given = out is not None
        if given:
            check_out(out, x, problem.output_shape, self.dtype, (residual,))
        else:
            out = empty_like_input(x, problem.output_shape, queue)
        run = run_numpy if on_host else run_device
        if len(ready.parts) == 1:
            _, _, executable, fixed = ready.parts[0]
            together = ready.together
            if together is None:
                run(executable, queue, fixed, x, residual, out)
            elif not together.run((address_of(x), address_of(out), 0 if residual is None else address_of(residual))):
                run_numpy(executable, queue, fixed, x, residual, out, crew=together.crew)
            if given and residual is None:
                self._remember(x, out, ready)
        else:
            for start, count, executable, fixed in ready.parts:
                part = slice(start, start + count)
                run(executable, queue, fixed, x[part], None if residual is None else residual[part], out[part])
        return out

    def _remember(self, x: Tensor, out: Tensor, ready: _Ready) -> None:
        """Keep what a call made over its arrays, once they are passed a second time: 3 us a call, 6 of device arrays."""
        on_host = type(x) is type(out) is np.ndarray
        if not (self._runtime.info.is_pocl if on_host else is_device_array(x) and RepeatedOnDevice.takes(x, out)):
            return
        if self._seen is not None and all(ref() is array for ref, array in zip(self._seen, (x, out), strict=True)):
            _, _, executable, fixed = ready.parts[0]
            if on_host:
                self._repeated = Repeated(executable, ready.queue, fixed, x, out, ready.together)
            else:
                self._repeated = RepeatedOnDevice(executable, ready.queue, fixed, x, out)
        else:
            self._seen = weakref.ref(x), weakref.ref(out)

    def _make_ready(self, x_shape: tuple[int, ...], residual: bool, on_host: bool) -> _Ready:
        """Plan, build and pack for an input shape; calls with other shapes wait meanwhile."""
        require_own_process()
        problem = self.problem(x_shape, residual=residual)
        with self._lock:
            key = (problem.x_shape, residual, on_host)
            ready = self._ready.get(key)
            if ready is None:
                cut, plans, queue = self._planned(problem, on_host)
                made = {count: self._build(plan, queue) for count, plan in plans.items()}
                parts = tuple((start, count, *made[count]) for start, count in cut)
                together = together_of(*parts[0][2:], queue, self.queue) if on_host and len(parts) == 1 else None
                ready = self._ready[key] = _Ready(problem, queue, parts, together)
        return ready

    def _planned(self, problem: ConvProblem, on_host: bool) -> tuple[list[tuple[int, int]], dict[int, Plan], cl.CommandQueue]:
        """Return the parts of a batch, first image and count, the plan for each count, and the queue that they go to."""
        cut = batch_parts(problem, self._runtime.info) if problem.N else []
        plans = {count: self._plan(problem.with_batch(count)) for _, count in cut}
        return cut, plans, place(plans.values(), self.queue) if on_host else self.queue

    def _plan(self, problem: ConvProblem) -> Plan:
        return select(problem, self._runtime.info, self.limits, recall).plan

    def _build(self, plan: Plan, queue: cl.CommandQueue) -> tuple[Executable, dict[str, Any]]:
        executable = Executable(plan, runtime_of(queue))
        w, bias = self._constants(queue)
        key = (queue.int_ptr, plan.packing)
        packed = self._packed.get(key)
        if packed is None:
            assert w is not None  # a convolution always has a filter
            packed = self._packed[key] = executable.pack(queue, w)
        return executable, {"w": w, "packed": packed, "bias": bias}

    def _constants(self, queue: cl.CommandQueue) -> tuple[cl.Buffer | None, cl.Buffer | None]:
        """Return filter and bias in the context of a queue: the own one, or that of the thread that calls."""
        if queue is self.queue:
            return self._w, self._bias
        if self._there is None:
            w, bias = (None if own is None else self._copy_for(queue.context, own) for own in (self._w, self._bias))
            self._there = w, bias
        return self._there

    def _copy_for(self, context: cl.Context, own: cl.Buffer) -> cl.Buffer:
        host = np.empty(own.size, np.uint8)
        cl.enqueue_copy(self.queue, host, own)
        return copied(context, host)
