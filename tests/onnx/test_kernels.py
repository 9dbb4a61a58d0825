"""Every kernel of kernels/network in every element type, on a device and in a simulator that watches its accesses."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from pyopencl import CommandQueue

import clconv.onnx
from clconv.onnx import layout
from clconv.source import KERNEL_DIR
from tests.algorithms.test_oclgrind import CHECKS, ROOT, findings, needs_simulator
from tests.onnx.models import model, node, numbers
from tests.onnx.nodes import BOUND, cases, channels_last_cases, deviation


def bound(name: str, dtype: str) -> float:
    """Return how far a result may be off."""
    single = name.startswith(("Resize", "Gelu", "GroupNorm", "Erf", "HardSwish"))  # the reference computes in float32
    return max(BOUND[dtype], BOUND["float32"] if single else 0)


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("name", cases())
def test_node(name: str, dtype: str, queue: CommandQueue) -> None:
    assert deviation(name, dtype, queue) < bound(name, dtype)


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("name", channels_last_cases())
def test_node_in_channels_last(name: str, dtype: str, queue: CommandQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_gain", lambda *_: 1.0)
    assert deviation(name, dtype, queue) < bound(name, dtype)


def test_pad_that_crops(queue: CommandQueue) -> None:
    """Without onnx.reference, which does not take negative padding."""
    proto = model([node("Pad", "a pads", "y")], {"a": [2, 3, 5, 7]}, ["y"], {"pads": np.array([0, 1, -1, -2, 0, 0, 2, -1])})
    a = numbers(2, 3, 5, 7)
    want = np.pad(a[:, :, 1:, 2:6], ((0, 0), (1, 0), (0, 2), (0, 0)))
    np.testing.assert_array_equal(clconv.onnx.load(proto, queue=queue)(a), want)


def test_gelu_s_approximation_goes_to_zero(queue: CommandQueue) -> None:
    proto = model([node("Gelu", "a", "y", approximate="tanh")], {"a": [6]}, ["y"], opset=20)
    a = np.array([-1e30, -1e6, -1e4, -100, -20, 1e30], np.float32)
    y = clconv.onnx.load(proto, queue=queue)(a)
    np.testing.assert_allclose(y, np.maximum(a, 0), rtol=1e-6, atol=1e-30)


@needs_simulator
def test_no_finding_in_the_simulator() -> None:
    command = [sys.executable, "-m", "tests.onnx.oclgrind_worker"]
    environment = {**os.environ, **CHECKS}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr[-3000:]
    assert not findings(done.stderr), f"Oclgrind found:\n{findings(done.stderr)[:3000]}"
    ran = re.search(r"kernels: (.*)", done.stdout)
    assert ran is not None
    all_there = {path.stem for path in (KERNEL_DIR / "network").glob("*.cl")}
    assert set(ran[1].split()) == all_there - {"stay_awake"}  # which is for threads; see test_bell.py
