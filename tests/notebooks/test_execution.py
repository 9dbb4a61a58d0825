"""The notebooks run from top to bottom, with short measurements."""

from __future__ import annotations

import pytest

from tests.notebooks.builder import NAMES, NOTEBOOKS, load

pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("ipywidgets")

build = load()

LONGEST = "09_choose_algorithm"
"""It builds most algorithms for each of its layers, which takes half as long as all others: first so that none waits for it."""


def run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLCONV_NOTEBOOK_FAST", "1")
    monkeypatch.delenv("POCL_CACHE_DIR", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOKS.parent))
    cells = build.read_source((NOTEBOOKS / "source" / f"{name}.md").read_text(encoding="utf-8"))
    build.execute(build.make_notebook(cells, "en"), NOTEBOOKS / "en")


@pytest.mark.notebooks
@pytest.mark.parametrize("name", sorted(NAMES, key=LONGEST.__ne__))
def test_every_notebook(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run(name, monkeypatch)


def test_the_first_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    run("01_slide_window", monkeypatch)
