"""Digests of text and of bytes, the same in every process."""

from __future__ import annotations

try:
    # hashlib, which gives the same function, loads OpenSSL: 3.4 MiB in memory.
    from _blake2 import blake2b
except ImportError:  # an interpreter without hashes of its own
    from hashlib import blake2b

BYTES = 32


def digest(*parts: bytes | memoryview) -> bytes:
    """Return :data:`BYTES` bytes that tell what the parts hold, one behind the other, from anything else.

    Parameters
    ----------
    *parts : bytes or memoryview
        Contiguous.
    """
    made = blake2b(digest_size=BYTES)
    for part in parts:
        made.update(part)
    return made.digest()
