"""The errors that clconv raises.

Each message is one sentence: what is wrong, what was given, what is expected and what to do.
"""

from __future__ import annotations


class ClconvError(Exception):
    """Anything that clconv refuses or fails to do."""


class ShapeError(ClconvError, ValueError):
    """Shapes, sizes, element types or options that do not fit together."""


class UnsupportedError(ClconvError, NotImplementedError):
    """A well-formed request that the library, or the chosen algorithm, does not cover."""


class DeviceError(ClconvError, RuntimeError):
    """No usable OpenCL device, a foreign context, or a limit of the device that is exceeded."""


class KernelBuildError(DeviceError):
    """An OpenCL program that the driver does not compile.

    Attributes
    ----------
    source : str
        The program text as it was given to the driver, includes expanded.
    options : tuple of str
        The build options.
    log : str
        What the driver's compiler printed.
    device : str
        Name of the device.
    """

    def __init__(self, message: str, *, source: str, options: tuple[str, ...], log: str, device: str) -> None:
        super().__init__(message)
        self.source = source
        self.options = options
        self.log = log
        self.device = device

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle, as process pools do with what a task raises."""
        return _rebuilt, (str(self), self.source, self.options, self.log, self.device)


def _rebuilt(message: str, source: str, options: tuple[str, ...], log: str, device: str) -> KernelBuildError:
    return KernelBuildError(message, source=source, options=options, log=log, device=device)
