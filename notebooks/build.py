"""Build the notebooks: one source in, an English and a Chinese edition out, executed.

    python notebooks/build.py                      every notebook
    python notebooks/build.py 01 07                only these
    python notebooks/build.py --no-execute         keep the outputs of cells that did not change, but kernels are shown as they are

A source, ``source/NN_verb_noun.md``, is cut into cells by comment lines:

    <!-- en -->        text of the English edition
    <!-- zh -->        text of the Chinese edition; the pair is one cell
    <!-- code -->      one Python cell, between ``` fences, the same in both editions
    <!-- code hide --> the same, folded in JupyterLab until the reader opens it

The code is executed once and its outputs go into both editions, so both show the very same numbers.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import listing
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "source"
EDITIONS = ("en", "zh")
_MARK = re.compile(r"^<!-- (en|zh|code)((?: \w+)*) -->\n", re.MULTILINE)
_FENCE = re.compile(r"\A\s*```python\n(.*?)\n```\s*\Z", re.DOTALL)


class Cell(NamedTuple):
    """One cell of a source: its code, or its text by edition."""

    code: str | None
    text: dict[str, str]
    tags: tuple[str, ...] = ()


def read_source(text: str) -> list[Cell]:
    """Cut a source into cells.

    Raises
    ------
    ValueError
        If an edition lacks a text or a code block is not fenced.
    """
    parts = _MARK.split(text)
    if parts[0].strip():
        raise ValueError(f"the source must open with a mark, got {parts[0].strip()[:40]!r}")
    marks = list(zip(parts[1::3], parts[2::3], parts[3::3], strict=True))
    cells: list[Cell] = []
    while marks:
        kind, tags, body = marks.pop(0)
        if kind == "code":
            fenced = _FENCE.match(body)
            if not fenced:
                raise ValueError(f"a code cell must be one ```python block, got {body.strip()[:60]!r}")
            cells.append(Cell(fenced[1], {}, tuple(tags.split())))
        elif kind == "en" and marks and marks[0][0] == "zh":
            cells.append(Cell(None, {"en": body.strip(), "zh": marks.pop(0)[2].strip()}))
        else:
            raise ValueError(f"a text must stand in English and then in Chinese, got {kind} alone: {body.strip()[:60]!r}")
    return cells


def make_notebook(cells: list[Cell], edition: str) -> NotebookNode:
    """Return the notebook of one edition, without outputs."""
    notebook: NotebookNode = nbformat.v4.new_notebook()  # type: ignore[no-untyped-call]  # nbformat has no types
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(cells):
        node: NotebookNode
        if cell.code is None:
            node = nbformat.v4.new_markdown_cell(cell.text[edition])  # type: ignore[no-untyped-call]  # as above
        else:
            node = nbformat.v4.new_code_cell(cell.code)  # type: ignore[no-untyped-call]  # as above
            if "hide" in cell.tags:
                node.metadata = {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]}
        node.id = f"cell-{number:03d}"
        notebook.cells.append(node)
    return notebook


def execute(notebook: NotebookNode, folder: Path, timeout: int = 600) -> None:
    """Run every cell, in a kernel that starts in ``folder``; an error in a cell is raised."""
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=timeout, kernel_name="python3", resources=resources, record_timing=False)
    client.coalesce_streams = True  # what a cell prints is one output, not one for each time that it happened to be flushed
    client.execute()


def copy_outputs(source: NotebookNode, target: NotebookNode) -> None:
    """Give ``target`` the outputs of ``source`` where the code is the same."""
    outputs = {c.source: c for c in source.cells if c.cell_type == "code"}
    for cell in target.cells:
        if cell.cell_type == "code" and cell.source in outputs:
            cell.outputs = outputs[cell.source].outputs
            cell.execution_count = outputs[cell.source].execution_count
    if "widgets" in source.metadata:
        target.metadata["widgets"] = source.metadata["widgets"]


def show_kernels(notebook: NotebookNode) -> None:
    """Bring the kernels that a notebook shows up to date with their files."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            shown = [o for o in cell.outputs if o.get("data", {}).get("text/html", "").startswith("<code>")]
            htmls = [output.data["text/html"] for output in shown]
            for output, data in zip(shown, listing.current(cell.source, htmls) if shown else (), strict=True):
                output.data = NotebookNode(data)


def build(source: Path, *, run: bool) -> list[Path]:
    """Build both editions of one source and return their paths."""
    cells = read_source(source.read_text(encoding="utf-8"))
    editions = {edition: make_notebook(cells, edition) for edition in EDITIONS}
    paths = {edition: HERE / edition / f"{source.stem}.ipynb" for edition in EDITIONS}
    first = editions[EDITIONS[0]]
    if run:
        paths[EDITIONS[0]].parent.mkdir(exist_ok=True)
        execute(first, paths[EDITIONS[0]].parent)
    elif paths[EDITIONS[0]].exists():
        old: Any = nbformat.read(paths[EDITIONS[0]], as_version=4)  # type: ignore[no-untyped-call]  # as above
        copy_outputs(old, first)
        show_kernels(first)
    for edition, notebook in editions.items():
        copy_outputs(first, notebook)
        paths[edition].parent.mkdir(exist_ok=True)
        nbformat.write(notebook, paths[edition])  # type: ignore[no-untyped-call]  # as above
    return list(paths.values())


def main(arguments: list[str]) -> None:
    """Build what the command line names."""
    parser = argparse.ArgumentParser(description="Build the notebooks in both languages.")
    parser.add_argument("names", nargs="*", help="beginnings of the notebooks' names; none means all")
    parser.add_argument("--no-execute", action="store_true", help="keep the outputs of cells that did not change")
    options = parser.parse_args(arguments)
    for source in sorted(SOURCES.glob("*.md")):
        if not options.names or source.stem.startswith(tuple(options.names)):
            for path in build(source, run=not options.no_execute):
                print(f"{path.relative_to(HERE)}  {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
