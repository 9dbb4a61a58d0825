"""What a caller may pass as a tensor: checked here once, before anything is enqueued."""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import pyopencl as cl

from clconv.buffers import allocate
from clconv.errors import DeviceError, ShapeError
from clconv.problem import DTYPES

Tensor: TypeAlias = Any
"""A NumPy array, a ``pyopencl.array.Array``, or an object with ``__dlpack__`` or ``__array__`` on the CPU."""

Element = TypeVar("Element", bound=np.generic)
"""Element type of a NumPy array."""

_LINE = 64
_ALIGNED_FROM = 1 << 14  # bytes; what is smaller takes less time than the arithmetic
_PAGE = 4096
_SPREAD_FROM = 1 << 16  # bytes; what is smaller would become much larger
_turns = itertools.count(1)

_BUILTIN_NAMES = {np.dtype(t): t for t in ("float16", "float32", "float64")}


def is_device_array(value: object) -> bool:
    """Whether a value is a ``pyopencl.array.Array``."""
    return hasattr(value, "base_data") and hasattr(value, "queue")


def dtype_name(dtype: np.dtype[Any], name: str) -> str:
    """Return the library's name of an element type.

    Raises
    ------
    ShapeError
        If it is none that the library computes with.
    """
    known = _BUILTIN_NAMES.get(dtype)
    if known is not None:
        return known
    if dtype.name == "bfloat16":
        return "bfloat16"
    if dtype.name in DTYPES:  # the other byte order
        raise ShapeError(f"{name} has the foreign byte order {dtype.str}; convert it with {name}.astype({dtype.name!r})")
    raise ShapeError(f"{name} has the element type {dtype.name}; convert it to one of {', '.join(DTYPES)}")


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return NumPy's type for the library's name of it."""
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(cast("type", ml_dtypes.bfloat16))
    return np.dtype(name)


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """Return an uninitialised array that begins where a cache line does, if it is of some size.

    NumPy's own begin 16 bytes behind one, so that every vector of a line's length lies in two. Kernels that write them were
    measured to take 10 to 25 % longer.

    Larger ones begin at different places of a page. NumPy's all begin at the same one, and the pixels of two images in N H W C,
    a power of two bytes long, then share the same few sets of the first cache: depthwise 3x3, 512 channels at 14 x 14 and 1024
    at 7 x 7, took a fifth longer on two Zen 5 cores.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < _ALIGNED_FROM:
        return np.empty(shape, dtype)
    within, place = (_LINE, 0) if size < _SPREAD_FROM else (_PAGE, spread(next(_turns)))
    memory: Any = np.empty(size + within, np.uint8)
    start = (place - ctypes.addressof(ctypes.c_char.from_buffer(memory))) % within
    return np.ndarray(shape, dtype, memory, start)


def spread(turn: int) -> int:
    """Return where in a page the turn-th array begins: 256 bytes at least from where the six before it do.

    Half a page apart counts as no distance: pixels are half a page long, too. None is close to a page's begin, where NumPy's
    are, and all are multiples of 128.
    """
    return 384 + turn * 768 % 1792


def as_tensor(value: Tensor, name: str) -> Tensor:
    """Return a C-contiguous NumPy array, or the device array as it is.

    A NumPy array that is not contiguous is copied; a device array that is not is refused.

    Raises
    ------
    ShapeError
        If the value is no tensor, one with masked elements, or a device array without contiguous memory or outside of a buffer.
    """
    if type(value) is np.ndarray:
        return value if value.flags.c_contiguous else np.ascontiguousarray(value)
    if is_device_array(value):
        _check_memory(value, name)
        if not value.flags.c_contiguous:
            raise ShapeError(
                f"{name} is a device array with strides {value.strides}, not contiguous; "
                f"pass pyopencl.array.to_device(queue, np.ascontiguousarray(a)) of the NumPy array a that it came from"
            )
        return value
    _check_mask(value, name, "fill them, as its method filled(0) does")
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value)
    if getattr(value, "is_neg", bool)():  # whose __dlpack__ leaves the sign out
        raise ShapeError(f"{name} is a view whose elements are yet to be negated; pass {name}.resolve_neg()")
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":
        return _half_of_torch(value, name)
    failure: Exception | None = None
    # DLPack first, for it never copies; NumPy reads no bfloat16 that way, but may by the other.
    for method, read in (("__dlpack__", np.from_dlpack), ("__array__", np.asarray)):
        if hasattr(value, method):
            try:
                return np.ascontiguousarray(read(value))
            except (BufferError, RuntimeError, TypeError, ValueError) as error:
                failure = failure or error
    if failure is not None:
        kind, why = type(value).__name__, " ".join(str(failure).split())
        raise ShapeError(f"{name} of type {kind} cannot be read on the CPU ({why}); pass a NumPy array") from failure
    raise ShapeError(f"{name} is a {type(value).__name__}; pass a NumPy array or a pyopencl.array.Array")


def _half_of_torch(value: Any, name: str) -> Tensor:
    """Return a bfloat16 tensor of PyTorch's, which NumPy reads as integers only, as an array on the same memory."""
    import torch

    return as_tensor(value.view(torch.int16), name).view(numpy_dtype("bfloat16"))


def check(value: Tensor, name: str, shape: tuple[int, ...], dtype: str, like: str) -> None:
    """Raise a ShapeError unless a tensor has this shape and the element type of ``like``."""
    if value.shape != shape:
        raise ShapeError(f"{name} has the shape {value.shape}; it must be {shape}")
    got = dtype_name(value.dtype, name)
    if got != dtype:
        raise ShapeError(f"{name} has the element type {got} and {like} has {dtype}; convert one to the other's")


def check_out(
    out: Tensor, x: Tensor, shape: tuple[int, ...], dtype: str, others: Sequence[Tensor] = (), *, like: str = "x"
) -> None:
    """Raise a ShapeError unless ``out`` can take the result: kind, shape, type (that of ``like``), memory of its own."""
    if type(out) is np.ndarray and type(x) is np.ndarray and out.shape == shape and _BUILTIN_NAMES.get(out.dtype) == dtype:
        flags = out.flags  # the usual case, without detours
        if flags.c_contiguous and flags.writeable and not np.may_share_memory(out, x):
            for other in others:
                if isinstance(other, np.ndarray) and np.may_share_memory(out, other):
                    break
            else:
                return
    if is_device_array(x) != is_device_array(out) or not (is_device_array(out) or isinstance(out, np.ndarray)):
        want = "pyopencl.array.Array" if is_device_array(x) else "numpy.ndarray"
        raise ShapeError(f"out is a {type(out).__name__}; it must be a {want}, as the inputs are")
    if is_device_array(out):
        _check_memory(out, "out")
    _check_mask(out, "out", "pass out.data")
    if out.shape == shape and not (out.dtype.isnative and out.dtype.name == dtype):
        raise ShapeError(f"out has elements of the type {out.dtype} and {like} of {dtype}; pass an array of {dtype} for it")
    if out.shape != shape:
        raise ShapeError(f"out has the shape {out.shape}; it must be {shape}")
    if not out.flags.c_contiguous:
        raise ShapeError(f"out has the strides {out.strides}; it must be contiguous")
    if isinstance(out, np.ndarray) and not out.flags.writeable:
        raise ShapeError("out is read-only; pass an array that can be written")
    for other in (x, *others):
        if other is not None and _overlap(out, other):
            raise ShapeError("out shares memory with an input or another output; pass an array of its own")


def _check_mask(value: object, name: str, instead: str) -> None:
    """Raise a ShapeError if a value has masked elements."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ShapeError(f"{name} has masked elements, and a convolution knows no mask; {instead}")


def _check_memory(array: Any, name: str) -> None:
    """Raise a ShapeError unless the memory of a device array is a buffer."""
    if array.base_data is not None and not hasattr(array.base_data, "int_ptr"):
        kind = type(array.base_data).__name__
        raise ShapeError(f"{name} lies in shared virtual memory ({kind}); pass an array whose memory is a pyopencl.Buffer")


def _place(array: Any) -> tuple[int, int]:
    """Return the address of the buffer that an array lies in, and its first byte there; a buffer may be part of another."""
    base, start = array.base_data, array.offset
    whole = base.get_info(cl.mem_info.ASSOCIATED_MEMOBJECT)
    return (base.int_ptr, start) if whole is None else (whole.int_ptr, start + base.get_info(cl.mem_info.OFFSET))


def _overlap(a: Tensor, b: Tensor) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.may_share_memory(a, b)
    if is_device_array(a) and is_device_array(b) and a.base_data is not None and b.base_data is not None:
        (one, i), (other, j) = _place(a), _place(b)
        return bool(one == other and i < j + b.nbytes and j < i + a.nbytes)
    return False


def check_context(array: Any, name: str, context: cl.Context) -> None:
    """Raise a DeviceError unless a device array belongs to the context."""
    if array.context != context:
        raise DeviceError(
            f"{name} lives in another OpenCL context than the queue ({context.devices[0].name}); "
            "create it in the queue's context or pass queue= of its own"
        )


def input_buffer(array: Any, queue: cl.CommandQueue) -> tuple[cl.Buffer, list[cl.Event]]:
    """Return a buffer that begins with the array's first element, and the events after which it may be read.

    An offset that the device takes for a sub-buffer costs nothing. One that is not aligned for that needs a copy on the
    device, enqueued here.
    """
    own = _own_memory(array, queue)
    if own is not None:
        return own, list(array.events)
    copy = allocate(queue.context, array.nbytes)
    if not array.nbytes:
        return copy, []  # such an array has no memory
    where = {"byte_count": array.nbytes, "src_offset": array.offset}
    return copy, [cl.enqueue_copy(queue, copy, array.base_data, **where, wait_for=list(array.events))]


def output_buffer(array: Any, queue: cl.CommandQueue) -> tuple[cl.Buffer, bool]:
    """Return a buffer for what goes to the array, and whether the caller must copy it there; see :func:`input_buffer`."""
    own = _own_memory(array, queue)
    return (own, False) if own is not None else (allocate(queue.context, array.nbytes), True)


def _own_memory(array: Any, queue: cl.CommandQueue) -> cl.Buffer | None:
    """Return the array's own memory; None where that begins at no place where a sub-buffer may."""
    if array.offset == 0:
        return cast("cl.Buffer", array.base_data)
    base: Any = array.base_data
    whole = type(base) is cl.Buffer and base.get_info(cl.mem_info.ASSOCIATED_MEMOBJECT) is None  # not of a pool, nor a part
    if whole and array.offset % (queue.device.mem_base_addr_align // 8) == 0:
        return cast("cl.Buffer", base.get_sub_region(array.offset, array.nbytes))
    return None
