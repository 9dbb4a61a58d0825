"""Pictures, for the commands that take one."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from clconv.errors import ShapeError

_ORIENTATION = 0x0112  # EXIF's tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_picture(path: Path) -> Image.Image:
    """Read a picture in RGB, as a viewer shows it: turned as its camera says, and on white where it is transparent.

    Raises
    ------
    ShapeError
        If pillow cannot read the file.
    """
    try:
        with Image.open(path) as opened:
            turn = _turn(opened)
            image = _in_8_bits(opened)
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ShapeError(f"{path} is no picture that pillow can read ({error}); give a JPEG or PNG file") from error
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if turn is None else image.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return what the camera says; nothing where what it wrote is damaged, for the picture need not be."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # pillow raises whatever damaged bytes lead to
        return None


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Return a grey picture of 16 bits with 8, which pillow cuts off at 255."""
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
