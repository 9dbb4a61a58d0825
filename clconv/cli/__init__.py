"""The command line: ``clconv demo | devices | explain | check | bench | tune | run``."""

from __future__ import annotations

import errno
import sys


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence and the exit status 1."""
    try:
        from clconv.cli.group import cli
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.exit(f'the command line needs {error.name}; install it with: pip install "clconv[cli]"')
    from clconv.errors import ClconvError

    try:
        cli()
    except ClconvError as error:
        sys.exit(f"clconv: {error}")
    except OSError as error:  # not of a closed pipe, which ends a command without a word
        if error.filename:
            sys.exit(f"clconv: {error.filename} cannot be read or written ({error.strerror}); name another file")
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        sys.exit(f"clconv: the output cannot be written ({error.strerror}); make room there, or name another file")
