"""Pictures as a viewer shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clconv import ShapeError

Image = pytest.importorskip("PIL.Image")
COLOURS = np.array([[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [200, 200, 0]]], np.uint8)


def read(path: Path) -> np.ndarray:
    from clconv.cli.picture import read_picture

    return np.asarray(read_picture(path))


def test_a_picture_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: the first row is on the right
    Image.fromarray(COLOURS).save(tmp_path / "x.png", exif=exif)
    assert (read(tmp_path / "x.png") == np.rot90(COLOURS, -1)).all()


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA"])
def test_what_is_transparent_is_white(mode: str, tmp_path: Path) -> None:
    """Without a warning, which would be an error here: pillow gives one for palettes."""
    image = Image.fromarray(np.dstack([COLOURS, np.full((2, 2), 255, np.uint8)]))
    if mode == "P":
        image = image.convert("RGB").quantize(4)
        table = bytes(0 if index == image.getpixel((0, 0)) else 255 for index in range(4))
        image.save(tmp_path / "x.png", transparency=table)
    else:
        image.putpixel((0, 0), (250, 0, 0, 0))
        image.convert(mode).save(tmp_path / "x.png")
    pixels = read(tmp_path / "x.png")
    assert (pixels[0, 0] == 255).all()
    assert (pixels[1, 1] < 255).all()


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0", b"\xff" * 40])
def test_what_a_camera_wrote_may_be_damaged(exif: bytes, tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "x.png", exif=exif)
    assert (read(tmp_path / "x.png") == COLOURS).all()


def test_grey_of_16_bits_is_grey(tmp_path: Path) -> None:
    ramp = np.arange(0, 65536, 4096, dtype=np.uint16).reshape(4, 4)
    Image.fromarray(ramp).save(tmp_path / "x.png")
    assert (read(tmp_path / "x.png") == (ramp // 256)[:, :, None]).all()


def test_a_file_that_is_no_picture_gets_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"nothing")
    with pytest.raises(ShapeError, match=r"x\.png is no picture that pillow can read \(.*\); give a JPEG or PNG file"):
        read(tmp_path / "x.png")
