"""What the documents show is run: the examples in docstrings, and the README's lines of use."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MODULES = (
    *("clconv.convolution", "clconv.functional", "clconv.problem"),
    *("clconv.onnx.network", "clconv.strassen", "clconv.winograd"),
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


def lines_of_use(blocks: int) -> dict[str, Any]:
    """Run the README's first blocks of Python, one after the other as a reader does, and return their names."""
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)[:blocks]:
        exec(compile(block, "README.md", "exec"), names)
    return names


def test_the_readme_s_convolutions() -> None:
    assert lines_of_use(1)["y"].shape == (1, 128, 56, 56)


@pytest.mark.slow  # a whole ResNeXt-50 is built and compiled
def test_the_readme_s_network() -> None:
    y = lines_of_use(2)["y"]
    assert y.shape == (1, 1000)
    assert np.isfinite(y).all()
