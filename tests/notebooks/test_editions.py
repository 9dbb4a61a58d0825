"""The notebooks as committed: two editions with the same code, executed in order, clean, small, with its headings."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.notebooks.builder import NAMES, NOTEBOOKS, load

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")

build = load()
HEADINGS = {"01": "1 卷积运算", "02": "2 3 维卷积运算", "03": "3 分组卷积", "04": "4 深度可分离卷积", "05": "5 附开源代码"}
"""The document's sections, by the number of their notebook."""


def read(edition: str, name: str) -> Any:
    return nbformat.read(NOTEBOOKS / edition / f"{name}.ipynb", as_version=4)


def code(notebook: Any) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks() -> None:
    assert [name[:2] for name in NAMES if name[0].isdigit()] == [f"{i:02d}" for i in range(1, 10)]


@pytest.mark.parametrize("name", NAMES)
def test_both_editions_come_from_the_source(name: str) -> None:
    cells = build.read_source((NOTEBOOKS / "source" / f"{name}.md").read_text(encoding="utf-8"))
    for edition in build.EDITIONS:
        made, committed = build.make_notebook(cells, edition), read(edition, name)
        assert [(c.cell_type, c.source) for c in committed.cells] == [(c.cell_type, c.source) for c in made.cells]


@pytest.mark.parametrize("name", NAMES)
def test_code_and_outputs_are_the_same_in_both_editions(name: str) -> None:
    english, chinese = read("en", name), read("zh", name)
    assert code(english) == code(chinese)
    assert [c.get("outputs") for c in english.cells] == [c.get("outputs") for c in chinese.cells]
    assert [c.source for c in english.cells] != [c.source for c in chinese.cells]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("edition", build.EDITIONS)
def test_executed_in_order_without_errors(edition: str, name: str) -> None:
    cells = [cell for cell in read(edition, name).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output


@pytest.mark.parametrize("name", NAMES)
def test_kernels_are_shown_as_they_are(name: str) -> None:
    """Where this fails, ``python notebooks/build.py --no-execute`` brings the notebooks up to date."""
    committed, current = read("en", name), read("en", name)
    build.show_kernels(current)
    assert committed.cells == current.cells


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("edition", build.EDITIONS)
def test_small_and_without_paths_of_a_machine(edition: str, name: str) -> None:
    path = NOTEBOOKS / edition / f"{name}.ipynb"
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < 2_000_000
    assert not re.search(r"(?<![\w.])/(work|root|home|Users|tmp|usr)/|site-packages|[A-Z]:\\\\Users", text)


@pytest.mark.parametrize("edition", build.EDITIONS)
@pytest.mark.parametrize("number", HEADINGS)
def test_opens_with_the_heading_of_the_document(edition: str, number: str) -> None:
    name = next(n for n in NAMES if n.startswith(number))
    first = read(edition, name).cells[0].source.splitlines()[0]
    words = HEADINGS[number].partition(" ")
    assert first.startswith(f"# {words[0]} ")
    assert words[2] in first


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("edition", build.EDITIONS)
def test_links_and_pictures(edition: str, name: str) -> None:
    notebook = read(edition, name)
    for cell in notebook.cells:
        for target in re.findall(r"\]\(([\w./]+\.ipynb)\)", cell.source):
            assert (NOTEBOOKS / edition / target).is_file(), target
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                assert output.metadata["image/png"]["alt"]


def test_a_source_with_one_language_is_refused() -> None:
    with pytest.raises(ValueError, match="English and then in Chinese"):
        build.read_source("<!-- en -->\nalone\n")
    with pytest.raises(ValueError, match="python block"):
        build.read_source("<!-- code -->\nnot fenced\n")
