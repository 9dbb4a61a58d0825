"""``clconv explain``: what would run for a problem, and why."""

from __future__ import annotations

import json

import click

from clconv.device import DeviceInfo
from clconv.discovery import beside, default_queue
from clconv.explain import explain as explain_problem
from clconv.notation import parse
from clconv.select import Limits


@click.command()
@click.argument("problem", nargs=-1, required=True)
@click.option("--algorithm", default="auto", help="auto, a family (direct, winograd, strassen, split, reference) or a name.")
@click.option("--workspace", type=int, help="Most scratch memory, in bytes.")
@click.option("--error-factor", type=float, help="Largest bound of the error, a number as printed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(problem: tuple[str, ...], algorithm: str, workspace: int | None, error_factor: float | None, as_json: bool) -> None:
    """Say what would run for PROBLEM and why.

    PROBLEM in words, quoted: "3x3 64->128 @56 stride 2 relu", or in oneDNN's notation: g32ic128ih56oc128oh56kh3ph1.

    Words: KHxKW, IC->OC, @H or @HxW; groups and batch with a number; stride, dilation and pad with one or with HxW, pad also
    with same, same_lower or valid (half of the filter if left out); depthwise, pointwise, bias, residual; nchw, nhwc; float16,
    bfloat16, float32, float64; an activation (leaky_relu 0.1, clip 0 6). In oneDNN's notation, missing padding is 0, and dh0 is
    no dilation.
    """
    text = parse(" ".join(problem))
    queue = default_queue()
    limits = Limits(algorithm, workspace, error_factor)
    explanation = explain_problem(text, DeviceInfo.of(queue.device), limits, beside=beside(queue) is not None)
    click.echo(json.dumps(explanation.as_dict(), indent=1) if as_json else str(explanation))
