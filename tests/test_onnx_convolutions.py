"""The ONNX project's own tests of convolutions, unchanged, through a backend that knows the Conv node alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import onnx
import onnx.backend.base
import onnx.backend.test
import onnx.helper
import onnx.numpy_helper

import clconv


class _Prepared(onnx.backend.base.BackendRep):
    def __init__(self, model: onnx.ModelProto) -> None:
        (self._node,) = model.graph.node
        self._constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
        self._inputs = [i.name for i in model.graph.input if i.name not in self._constants]

    def run(self, inputs: Sequence[Any], **kwargs: Any) -> tuple[Any, ...]:
        """Run the one Conv node."""
        values = {**self._constants, **dict(zip(self._inputs, inputs, strict=True))}
        a = {x.name: onnx.helper.get_attribute_value(x) for x in self._node.attribute}
        x, w, *bias = (values[name] for name in self._node.input)
        mode = a.get("auto_pad", b"NOTSET").decode()
        pads = a.get("pads", [0, 0, 0, 0])
        padding = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}.get(
            mode, ((pads[0], pads[2]), (pads[1], pads[3]))
        )
        return (
            clconv.conv2d(
                x, w, *bias, stride=a.get("strides", 1), padding=padding, dilation=a.get("dilations", 1),
                groups=a.get("group", 1),
            ),
        )  # fmt: skip


class Backend(onnx.backend.base.Backend):
    """A backend in ONNX's sense."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> _Prepared:
        """Take a model of one Conv node."""
        return _Prepared(model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whatever clconv's default queue runs on counts as the CPU."""
        return device == "CPU"


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # collecting ONNX's cases computes its expected values for every node, overflows included
    backend_test = onnx.backend.test.BackendTest(Backend, __name__)
backend_test.include(r"^test_(basic_)?conv_with.*_cpu$")
backend_test.include(r"^test_Conv2d.*_cpu$")


def _chosen(case: type) -> type:
    """The case without the hundreds of tests of other nodes, which it would report as skipped."""
    for name in [n for n in vars(case) if n.startswith("test_")]:
        if getattr(getattr(case, name), "__unittest_skip__", False):
            delattr(case, name)
    return case


CASES = {name: _chosen(case) for name, case in backend_test.enable_report().test_cases.items()}
globals().update(CASES)


def test_the_suite_was_found() -> None:
    """Guards the patterns above: a suite that is not found would pass."""
    names = {name for case in CASES.values() for name in vars(case) if name.startswith("test_")}
    assert len([n for n in names if "conv_with" in n]) >= 5
    assert len([n for n in names if n.startswith("test_Conv2d")]) == 11
