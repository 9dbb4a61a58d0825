"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from clconv.errors import ClconvError


def beside(path: Path) -> Path:
    """Return where a file is written before it takes its place."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def replace_file(path: Path, text: str) -> None:
    """Write a text; a reader finds the old file or the new one, never half of it.

    Raises
    ------
    OSError
        If it cannot be written; the old file is left as it was.
    """
    path = path.resolve()  # what a link leads to
    temporary = beside(path)
    try:
        temporary.write_text(text, encoding="utf-8")
        with contextlib.suppress(FileNotFoundError):  # there is no old one
            shutil.copymode(path, temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, text: str) -> None:
    """Write what a command was asked for, see :func:`replace_file`.

    Raises
    ------
    ClconvError
        If it cannot be written; the old file is left as it was.
    """
    try:
        replace_file(path, text)
    except OSError as error:
        raise ClconvError(f"{path} cannot be written ({error.strerror}); make room there, or name another file") from error
