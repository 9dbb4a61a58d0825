"""Convolutions as plain functions: the filter comes with every call."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex, Unpack, overload

import pyopencl as cl

from clconv.activation import Activation, ActivationLike
from clconv.algorithms.packing import packing_seconds
from clconv.arguments import Padding, Size
from clconv.buffers import address_of, copied, host_buffer
from clconv.device import DeviceInfo
from clconv.discovery import default_queue
from clconv.errors import ShapeError
from clconv.executable import Executable
from clconv.fork import require_own_process
from clconv.invoke import empty_like_input, run_device, run_numpy
from clconv.options import Options
from clconv.plan import Plan
from clconv.problem import ConvProblem
from clconv.runtime import place, runtime_of
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
)
from clconv.together import Together, together_of
from clconv.tuning import recall

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyopencl.array import Array


class _Prepared(NamedTuple):
    """What a call needs."""

    problem: ConvProblem
    queue: cl.CommandQueue
    parts: tuple[tuple[int, int, Executable], ...]  # start, count
    together: Together | None  # of the only part


_KEPT = 256  # calls whose executables are kept; that used least recently goes
_executables: OrderedDict[Any, _Prepared] = OrderedDict()
_lock = threading.RLock()


@overload
def conv2d(x: NDArray[Element], w: Tensor, bias: Tensor = None, **options: Unpack[Options]) -> NDArray[Element]: ...
@overload
def conv2d(x: Array, w: Tensor, bias: Tensor = None, **options: Unpack[Options]) -> Array: ...
@overload
def conv2d(x: Tensor, w: Tensor, bias: Tensor = None, **options: Unpack[Options]) -> NDArray[Any]: ...
def conv2d(
    x: Tensor,
    w: Tensor,
    bias: Tensor = None,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: SupportsIndex = 1,
    layout: str = "NCHW",
    activation: ActivationLike = None,
    residual: Tensor = None,
    algorithm: str = "auto",
    workspace: int | None = None,
    error_factor: float | None = None,
    out: Tensor = None,
    queue: cl.CommandQueue | None = None,
) -> Tensor:
    """Convolve ``x`` with ``w``: ``activation(conv(x, w) + bias + residual)``.

    Parameters
    ----------
    x : array
        ``(N, IC, IH, IW)``, or ``(N, IH, IW, IC)`` with ``layout="NHWC"``. A NumPy array, a ``pyopencl.array.Array``, or
        an object with ``__dlpack__`` or ``__array__`` on the CPU.
    w : array
        ``(OC, IC/groups, KH, KW)``, or ``(KH, KW, IC/groups, OC)`` with ``layout="NHWC"``.
    bias : array, optional
        ``(OC,)``.
    stride, dilation : int or (int, int)
        Along height and width, in elements.
    padding : int, (h, w), ((top, bottom), (left, right)), "valid", "same" or "same_lower"
        Zeros around the image, in elements.
    groups : int
        Number of groups.
    layout : {"NCHW", "NHWC"}
    activation : str or tuple, optional
        ``"relu"``, ``"relu6"``, ``"sigmoid"``, ``"tanh"``, ``"silu"``, ``"hardswish"``, ``"hardsigmoid"``,
        ``"gelu"``, ``"gelu_tanh"``, ``("leaky_relu", slope)``, ``("clip", low, high)``, or
        ``("scaled_hardswish", factor, addend)``, which is ``factor * hardswish + addend``.
    residual : array, optional
        Of the shape of the result; added before the activation.
    algorithm : str
        ``"auto"``, a family (``"direct"``, ``"winograd"``, ``"strassen"``, ``"split"``, ``"reference"``) or a name that
        ``clconv explain`` prints.
    workspace : int, optional
        Most scratch memory of the call, in bytes; the packed filter is not counted.
    error_factor : float, optional
        Largest bound of the error of the sums that is accepted, before the activation and before they are rounded into
        the element type: a number as ``clconv explain`` prints it.
    out : array, optional
        Takes the result.
    queue : pyopencl.CommandQueue, optional
        That of ``x`` if it is a device array, else :func:`default_queue`. Every queue that was used is kept until Python ends,
        with its context, its programs and scratch memory: use few, again and again.

    Returns
    -------
    array
        Of the kind of ``x``. NumPy results are complete; a device array carries the event that completes it.

    Raises
    ------
    ShapeError
        If shapes, element types or options do not fit together.
    UnsupportedError
        If no algorithm serves the problem under ``algorithm``, ``workspace`` and ``error_factor``; or if a tensor has three or
        five axes.
    DeviceError
        If a buffer is too large, or arrays are of another context.
    KernelBuildError
        If the driver does not compile a kernel.

    Notes
    -----
    Most kernels read a filter in an order of their own. It is packed in each call, and ``"auto"`` chooses the algorithm that is
    the fastest with that; :class:`Convolution` packs a filter that stays once, and may choose another one.

    Winograd's method, Strassen's, and split elements, which ``"auto"`` may choose, keep their error bounds where no element is
    larger than 1e35 in magnitude or, but for zeros, smaller than 1e-33, and the largest element of ``x`` times the sum of the
    magnitudes of the filter of an output channel is 1e34 at most; their sums may overflow else. Where an element is infinite or
    NaN, they may spread NaN over outputs that do not depend on it. ``algorithm="direct"`` has neither limit.

    Examples
    --------
    >>> import numpy as np, clconv
    >>> x = np.arange(16, dtype="f").reshape(1, 1, 4, 4)
    >>> clconv.conv2d(x, np.ones((1, 1, 3, 3), "f"))
    array([[[[45., 54.],
             [81., 90.]]]], dtype=float32)
    """
    x, w = as_tensor(x, "x"), as_tensor(w, "w")
    bias = None if bias is None else as_tensor(bias, "bias")
    residual = None if residual is None else as_tensor(residual, "residual")
    if queue is None:
        queue = x.queue if is_device_array(x) and x.queue is not None else default_queue()
    dtype = dtype_name(x.dtype, "x")
    options = (stride, padding, dilation, groups, layout, activation)
    on_host = not any(is_device_array(t) for t in (x, w, bias))
    problem, queue, parts, together = _prepared(
        queue, x.shape, w.shape, dtype, options, bias is not None, residual is not None,
        (algorithm, workspace, error_factor), on_host,
    )  # fmt: skip
    check(w, "w", problem.w_shape, dtype, "x")
    if bias is not None:
        check(bias, "bias", (problem.OC,), dtype, "x")
    if residual is not None:
        check(residual, "residual", problem.output_shape, dtype, "x")
        if is_device_array(residual) != is_device_array(x):
            raise ShapeError(f"residual is a {type(residual).__name__} and x a {type(x).__name__}; pass both of one kind")
    if out is None:
        out = empty_like_input(x, problem.output_shape, queue)
    else:
        check_out(out, x, problem.output_shape, dtype, (w, bias, residual))
    if together is not None:
        added = 0 if residual is None else address_of(residual)
        if together.run((address_of(x), address_of(out), added, address_of(w), 0 if bias is None else address_of(bias))):
            return out
        fixed, _ = _on_device({"w": w, "bias": bias}, queue, later=False)
        run_numpy(parts[0][2], queue, fixed, x, residual, out, pack=True, crew=together.crew)
        return out
    fixed, events = _on_device({"w": w, "bias": bias}, queue, later=is_device_array(x))
    for start, count, executable in parts:
        part = slice(start, start + count)
        whole = count == problem.N
        xs, rs, ys = (a if whole or a is None else a[part] for a in (x, residual, out))
        if is_device_array(x):
            run_device(executable, queue, fixed, xs, rs, ys, wait_for=events, pack=True)
        else:
            run_numpy(executable, queue, fixed, xs, rs, ys, wait_for=events, pack=True)
    return out


def _prepared(
    queue: cl.CommandQueue,
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    dtype: str,
    options: tuple[Any, ...],
    bias: bool,
    residual: bool,
    limits: tuple[str, int | None, float | None],
    on_host: bool,
) -> _Prepared:
    """Return problem, place and executables of a call, from the cache where the same call was made before."""
    runtime = runtime_of(queue)

    def described() -> tuple[ConvProblem, Limits]:
        stride, padding, dilation, groups, layout, activation = options
        problem = ConvProblem(
            x_shape,
            w_shape,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            layout=layout,
            dtype=dtype,
            bias=bias,
            residual=residual,
            activation=Activation.of(activation),
        )
        return problem, Limits(*limits)

    try:
        meant: object = (x_shape, w_shape, dtype, bias, residual, _plain((*options, *limits)))
    except TypeError:  # what equals it, or is it, may mean something else the next time
        meant = described()
    key = (queue.int_ptr, on_host, meant)
    found = _executables.get(key)
    if found is not None:
        with contextlib.suppress(KeyError):  # another thread has just removed it
            _executables.move_to_end(key)
        return found
    require_own_process()
    problem, read = described()
    with _lock:
        cut = batch_parts(problem, runtime.info) if problem.N else []
        plans = {n: plan_of_a_call(problem.with_batch(n), runtime.info, read) for n in {n for _, n in cut}}
        where = place(plans.values(), queue) if on_host else queue
        made = {n: Executable(plan, runtime_of(where), bias_stays=False) for n, plan in plans.items()}
        parts = tuple((start, n, made[n]) for start, n in cut)
        together = together_of(parts[0][2], {}, where, queue, pack=True) if on_host and len(parts) == 1 else None
        found = _executables[key] = _Prepared(problem, where, parts, together)
        while len(_executables) > _KEPT:
            _executables.popitem(last=False)
    return found


def plan_of_a_call(problem: ConvProblem, device: DeviceInfo, limits: Limits) -> Plan:
    """Return the plan that :func:`conv2d` takes: the fastest one with its filter packed in each call."""
    return select(problem, device, limits, recall).fastest_with(lambda plan: packing_seconds(plan, device))


_PLAIN = frozenset((int, float, bool, str, type(None)))
_NESTED = _PLAIN | {tuple, list}


def _plain(values: Sequence[Any]) -> object:
    """Return what options have in common that mean the same: values with their types, for True equals 1 and is refused.

    A TypeError is raised for values of other types than Python's own.
    """
    kinds = tuple(map(type, values))
    if _PLAIN.issuperset(kinds):
        return kinds, tuple(values)
    if not _NESTED.issuperset(kinds):
        raise TypeError
    return kinds, tuple(_plain(v) if type(v) in (tuple, list) else v for v in values)


def _on_device(tensors: dict[str, Tensor], queue: cl.CommandQueue, later: bool) -> tuple[dict[str, Any], list[cl.Event]]:
    """Buffers for filter and bias, and the events that they wait for.

    With ``later``, they are read when the call has returned, and NumPy arrays may have changed: those are copied.
    """
    runtime = runtime_of(queue)
    buffers: dict[str, Any] = {}
    events: list[cl.Event] = []
    for name, value in tensors.items():
        if value is None:
            buffers[name] = None
        elif is_device_array(value):
            check_context(value, name, runtime.context)
            buffers[name], ready = input_buffer(value, queue)
            events.extend(ready)
        else:
            buffers[name] = copied(runtime.context, value) if later else host_buffer(runtime, value)
    return buffers, events
