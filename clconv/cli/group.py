"""The group that holds the commands; each is imported when it is called."""

from __future__ import annotations

import importlib
import os

import click

_COMMANDS = {
    "bench": ("clconv.bench.command", "bench_command"),
    "check": ("clconv.cli.check", "check"),
    "demo": ("clconv.cli.demo", "demo"),
    "devices": ("clconv.cli.devices", "devices"),
    "explain": ("clconv.cli.explain", "explain"),
    "tune": ("clconv.cli.tune", "tune"),
    "run": ("clconv.onnx.command", "run_command"),
}


class _Lazy(click.Group):
    """Commands by name, imported on demand, so that each starts quickly and needs only what it uses."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name]
        try:
            command = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            extra = {"bench": "bench", "run": "onnx"}.get(cmd_name, "demo")
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
