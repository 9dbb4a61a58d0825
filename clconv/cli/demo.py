"""``clconv demo``: five convolutions on a photograph, each checked against the oracle, in a table and a picture."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import matplotlib
import numpy as np
import pyopencl as cl
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import clconv
from clconv.cli.options import PICTURES, drawable
from clconv.cli.picture import read_picture
from clconv.device import DeviceInfo
from clconv.errors import ShapeError
from clconv.explain import explain
from clconv.plan import Plan
from clconv.problem import EPS, ConvProblem
from clconv.reference import Array, convolve, error_bound, reference

SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32) / 4
BLUR = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]).astype(np.float32) / 256
SHARPEN = np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], np.float32)
LAPLACE = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float32)
SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]], np.float32)


@dataclass(frozen=True)
class Result:
    """One row of the table, and the picture that goes with it."""

    kind: str
    title: str
    problems: tuple[ConvProblem, ...]
    plans: tuple[Plan, ...]
    parameters: str
    seconds: float
    error: float
    bound: float
    passed: bool
    picture: Array

    @property
    def gflops(self) -> float:
        """Speed in GFLOP/s."""
        return sum(p.flops for p in self.problems) / self.seconds / 1e9


def _named(context: click.Context, parameter: click.Parameter, value: Path) -> Path | None:
    if not value.name:
        raise click.BadParameter("it is empty; name a file")
    return drawable(context, parameter, value if value.suffix not in ("", ".") else Path(f"{value}.png"))


@click.command()
@click.argument("image", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--picture",
    default="clconv-demo.png",
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_named,
    help=f"Where the results are drawn: {PICTURES}.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
def demo(image: Path | None, picture: Path, as_json: bool) -> None:
    """Run a standard, grouped, depthwise, pointwise and depthwise separable convolution on a photograph.

    Without IMAGE, a portrait of Grace Hopper that comes with matplotlib is used.
    """
    photo = _load(image)
    queue = clconv.default_queue()
    info = DeviceInfo.of(queue.device)
    results = [step(photo, queue) for step in (_standard, _grouped, _depthwise, _pointwise, _separable)]
    _draw(photo, results, picture)
    if as_json:
        click.echo(json.dumps({"device": info.name, "picture": str(picture), "rows": [_row(r) for r in results]}, indent=1))
    else:
        console = Console()
        if not console.is_terminal:
            console.width = 120  # a file or a pipe has no width of its own
        console.print(_table(info, results))
        click.echo(f"The results are drawn in {picture}.")
    if not all(r.passed for r in results):
        raise SystemExit(1)


def _load(path: Path | None) -> Array:
    """Read a photograph as (1, 3, H, W) in 0 .. 1, at most 512 pixels high and wide."""
    if path is None:
        path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    rgb = read_picture(path)
    rgb.thumbnail((512, 512))
    return np.ascontiguousarray(np.asarray(rgb, np.float32).transpose(2, 0, 1)[None] / 255)


def _measure(run: Callable[[], object]) -> float:
    """Least time of ten calls or of a tenth of a second, in seconds; in an empty cache, the first calls compile."""
    least, calls, end = float("inf"), 0, time.perf_counter() + 0.1
    while calls < 10 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        least, calls = min(least, time.perf_counter() - start), calls + 1
    return least


def _one(
    kind: str, title: str, parameters: str, photo: Array, w: Array, queue: cl.CommandQueue, show: Any, **options: Any
) -> Result:
    """Run, check and time a single convolution."""
    conv = clconv.Convolution(w, queue=queue, **options)
    y = conv(photo)
    problem = conv.problem(photo.shape)
    plan = conv.explain(photo.shape).plan
    want = reference(problem, photo, w)
    ratio = _worst(y, want, error_bound(problem, plan, photo, w))
    out = np.empty_like(y)
    seconds = _measure(lambda: conv(photo, out=out))
    return Result(kind, title, (problem,), (plan,), parameters, seconds, *ratio, ratio[0] <= ratio[1], show(y))


def _worst(y: Array, want: Array, bound: Array) -> tuple[float, float]:
    """Error and bound of the output that comes closest to its bound."""
    error = np.abs(y.astype(np.float64) - want)
    if not np.isfinite(y).all():
        return float("inf"), float(bound.max())
    at = int(np.argmax(error / bound))
    return float(error.flat[at]), float(bound.flat[at])


def _standard(photo: Array, queue: cl.CommandQueue) -> Result:
    """Edges of the grey image along four directions: 16 filters over 3 channels."""
    turned = [np.rot90(SOBEL, k) for k in range(4)] + [np.rot90(LAPLACE + 0.5 * np.rot90(SOBEL, k), k) for k in range(4)]
    w = np.stack([np.stack([f * c for c in (0.299, 0.587, 0.114)]) for f in turned * 2]).astype(np.float32)
    return _one(
        "standard", "edges", f"3·3·3·16 = {w.size}", photo, w, queue,
        lambda y: _grey(np.hypot(y[0, 0], y[0, 1])), padding=1,
    )  # fmt: skip


def _grouped(photo: Array, queue: cl.CommandQueue) -> Result:
    """Three groups, one per pair of copies of a colour: each output sees its own group only."""
    doubled = np.repeat(photo, 2, axis=1)
    w = np.stack([np.stack([SHARPEN, -0.5 * LAPLACE]) for _ in range(6)]).astype(np.float32)
    return _one(
        "grouped", "sharpened", f"3·3·6·6 / 3 = {w.size}", doubled, w, queue,
        lambda y: _colour(y[0, ::2]), padding=1, groups=3,
    )  # fmt: skip


def _depthwise(photo: Array, queue: cl.CommandQueue) -> Result:
    w = np.stack([BLUR[None]] * 3)
    return _one("depthwise", "blurred", f"5·5·3 = {w.size}", photo, w, queue, lambda y: _colour(y[0]), padding=2, groups=3)


def _pointwise(photo: Array, queue: cl.CommandQueue) -> Result:
    w = SEPIA[:, :, None, None]
    return _one("pointwise", "sepia", f"1·1·3·3 = {w.size}", photo, w, queue, lambda y: _colour(y[0]))


def _separable(photo: Array, queue: cl.CommandQueue) -> Result:
    """Blur each colour, then mix them; the bound of the second step carries that of the first along."""
    depthwise, pointwise = np.stack([BLUR[None]] * 3), SEPIA[:, :, None, None]
    info = DeviceInfo.of(queue.device)
    first = ConvProblem(photo.shape, depthwise.shape, padding=2, groups=3)
    second = ConvProblem(first.output_shape, pointwise.shape)
    plans = (explain(first, info).plan, explain(second, info).plan)
    y = clconv.separable_conv2d(photo, depthwise, pointwise, padding=2, queue=queue)
    between = reference(first, photo, depthwise)
    carried = error_bound(first, plans[0], photo, depthwise)
    bound = convolve(second, carried, np.abs(pointwise)) * (1 + EPS["float32"])
    bound += error_bound(second, plans[1], np.abs(between) + carried, pointwise)
    error, limit = _worst(y, reference(second, between, pointwise), bound)
    out = np.empty_like(y)
    seconds = _measure(lambda: clconv.separable_conv2d(photo, depthwise, pointwise, padding=2, out=out, queue=queue))
    parameters = f"5·5·3 + 3·3 = {depthwise.size + pointwise.size}"
    return Result(
        "separable", "blurred sepia", (first, second), plans, parameters, seconds, error, limit, error <= limit, _colour(y[0])
    )


def _grey(a: Array) -> Array:
    return np.clip(a / max(float(np.percentile(a, 99)), 1e-6), 0, 1)


def _colour(chw: Array) -> Array:
    return np.clip(chw.transpose(1, 2, 0), 0, 1)


def _row(r: Result) -> dict[str, Any]:
    return {
        "kind": r.kind,
        "problem": [str(p) for p in r.problems],
        "parameters": r.parameters,
        "algorithm": [p.algorithm for p in r.plans],
        "milliseconds": r.seconds * 1e3,
        "gflops": r.gflops,
        "error": r.error,
        "bound": r.bound,
        "ok": r.passed,
    }


def _table(info: DeviceInfo, results: list[Result]) -> Table:
    table = Table(title=escape(f"{info.name} ({info.platform}, {info.driver})"), title_justify="left")
    for name in ("kind", "shape", "parameters", "algorithm"):
        table.add_column(name)
    for name in ("ms", "GFLOP/s", "error", "bound"):
        table.add_column(name, justify="right")
    table.add_column("ok")
    for r in results:
        first, last = r.problems[0], r.problems[-1]
        shape = f"{first.IC}->{last.OC} @{first.IH}x{first.IW}"
        table.add_row(
            r.kind, shape, r.parameters, "\n".join(dict.fromkeys(p.algorithm for p in r.plans)), f"{r.seconds * 1e3:.3f}",
            f"{r.gflops:.1f}", f"{r.error:.1e}", f"{r.bound:.1e}", "yes" if r.passed else "[red]NO[/red]",
        )  # fmt: skip
    return table


def _draw(photo: Array, results: list[Result], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = [("photograph", _colour(photo[0])), *((f"{r.kind}: {r.title}", r.picture) for r in results)]
    for axes, (title, picture) in zip(figure.subplots(2, 3).flat, panels, strict=True):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axes.set_title(title)
        axes.set_axis_off()
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise ShapeError(f"the picture cannot be written to {path} ({error}); name another file with --picture") from error
