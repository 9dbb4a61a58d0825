"""What the documents show is run: the examples in docstrings, and the README's lines of use."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clconv.onnx.lower import LOWERINGS, VIEWS

ROOT = Path(__file__).parents[1]
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
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)[:blocks]:
        exec(compile(block, "README.md", "exec"), names)
    return names


def test_the_readme_s_convolutions() -> None:
    assert lines_of_use(1)["y"].shape == (1, 128, 56, 56)


def rows_of(text: str) -> dict[str, list[str]]:
    """The rows of all tables by their first cell and, of networks, the batch; bold cells as plain ones."""
    rows = [[cell.strip(" *`") for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {" ".join(row[:2]) if row[1] in ("1", "8") else row[0]: row for row in reversed(rows)}


def test_the_readme_names_the_nodes_of_networks() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (nodes,) = re.findall(r"\* Nodes: (.*?); and\s+arithmetic", text, re.DOTALL)
    named = re.findall(r"[A-Z]\w+", nodes)
    made_by_passes = {"ChannelNormalization", "InvertedResidual", "Separable", "Shuffle"}
    made_into_others = {"Dropout", "Einsum", "Upsample"}
    assert sorted(named) == sorted({*LOWERINGS, *VIEWS} - made_by_passes | made_into_others)


def test_the_readme_s_summary_is_that_of_the_tables() -> None:
    """The first row of its own, the others of the files that they link to."""
    names = ("MobileNet V1", "MobileNet V2", "ResNet-50", "ResNeXt-50", "VGG-16, convolutions")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    summary = text[text.index("| device |") : text.index("### Layers")]
    links = re.findall(r"^\| \[.*?\]\((.*?)\)[^|]*\|(.*)\|$", summary, re.MULTILINE)
    assert len(links) == 6
    for link, cells in links:
        tables = rows_of(text if link == "#layers" else (ROOT / link).read_text(encoding="utf-8"))
        mean = tables["geometric mean over all distinct layers"]
        want = [mean[2], mean[4], *(tables[f"{name} 1"][3] if f"{name} 1" in tables else "not measured" for name in names)]
        assert [cell.strip() for cell in cells.split("|")] == want, link


def ratios(file: str) -> dict[str, list[float]]:
    """The ratios of all layers of a file's tables, by layout."""
    found: dict[str, list[float]] = {}
    for part in (ROOT / file).read_text(encoding="utf-8").split("Every layer in ")[1:]:
        rows = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("| `")]
        found[part[:4]] = [float(row[5].strip(" *")) for row in rows if row[0].count("_") >= 2 and row[5].strip() != "-"]
    return found


def test_the_readme_says_where_it_is_slower_as_the_tables_do() -> None:
    wide = [*map(ratios, ("README.md", ".github/XEON.md", ".github/EPYC_ZEN5.md", ".github/EPYC.md"))]
    eight = [ratios(f".github/{name}8.md") for name in ("BATCH", "XEON", "EPYC_ZEN5_", "EPYC")]
    avx2, gpu = ratios(".github/EPYC_AVX2.md"), ratios(".github/GPU.md")
    assert all(len(table[layout]) == 66 for table in (*wide, *eight, avx2, gpu) for layout in ("NCHW", "NHWC"))
    assert min(min(table["NCHW"]) for table in (*wide, *eight)) >= 1
    slower = [round(100 * (1 - min(min(table["NHWC"]) for table in tables))) for tables in (wide, eight)]
    behind = [sum(ratio < 1 for ratio in gpu[layout]) for layout in ("NCHW", "NHWC")]
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"by up to {slower[0]} % with one image, {slower[1]} % with eight" in text
    assert f"(down to {min(avx2['NHWC'])})" in text
    assert f"in {behind[0]} of 66 layers in N C H W and {behind[1]} in N H W C ({min(gpu['NCHW'])} to " in text


def test_the_readme_s_network() -> None:
    y = lines_of_use(2)["y"]
    assert y.shape == (1, 1000)
    assert np.isfinite(y).all()
