"""Searching for the fastest plan on a device, and remembering it."""

from __future__ import annotations

from clconv.tuning.store import recall

__all__ = ["recall"]
