"""``clconv run``: a network on a picture, or on arrays, from the command line."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from clconv.errors import ClconvError, ShapeError, UnsupportedError
from clconv.onnx.graph import Port
from clconv.onnx.network import Network, load

Array = NDArray[Any]

_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif")
_NORMAL = {
    "imagenet": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "-1..1": ([0.5] * 3, [0.5] * 3),
    "0..1": ([0.0] * 3, [1.0] * 3),
    "0..255": ([0.0] * 3, [1 / 255] * 3),
}
_FILE: Any = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("run")
@click.argument("model", type=_FILE)
@click.option("--input", "source", type=_FILE, help="A picture, or .npz with an array per input; random numbers if left out.")
@click.option(
    "--normalise", type=click.Choice(list(_NORMAL)), default="imagenet", show_default=True, help="What a pixel becomes."
)
@click.option("--labels", type=_FILE, help="A class name per line.")
@click.option("--batch", type=click.IntRange(1, 2**31 - 1), help="Repeat the picture, or draw as many; 1 if left out.")
@click.option("--dtype", type=click.Choice(["float32", "float16"]), help="Element type of the images in memory.")
@click.option(
    "--algorithm", type=click.Choice(["auto", "direct"]), default="auto", show_default=True, help="direct: least rounding."
)
@click.option("--explain", is_flag=True, help="Show what the passes made of the network.")
@click.option("--profile", is_flag=True, help="Show the time of each step.")
@click.option("--against", type=click.Choice(["onnxruntime"]), help="Compare results and times.")
def run_command(
    model: Path,
    source: Path | None,
    normalise: str,
    labels: Path | None,
    batch: int | None,
    dtype: str | None,
    algorithm: str,
    explain: bool,
    profile: bool,
    against: str | None,
) -> None:
    """Run an ONNX network of convolutions on the OpenCL device.

    clconv run mobilenet.onnx --input cat.jpg --labels imagenet.txt --profile
    """
    try:
        names = _labels(labels)
        with Console(stderr=True).status(f"loading {model.name}") as status:
            net = load(model, dtype=dtype, algorithm=algorithm)
            inputs = _inputs(net, source, normalise, batch)
            status.update("building kernels, packing weights")
            net(inputs)
        results, seconds = _timed(lambda: net(inputs))
        outputs = results if isinstance(results, tuple) else (results,)
        click.echo(
            f"{model.name} on {net.queue.device.name.strip()}: {1e3 * seconds:.2f} ms, {net.parameters / 1e6:.2f} M parameters"
        )
        for name, value in zip(net.outputs, outputs, strict=True):
            _show(name, value, names)
        counts = {v.shape[1] for v in outputs if _scores(v)}
        if labels is not None and counts and len(names) not in counts:
            click.echo(f"{labels} names {len(names)} classes and the network has {max(counts)}: names may not belong", err=True)
        if explain:
            click.echo(str(net.explain(inputs)))
        if profile:
            click.echo(str(net.profile(inputs)))
        if against:
            _compare(model, inputs, outputs, seconds)
    except ClconvError as error:
        raise click.ClickException(str(error)) from error
    except MemoryError as error:
        raise click.ClickException(f"the arrays do not fit into memory ({error}); give a smaller batch") from error


def _timed(call: Callable[[], Any], least: int = 3, limit: float = 1.0) -> tuple[Any, float]:
    """Return a call's result and its least seconds, after one that does not count."""
    result = call()
    best, begin, count = float("inf"), time.perf_counter(), 0
    while count < least or (count < 20 and time.perf_counter() - begin < limit):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
        count += 1
    return result, best


def _inputs(net: Network, source: Path | None, normalise: str, batch: int | None) -> dict[str, Array]:
    if source is None:
        random = np.random.default_rng(0)
        return {p.name: random.standard_normal(_shape(p, batch or 1)).astype(p.dtype) for p in net.inputs}
    if source.suffix.lower() == ".npz":
        if batch is not None:
            raise ShapeError(f"--batch {batch} repeats a picture, and the arrays of {source} have a batch; leave it out")
        return _arrays(source)
    if source.suffix.lower() not in _PICTURES:
        raise ShapeError(f"{source} is neither a picture ({', '.join(_PICTURES)}) nor an .npz file")
    if len(net.inputs) != 1:
        raise ShapeError(
            f"a picture serves a network with one input; this one has {len(net.inputs)}, give an .npz with all of them"
        )
    return {net.inputs[0].name: _picture(source, net.inputs[0], normalise, batch or 1)}


def _arrays(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # whatever zipfile, zlib and NumPy raise for a damaged file
        raise ShapeError(f"{path} is no .npz of plain arrays ({error}); write it with numpy.savez") from error


def _labels(path: Path | None) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines() if path else []
    except (OSError, UnicodeDecodeError) as error:
        raise ShapeError(f"{path} is no text of labels ({error}); give one with a class name per line") from error


def _shape(port: Port, batch: int, sizes: tuple[int, int] = (224, 224)) -> tuple[int, ...]:
    """Return the shape of an input, with the given sizes where the model leaves height and width open."""
    if port.shape is None:
        raise ShapeError(f"the model says nothing of the shape of its input {port.name!r}; give it in an .npz file")
    shape = [batch if i == 0 else s for i, s in enumerate(port.shape)]
    fill = list(sizes)
    return tuple(int(s) if s is not None else fill.pop(0) if fill else 1 for s in shape)


def _picture(path: Path, port: Port, normalise: str, batch: int) -> Array:
    """Read a picture in the size and layout of an input: (N, 3, H, W) or (N, H, W, 3)."""
    try:
        from PIL import Image

        from clconv.cli.picture import read_picture
    except ImportError as error:
        raise UnsupportedError("reading pictures needs pillow; install it with pip install 'clconv[demo]'") from error
    shape = port.shape or ()
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise ShapeError(f"the input is no picture with 3 channels ({port}); give it in an .npz file")
    image = read_picture(path)
    first = shape[1] == 3
    # Networks halve an image five times.
    own = (max(32, round(image.height / 32) * 32), max(32, round(image.width / 32) * 32))
    height, width = (_shape(port, batch, own)[i] for i in ((2, 3) if first else (1, 2)))
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32) / 255
    mean, deviation = _NORMAL[normalise]
    pixels = (pixels - np.array(mean, np.float32)) / np.array(deviation, np.float32)
    one = pixels.transpose(2, 0, 1) if first else pixels
    return np.ascontiguousarray(np.broadcast_to(one, (batch, *one.shape)).astype(port.dtype))


def _show(name: str, value: Array, labels: list[str]) -> None:
    """Print the likeliest classes of a vector of scores, the extent of anything else."""
    if not _scores(value):
        extent = f", from {value.min():.4g} to {value.max():.4g}" if value.size else ""
        click.echo(f"{name} {value.shape}{extent}")
        return
    for index, scores in enumerate(value.reshape(value.shape[0], -1).astype(np.float64)):
        if not np.isfinite(scores.max()):  # which is nan where any score is
            count = scores.size - np.count_nonzero(np.isfinite(scores))
            click.echo(f"{name}[{index}]: no scores, {count} of {scores.size} are infinite or nan")
            continue
        if scores.min() < 0 or abs(scores.sum() - 1) > 1e-2:
            scores = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        best = np.argsort(-scores)[:5]
        words = ", ".join(f"{labels[i] if i < len(labels) else i} {100 * scores[i]:.1f} %" for i in best)
        click.echo(f"{name}[{index}]: {words}")


def _scores(value: Array) -> bool:
    """Whether an output looks like the scores of classes."""
    return value.ndim > 1 and value.size > 0 and value.size == value.shape[0] * value.shape[1] and value.shape[1] > 1


def _compare(model: Path, inputs: dict[str, Array], outputs: tuple[Array, ...], seconds: float) -> None:
    try:
        import onnxruntime
    except ImportError as error:
        raise UnsupportedError("onnxruntime is not installed; install it with pip install onnxruntime") from error
    try:
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    except Exception as error:  # of classes that onnxruntime keeps to itself: an operator set that it does not know, say
        raise UnsupportedError(
            f"onnxruntime does not load the model ({' '.join(str(error).split())}); leave --against out"
        ) from error
    feeds = {
        i.name: inputs[i.name].astype(np.float32 if i.type == "tensor(float)" else inputs[i.name].dtype)
        for i in session.get_inputs()
    }
    try:
        theirs, other = _timed(lambda: session.run(None, feeds))
    except Exception as error:  # a batch that the model does not leave open, say
        raise ShapeError(f"onnxruntime does not run the model on these inputs ({' '.join(str(error).split())})") from error
    off = max(_off(a, b) for a, b in zip(outputs, theirs, strict=True))
    click.echo(f"onnxruntime: {1e3 * other:.2f} ms, {other / seconds:.2f} times ours")
    click.echo(f"the results differ by {off:.1e} of the largest output")


def _off(ours: Array, theirs: Array) -> float:
    """Return the largest difference as a share of the largest finite output; infinity if others differ at all."""
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    finite = np.isfinite(b)
    if not np.isfinite(a[finite]).all() or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    largest = float(np.abs(b[finite]).max(initial=0))
    return float(np.abs(a[finite] - b[finite]).max(initial=0)) / largest if largest else 0.0
