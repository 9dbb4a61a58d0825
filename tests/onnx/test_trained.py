"""Networks with trained weights, from the package rapidocr-onnxruntime, on a picture with letters."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest

import clconv.onnx
from tests.onnx.models import exact

_spec = importlib.util.find_spec("rapidocr_onnxruntime")
pytestmark = pytest.mark.skipif(_spec is None, reason="rapidocr-onnxruntime is not installed")


def model_file(name: str) -> Path:
    assert _spec is not None
    assert _spec.origin is not None
    return Path(_spec.origin).parent / "models" / name


def picture(height: int, width: int) -> np.ndarray:
    """Dark letters on a bright page, normalised as the models want it: (1, 3, height, width)."""
    image_module = pytest.importorskip("PIL.Image")
    draw_module = pytest.importorskip("PIL.ImageDraw")
    page = image_module.new("RGB", (width, height), (235, 230, 220))
    draw = draw_module.Draw(page)
    for i, line in enumerate(("GROUPED", "convolution", "1 2 3 4 5")):
        draw.text((8, 8 + i * height // 3), line, fill=(20, 30, 60))
    pixels = np.asarray(page, np.float32).transpose(2, 0, 1)[None] / 255
    return np.ascontiguousarray((pixels - 0.5) / 0.5)


def answer(path: Path, x: np.ndarray) -> np.ndarray:
    """ONNX Runtime's answer where it is installed, else that of onnx.reference in float64."""
    if importlib.util.find_spec("onnxruntime") is None:
        return exact(onnx.load(path), {"x": x})[0]
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize(
    ("name", "height", "width"),
    [
        ("ch_PP-OCRv4_det_infer.onnx", 96, 160),
        ("ch_ppocr_mobile_v2.0_cls_infer.onnx", 48, 192),
    ],
)
def test_trained_network(name: str, height: int, width: int) -> None:
    """Both give probabilities: off by 1e-4 at most, all layers' roundings together."""
    x = picture(height, width)
    y, want = clconv.onnx.load(model_file(name))(x), answer(model_file(name), x)
    assert y.shape == want.shape
    assert want.max() > 0.5
    assert np.abs(y - want).max() < 1e-4


def test_the_detector_finds_the_letters() -> None:
    x = picture(96, 160)
    found = clconv.onnx.load(model_file("ch_PP-OCRv4_det_infer.onnx"))(x)[0, 0] > 0.3
    dark = x[0].mean(0) < 0
    assert found[dark].mean() > 0.5
    assert found[:, 130:].mean() < 0.1
