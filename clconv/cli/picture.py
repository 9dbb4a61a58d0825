"""Pictures, for the commands that take one."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

from clconv.errors import ShapeError


def read_picture(path: Path) -> Image.Image:
    """Read a picture in RGB, as a viewer shows it: turned as its camera says, and on white where it is transparent.

    Raises
    ------
    ShapeError
        If pillow cannot read the file.
    """
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if not image.has_transparency_data:
                return image.convert("RGB")
            image = image.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ShapeError(f"{path} is no picture that pillow can read ({error}); give a JPEG or PNG file") from error
    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image).convert("RGB")
