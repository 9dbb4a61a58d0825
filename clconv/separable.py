"""Depthwise and pointwise convolution with filters in their usual shapes, and one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack, overload

import pyopencl as cl
from pyopencl.array import to_device

from clconv.activation import ActivationLike
from clconv.arguments import Padding, Size, read_integer
from clconv.discovery import default_queue
from clconv.errors import ShapeError
from clconv.functional import conv2d
from clconv.invoke import empty_like_input
from clconv.options import Options, SeparableOptions
from clconv.problem import ConvProblem, check_layout
from clconv.runtime import runtime_of
from clconv.tensors import Element, Tensor, as_tensor, check, check_out, dtype_name, is_device_array

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyopencl.array import Array


@overload
def depthwise_conv2d(x: NDArray[Element], w: Tensor, bias: Tensor = None, **options: Unpack[Options]) -> NDArray[Element]: ...
@overload
def depthwise_conv2d(x: Array, w: Tensor, bias: Tensor = None, **options: Unpack[Options]) -> Array: ...
@overload
def depthwise_conv2d(x: Tensor, w: Tensor, bias: Tensor = None, **options: Unpack[Options]) -> NDArray[Any]: ...
def depthwise_conv2d(x: Tensor, w: Tensor, bias: Tensor = None, *, layout: str = "NCHW", **options: Any) -> Tensor:
    """Convolve each channel with filters of its own; output channel ``c*M + m`` is filter ``m`` of channel ``c``.

    Parameters
    ----------
    x : array
        As in :func:`conv2d`.
    w : array
        ``(IC*M, 1, KH, KW)``, or ``(KH, KW, IC, M)`` with ``layout="NHWC"``, as Keras has it.
    bias : array, optional
        ``(IC*M,)``.
    layout, **options
        As in :func:`conv2d`; ``groups`` is the number of channels.

    Returns
    -------
    array

    Raises
    ------
    ShapeError, UnsupportedError, DeviceError, KernelBuildError
        As :func:`conv2d`.
    """
    x, w = as_tensor(x, "x"), as_tensor(w, "w")
    channels, w = _depthwise_filter(x, w, layout)
    if read_integer(options.pop("groups", channels), "groups") != channels:
        raise ShapeError(f"groups is the number of channels of a depthwise convolution, {channels}; leave it out")
    return conv2d(x, w, bias, groups=channels, layout=layout, **options)


def _depthwise_filter(x: Tensor, w: Tensor, layout: str, name: str = "w") -> tuple[int, Tensor]:
    check_layout(layout)
    nchw = layout == "NCHW"
    if x.ndim != 4 or w.ndim != 4:
        raise ShapeError(f"x has {x.ndim} axes and {name} has {w.ndim}; give both 4, as layout={layout!r} has them")
    channels = x.shape[1 if nchw else 3]
    if nchw:
        if w.shape[1] != 1 or channels == 0 or w.shape[0] % channels:
            want = f"(a multiple of {channels}, 1, KH, KW)"
            raise ShapeError(f"{name} has the shape {w.shape}; for {channels} channels it must be {want}")
        return channels, w
    if w.shape[2] != channels:
        raise ShapeError(f"{name} has the shape {w.shape}; for {channels} channels it must be (KH, KW, {channels}, M)")
    return channels, w.reshape((*w.shape[:2], 1, channels * w.shape[3]))


@overload
def pointwise_conv2d(x: NDArray[Element], w: Tensor, bias: Tensor = None, **options: Unpack[Options]) -> NDArray[Element]: ...
@overload
def pointwise_conv2d(x: Array, w: Tensor, bias: Tensor = None, **options: Unpack[Options]) -> Array: ...
@overload
def pointwise_conv2d(x: Tensor, w: Tensor, bias: Tensor = None, **options: Unpack[Options]) -> NDArray[Any]: ...
def pointwise_conv2d(x: Tensor, w: Tensor, bias: Tensor = None, *, layout: str = "NCHW", **options: Any) -> Tensor:
    """Mix the channels of each pixel: a 1x1 convolution.

    Parameters
    ----------
    x : array
        As in :func:`conv2d`.
    w : array
        ``(OC, IC, 1, 1)`` or ``(OC, IC)``; with ``layout="NHWC"`` ``(1, 1, IC, OC)`` or ``(IC, OC)``.
    bias : array, optional
        ``(OC,)``.
    layout, **options
        As in :func:`conv2d`.

    Returns
    -------
    array

    Raises
    ------
    ShapeError, UnsupportedError, DeviceError, KernelBuildError
        As :func:`conv2d`.
    """
    return conv2d(x, _pointwise_filter(as_tensor(w, "w"), layout), bias, layout=layout, **options)


def _pointwise_filter(w: Tensor, layout: str, name: str = "w") -> Tensor:
    check_layout(layout)
    if w.ndim == 2:
        return w.reshape((*w.shape, 1, 1) if layout == "NCHW" else (1, 1, *w.shape))
    axes = (2, 3) if layout == "NCHW" else (0, 1)
    if w.ndim != 4 or any(w.shape[a] != 1 for a in axes):
        want = "(OC, IC, 1, 1) or (OC, IC)" if layout == "NCHW" else "(1, 1, IC, OC) or (IC, OC)"
        raise ShapeError(f"{name} has the shape {w.shape}; a pointwise filter must be {want}")
    return w


@overload
def separable_conv2d(
    x: NDArray[Element], depthwise_w: Tensor, pointwise_w: Tensor, bias: Tensor = None, **options: Unpack[SeparableOptions]
) -> NDArray[Element]: ...
@overload
def separable_conv2d(
    x: Array, depthwise_w: Tensor, pointwise_w: Tensor, bias: Tensor = None, **options: Unpack[SeparableOptions]
) -> Array: ...
@overload
def separable_conv2d(
    x: Tensor, depthwise_w: Tensor, pointwise_w: Tensor, bias: Tensor = None, **options: Unpack[SeparableOptions]
) -> NDArray[Any]: ...
def separable_conv2d(
    x: Tensor,
    depthwise_w: Tensor,
    pointwise_w: Tensor,
    bias: Tensor = None,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    layout: str = "NCHW",
    activation: ActivationLike = None,
    residual: Tensor = None,
    algorithm: str = "auto",
    workspace: int | None = None,
    error_factor: float | None = None,
    out: Tensor = None,
    queue: cl.CommandQueue | None = None,
) -> Tensor:
    """Depthwise, then pointwise convolution with nothing between, as Keras' ``SeparableConv2D`` has it.

    Parameters
    ----------
    x : array
        As in :func:`conv2d`.
    depthwise_w, pointwise_w : array
        As in :func:`depthwise_conv2d` and :func:`pointwise_conv2d`.
    bias : array, optional
        ``(OC,)``, added after the pointwise step.
    stride, padding, dilation
        Of the depthwise step.
    layout, activation, residual, algorithm, workspace, error_factor, out, queue
        As in :func:`conv2d`; activation and residual belong to the pointwise step, the limits hold for each of the two.

    Returns
    -------
    array
        Of the kind of ``x``.

    Raises
    ------
    ShapeError, UnsupportedError, DeviceError, KernelBuildError
        As :func:`conv2d`.
    """
    x, depthwise_w = as_tensor(x, "x"), as_tensor(depthwise_w, "depthwise_w")
    pointwise_w = _pointwise_filter(as_tensor(pointwise_w, "pointwise_w"), layout, "pointwise_w")
    channels, depthwise_w = _depthwise_filter(x, depthwise_w, layout, "depthwise_w")
    if queue is None:
        queue = x.queue if is_device_array(x) and x.queue is not None else default_queue()
    dtype = dtype_name(x.dtype, "x")
    limits: dict[str, Any] = {"algorithm": algorithm, "workspace": workspace, "error_factor": error_factor}
    first: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": channels, "layout": layout}
    between_shape = ConvProblem(x.shape, depthwise_w.shape, dtype=dtype, **first).output_shape
    made, taken = (between_shape[1], pointwise_w.shape[1]) if layout == "NCHW" else (between_shape[3], pointwise_w.shape[2])
    if made != taken:
        raise ShapeError(f"pointwise_w takes {taken} channels and depthwise_w makes {made}; they must be as many")
    last = ConvProblem(between_shape, pointwise_w.shape, layout=layout, dtype=dtype, activation=activation)
    check(depthwise_w, "depthwise_w", depthwise_w.shape, dtype, "x")
    check(pointwise_w, "pointwise_w", pointwise_w.shape, dtype, "x")
    bias = None if bias is None else as_tensor(bias, "bias")
    residual = None if residual is None else as_tensor(residual, "residual")
    if out is not None:
        check_out(out, x, last.output_shape, dtype, (depthwise_w, pointwise_w, bias, residual))
    if not is_device_array(x) and not runtime_of(queue).info.unified_memory:
        # One copy to the device and one back; what lies between never leaves it.
        x, depthwise_w, pointwise_w, bias, residual = (
            t if t is None or is_device_array(t) else to_device(queue, t) for t in (x, depthwise_w, pointwise_w, bias, residual)
        )
        result = separable_conv2d(
            x, _as_given(depthwise_w, channels, layout), pointwise_w, bias, stride=stride, padding=padding, dilation=dilation,
            layout=layout, activation=activation, residual=residual, queue=queue, **limits,
        )  # fmt: skip
        return result.get(ary=out) if out is not None else result.get()
    between = empty_like_input(x, between_shape, queue)
    conv2d(x, depthwise_w, out=between, queue=queue, **first, **limits)
    return conv2d(
        between, pointwise_w, bias, layout=layout, activation=activation, residual=residual, out=out, queue=queue, **limits
    )


def _as_given(depthwise_w: Tensor, channels: int, layout: str) -> Tensor:
    """Undo :func:`_depthwise_filter`: the filter in the shape that a caller gives it."""
    if layout == "NCHW":
        return depthwise_w
    kh, kw, _, outputs = depthwise_w.shape
    return depthwise_w.reshape((kh, kw, channels, outputs // channels))
