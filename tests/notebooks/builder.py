"""notebooks/build.py as a module, under a name that no package has."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SOURCES = sorted((NOTEBOOKS / "source").glob("*.md"))
NAMES = [source.stem for source in SOURCES]


def load() -> Any:
    """Import the script from its file, beside which lies what it imports."""
    if str(NOTEBOOKS) not in sys.path:
        sys.path.append(str(NOTEBOOKS))
    spec = importlib.util.spec_from_file_location("clconv_notebooks_build", NOTEBOOKS / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
