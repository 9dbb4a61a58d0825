"""Nodes that move pixels into channels and back."""

from __future__ import annotations

from collections.abc import Sequence

from clconv.onnx.graph import Node
from clconv.onnx.lower.movement import emit_copy, strides_of
from clconv.onnx.problems import image_shape
from clconv.onnx.step import Argument, Int, Lowering, itemsize, pieces


def emit_interleave(
    to: Lowering,
    sources: Sequence[str],
    y: str,
    counts: tuple[int, int],
    places: tuple[int, int],
    *,
    firsts: tuple[int, int] | None = None,
    begins: tuple[int, int] = (0, 0),
    phases_first: bool = False,
    op: str = "",
) -> None:
    """Add a step that puts the phases of an image together.

    Parameters
    ----------
    sources : sequence of str
        Four images, of which absent ones are ``""``: see ``kernels/network/interleave.cl``.
    y : str
    counts, places : tuple of int
        Phases along each axis, and the pixels of each.
    firsts : tuple of int, optional
        Rows and columns of phases in the first image; all if left out.
    begins : tuple of int
        Rows and columns that are cut off in front.
    phases_first : bool
        Phases go before output channels in the images.
    op : str
        What it does, for people.
    """
    images, channels, oh, ow = image_shape(to.shapes[y])
    rows = images * channels * oh
    per_item = max(1, pieces(rows * ow, 1, to.device) // ow)
    first = firsts or counts
    macros = (
        ("BYTES", itemsize(to.dtypes[y])),
        *(("SH", counts[0]), ("SW", counts[1]), ("RH", first[0]), ("RW", first[1])),
        ("PHASES_FIRST", int(phases_first)),
        ("UNALIGNED_VECTORS", int(to.device.unaligned_vectors)),
    )
    arguments: tuple[Argument, ...] = (*"abcdy", *map(Int, (images, channels, *places, oh, ow, *begins, per_item)))
    launch = to.launch_grouped("interleave", macros, arguments, -(-rows // per_item) if to.items == 1 else rows * ow)
    to.emit("network/interleave", launch, dict(zip("abcdy", (*sources, y), strict=True)), op=op)


def lower_depth_to_space(node: Node, to: Lowering) -> None:
    """Put channels side by side as pixels: in DCR mode those of a block lie far apart, in CRD side by side."""
    block, x = int(node.attributes["blocksize"]), node.inputs[0]
    phases_first = node.text("mode", "DCR") == "DCR"
    height, width = to.shapes[x][2:]
    emit_interleave(to, (x, "", "", ""), node.output, (block, block), (height, width), phases_first=phases_first)


def lower_space_to_depth(node: Node, to: Lowering) -> None:
    """Make channels of the pixels of a block, as DepthToSpace in the same mode takes them."""
    block, x = int(node.attributes["blocksize"]), node.inputs[0]
    images, channels, height, width = to.shapes[x]
    sizes = (images, channels, height // block, block, width // block, block)
    order = (0, 3, 5, 1, 2, 4) if node.text("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    across, shape = strides_of(sizes), [sizes[axis] for axis in order]
    emit_copy(to, x, node.output, shape, [across[axis] for axis in order], strides_of(tuple(shape)))
