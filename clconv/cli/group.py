"""The group that holds the commands; each is imported when it is called."""

from __future__ import annotations

import importlib
import os

import click

_COMMANDS = {
    "bench": ("clconv.bench.command", "bench_command", "Time layers and networks here and in other libraries."),
    "check": ("clconv.cli.check", "check", "Test every algorithm on the device."),
    "demo": ("clconv.cli.demo", "demo", "Run five convolutions on a photograph."),
    "devices": ("clconv.cli.devices", "devices", "List the devices."),
    "explain": ("clconv.cli.explain", "explain", "Say which algorithm serves a problem, and why."),
    "tune": ("clconv.cli.tune", "tune", "Search for faster plans and keep them."),
    "run": ("clconv.onnx.command", "run_command", "Run a network from an ONNX file."),
}
"""Where each command is, and what the list of them says: a package that one of them needs may be missing."""


class _Lazy(click.Group):
    """Commands by name, imported on demand, so that each starts quickly and needs only what it uses."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in order."""
        return sorted(_COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, of which none is imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][2]) for name in self.list_commands(ctx)])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now."""
        if cmd_name not in _COMMANDS:
            return None
        module, name, _ = _COMMANDS[cmd_name]
        try:
            command = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            extra = {"bench": "bench", "demo": "demo", "run": "onnx"}.get(cmd_name, "cli")
            raise click.ClickException(
                f'clconv {cmd_name} needs {error.name}; install it with: pip install "clconv[{extra}]"'
            ) from error
        assert isinstance(command, click.Command)  # the table above names commands only
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--device", metavar="NAME", help="cpu, gpu, or a part of a platform's or device's name; else CLCONV_DEVICE.")
@click.version_option(package_name="clconv")
def cli(device: str | None) -> None:
    """Convolutions of neural networks on any OpenCL device."""
    if device:
        os.environ["CLCONV_DEVICE"] = device
