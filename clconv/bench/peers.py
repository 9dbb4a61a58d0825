"""The libraries that a layer is timed in, and the ways in which each takes it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from clconv.errors import UnsupportedError


@dataclass(frozen=True)
class Peer:
    """A library.

    Parameters
    ----------
    name : str
        What ``--against`` and the tables call it.
    loader : str
        ``"module:function"`` with the interface of :mod:`clconv.bench.loaders`.
    variants : tuple of str
        A layout each, with a manner behind it: ``"NCHW"``, ``"NCHW packed"``. The fastest of a layout counts.
    modules : tuple of str
        What must be importable.
    distribution : str
        Whose version is reported.
    takes_filter : bool
        The variants without a manner give the filter to each call.
    """

    name: str
    loader: str
    variants: tuple[str, ...]
    modules: tuple[str, ...]
    distribution: str
    takes_filter: bool = False

    @property
    def installed(self) -> bool:
        """Whether every module that the loader needs is there."""
        return all(importlib.util.find_spec(module) is not None for module in self.modules)

    @property
    def version(self) -> str:
        """Version of the installed distribution, or an empty string."""
        try:
            return version(self.distribution)
        except PackageNotFoundError:
            return ""

    def variants_in(self, layouts: Iterable[str], function: bool = False) -> tuple[str, ...]:
        """Return the variants whose layout is one of ``layouts``; for a function, those that give the filter to each call."""
        wanted = set(layouts)
        return tuple(v for v in self.variants if layout_of(v) in wanted and (v in wanted or not function))


def layout_of(variant: str) -> str:
    """Return the layout that a variant takes and gives."""
    return variant.partition(" ")[0]


def _peer(
    name: str, variants: tuple[str, ...], modules: tuple[str, ...], distribution: str, *, takes_filter: bool = False
) -> Peer:
    return Peer(name, f"clconv.bench.loaders:{name}", variants, modules, distribution, takes_filter)


OURS = _peer("clconv", ("NCHW", "NHWC"), ("clconv",), "clconv")
"""The library under test."""

PEERS = {
    peer.name: peer
    for peer in (
        _peer("torch", ("NCHW", "NCHW packed", "NHWC", "NHWC packed"), ("torch",), "torch", takes_filter=True),
        _peer("onnxruntime", ("NCHW",), ("onnxruntime", "onnx"), "onnxruntime"),
        _peer("openvino", ("NCHW",), ("openvino", "onnx"), "openvino"),
        _peer("ncnn", ("NCHW",), ("ncnn",), "ncnn"),
        _peer("litert", ("NHWC",), ("ai_edge_litert", "flatbuffers"), "ai-edge-litert"),
    )
}
"""What it is measured against. MNN is not here: its Winograd is off by 1e-3."""


def chosen(names: Iterable[str]) -> tuple[list[Peer], list[str]]:
    """Return the peers of these names that are installed, and the names of the others.

    Raises
    ------
    UnsupportedError
        If a name is not known.
    """
    found, missing = [], []
    for name in names:
        if name not in PEERS:
            raise UnsupportedError(f"no library {name!r} to measure against; use some of {', '.join(PEERS)}, or none")
        if PEERS[name].installed:
            found.append(PEERS[name])
        else:
            missing.append(name)
    return found, missing
