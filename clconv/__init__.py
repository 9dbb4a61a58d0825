"""Convolutions of neural networks on any OpenCL device, with kernels that a person can read."""

from __future__ import annotations

from clconv.activation import Activation
from clconv.convolution import Convolution
from clconv.discovery import default_queue, devices
from clconv.errors import ClconvError, DeviceError, KernelBuildError, ShapeError, UnsupportedError
from clconv.explain import Explanation
from clconv.functional import conv2d
from clconv.problem import ConvProblem
from clconv.separable import depthwise_conv2d, pointwise_conv2d, separable_conv2d

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "ClconvError",
    "ConvProblem",
    "Convolution",
    "DeviceError",
    "Explanation",
    "KernelBuildError",
    "ShapeError",
    "UnsupportedError",
    "conv2d",
    "default_queue",
    "depthwise_conv2d",
    "devices",
    "pointwise_conv2d",
    "separable_conv2d",
]
