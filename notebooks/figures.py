"""Figures of the notebooks: number grids, sliding windows and charts.

Colours mean the same thing everywhere and are safe for colour-blind readers (Okabe and Ito): input sky blue, filter orange,
output green, padding grey and hatched; charts have the other colours. Labels are numbers, symbols and letters of formulas, so that both editions share
them and no special font is needed. Each figure carries a text alternative, in English and Chinese.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

if TYPE_CHECKING:
    from lab import Machine

COLOUR = {
    "input": "#BFE3F7",
    "filter": "#FBD98B",
    "output": "#A5DCC8",
    "padding": "#E4E4E4",
    "blank": "#FFFFFF",
}
STRONG = {
    "input": "#56B4E9",
    "filter": "#E69F00",
    "output": "#009E73",
    "padding": "#A8A8A8",
    "blank": "#DDDDDD",
}
INK, ACCENT = "#222222", "#D55E00"
CHART = ("#0072B2", ACCENT, "#CC79A7", INK, "#888888")
"""Colours of curves, bars and points, which always differ in dash or marker too."""
Grid = npt.NDArray[Any]
plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False, "hatch.linewidth": 0.6})


def show(figure: Figure, alt: str) -> None:
    """Display a figure with its text alternative, which also stands in where pictures do not."""
    png = render(figure)
    display({"image/png": png, "text/plain": alt}, raw=True, metadata={"image/png": {"alt": alt}})  # type: ignore[no-untyped-call]  # IPython has no types


def render(figure: Figure, dpi: int = 96) -> bytes:
    """Return a figure as PNG of 256 colours, a third of the size of full colour, and close it."""
    full, small = io.BytesIO(), io.BytesIO()
    figure.savefig(full, dpi=dpi, bbox_inches="tight", facecolor="white")
    plt.close(figure)
    Image.open(full).convert("RGB").quantize(256).save(small, "png", optimize=True)
    return small.getvalue()


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Make a figure without axes in which one unit is one unit both ways, y downwards."""
    figure, ax = plt.subplots(figsize=(width, height))
    ax.set_aspect("equal")
    ax.axis("off")
    ax.invert_yaxis()
    return figure, ax


def fit(ax: Axes, margin: float = 0.3) -> None:
    """Make everything drawn so far visible."""
    ax.relim()
    ax.autoscale_view()
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    ax.set_xlim(x0 - margin, x1 + margin)
    ax.set_ylim(max(y0, y1) + margin, min(y0, y1) - margin)


# grids of numbers


def cell(ax: Axes, x: float, y: float, text: str, kind: str, strong: bool = False, size: float = 1.0) -> None:
    """Draw one cell with its text."""
    face = (STRONG if strong else COLOUR)[kind]
    hatch = "////" if kind == "padding" else None
    ax.add_patch(
        Rectangle((x, y), size, size, facecolor=face, edgecolor="white" if hatch is None else "#C8C8C8", hatch=hatch, lw=1.5)
    )
    ax.text(
        x + size / 2,
        y + size / 2,
        text,
        ha="center",
        va="center",
        color=INK,
        fontsize=11,
        fontweight="bold" if strong else None,
    )


def grid(
    ax: Axes,
    values: Grid,
    kind: str,
    at: tuple[float, float] = (0, 0),
    strong: Sequence[tuple[int, int]] = (),
    padding: int = 0,
    label: str = "",
) -> None:
    """Draw a matrix of numbers or strings; NaN stays blank, the outer ``padding`` cells are drawn as padding."""
    rows, columns = values.shape
    inside = range(padding, rows - padding), range(padding, columns - padding)
    for r in range(rows):
        for c in range(columns):
            value = values[r, c]
            is_blank = isinstance(value, float | np.floating) and np.isnan(value)
            text = value if isinstance(value, str) else "" if is_blank else f"{value:g}"
            this = kind if r in inside[0] and c in inside[1] else "padding"
            cell(ax, at[0] + c, at[1] + r, text, "blank" if is_blank else this, (r, c) in strong)
    ax.add_patch(Rectangle(at, columns, rows, fill=False, edgecolor=INK, lw=1))
    if label:
        ax.text(at[0] + columns / 2, at[1] + rows + 0.55, label, ha="center", va="center", color=INK)


def sign(ax: Axes, x: float, y: float, text: str) -> None:
    """Write an operator between two drawings."""
    ax.text(x, y, text, ha="center", va="center", fontsize=20, color=INK)


def window_frame(
    ax: Axes, x: Grid, w: Grid, position: int, *, stride: int = 1, padding: int = 0, dilation: int = 1, sums: bool = True
) -> None:
    """Draw one position of the window: input, filter, the outputs so far, and the sum that gives the latest."""
    padded = np.pad(x, padding)
    (kh, kw), (ph, pw) = w.shape, padded.shape
    oh, ow = (ph - (kh - 1) * dilation - 1) // stride + 1, (pw - (kw - 1) * dilation - 1) // stride + 1
    y = np.full((oh, ow), np.nan)
    for p in range(position + 1):
        r, c = p // ow * stride, p % ow * stride
        patch = padded[r : r + kh * dilation : dilation, c : c + kw * dilation : dilation]
        y[p // ow, p % ow] = (patch * w).sum()
    taps = [(r + i * dilation, c + j * dilation) for i in range(kh) for j in range(kw)]
    middle = ph / 2
    grid(ax, padded, "input", (0, 0), taps, padding)
    sign(ax, pw + 0.9, middle, r"$\otimes$")
    grid(ax, w, "filter", (pw + 1.8, middle - kh / 2))
    sign(ax, pw + kw + 2.7, middle, "=")
    grid(ax, y, "output", (pw + kw + 3.6, middle - oh / 2), [(position // ow, position % ow)])
    if sums:
        products = " + ".join(f"{a:g}·{b:g}" for a, b in zip(patch.ravel(), w.ravel(), strict=True))
        ax.text(
            (pw + kw + 3.6 + ow) / 2,
            ph + 0.75,
            f"{products} = {y[position // ow, position % ow]:g}",
            ha="center",
            va="center",
            fontsize=9,
        )


def film_strip(x: Grid, w: Grid, columns: int = 2, **options: Any) -> None:
    """Show every position of the window, one picture each."""
    n = positions(x, w, **options)
    rows = -(-n // columns)
    padding = 2 * options.get("padding", 0)
    across, down = x.shape[1] + padding + 2 * w.shape[1] + 3.6, x.shape[0] + padding + 1.4  # of one picture, in cells
    figure, axes = plt.subplots(rows, columns, figsize=(5.6 * columns, rows * (5.6 * down / across + 0.4)), squeeze=False)
    for p, ax in enumerate(axes.flat):
        ax.set_aspect("equal")
        ax.axis("off")
        if p < n:
            window_frame(ax, x, w, p, sums=w.size <= 9, **options)
            fit(ax, 0.1)
            ax.set_title(f"{p + 1} / {n}", fontsize=11, color=INK)
    show(
        figure,
        f"The window at each of its {n} positions, with the sum at each. / 窗口的全部 {n} 个位置以及各处的乘积累加结果。",
    )


def positions(x: Grid, w: Grid, *, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Count the positions of the window."""
    n = 1
    for size, k in zip(x.shape, w.shape, strict=True):
        n *= (size + 2 * padding - (k - 1) * dilation - 1) // stride + 1
    return n


def slide(x: Grid, w: Grid, **options: Any) -> None:
    """Display a window that can be moved with a slider or played; it moves even where no Python kernel is running."""
    import ipywidgets as widgets

    n = positions(x, w, **options)
    frames = []
    for p in range(n):
        figure, ax = canvas(7, 3)
        window_frame(ax, x, w, p, sums=w.size <= 9, **options)
        fit(ax)
        frames.append(
            widgets.Image(value=render(figure, 80), format="png", layout=widgets.Layout(max_width="100%", width="560px"))
        )
    stack = widgets.Stack(frames, selected_index=0)
    slider = widgets.IntSlider(0, 0, n - 1, description="p")
    play = widgets.Play(value=0, min=0, max=n - 1, interval=900)
    widgets.jslink((play, "value"), (slider, "value"))
    widgets.jslink((slider, "value"), (stack, "selected_index"))
    box = widgets.VBox([widgets.HBox([play, slider]), stack])
    view = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
    alt = "A slider that moves the window; run this cell to see it. / 移动窗口的滑块；运行此单元格即可看到。"
    display({"application/vnd.jupyter.widget-view+json": view, "text/plain": alt}, raw=True)  # type: ignore[no-untyped-call]  # IPython has no types


def images(pictures: Sequence[tuple[str, Grid]], alt: str, columns: int = 3) -> None:
    """Show photographs, (H, W) or (3, H, W) from 0 to 1, side by side with titles."""
    rows = -(-len(pictures) // columns)
    _, h, w = np.atleast_3d(pictures[0][1]).shape if pictures[0][1].ndim == 3 else (1, *pictures[0][1].shape)
    figure, axes = plt.subplots(rows, columns, figsize=(3.4 * columns, rows * (3.4 * h / w + 0.35)), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, (title, picture) in zip(axes.flat, pictures, strict=False):
        shown = np.clip(picture.transpose(1, 2, 0) if picture.ndim == 3 else picture, 0, 1)
        ax.imshow(shown, cmap="gray", vmin=0, vmax=1)
        ax.set_title(title, fontsize=11)
    figure.tight_layout()
    show(figure, alt)


# charts


def lines(
    series: dict[str, Sequence[float]], xs: Sequence[float], xlabel: str, ylabel: str, alt: str, *, log: str = "xy"
) -> None:
    """Show curves over common xs, told apart by colour, marker and dash."""
    figure, ax = plt.subplots(figsize=(6.6, 3.8))
    styles = zip(CHART, "os^Dv", ["-", "--", "-.", ":", "-"], strict=True)
    for (name, ys), (colour, marker, dash) in zip(series.items(), styles, strict=False):
        ax.plot(xs, ys, dash, marker=marker, color=colour, label=name)
    if "x" in log:
        ax.set_xscale("log", base=2)
        ax.set_xticks(xs, [f"{v:g}" for v in xs])
        ax.minorticks_off()
    if "y" in log:
        ax.set_yscale("log")
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.grid(alpha=0.25)
    ax.legend(frameon=False)
    show(figure, alt)


def bars(values: dict[str, float], unit: str, alt: str, limit: float | None = None) -> None:
    """Show horizontal bars with their values, and a line for a limit."""
    figure, ax = plt.subplots(figsize=(7.2, 0.42 * len(values) + 0.9))
    names = list(values)
    ax.barh(names, list(values.values()), color=CHART[0], height=0.65)
    top = max([*values.values(), limit or 0])
    for i, v in enumerate(values.values()):
        ax.text(v + 0.01 * top, i, f"{v:.3g}", va="center")
    if limit is not None:
        ax.axvline(limit, color=ACCENT, ls="--")
        ax.text(limit, -0.9, f"{limit:.3g}", color=ACCENT, ha="center", va="bottom")
    ax.invert_yaxis()
    ax.set_xlabel(unit)
    show(figure, alt)


def roofline(machine: Machine, points: dict[str, tuple[float, float, float]], alt: str) -> None:
    """Show the machine's roofline and points of (flops, bytes, seconds); seconds 0 marks the roof itself."""
    figure, ax = plt.subplots(figsize=(6.2, 4.2))
    intensity = np.geomspace(0.125, 512, 200)
    ax.plot(intensity, np.minimum(machine.peak, machine.memory * intensity) / 1e9, color=INK, lw=2)
    ax.plot(intensity, np.minimum(machine.peak, machine.cache * intensity) / 1e9, color=INK, lw=1, ls="--")
    ax.text(512, 1.15 * machine.peak / 1e9, f"{machine.peak / 1e9:.0f} GFLOP/s", ha="right", fontsize=9)
    markers = "osD^v<>P*Xhp"
    for i, (name, (flops, nbytes, seconds)) in enumerate(points.items()):
        rate = flops / seconds if seconds else machine.attainable(flops, nbytes)
        colour = CHART[i % len(CHART)]
        ax.scatter(
            [flops / nbytes],
            [rate / 1e9],
            marker=markers[i % len(markers)],
            s=60,
            color=colour,
            facecolors=colour if seconds else "none",
            label=name,
            zorder=3,
        )
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xlabel("FLOP / byte")
    ax.set_ylabel("GFLOP/s")
    ax.grid(alpha=0.25)
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.02, 1))
    for bandwidth, name in ((machine.memory / 1e9, "GB/s"), (machine.cache / 1e9, "GB/s (L2)")):
        (x0, y0), (x1, y1) = ax.transData.transform([(0.15, 0.15 * bandwidth), (0.3, 0.3 * bandwidth)])
        angle = np.degrees(np.arctan2(y1 - y0, x1 - x0))
        place = {"xytext": (-3, 3), "textcoords": "offset points", "rotation": angle, "rotation_mode": "anchor"}
        ax.annotate(f"{bandwidth:.0f} {name}", (0.15, 0.15 * bandwidth), fontsize=9, **place)
    show(figure, alt)
