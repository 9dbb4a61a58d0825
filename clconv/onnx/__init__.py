"""Networks of convolutions from ONNX files, run on the device."""

from __future__ import annotations

from clconv.errors import UnsupportedError

try:
    import onnx as _onnx  # noqa: F401  # only to see whether it is there
except ImportError as error:
    raise UnsupportedError("clconv.onnx needs the package onnx; install it with pip install 'clconv[onnx]'") from error

from clconv.onnx.backend import Backend
from clconv.onnx.graph import Port
from clconv.onnx.network import Network, load
from clconv.onnx.report import Profile, Report

__all__ = ["Backend", "Network", "Port", "Profile", "Report", "load"]
