"""How lines of memory share the sets of the first cache, of which OpenCL tells nothing: as in most processors of PCs."""

from __future__ import annotations

import math

WAY = 4096
"""Bytes: addresses so far apart, or a multiple, share a set; and a load waits for a store before it that is so far away."""

WAYS = 8
"""Lines of memory that a set has room for."""


def filled(lines: int, pitch: int) -> float:
    """Return how full a set becomes by so many lines ``pitch`` bytes apart; above 1, some are gone before all is used."""
    return lines * math.gcd(pitch, WAY) / WAY / WAYS
