"""Program texts: where the kernels are, and how includes and macros become one text for the driver."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from clconv.device import DeviceInfo
from clconv.errors import ClconvError
from clconv.plan import Launch

_here = Path(__file__).resolve().parent
KERNEL_DIR = next((d for d in (_here / "kernels", _here.parent / "kernels") if d.is_dir()), _here / "kernels")
"""Folder of the kernels: beside the package's code in a wheel, beside the package in a checkout."""

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"[ \t]*$')
_LINE = re.compile(r'^#line (\d+) "([^"]+)"$')
_COUNTED = re.compile(r"<kernel>:(\d+)")

BUILD_OPTIONS = ("-cl-std=CL1.2", "-cl-mad-enable")
"""Contraction into multiply-adds is allowed, nothing else: NaN and infinity stay what they are."""

_DECLARATIONS, _NO_HEADER = "include/builtins.clh", "-D_OPENCL_H_"


@cache
def expand(kernel: str) -> str:
    """Return the text of a kernel file with its includes put in place.

    Expanded here and not by the driver, for drivers that cache programs by their text miss an edited header. ``#line``
    keeps the build log pointing at the real file and line.

    Parameters
    ----------
    kernel : str
        File relative to the kernels' folder.

    Raises
    ------
    ClconvError
        If a file is missing.
    """
    return "\n".join(_lines(kernel, [])) + "\n"


def _lines(kernel: str, seen: list[str]) -> list[str]:
    if kernel in seen:
        return []
    seen.append(kernel)
    path = KERNEL_DIR / kernel
    try:
        text = path.read_text(encoding="ascii")
    except OSError:
        raise ClconvError(f"the kernel file {kernel} is missing in {KERNEL_DIR}; reinstall clconv") from None
    lines = [f'#line 1 "kernels/{kernel}"']
    for number, line in enumerate(text.splitlines(), 1):
        match = _INCLUDE.match(line)
        if match is None:
            lines.append(line)
            continue
        lines += _lines(_resolve(kernel, match[1]), seen)
        lines.append(f'#line {number + 1} "kernels/{kernel}"')
    return lines


def located(message: str, text: str) -> str:
    """Name file and line in a compiler's message that counts the lines of an expanded text, as NVIDIA's does despite ``#line``.

    Parameters
    ----------
    message : str
        One line of a build log. One that names a file already is returned as it is.
    text : str
        What :func:`expand` returned.
    """
    match = _COUNTED.match(message)
    if match is None:
        return message
    file, line = "", 0
    for each in text.splitlines()[: int(match[1])]:
        start = _LINE.match(each)
        file, line = (start[2], int(start[1]) - 1) if start else (file, line + 1)
    return f"{file}:{line}{message[match.end() :]}" if file else message


def _resolve(kernel: str, name: str) -> str:
    """Find an include beside the file that asks for it, else below the kernels' folder."""
    beside = (Path(kernel).parent / name).as_posix()
    return beside if (KERNEL_DIR / beside).is_file() else name


def program(kernel: str, opts: tuple[str, ...], device: DeviceInfo) -> tuple[str, tuple[str, ...]]:
    """Return the text and the build options that a device's driver gets for a kernel file.

    For PoCL they are with declarations of our own: to read its header takes it 0.1 s a program. That is known of the one
    that comes with the installation, and not of those from 4 on.

    Parameters
    ----------
    kernel : str
        File relative to the kernels' folder.
    opts : tuple of str
        What :func:`options` returned.
    device : DeviceInfo
    """
    if device.is_pocl and device.driver.startswith("3."):
        return expand(_DECLARATIONS) + expand(kernel), (*opts, _NO_HEADER)
    return expand(kernel), opts


def options(launch: Launch) -> tuple[str, ...]:
    """Return the build options of a launch."""
    return (*BUILD_OPTIONS, *(f"-D{name}={value}" for name, value in launch.macros))
