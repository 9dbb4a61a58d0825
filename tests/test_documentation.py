"""What the documents show is run: the examples in docstrings, and the README's lines of use."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path
from typing import Any

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


def test_the_readme_s_lines_of_use() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    block = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]  # the next one needs the file of a network
    names: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), names)
    assert names["y"].shape == (1, 128, 56, 56)
