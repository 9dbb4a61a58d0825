"""Records of the fastest plan per problem and device: shipped with the package, or found by ``clconv tune``.

A store is a JSON file, one object: ``{"version": 1, "devices": {DEVICE: {PROBLEM: {"algorithm", "tile", "seconds"}}}}``.
Writers replace it as a whole under a lock, so readers never see half of one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from clconv.device import DeviceInfo
from clconv.errors import ClconvError
from clconv.files import replace_file
from clconv.folders import tuning_file
from clconv.plan import Plan
from clconv.problem import ConvProblem

VERSION = 1
SHIPPED = Path(__file__).parent / "records"
"""Folder of the records that come with the package."""

_START = b'{"version":1,"devices":{'
"""What a store begins with, but for blanks and the number."""


@dataclass(frozen=True)
class Record:
    """The fastest plan that was found for a problem on a device."""

    algorithm: str
    tile: str
    seconds: float


def device_key(device: DeviceInfo) -> str:
    """Return what records are filed under: times of another driver or another number of units say little.

    Virtual machines call all servers of a maker the same, with a matrix unit, with AVX-512 alone, in one cycle or two, or with
    neither.
    """
    unit = " | amx" if device.amx else " | full avx512" if device.full_avx512 else " | avx512" if device.avx512 else ""
    return f"{device.platform} | {device.name} | {device.driver} | {device.compute_units} units{unit}"


def problem_key(problem: ConvProblem) -> str:
    """Return what a record is filed under within a device; the epilogue does not matter for the choice."""
    pads = "x".join(str(p) for axis in problem.padding for p in axis)
    return f"{problem} p{pads}"


def load(path: Path) -> dict[str, dict[str, Record]]:
    """Read a store; one that is damaged is renamed and warned of, and counts as empty, as does one of another version.

    A file that is no store counts as empty, too, and is left alone.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict
        Device to problem to record.
    """
    try:
        return _load(path)
    except _VersionError:
        return {}
    except OSError as error:
        warnings.warn(f"the tuning records in {path} cannot be read ({error}); going on without them", stacklevel=2)
    except _ForeignError as error:
        warnings.warn(f"{error}; going on without records", stacklevel=2)
    return {}


class _VersionError(Exception):
    """A store of another version of the package: not for us to read, and not damaged."""


class _ForeignError(ClconvError):
    """A file of something else."""


def _foreign(path: Path) -> _ForeignError:
    what = f"{path} is no file of tuning records and is left alone"
    return _ForeignError(f"{what}; name another one with --store or CLCONV_TUNING")


def _load(path: Path) -> dict[str, dict[str, Record]]:
    if not (path.is_file() or path.is_dir()):  # a device may be named in order to have no file
        return {}
    try:
        raw = path.read_bytes()
    except FileNotFoundError:  # another process has just set it aside
        return {}
    content: Any = None
    try:
        content = json.loads(raw.decode("utf-8"))
        if _is_store(content):
            return _parse(content)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        if _is_store(content) or (content is None and _begins_like_one(raw)):
            # Not repr: that of a decoding error holds all bytes of the file.
            _set_aside(path, ".damaged", f"are damaged ({type(error).__name__}: {error})")
            return {}
    raise _foreign(path)


def _refuse_foreign(path: Path) -> None:
    """Raise an error for a file of something else; one that is damaged is set aside when it is read under the lock."""
    raw = path.read_bytes() if path.is_file() else b""
    try:
        foreign = not _is_store(json.loads(raw.decode("utf-8")))
    except (ValueError, RecursionError):
        foreign = not _begins_like_one(raw)
    if foreign:
        raise _foreign(path)


def _is_store(content: Any) -> bool:
    """Whether JSON that was read is that of a store, of whatever version and state."""
    return isinstance(content, dict) and isinstance(content.get("version"), int) and isinstance(content.get("devices"), dict)


def _begins_like_one(raw: bytes) -> bool:
    """Whether a file that is no JSON may be a store of which the rest was lost, or changed; all may be lost."""
    start = re.sub(rb"\d+", b"1", re.sub(rb"\s", b"", raw[:100]))
    return _START.startswith(start[: len(_START)])


def _set_aside(path: Path, suffix: str, why: str) -> None:
    aside = next(p for i in itertools.count(1) if not (p := _beside(path, suffix if i == 1 else f"{suffix}{i}")).exists())
    try:
        path.replace(aside)
        where = f"set aside as {aside}"
    except OSError:
        where = "left where they are"
    warnings.warn(f"the tuning records in {path} {why}; they are {where}", stacklevel=4)


def _beside(path: Path, suffix: str) -> Path:
    """Return the file next to a store with its whole name in front: ``x.lock`` may be a store, too."""
    return path.with_name(path.name + suffix)


def _parse(content: Any) -> dict[str, dict[str, Record]]:
    if content["version"] != VERSION:
        raise _VersionError(f"are of version {content['version']!r} and this clconv writes version {VERSION}")
    return {
        device: {problem: Record(str(r["algorithm"]), str(r["tile"]), _seconds(r["seconds"])) for problem, r in records.items()}
        for device, records in content["devices"].items()
    }


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not 0 < seconds < math.inf:
        raise ValueError(f"{seconds} is no time in seconds")
    return seconds


def make_folder(path: Path) -> None:
    """Make the folder of a store, and see that a file can be written there: before a search, not after it.

    Raises
    ------
    ClconvError
        If it cannot, or there is something that is no store.
    """
    with _writing(path):
        if path.is_dir():
            raise ClconvError(
                f"tuning records go into a file and {path} is a folder; name a file with --store or CLCONV_TUNING"
            )
        if path.exists() and not path.is_file():
            raise _foreign(path)
        _refuse_foreign(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _beside(path, ".lock").touch()


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the system says of a store that cannot be written into a ClconvError."""
    try:
        yield
    except OSError as error:
        raise ClconvError(
            f"tuning records cannot be written to {path} ({error.strerror}); name another file with --store or CLCONV_TUNING"
        ) from error


def save(path: Path, device: str, found: dict[str, Record]) -> None:
    """Add records of a device to a store, whatever other processes do meanwhile; one of another version is set aside.

    Parameters
    ----------
    path : Path
    device : str
        See :func:`device_key`.
    found : dict of str to Record

    Raises
    ------
    ClconvError
        If nothing can be written there, or there is something that is no store.
    """
    make_folder(path)
    with _writing(path), _locked(_beside(path, ".lock")):
        try:
            content = _load(path)
        except _VersionError as error:
            _set_aside(path, ".other", str(error))
            content = {}
        content.setdefault(device, {}).update(found)
        plain = {d: {p: vars(r) for p, r in sorted(rs.items())} for d, rs in sorted(content.items())}
        replace_file(path, json.dumps({"version": VERSION, "devices": plain}, indent=1))
    _known.cache_clear()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; where the platform has none, go without: the file is replaced whole anyway."""
    with path.open("a") as file:
        try:
            import fcntl
        except ImportError:  # not a POSIX system
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # a process that was forked meanwhile has the file open as well


@cache
def _known(device: str, path: Path | None) -> dict[str, Record]:
    """Return the records for a device; those of the user go before those of the package."""
    records: dict[str, Record] = {}
    for shipped in sorted(SHIPPED.glob("*.json")):
        records.update(load(shipped).get(device, {}))
    if path is not None:
        records.update(load(path).get(device, {}))
    return records


def recall(problem: ConvProblem, device: DeviceInfo, candidates: list[Plan]) -> tuple[Plan, float] | None:
    """Return the candidate that a tuned record names for this device and the seconds it took, or None.

    ``CLCONV_NO_TUNING=1`` leaves records aside.
    """
    if os.environ.get("CLCONV_NO_TUNING", "0") not in ("", "0"):
        return None
    records = _known(device_key(device), tuning_file())
    record = records.get(problem_key(problem)) if records else None
    if record is None:
        return None
    named = (p for p in candidates if (p.algorithm, p.tile) == (record.algorithm, record.tile))
    return next(((plan, record.seconds) for plan in named), None)
