"""Kernels as the notebooks show them: from their real files, so that no text is copied."""

from __future__ import annotations

import ast
from pathlib import Path

from IPython.display import display
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import CLexer

from clconv.source import KERNEL_DIR

HERE = Path(__file__).resolve().parent


def kernel_path(name: str) -> Path:
    """Return the file of a kernel: ``"kernels/..."`` belongs to the library, anything else lies beside the notebooks."""
    library = name.removeprefix("kernels/")
    return KERNEL_DIR / library if library != name else HERE / name


def listing(name: str, begin: str = "", end: str = "") -> dict[str, str]:
    """Return a kernel, from the line that contains ``begin`` to the line that is exactly ``end``, as HTML and as plain text.

    Raises
    ------
    ValueError
        If no line contains ``begin``, or none after it is ``end``.
    """
    lines = kernel_path(name).read_text(encoding="utf-8").splitlines()
    first = next((i for i, line in enumerate(lines) if begin in line), None)
    if first is None:
        raise ValueError(f"{name} has no line with {begin!r}")
    last = next((i for i, line in enumerate(lines[first:], first) if line == end), None) if end else len(lines) - 1
    if last is None:
        raise ValueError(f"{name} has no line {end!r} after the one with {begin!r}")
    where = name + (f", {first + 1}–{last + 1}" if begin else "")
    text = "\n".join(lines[first : last + 1])
    # Not Markdown: JupyterLab would wrap its lines, and the pictures in comments with them.
    style = "white-space: pre; overflow: auto; font-size: 12px; line-height: 1.35; word-break: normal"
    html = highlight(text, CLexer(), HtmlFormatter(noclasses=True, nobackground=True, prestyles=style))
    return {"text/html": f"<code>{where}</code>{html}", "text/plain": f"{where}\n\n{text}"}


def show(name: str, begin: str = "", end: str = "") -> None:
    """Show what :func:`listing` returns."""
    display(listing(name, begin, end), raw=True)  # type: ignore[no-untyped-call]  # IPython has no types


def current(code: str, shown: list[str]) -> list[dict[str, str]]:
    """Return what a cell shows of kernels as their files are now.

    Parameters
    ----------
    code : str
        Of the cell; the arguments of its calls of ``lab.show`` are literals, but for names that follow from what was computed.
    shown : list of str
        What each call showed when the cell was run, as HTML: it tells those names.
    """
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call) and ast.unparse(node.func) == "lab.show"]
    calls.sort(key=lambda call: call.lineno)
    listings = []
    for call, html in zip(calls, shown, strict=True):
        name, *lines = call.args
        known = isinstance(name, ast.Constant)
        file = ast.literal_eval(name) if known else html.removeprefix("<code>").partition("</code>")[0].partition(",")[0]
        listings.append(listing(file, *(ast.literal_eval(line) for line in lines)))
    return listings
