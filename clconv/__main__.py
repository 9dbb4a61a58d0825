"""``python -m clconv``: the command line where the script ``clconv`` is not on the PATH."""

from __future__ import annotations

from clconv.cli import main

if __name__ == "__main__":
    main()
