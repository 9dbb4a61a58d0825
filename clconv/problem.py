"""What is computed, in numbers alone: shapes, options, parameters, FLOPs, bytes. No OpenCL here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, cast

from clconv.activation import Activation, ActivationLike
from clconv.arguments import MOST, Padding, Size, read_integer, read_padding, read_pair, read_shape, shown
from clconv.errors import ShapeError

Kind = Literal["standard", "grouped", "depthwise", "pointwise"]

LAYOUTS = ("NCHW", "NHWC")
DTYPES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
"""Element types and their size in bytes."""

EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
"""Spacing of the numbers just above 1 in each element type."""


@dataclass(frozen=True)
class ConvProblem:
    """One 2-D convolution (a cross-correlation, as everywhere in this field), described by numbers.

    ::

        y[n, oc, oh, ow] = act( bias[oc] + residual[n, oc, oh, ow]
            + sum over ic < ICG, kh, kw of
              x[n, g*ICG + ic, oh*SH + kh*DH - PT, ow*SW + kw*DW - PL] * w[oc, ic, kh, kw] )

    with ``g = oc // OCG`` the group of the output channel, and x zero outside of the image.

    Parameters
    ----------
    x_shape : sequence of int
        ``(N, IC, IH, IW)``, or ``(N, IH, IW, IC)`` with ``layout="NHWC"``.
    w_shape : sequence of int
        ``(OC, IC/groups, KH, KW)``, or ``(KH, KW, IC/groups, OC)`` with ``layout="NHWC"``.
    stride, dilation : int or (int, int)
        Steps along height and width, in elements; a dilation of 1 is none.
    padding : int, (h, w), ((top, bottom), (left, right)), "valid", "same" or "same_lower"
        Zeros around the image, in elements. ``"same"`` gives ``ceil(size / stride)`` outputs with the extra
        zero at the end (ONNX ``SAME_UPPER``, Keras), ``"same_lower"`` with the extra zero in front.
    groups : int
        Number of groups; divides input and output channels.
    layout : {"NCHW", "NHWC"}
    dtype : {"float32", "float64", "float16", "bfloat16"}
        Element type of every tensor; the 16-bit types are computed in float32.
    bias, residual : bool
        Whether a bias per output channel, or a tensor of the output's shape, is added before the activation.
    activation : None, str or tuple
        See :meth:`Activation.of`.

    Raises
    ------
    ShapeError
        If the numbers do not describe a convolution.
    UnsupportedError
        If the shapes are those of a convolution with one or three spatial axes.

    References
    ----------
    Groups: Xie et al., "Aggregated Residual Transformations for Deep Neural Networks", CVPR 2017. Depthwise and pointwise:
    Howard et al., "MobileNets", arXiv:1704.04861.

    Examples
    --------
    >>> p = ConvProblem((1, 128, 56, 56), (128, 4, 3, 3), padding=1, groups=32)
    >>> p.output_shape, p.kind, p.parameters
    ((1, 128, 56, 56), 'grouped', 4608)
    """

    x_shape: tuple[int, ...]
    w_shape: tuple[int, ...]
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1
    layout: str = "NCHW"
    dtype: str = "float32"
    bias: bool = False
    residual: bool = False
    activation: Any = None

    if TYPE_CHECKING:  # it takes more than what the attributes are in the end

        def __init__(
            self,
            x_shape: Sequence[SupportsIndex],
            w_shape: Sequence[SupportsIndex],
            stride: Size = 1,
            padding: Padding = 0,
            dilation: Size = 1,
            groups: SupportsIndex = 1,
            layout: str = "NCHW",
            dtype: str = "float32",
            bias: bool = False,
            residual: bool = False,
            activation: ActivationLike = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        check_layout(self.layout)
        if not isinstance(self.dtype, str) or self.dtype not in DTYPES:
            raise ShapeError(f"element type {shown(self.dtype)} is not supported; use one of {', '.join(DTYPES)}")
        put("x_shape", read_shape(self.x_shape, "x", self.layout))
        put("w_shape", read_shape(self.w_shape, "w", "OIHW" if self.layout == "NCHW" else "HWIO"))
        put("stride", read_pair(self.stride, "stride", 1))
        put("dilation", read_pair(self.dilation, "dilation", 1))
        put("groups", read_integer(self.groups, "groups"))
        put("activation", Activation.of(self.activation))
        put("bias", bool(self.bias))
        put("residual", bool(self.residual))
        self._check_sizes()
        taps = (self.KH, self.KW)
        put("dilation", tuple(1 if k == 1 else d for k, d in zip(taps, self.dilation, strict=True)))  # nothing to spread
        put("padding", read_padding(self.padding, (self.IH, self.IW), (self.KH, self.KW), self.stride, self.dilation))
        self._check_window()

    def _check_sizes(self) -> None:
        for name in ("IC", "IH", "IW", "OC", "KH", "KW"):
            if getattr(self, name) < 1:
                which = "w" if name in ("OC", "KH", "KW") else "x"
                shape = self.w_shape if which == "w" else self.x_shape
                raise ShapeError(f"{name}={getattr(self, name)} in the shape {shape} of {which} must be at least 1")
        if self.groups < 1:
            raise ShapeError(f"groups={self.groups} must be at least 1")
        for name, channels in (("input", self.IC), ("output", self.OC)):
            if channels % self.groups:
                raise ShapeError(f"groups={self.groups} must divide the {channels} {name} channels")
        per_group = self.w_shape[1] if self.layout == "NCHW" else self.w_shape[2]
        if per_group != self.ICG:
            raise ShapeError(
                f"the filter takes {per_group} input channels a group, but x has {self.IC} channels in "
                f"{self.groups} group{'s' * (self.groups > 1)}, {self.ICG} each; "
                f"give x {per_group * self.groups} channels or w the shape {self._expected_w()}"
            )

    def _expected_w(self) -> tuple[int, ...]:
        if self.layout == "NCHW":
            return (self.OC, self.ICG, self.KH, self.KW)
        return (self.KH, self.KW, self.ICG, self.OC)

    def _check_window(self) -> None:
        (pt, pb), (pl, pr) = self.padding
        for axis, size, pad, filt in (
            ("height", self.IH, pt + pb, self.EKH),
            ("width", self.IW, pl + pr, self.EKW),
        ):
            if size + pad > MOST:
                raise ShapeError(f"the image's {axis} {size} and its padding {pad} must not exceed {MOST} together")
            if filt > size + pad:
                raise ShapeError(
                    f"the filter's {axis} {filt} (dilation included) exceeds the padded image's {size + pad} "
                    f"({size} + {pad} padding); enlarge the padding or the image"
                )

    # sizes, in the words of the house

    @cached_property
    def N(self) -> int:
        """Batch size."""
        return self.x_shape[0]

    @cached_property
    def IC(self) -> int:
        """Input channels."""
        return self.x_shape[1 if self.layout == "NCHW" else 3]

    @cached_property
    def IH(self) -> int:
        """Input height."""
        return self.x_shape[2 if self.layout == "NCHW" else 1]

    @cached_property
    def IW(self) -> int:
        """Input width."""
        return self.x_shape[3 if self.layout == "NCHW" else 2]

    @cached_property
    def OC(self) -> int:
        """Output channels."""
        return self.w_shape[0 if self.layout == "NCHW" else 3]

    @cached_property
    def KH(self) -> int:
        """Filter height."""
        return self.w_shape[2 if self.layout == "NCHW" else 0]

    @cached_property
    def KW(self) -> int:
        """Filter width."""
        return self.w_shape[3 if self.layout == "NCHW" else 1]

    @property
    def G(self) -> int:
        """Groups."""
        return self.groups

    @cached_property
    def ICG(self) -> int:
        """Input channels of one group."""
        return self.IC // self.groups

    @cached_property
    def OCG(self) -> int:
        """Output channels of one group."""
        return self.OC // self.groups

    @property
    def SH(self) -> int:
        """Stride along the height."""
        return cast("int", self.stride[0])

    @property
    def SW(self) -> int:
        """Stride along the width."""
        return cast("int", self.stride[1])

    @property
    def DH(self) -> int:
        """Dilation along the height."""
        return cast("int", self.dilation[0])

    @property
    def DW(self) -> int:
        """Dilation along the width."""
        return cast("int", self.dilation[1])

    @property
    def PT(self) -> int:
        """Padding at the top."""
        return cast("int", self.padding[0][0])

    @property
    def PB(self) -> int:
        """Padding at the bottom."""
        return cast("int", self.padding[0][1])

    @property
    def PL(self) -> int:
        """Padding at the left."""
        return cast("int", self.padding[1][0])

    @property
    def PR(self) -> int:
        """Padding at the right."""
        return cast("int", self.padding[1][1])

    @property
    def EKH(self) -> int:
        """Rows that the filter spans, dilation included."""
        return (self.KH - 1) * self.DH + 1

    @property
    def EKW(self) -> int:
        """Columns that the filter spans, dilation included."""
        return (self.KW - 1) * self.DW + 1

    @cached_property
    def OH(self) -> int:
        """Output height."""
        return (self.IH + self.PT + self.PB - self.EKH) // self.SH + 1

    @cached_property
    def OW(self) -> int:
        """Output width."""
        return (self.IW + self.PL + self.PR - self.EKW) // self.SW + 1

    # what follows from them

    @cached_property
    def output_shape(self) -> tuple[int, int, int, int]:
        """Shape of ``y``, in the layout of the problem."""
        if self.layout == "NCHW":
            return (self.N, self.OC, self.OH, self.OW)
        return (self.N, self.OH, self.OW, self.OC)

    @cached_property
    def kind(self) -> Kind:
        """``standard``, ``grouped``, ``depthwise`` (one input channel a group) or ``pointwise`` (1x1, one group)."""
        if self.groups > 1:
            return "depthwise" if self.ICG == 1 else "grouped"
        return "pointwise" if self.KH == self.KW == 1 else "standard"

    @property
    def padded(self) -> bool:
        """Whether any zero is added around the image."""
        return any(self.padding[0]) or any(self.padding[1])

    @cached_property
    def parameters(self) -> int:
        """Weights in the filter: ``KH * KW * IC/G * OC``; a bias is not counted.

        Formula (1) of the tutorial for one group and (2) for several; a depthwise separable convolution, (3), sums two.
        """
        return self.KH * self.KW * self.ICG * self.OC

    @cached_property
    def flops(self) -> int:
        """Floating-point operations of the direct method, two per multiply-add, taps on padding included."""
        return 2 * self.N * self.OH * self.OW * self.parameters

    @cached_property
    def bytes(self) -> int:
        """Least traffic with memory in bytes: each tensor once."""
        outputs = math.prod(self.output_shape)
        elements = math.prod(self.x_shape) + self.parameters + outputs * (1 + self.residual) + self.OC * self.bias
        return elements * self.itemsize

    @property
    def itemsize(self) -> int:
        """Size of one element in bytes."""
        return DTYPES[self.dtype]

    def with_batch(self, n: int) -> ConvProblem:
        """Return the same problem with another batch size.

        Raises
        ------
        ShapeError
            If it is no integer from 0 on.
        """
        return replace(self, x_shape=(n, *self.x_shape[1:]))

    def __str__(self) -> str:
        g, same = f"g{self.G}" if self.G > 1 else "", self.padding
        text = f"{g}mb{self.N}ic{self.IC}ih{self.IH}iw{self.IW}oc{self.OC}oh{self.OH}ow{self.OW}kh{self.KH}kw{self.KW}"
        text += f"sh{self.SH}sw{self.SW}" * (self.stride != (1, 1)) + f"ph{same[0][0]}pw{same[1][0]}" * self.padded
        text += f"dh{self.DH - 1}dw{self.DW - 1}" * (self.dilation != (1, 1))
        return f"{text} {self.layout} {self.dtype}"


def check_layout(layout: object) -> None:
    """Raise a ShapeError unless a layout is known."""
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise ShapeError(f"layout {shown(layout)} is unknown; use one of {', '.join(LAYOUTS)}")
