"""Figures 1 to 5 of the document and other drawings of tensors as blocks, drawn by code."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from figures import COLOUR, INK, STRONG, canvas, cell, fit, grid, show, sign
from matplotlib.axes import Axes
from matplotlib.patches import Polygon, Rectangle

SLANT = (0.42, -0.30)  # where one unit of depth goes on paper


def block(
    ax: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    depth: float,
    kind: str,
    label: str = "",
    *,
    slices: int = 1,
    hatch: str = "",
) -> None:
    """Draw a box; its front's upper left corner is at (x, y). ``slices`` cuts it along the depth, as channels do."""
    dx, dy = SLANT[0] * depth, SLANT[1] * depth
    style = {"facecolor": COLOUR[kind], "edgecolor": INK, "lw": 1, "hatch": hatch}
    top = [(x, y), (x + width, y), (x + width + dx, y + dy), (x + dx, y + dy)]
    side = [(x + width, y), (x + width + dx, y + dy), (x + width + dx, y + dy + height), (x + width, y + height)]
    ax.add_patch(Rectangle((x, y), width, height, **style))
    ax.add_patch(Polygon(top, **{**style, "facecolor": STRONG[kind]}))
    ax.add_patch(Polygon(side, **{**style, "facecolor": STRONG[kind]}))
    for s in range(1, slices):
        f = s / slices
        ax.plot(
            [x + f * dx, x + width + f * dx, x + width + f * dx],
            [y + f * dy, y + f * dy, y + f * dy + height],
            color=INK,
            lw=0.6,
        )
    if label:
        ax.text(x + width / 2, y + height + 0.45, label, ha="center", va="center", color=INK)


def figure_1(x: npt.NDArray[Any], w: npt.NDArray[Any], y: npt.NDArray[Any]) -> None:
    """Draw one convolution in numbers."""
    _, ax = figure = canvas(8, 2.6)
    taps = [(i, j) for i in range(w.shape[0]) for j in range(w.shape[1])]
    grid(ax, x, "input", (0, 0), taps, label="x")
    sign(ax, x.shape[1] + 0.9, 2, r"$\otimes$")
    grid(ax, w, "filter", (x.shape[1] + 1.8, 0.5), label="w")
    sign(ax, x.shape[1] + w.shape[1] + 2.7, 2, "=")
    grid(ax, y, "output", (x.shape[1] + w.shape[1] + 3.6, 1), [(0, 0)], label="y")
    fit(ax)
    show(
        figure[0],
        "Figure 1: a 4 by 4 input, a 3 by 3 filter, and the 2 by 2 output; the window of the first output is dark. / "
        "图1：4×4 的输入、3×3 的滤波器与 2×2 的输出；深色部分是第一个输出对应的窗口。",
    )


def figure_2(x: npt.NDArray[Any], w: npt.NDArray[Any]) -> None:
    """Draw a convolution over channels in numbers: each channel by itself, and the sum."""
    _, ax = figure = canvas(9, 5.4)
    parts = [correlate(a, b) for a, b in zip(x, w, strict=True)]
    (h, width), (kh, kw) = x.shape[1:], w.shape[1:]
    oh, ow = parts[0].shape
    taps = [(i, j) for i in range(kh) for j in range(kw)]
    right = width + kw + 3.6
    for c, (a, b, part) in enumerate(zip(x, w, parts, strict=True)):
        top = c * (h + 0.7)
        last = c == len(x) - 1
        grid(ax, a, "input", (0, top), taps, label="x  (C, H, W)" if last else "")
        sign(ax, width + 0.9, top + h / 2, r"$\otimes$")
        grid(ax, b, "filter", (width + 1.8, top + (h - kh) / 2), label="w  (C, KH, KW)" if last else "")
        sign(ax, width + kw + 2.7, top + h / 2, "=")
        grid(ax, part, "output", (right, top + (h - oh) / 2))
        if not last:
            sign(ax, right + ow / 2, top + h + 0.35, "+")
    middle = (len(x) * (h + 0.7) - 0.7) / 2
    sign(ax, right + ow + 1, middle, "=")
    grid(ax, sum(parts), "output", (right + ow + 2, middle - oh / 2), [(0, 0)], label="y  (OH, OW)")
    fit(ax)
    show(
        figure[0],
        "Figure 2: each input channel is convolved with its channel of the filter, the results are added to one output channel. / "
        "图2：每个输入通道与滤波器的对应通道做卷积，结果相加，得到一个输出通道。",
    )


def correlate(x: npt.NDArray[Any], w: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Slide a 2-D filter over a 2-D input."""
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape)
    return np.asarray((windows * w).sum(axis=(2, 3)))


def figure_3() -> None:
    """Draw how FN filters make an output block of FN channels."""
    _, ax = figure = canvas(10, 3.4)
    block(ax, 0, 0, 3, 3, 3, "input", "(H, W, C)", slices=3)
    sign(ax, 5.1, 1.3, r"$\otimes$")
    for i in (2, 1, 0):
        block(ax, 6 + 2.9 * i, 0.9, 1.2, 1.2, 3, "filter", "", slices=3)
    ax.text(9.9, 2.75, "FN × (FH, FW, C)", ha="center", va="center", color=INK)
    sign(ax, 14.9, 1.3, "=")
    block(ax, 15.7, 0.4, 2.2, 2.2, 5, "output", "(OH, OW, FN)", slices=5)
    fit(ax)
    show(
        figure[0],
        "Figure 3: an input block of C channels and FN filter blocks of C channels each give an output block of FN channels. / "
        "图3：C 个通道的输入方块与 FN 个滤波器方块（各有 C 个通道）得到 FN 个通道的输出方块。",
    )


def figure_4(groups: int = 3) -> None:
    """Draw a standard convolution above a grouped one."""
    _, ax = figure = canvas(10, 6)
    block(ax, 0, 0, 2.6, 2.6, 6, "input", r"$H \times W \times c_1$", slices=6)
    sign(ax, 6.9, 1, r"$\otimes$")
    block(ax, 8, 0.7, 1.1, 1.1, 6, "filter", r"$c_2 \; (h_1 \times w_1 \times c_1)$", slices=6)
    sign(ax, 13.2, 1, "=")
    block(ax, 14.2, 0, 2.6, 2.6, 6, "output", r"$H \times W \times c_2$", slices=6)
    top, hatches = 5.6, ["", "..", "xx", "//"]
    part = 6 / groups
    for g in reversed(range(groups)):
        shift = g * (part * SLANT[0] + 0.55), g * (part * SLANT[1] - 0.55)
        y = top + groups * 0.55 + shift[1]
        label = g == 0
        block(
            ax,
            shift[0],
            y,
            2.6,
            2.6,
            part,
            "input",
            r"$H \times W \times \frac{c_1}{g}$" if label else "",
            slices=int(part),
            hatch=hatches[g % 4],
        )
        block(
            ax,
            8 + shift[0],
            y + 0.7,
            1.1,
            1.1,
            part,
            "filter",
            r"$\frac{c_2}{g} \; (h_1 \times w_1 \times \frac{c_1}{g})$" if label else "",
            slices=int(part),
            hatch=hatches[g % 4],
        )
        block(
            ax,
            14.2 + shift[0],
            y,
            2.6,
            2.6,
            part,
            "output",
            r"$H \times W \times \frac{c_2}{g}$" if label else "",
            slices=int(part),
            hatch=hatches[g % 4],
        )
    sign(ax, 6.9, top + 2.2, r"$\otimes$")
    sign(ax, 13.2, top + 2.2, "=")
    fit(ax)
    show(
        figure[0],
        f"Figure 4: above, a standard convolution; below, a grouped one: {groups} parts of the input channels, each with filters and outputs of its own. / "
        f"图4：上为标准卷积；下为分组卷积：输入通道分成 {groups} 组，每组有各自的滤波器与输出。",
    )


def figure_5() -> None:
    """Draw the filters of a standard convolution, and of the depthwise and the pointwise one that replace it."""
    _, ax = figure = canvas(9, 6)
    rows: list[tuple[str, float, float, float, str, str]] = [
        ("(a)", 1.5, 1.5, 4, "N", r"$D_k \times D_k \times M$"),
        ("(b)", 1.5, 1.5, 0.8, "M", r"$D_k \times D_k \times 1$"),
        ("(c)", 0.55, 0.55, 4, "N", r"$1 \times 1 \times M$"),
    ]
    for r, (name, width, height, depth, count, label) in enumerate(rows):
        y = 4.3 * r
        ax.text(-1.2, y + 0.6, name, ha="center", va="center", fontsize=13)
        for i in (4, 2, 1, 0):
            x = 3.4 * i
            if i == 4:
                ax.text(x - 2.4, y + 0.6, "···", ha="center", va="center", fontsize=16)
            block(
                ax,
                x,
                y + (1.5 - height) / 2,
                width,
                height,
                depth,
                "filter",
                label if i == 0 else "",
                slices=4 if depth == 4 else 1,
            )
        ax.plot([0, 15.1], [y + 2.5, y + 2.5], color=INK, lw=1, marker="|", ms=9)
        ax.text(7.55, y + 2.95, count, ha="center", va="center", fontsize=13)
    fit(ax)
    show(
        figure[0],
        "Figure 5: (a) N standard filters of M channels; (b) M depthwise filters of one channel; (c) N pointwise filters of one pixel and M channels. / "
        "图5：(a) N 个 M 通道的标准滤波器；(b) M 个单通道的深度卷积滤波器；(c) N 个 1×1×M 的逐点卷积滤波器。",
    )


def memory(shape: tuple[int, int, int]) -> None:
    """Draw the elements (c, h, w) of a small tensor in the order of memory, NCHW above NHWC."""
    channels, height, width = shape
    index = np.array([[f"{c}{h}{w}" for h in range(height) for w in range(width)] for c in range(channels)])
    _, ax = figure = canvas(11, 2.6)
    kinds = ("input", "filter", "output", "padding")
    for row, (name, order) in enumerate((("NCHW", index.ravel()), ("NHWC", index.T.ravel()))):
        ax.text(-0.3, 2.2 * row + 0.5, name, ha="right", va="center")
        for i, text in enumerate(order):
            face = (COLOUR["input"], "#8CC9EE", STRONG["input"], "#2F8FC9")[int(text[0]) % len(kinds)]
            ax.add_patch(Rectangle((i, 2.2 * row), 1, 1, facecolor=face, edgecolor="white"))
            ax.text(i + 0.5, 2.2 * row + 0.5, text, ha="center", va="center", fontsize=10)
            if row == 1:
                ax.text(i + 0.5, 2.2 * row + 1.4, str(i), ha="center", va="center", fontsize=8, color="#666666")
    fit(ax)
    show(
        figure[0],
        "Addresses from left to right, each cell labelled with channel, row and column. In NCHW a channel is one stretch; in NHWC the channels of a pixel are neighbours. / "
        "从左到右为内存地址，每格标出通道、行、列。NCHW 中一个通道连续存放；NHWC 中一个像素的各通道相邻。",
    )


def work_items(who: npt.NDArray[Any], local: tuple[int, int]) -> None:
    """Draw which work-item computed which output; work-groups are framed."""
    _, ax = figure = canvas(0.62 * who.shape[1] + 0.5, 0.62 * who.shape[0] + 0.5)
    for r in range(who.shape[0]):
        for c in range(who.shape[1]):
            cell(ax, c, r, str(who[r, c]), "output", (r // local[1] + c // local[0]) % 2 == 1)
    for r in range(0, who.shape[0], local[1]):
        for c in range(0, who.shape[1], local[0]):
            ax.add_patch(
                Rectangle(
                    (c, r), min(local[0], who.shape[1] - c), min(local[1], who.shape[0] - r), fill=False, edgecolor=INK, lw=2.5
                )
            )
    fit(ax)
    show(
        figure[0],
        f"The output, each cell with the (column, row) id of the work-item that wrote it; frames of {local[0]} by {local[1]} are work-groups. / "
        f"输出矩阵，每格写着计算它的工作项编号（列，行）；{local[0]}×{local[1]} 的粗框是工作组。",
    )


def product(w: npt.NDArray[Any], columns: npt.NDArray[Any], y: npt.NDArray[Any]) -> None:
    """Draw a matrix product that is a convolution: filters as rows, windows as columns."""
    _, ax = figure = canvas(10, 5)
    grid(ax, w, "filter", (0, columns.shape[0] / 2 - w.shape[0] / 2), label="w  (OC, IC·KH·KW)")
    sign(ax, w.shape[1] + 0.8, columns.shape[0] / 2, "·")
    left = w.shape[1] + 1.6
    grid(ax, columns, "input", (left, 0), [(r, 0) for r in range(columns.shape[0])], label="x  (IC·KH·KW, OH·OW)")
    sign(ax, left + columns.shape[1] + 0.8, columns.shape[0] / 2, "=")
    grid(
        ax,
        y,
        "output",
        (left + columns.shape[1] + 1.6, columns.shape[0] / 2 - w.shape[0] / 2),
        [(r, 0) for r in range(y.shape[0])],
        label="y  (OC, OH·OW)",
    )
    fit(ax)
    show(
        figure[0],
        "A convolution as a matrix product: each filter is a row, each window a column, the first window is dark. / "
        "写成矩阵乘积的卷积：每个滤波器是一行，每个窗口是一列；深色的是第一个窗口。",
    )
